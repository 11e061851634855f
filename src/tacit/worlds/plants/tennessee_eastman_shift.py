"""Who runs the Tennessee Eastman process while its logs are written, and what disturbs it meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from tacit.worlds.plants.plant import Floats, Samples
from tacit.worlds.plants.tennessee_eastman_tags import DISTURBANCES, HANDLES, MEASURED, NORMAL, STEP_SECONDS, TRAINING

STEP_HOURS = STEP_SECONDS / 3600.0
HOLD_HOURS = 8.0  # mean time between two places of a handle
TESTED = 0.5  # share of the four-hour stretches with test signals
STRETCH_STEPS = 80
PULSES = 0.2  # chance in a step that a test signal turns
SIZE = 0.04  # of a test signal, as a share of the handle's range
CALM_STEPS = 40  # for which operators leave everything as it is when a limit of normal operation was left

HELD = [tag.name for tag in MEASURED if any(h.name == f"{tag.name}_setpoint" for h in HANDLES)]  # at a setpoint, and measured themselves

CALM_HOURS = 50.0  # mean time until a disturbance of the training list sets in
LASTS_HOURS = 5.0  # mean time that it lasts
SMALLEST = 0.3  # of its size in the paper


@final
class SupervisoryShift:
    """An `Operator` of the setpoints, on top of the regulatory layer that controls the plant.

    Now and then each handle is taken to a place drawn from its range, at the rate it may move with. In a stretch of hours with test
    signals, each gets a random binary signal of its own on top. When a measurement leaves normal operation, everything is left as it is
    for two hours, but that the setpoint of the product's flow is led after the level of the stripper and that of the pressure down.

    Args:
        rng: Draws what people do.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng, self._step, self._calm = rng, 0, 0
        base, self._low, self._high = (np.array([getattr(h, what) for h in HANDLES]) for what in ("base", "low", "high"))
        self._most = np.array([h.hourly for h in HANDLES]) * STEP_HOURS
        self._wanted, self._sent = base.copy(), base.copy()
        self._signs, self._tested = np.zeros(len(HANDLES)), False

    @property
    def setpoints(self) -> Mapping[str, float]:
        sent = {h.name.removesuffix("_setpoint"): float(at) for h, at in zip(HANDLES, self._sent, strict=True)}
        return {name: sent[name] for name in HELD}

    def act(self, samples: Samples) -> Floats:
        """See `Operator.act`."""
        places = self._rng.uniform(self._low, self._high)
        moves = self._rng.random(len(HANDLES)) < STEP_HOURS / HOLD_HOURS
        turns, signs = self._rng.random(len(HANDLES)) < PULSES, self._rng.choice((-1.0, 1.0), len(HANDLES))
        tested = bool(self._rng.random() < TESTED)
        if self._step % STRETCH_STEPS == 0:
            self._tested = tested
        self._step += 1
        self._calm = CALM_STEPS if not_normal(samples) else max(self._calm - 1, 0)
        if self._calm:  # a way back to anywhere would be one more disturbance
            self._wanted = self._sent + lead(samples) * self._most
        else:
            self._wanted = np.where(moves, places, self._wanted)
        self._signs = np.where(turns, signs, self._signs) if self._tested and not self._calm else np.zeros(len(HANDLES))
        wanted = self._wanted + self._signs * SIZE * (self._high - self._low)
        self._sent = np.clip(np.clip(wanted, self._sent - self._most, self._sent + self._most), self._low, self._high)
        return self._sent.copy()


def not_normal(samples: Samples) -> bool:
    """Whether a measurement is outside normal operation."""
    for name, (low, high) in NORMAL.items():
        value = float(samples[name])
        if (low is not None and value < low) or (high is not None and value > high):
            return True
    return False


def lead(samples: Samples) -> Floats:
    """Where operators take setpoints when a limit is left, (12,): 1 up and -1 down as fast as it goes, 0 nowhere."""
    to = np.zeros(len(HANDLES))
    names = [handle.name for handle in HANDLES]
    low, high = NORMAL["stripper_level"]
    level = float(samples["stripper_level"])
    to[names.index("product_flow_setpoint")] = (high is not None and level > high) - (low is not None and level < low)
    _, high = NORMAL["reactor_pressure"]
    to[names.index("reactor_pressure_setpoint")] = -(high is not None and float(samples["reactor_pressure"]) > high)
    return to


@final
class Weather:
    """Disturbances of the training list, which set in and cease at random and at random size, whatever is done to the plant.

    Args:
        rng: Draws them.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._trained = np.isin(np.arange(len(DISTURBANCES)) + 1, TRAINING)
        self._sizes = np.zeros(len(DISTURBANCES))

    def next(self) -> Floats:
        """Sizes in the next step, (28,), from 0 to 1."""
        chances, sizes = self._rng.random(len(self._sizes)), self._rng.uniform(SMALLEST, 1.0, len(self._sizes))
        hours = np.where(self._sizes > 0.0, LASTS_HOURS, CALM_HOURS)
        turns = self._trained & (chances < STEP_HOURS / hours)
        self._sizes = np.where(turns, np.where(self._sizes > 0.0, 0.0, sizes), self._sizes)
        return self._sizes.copy()
