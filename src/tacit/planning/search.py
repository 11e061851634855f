"""What planners that search have in common: settings, noise, the clock, and the first candidates.

Dimensions: B batch, K candidates, P proposals, H horizon, A action.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar, final

import torch
from torch import Tensor

from tacit.contracts import Deadline, Problem, Spent, WorldModel
from tacit.planning.rollout import Candidates


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Settings that every search has.

    Attributes:
        candidates: K, action sequences per iteration.
        iterations: Iterations when no deadline cuts them.
        initial_std: Standard deviation of the first samples, as a fraction of half the range of each action element.
        noise_correlation: Correlation of the noise of one step with that of the next, in [0, 1).
        soft_weight: Cost of a shortfall of 1 in a soft limit's margin.

    Raises:
        ValueError: A setting is out of its domain.
    """

    candidates: int = 128
    iterations: int = 3
    initial_std: float = 0.5
    noise_correlation: float = 0.0
    soft_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("candidates", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.initial_std > 0:
            raise ValueError(f"initial_std must be positive, but is {self.initial_std}")
        if not 0 <= self.noise_correlation < 1:
            raise ValueError(f"noise_correlation must be at least 0 and below 1, but is {self.noise_correlation}")
        if not self.soft_weight >= 0:
            raise ValueError(f"soft_weight must not be negative, but is {self.soft_weight}")


@dataclass(frozen=True, kw_only=True)
class EliteConfig(SearchConfig):
    """Settings of a search that goes on from its best candidates.

    Attributes:
        elites: E, how many candidates it goes on from.
    """

    elites: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.elites <= self.candidates:
            raise ValueError(f"elites must be between 1 and the {self.candidates} candidates, not {self.elites}")


@dataclass(frozen=True, kw_only=True)
class FitConfig(EliteConfig):
    """Settings of a search that fits a Gaussian to its elites.

    Attributes:
        min_std: Least standard deviation of later iterations, as a fraction of half the range of each action element.
        momentum: Share of the old mean and standard deviation that a fit keeps.
    """

    min_std: float = 0.02
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_std <= self.initial_std:
            raise ValueError(f"need 0 <= min_std <= initial_std; not {self.min_std} and {self.initial_std}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, but is {self.momentum}")


Config = TypeVar("Config", bound=SearchConfig)


class Search(Generic[Config]):
    """What every planner that searches holds. The same seed and the same calls give the same plans."""

    def __init__(self, model: WorldModel, config: Config, *, seed: int = 0) -> None:
        """Args:
        model: Predicts what actions do.
        config: Settings of the search.
        seed: Seed of the noise.
        """
        self._model = model
        self._config = config
        self._noise = Noise(seed)


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

    def white(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Independent standard normal numbers."""
        return torch.randn(shape, generator=self.generator(device), device=device)

    def smooth(self, shape: tuple[int, int, int, int], correlation: float, device: torch.device) -> Tensor:
        """Noise (B, K, H, A), correlated along H as an AR(1) process with `correlation` from one step to the next, in [0, 1)."""
        return smoothed(self.white(shape, device), correlation)

    def coloured(self, shape: tuple[int, int, int, int], exponent: float, device: torch.device) -> Tensor:
        """Noise (B, K, H, A) whose power falls with frequency^-exponent along H (Timmer and König, 1995), periodic in H.

        An exponent of 0 is white noise, 1 pink, 2 red; more is smoother. The mean over H has the power of the lowest frequency.
        """
        batch, count, horizon, size = shape
        bins = horizon // 2 + 1
        amplitude = torch.arange(bins, device=device, dtype=torch.float32).clamp(min=1) ** (-exponent / 2)
        # The mean, and the highest frequency of an even H, have no imaginary part: all of their power is in the real one.
        is_real = torch.zeros(bins, dtype=torch.bool, device=device)
        is_real[:: horizon // 2 if horizon > 1 and horizon % 2 == 0 else bins] = True
        real, imaginary = self.white((2, batch, count, bins, size), device)
        real = torch.where(is_real[:, None], 2**0.5 * real, real)
        imaginary = torch.where(is_real[:, None], 0.0, imaginary)
        noise = torch.fft.irfft(torch.complex(real, imaginary) * amplitude[:, None], n=horizon, dim=-2)
        variance = (torch.where(is_real, 2.0, 4.0) * amplitude.square()).sum() / horizon**2
        coloured: Tensor = noise / variance.sqrt()
        return coloured


def smoothed(noise: Tensor, correlation: float) -> Tensor:
    """White noise (..., H, A), correlated along H as an AR(1) process with `correlation` from one step to the next, in [0, 1)."""
    if not correlation:
        return noise
    in_time = noise.transpose(-2, -1)
    flat = in_time.reshape(-1, in_time.shape[-1]) @ _decaying(in_time.shape[-1], correlation, noise.device).T  # one product, not B K
    return flat.view(in_time.shape).transpose(-2, -1)


@lru_cache(maxsize=64)
def _decaying(horizon: int, correlation: float, device: torch.device) -> Tensor:
    """Cholesky factor of the correlation rho^|i-j|, (H, H): how the noise of step j still acts in step i."""
    steps = torch.arange(horizon, device=device, dtype=torch.float32)
    factor = (correlation ** (steps[:, None] - steps)).tril()
    factor[:, 1:] *= (1 - correlation**2) ** 0.5
    return factor


def now(device: torch.device) -> float:
    """The clock, after all work that was given to the device is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


@lru_cache(maxsize=64)
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
    return problem.inside(guess[:, None])[:, 0]


def with_proposals(samples: Tensor, proposals: Tensor | None) -> Tensor:
    """Put a problem's proposals in the place of samples, right after the first one.

    Args:
        samples: Candidates (B, K, H, A); the first one, which the others were drawn around, always stays.
        proposals: (B, P, H, A), or None. Of K or more the first K - 1 are taken. One with a number that is not finite is never tried: the
            sample keeps its place.

    Returns:
        Candidates (B, K, H, A); without proposals the samples themselves.
    """
    if proposals is None:
        return samples
    given = proposals[:, : samples.shape[1] - 1].to(samples)
    end = 1 + given.shape[1]
    return torch.cat((samples[:, :1], usable(given, samples[:, 1:end]), samples[:, end:]), dim=1)


def usable(proposals: Tensor, instead: Tensor) -> Tensor:
    """Proposals (B, P, H, A), and what stands in, broadcast to that shape, for each that has a number that is not finite."""
    return torch.where(proposals.abs().amax((-2, -1), keepdim=True) < torch.inf, proposals, instead)


def fitted(elites: Candidates, mean: Tensor, std: Tensor, momentum: float, min_std: Tensor) -> tuple[Tensor, Tensor]:
    """Fit the Gaussian of a cross-entropy method.

    Args:
        elites: Those with a finite cost are fitted to.
        mean: The old mean, (B, H, A); it stays where no elite has a finite cost.
        std: The old standard deviation, (B, H, A), likewise.
        momentum: Share of the old values that stays.
        min_std: Least standard deviation, (A,).

    Returns:
        The new mean and standard deviation, (B, H, A) each.
    """
    weight = elites.cost.isfinite().float()[..., None, None]
    count = weight.sum(1)
    share = weight / count.clamp(min=1)[:, None]
    new_mean = (share * elites.actions).sum(1)
    new_std = (share * (elites.actions - new_mean[:, None]).square()).sum(1).sqrt()
    is_fitted = count > 0
    return (
        torch.where(is_fitted, torch.lerp(new_mean, mean, momentum), mean),
        torch.where(is_fitted, torch.lerp(new_std, std, momentum).maximum(min_std), std),
    )


@final
class Rounds:
    """Counts the rounds of a search; ends it after so many, or when another one would end after the deadline."""

    def __init__(self, limit: int, deadline: Deadline | None, device: torch.device) -> None:
        """Begin the first round now.

        Args:
            limit: Rounds when no deadline cuts them.
            deadline: `time.perf_counter()` value, what the same search took when a deadline cut it or not, or None.
            device: Whose work belongs to a round.
        """
        self._limit, self._deadline, self._device = limit, deadline, device
        self._started = self._began = self._ended = time.perf_counter()
        self._ended_rounds = self._candidates = 0
        self._cut = False

    @property
    def is_last(self) -> bool:
        """Whether no round follows the present one, whatever the deadline."""
        return self._ended_rounds + 1 == self._limit

    def another(self, candidates: int) -> bool:
        """End a round that tried so many candidates per batch element; whether there is another one."""
        self._ended_rounds += 1
        self._candidates += candidates
        if self._deadline is not None:
            self._began, self._ended = self._ended, now(self._device)
        return self._ended_rounds < self._limit and self.has_time()

    def has_time(self) -> bool:
        """Whether what takes as long as the last round would end before the deadline; where not, the search counts as cut by it."""
        if isinstance(self._deadline, Spent):
            self._cut = self._deadline.cut_by_deadline and self._ended_rounds >= self._deadline.iterations
        else:
            self._cut = self._deadline is not None and self._ended + (self._ended - self._began) > self._deadline
        return not self._cut

    def spent(self, further: int = 0) -> Spent:
        """What the search took until now, with `further` candidates that were tried outside its rounds."""
        return Spent(
            seconds=now(self._device) - self._started,
            iterations=self._ended_rounds,
            candidates=self._candidates + further,
            cut_by_deadline=self._cut,
        )
