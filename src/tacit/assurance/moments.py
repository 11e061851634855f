"""What a monitor is told: moments, made of what a controller was given and what it decided.

Dimensions: N episodes, T moments, B machines, D latent, A action, S senses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.planning.decision import Decision, DecisionBatch
from tacit.planning.history import one_step_error
from tacit.planning.samples import LastGood, samples_of
from tacit.signals import Role, Schema

Floats = NDArray[np.float32]
Samples = Mapping[str, NDArray[Any]]

CELLS = 16  # blocks of a picture along each side


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """What a monitor is told at one step.

    Attributes:
        latent: Newest latents (B, D).
        expected: What the model expected in their place, (B, D); not finite where it expected nothing.
        action: Actions decided now, (B, A), physical units.
        steps_to_go: Learned number of steps to the goal, (B,); NaN where there is no goal.
        distance: Euclidean distance of the newest latent from the goal's, (B,); NaN likewise.
        senses: What the sensors show, coarsely: see `senses`; (B, S).
        is_same: Whether all sensors show bit for bit what they showed before, (B,) bool.
        goal_senses: What the sensors are to show at the goal, likewise coarsely, (B, S); NaN where there is no goal.
    """

    latent: Floats
    expected: Floats
    action: Floats
    steps_to_go: Floats
    distance: Floats
    senses: Floats
    is_same: NDArray[np.bool_]
    goal_senses: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Whole episodes of moments side by side: N episodes of T moments, the fields of `Moment` as (N, T, ...), and the goal's as (N, S)."""

    latent: Floats
    expected: Floats
    action: Floats
    steps_to_go: Floats
    distance: Floats
    senses: Floats
    is_same: NDArray[np.bool_]
    goal_senses: Floats

    def __len__(self) -> int:
        return len(self.latent)

    @property
    def steps(self) -> int:
        """T."""
        return int(self.latent.shape[1])

    def at(self, step: int) -> Moment:
        moving = {name: value[:, step] for name, value in vars(self).items() if name != "goal_senses"}
        return Moment(**moving, goal_senses=self.goal_senses)

    def among(self, rows: NDArray[Any]) -> Moments:
        """Some of the episodes."""
        return Moments(**{name: value[rows] for name, value in vars(self).items()})


def senses(schema: Schema, samples: Samples) -> Floats:
    """Block means of every picture and all other numbers, side by side: (B, *shape) by observation signal -> (B, S)."""
    parts = []
    for signal in schema.observations:
        value = np.asarray(samples[signal.name])
        if signal.is_image and min(value.shape[1:3]) >= CELLS:
            batch, height, width, channels = value.shape
            down, across = height // CELLS, width // CELLS
            whole = value[:, : down * CELLS, : across * CELLS].reshape(batch, CELLS, down, CELLS * across * channels)
            kind = np.uint16 if value.dtype == np.uint8 and down <= 256 else np.float32  # small numbers are added faster
            value = whole.sum(2, dtype=kind) @ _means(down, across, channels)
        parts.append(value.reshape(len(value), -1).astype(np.float32))
    return np.concatenate(parts, axis=1)


@functools.cache
def _means(down: int, across: int, channels: int) -> Floats:
    """What the sums of `down` rows of pixels are multiplied with for the means of blocks: sums over an axis before a short last one take
    longer."""
    means: Floats = np.kron(np.eye(CELLS), np.kron(np.full((across, 1), 1 / (down * across)), np.eye(channels))).astype(np.float32)
    return means


