"""Tacit as the supervisor of the Tennessee Eastman process: every quarter of an hour it moves setpoints of the plant's own controllers.

What sets the clock is the process: it takes hours to settle, and what lowers its cost for an hour, such as less purge, raises it later. A
plan has to look over that, and the means of a quarter of an hour have less noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np

from tacit.data import EpisodeStore
from tacit.planning import ActionLimit, Controller, Decision, Goal, Indicator, SignalGoal, Task, for_signals
from tacit.training.fit import fit
from tacit.training.recipes import Recipe, for_steps
from tacit.worlds.plants import Plant, TennesseeEastman, record_plant
from tacit.worlds.plants.averaged import Averaged, average, slower
from tacit.worlds.plants.plant import Floats, Samples
from tacit.worlds.plants.tennessee_eastman import SCHEMA
from tacit.worlds.plants.tennessee_eastman_tags import HANDLES

STEPS = 5  # control steps of the plant in one of the supervisor: 15 minutes
HORIZON = 32  # of the supervisor's: 8 hours
RESTING = ("separator_level_setpoint", "stripper_level_setpoint", "feed_AC_setpoint")  # as in the economic setpoints, they stay
MOVES = 1000.0  # what the squared change of a handle costs, in units of its range
FILES, FILE_STEPS = 90, 32  # of logs: 720 hours
TRAINING_STEPS, HEAD_STEPS = 60, 400


def recorded(work: Path) -> EpisodeStore:
    """Logged operation at the supervisor's clock, now or before, by way of the historian's files and `tacit import`."""
    plant = Averaged(TennesseeEastman(), STEPS)
    return record_plant(plant, work / plant.name, episodes=FILES, steps=FILE_STEPS, seed=0)


def recipe(store: EpisodeStore) -> Recipe:
    """How a run is trained: by steps, so that a busy machine makes the same one; what is for goal images is left as it begins."""
    made = for_steps("s", TRAINING_STEPS, HEAD_STEPS, schema=store.schema)
    return replace(made, distance=replace(made.distance, steps=1), policy=replace(made.policy, steps=1))


def trained(work: Path, seed: int) -> Path:
    """The run of a seed, trained now or before."""
    out = work / f"tennessee_eastman_{STEPS}-{seed}"
    if not (out / "config.json").is_file():
        store = recorded(work)
        fit(store, out, recipe(store), seed=seed, resume=(out / "checkpoints").is_dir())
    return out


def supervision() -> Task:
    """The product as it is wanted, at little cost, and away from the ends of normal operation."""
    signals = {
        "product_flow": SignalGoal(value=22.949, scale=0.1, unit="m3/h"),
        "product_G": SignalGoal(value=53.724, scale=0.25, unit="mol %"),
        "reactor_pressure": SignalGoal(high=2870.0, scale=10.0, unit="kPa"),
        "reactor_level": SignalGoal(low=55.0, high=90.0, scale=2.0, unit="%"),
        "separator_level": SignalGoal(low=38.0, high=90.0, scale=3.0, unit="%"),
        "stripper_level": SignalGoal(low=38.0, high=90.0, scale=3.0, unit="%"),
    }
    cost = Indicator(name="operating_cost", terms={"operating_cost": 1.0}, scale=20.0, unit="$/h")
    limits = {}
    for handle in HANDLES:
        low, high = (handle.base, handle.base) if handle.name in RESTING else (handle.low, handle.high)
        limits[handle.name] = ActionLimit(low=low, high=high, rate=handle.hourly / 3600.0, unit=handle.unit)
    moves = {handle.name: MOVES for handle in HANDLES}
    return Task(goal=Goal(signals=signals, indicators=(cost,), moves=moves), limits=limits, plan=for_signals(horizon=HORIZON))


@final
class Supervisor:
    """A policy that plans setpoints at a slow clock, and holds them in between.

    Args:
        controller: Of `supervision`, of a run on logs at the slow clock.
    """

    name = "Tacit"

    def __init__(self, controller: Controller) -> None:
        self._controller, self._schema = controller, slower(SCHEMA, STEPS)

    def begin(self, plant: Plant) -> None:
        """A run begins at the plant's operating point."""
        held = [plant.operating_point[handle.name] for handle in HANDLES]
        self._controller.reset(applied=np.array([[held]], np.float32))
        self._held: Mapping[str, float] = {}
        self._moments: list[Samples] = []
        self._decision: Decision | None = None

    def act(self, samples: Samples, setpoints: Mapping[str, float]) -> tuple[Floats, Decision | None]:
        """The commands (12,) for the step that begins with these samples; new ones every `STEPS` steps."""
        self._moments.append(samples)
        if self._decision is None or len(self._moments) == STEPS:
            if setpoints != self._held:
                self._controller.retarget(setpoints)
                self._held = dict(setpoints)
            seen = average(self._schema, self._moments)
            self._decision = self._controller.act({signal.name: seen[signal.name] for signal in self._schema.seen})
            self._moments = []
        return self._decision.action.astype(np.float64), self._decision
