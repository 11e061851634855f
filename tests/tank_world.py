"""A tank with a pump behind two steps of dead time, a measured inflow, a sensor that bends, and one that answers every third step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

import tacit
from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.run import Run
from tacit.signals import Role, Schema, Signal, mask_of
from tacit.training import recipes
from tacit.training.fit import fit

LEVEL = Signal(name="level", role=Role.OBSERVATION, unit="cm")
SLOW = Signal(name="lab.value", role=Role.OBSERVATION, unit="%")
SCHEMA = Schema(
    signals=(
        LEVEL,
        SLOW,
        mask_of(SLOW),
        Signal(name="pump", role=Role.ACTION, unit="V", low=0.0, high=6.0),
        Signal(name="inflow", role=Role.DISTURBANCE, unit="l/s"),
        Signal(name="truth", role=Role.LABEL, unit="cm"),
    ),
    period=5.0,
)
DEAD, EVERY = 2, 3  # steps
NOISE = 0.03  # cm


def shift(rng: np.random.Generator, steps: int, offset: float = 0.0) -> Episode:
    """Some hours of operation; `offset` is an inflow that nobody measures."""
    level, inflow = 12.0 + rng.normal(), 0.3 * rng.normal()
    pump = np.repeat(rng.uniform(1.5, 4.5, steps // 5 + 1), 5)[:steps].astype(np.float32)
    levels, inflows = [level], [inflow]
    for t in range(steps):
        pumped = pump[max(t - DEAD, 0)]
        level += 0.35 * pumped + 0.3 * inflow + offset - 0.29 * np.sqrt(max(level, 0.0))
        inflow = 0.95 * inflow + 0.1 * rng.normal()
        levels.append(level)
        inflows.append(inflow)
    truth = np.array(levels, np.float32)
    fresh = np.arange(steps + 1) % EVERY == 0
    last = np.maximum.accumulate(np.where(fresh, np.arange(steps + 1), 0))
    return Episode(
        signals={
            "level": (truth + NOISE * rng.normal(size=steps + 1)).astype(np.float32),
            "lab.value": (50 + 2 * truth + 0.1 * rng.normal(size=steps + 1)).astype(np.float32)[last],
            "lab.value.valid": fresh,
            "pump": pump,
            "inflow": np.array(inflows, np.float32),
            "truth": truth,
        },
        time=SCHEMA.period * np.arange(steps + 1.0),
    )


def record(folder: Path, *, episodes: int = 8, steps: int = 90, seed: int = 0, offset: float = 0.0) -> EpisodeStore:
    """A store of shifts."""
    rng = np.random.default_rng(seed)
    with EpisodeWriter.create(folder, SCHEMA, source={"world": "tank"}) as writer:
        for _ in range(episodes):
            writer.add(shift(rng, steps, offset))
    return EpisodeStore(folder)


def trained(store: EpisodeStore) -> Run:
    """A run of a store after a short training, beside it."""
    out = store.path.parent / "run"
    recipe = recipes.for_steps("xs", 20, 60, schema=store.schema)
    fit(store, out, replace(recipe, dynamics=replace(recipe.dynamics, steps=150, batch=32)), seed=0)
    return tacit.load(out)