@final
class Watch:
    """Makes what a monitor judges out of what a controller was given and what it decided.

    Args:
        schema: Of the machine.
        steps_to: Goals (B, D) -> what gives the learned steps (B,) from latents (B, D) to them; None where there is no such thing.
    """

    def __init__(self, schema: Schema, steps_to: Callable[[Tensor], Callable[[Tensor], Tensor]] | None = None) -> None:
        self._schema = schema
        self._steps_to = steps_to
        self.reset()

    def reset(self) -> None:
        """Begin a new episode."""
        self._before: dict[str, NDArray[Any]] | None = None
        self._steps_to_go: Callable[[Tensor], Tensor] | None = None  # those of this episode
        self._goal_senses: Floats | None = None
        self._good = LastGood()

    def moment(
        self,
        samples: Mapping[str, Any],
        decided: Decision | DecisionBatch,
        goal: Tensor | None,
        goal_samples: Mapping[str, NDArray[Any]] | None = None,
    ) -> Moment:
        """What the monitor is told.

        Args:
            samples: What the controller was given: (*shape) by observation signal with a `Decision`, (B, *shape) with a batch. As there, a
                missing sample is replaced by the last good one, and masks can be left out.
            decided: What it decided.
            goal: Latents of the goals, (B, D) or (1, D).
            goal_samples: What the sensors show at the goals, (B, *shape) or (1, *shape) by observation signal, of which masks can be
                left out; looked at in the first moment of an episode.
        """
        one = isinstance(decided, Decision)
        full = {s.name: _sample(samples.get(s.name), s.shape, s.dtype, len(decided.latents), one) for s in self._schema.observations}
        self._hold(full, samples)
        before, self._before = self._before, {name: value.copy() for name, value in full.items()}
        newest = decided.latents[:, -1]
        size = len(newest)
        is_same = np.zeros(size, np.bool_)
        if before is not None:
            is_same = np.logical_and.reduce([(full[n] == before[n]).reshape(size, -1).all(1) for n in full])
        steps = distance = torch.full((size,), torch.nan)
        if self._steps_to is not None and goal is not None:
            with torch.no_grad():
                self._steps_to_go = self._steps_to_go or self._steps_to(goal)
                steps, distance = self._steps_to_go(newest), one_step_error(newest, goal)
        found = senses(self._schema, full)
        if self._goal_senses is None:
            self._goal_senses = np.broadcast_to(self._shown(goal_samples or {}), found.shape).copy()
        expected = torch.full_like(newest, torch.nan) if decided.expected is None else decided.expected
        actions = decided.action[None] if isinstance(decided, Decision) else decided.actions
        return Moment(
            latent=newest.float().cpu().numpy(),
            expected=expected.float().cpu().numpy(),
            action=actions,
            steps_to_go=steps.float().cpu().numpy(),
            distance=distance.float().cpu().numpy(),
            senses=found,
            is_same=is_same,
            goal_senses=self._goal_senses,
        )

    def _shown(self, goal: Mapping[str, NDArray[Any]]) -> Floats:
        """What the sensors show at goals, coarsely, (B, S); (1, 1), not a number, where something is left out that is no mask."""
        masks = {mask.name for mask in self._schema.masks.values()}
        if not {s.name for s in self._schema.observations} - masks <= set(goal):
            return np.full((1, 1), np.nan, np.float32)
        return senses(self._schema, samples_of(self._schema, goal, Role.OBSERVATION))

    def _hold(self, full: dict[str, NDArray[Any]], given: Mapping[str, Any]) -> None:
        """Put the last good number in the place of a missing one, as logs have it, and say in the masks which those are."""
        for name, mask in self._schema.masks.items():
            if name not in full:
                continue
            value, is_image = full[name], self._schema.by_name[name].is_image
            there = np.ones(full[mask.name].shape, np.bool_) if is_image else np.isfinite(value)
            there &= given.get(name) is not None
            if given.get(mask.name) is not None:
                there &= full[mask.name]
            full[mask.name] = there
            if not is_image:
                full[name] = self._good.held(name, value, there)


def _sample(value: Any, shape: tuple[int, ...], dtype: str, machines: int, one: bool) -> NDArray[Any]:
    """A sample with its batch dimension; what is missing is 0, and whether it is, its mask shows."""
    if value is None:
        return np.zeros((machines, *shape), dtype)
    array = np.asarray(value)
    return array[None] if one else array


def watched(moments: list[Moment]) -> Moments:
    """The moments of one batch of episodes, one after another, as `Moments`."""
    moving = {name: np.stack([getattr(moment, name) for moment in moments], axis=1) for name in vars(moments[0]) if name != "goal_senses"}
    return Moments(**moving, goal_senses=moments[0].goal_senses)
