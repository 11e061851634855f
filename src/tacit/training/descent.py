"""A small network, trained on what was encoded once: draw, compute, step; on an accelerator, computing is recorded once and played again.

A batch is drawn on the CPU, where draws are the same for every machine, and gathered where the latents are. Dimensions: B batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tacit.training.recorded import record
from tacit.training.settings import HeadTraining

Progress = Callable[[float, float], None]
"""Told the share of the training that is done and the loss."""
Draw = Callable[[int, float], tuple[Tensor, ...]]
"""Step and share done -> what the loss is computed of."""
Loss = Callable[..., Tensor]
"""What was drawn -> what is minimised, a scalar; it decides nothing by values, for it may be recorded."""
Gradients = Callable[[tuple[Tensor, ...]], Tensor]


def optimized(module: nn.Module, config: HeadTraining, draw: Draw, loss: Loss, progress: Progress | None) -> int:
    """Minimise `loss(*draw(step, share done))` for as long as the settings say; returns the number of steps."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    gradients = gradients_of(module, loss)
    begun, step = time.perf_counter(), 0
    while True:
        done = step / config.steps if config.steps is not None else (time.perf_counter() - begun) / (60 * (config.minutes or 1e-9))
        if done >= 1.0:
            return step
        for parameters in optimizer.param_groups:
            parameters["lr"] = config.learning_rate * min(1.0, (step + 1) / 100) * (0.51 + 0.49 * math.cos(math.pi * done))
        value = gradients(draw(step, done))
        optimizer.step()
        step += 1
        if progress and step % 20 == 0:
            progress(done, float(value))


def gradients_of(module: nn.Module, loss: Loss) -> Gradients:
    """How the gradients of a module are found where it is: what was drawn -> the loss; gradients are left in the parameters, cut to a norm
    of one."""

    def gradients(drawn: tuple[Tensor, ...]) -> Tensor:
        value = loss(*drawn)
        module.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        return value.detach()

    device = next(module.parameters()).device
    return _recorded(gradients, module, device) if device.type == "cuda" else gradients


def _recorded(gradients: Gradients, module: nn.Module, device: torch.device) -> Gradients:
    """The same, recorded, and recorded anew when batches of other shapes come."""
    places: tuple[Tensor, ...] = ()
    play: Callable[[], Tensor]

    def played(drawn: tuple[Tensor, ...]) -> Tensor:
        nonlocal places, play
        if [each.shape for each in places] != [each.shape for each in drawn]:
            places = tuple(each.clone() for each in drawn)
            play = record(lambda: gradients(places), module, device)
        for place, value in zip(places, drawn, strict=True):
            place.copy_(value, non_blocking=True)
        return play()

    return played
