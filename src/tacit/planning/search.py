"""What planners that search have in common: noise, the clock, and the first candidates.

Dimensions: B batch, K candidates, P proposals, H horizon, A action.
"""

from __future__ import annotations

import time
from typing import final

import torch
from torch import Tensor

from tacit.contracts import Problem


@final
class Noise:
    """Standard normal noise that is the same for the same seed and the same calls, on whatever device is asked for."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)

    def generator(self, device: torch.device) -> torch.Generator:
        """The generator behind it; on another device than before it begins anew."""
        if self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self._seed)
        return self._generator

    def smooth(self, shape: tuple[int, int, int, int], correlation: float, device: torch.device) -> Tensor:
        """Noise (B, K, H, A), correlated along H as an AR(1) process with `correlation` from one step to the next, in [0, 1)."""
        noise = torch.randn(shape, generator=self.generator(device), device=device)
        if correlation:
            steps = torch.arange(shape[2], device=device, dtype=torch.float32)
            # Cholesky factor of the correlation rho^|i-j|: how the noise of step j still acts in step i.
            factor = (correlation ** (steps[:, None] - steps)).tril()
            factor[:, 1:] *= (1 - correlation**2) ** 0.5
            noise = factor @ noise
        return noise


def now(device: torch.device) -> float:
    """The clock, after all work that was given to the device is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def resting(count: int, horizon: int, device: torch.device) -> Tensor:
    """1 while a candidate moves and 0 once it rests, (count, H): from never moving to moving all the time, more of them short."""
    moving = torch.linspace(0.0, 1.0, count, device=device).square() * horizon
    return (torch.arange(horizon, device=device) < moving[:, None].round()).float()


def first_guess(problem: Problem, warm_start: Tensor | None) -> Tensor:
    """The warm start, or the middle of the range at every step, inside the action limits: (B, H, A).

    Raises:
        ValueError: The warm start or the proposals have another shape than the problem asks for, or the horizon is not positive.
    """
    low, high = problem.action_limits.low, problem.action_limits.high
    shape = (len(problem.history), problem.horizon, len(low))
    if problem.horizon < 1:
        raise ValueError(f"the horizon must be at least 1, not {problem.horizon}")
    if warm_start is not None and warm_start.shape != shape:
        raise ValueError(f"the warm start has shape {tuple(warm_start.shape)} instead of (B, H, A) = {shape}")
    if (given := problem.proposals) is not None and (given.shape[0], *given.shape[2:]) != shape:
        raise ValueError(f"the proposals have shape {tuple(given.shape)} instead of (B, P, H, A) = ({shape[0]}, P, {shape[1]}, {shape[2]})")
    guess = (low + (high - low) / 2).expand(shape) if warm_start is None else warm_start.to(problem.history.device)
    return problem.action_limits.project(guess[:, None], problem.previous)[:, 0]
