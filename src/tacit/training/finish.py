"""What training ends with: what was trained is measured on what was held out, and written as a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from tacit.data import EpisodeStore, StoreError
from tacit.models.ensemble import Distance, Model, Policy
from tacit.training.calibration import calibrate
from tacit.training.correction import write_correction
from tacit.training.folder import RunConfig, division, versions, write_run
from tacit.training.latents import LatentLog
from tacit.training.readouts import measured, write_readouts
from tacit.training.recipes import Recipe
from tacit.training.sensors import FittedSensors, sensor_log
from tacit.training.support import fit_support
from tacit.training.support_file import write_support

FORECAST = 50  # steps ahead for which the errors of sensors are known


@dataclass(frozen=True, kw_only=True)
class Logs:
    """A store, divided.

    Attributes:
        store: The logs.
        training: Episodes to train on.
        watching: Episodes kept for the collapse watch, calibration and probes.
        held_out: Share that was kept.
        seed: Of the division.
    """

    store: EpisodeStore
    training: list[int]
    watching: list[int]
    held_out: float
    seed: int

    @classmethod
    def of(cls, store: EpisodeStore, recipe: Recipe, *, held_out: float | None, seed: int) -> Logs:
        """Divide a store; a tenth is held out, or a fifth of a process, unless a share is given.

        Raises:
            StoreError: There is no episode.
            ValueError: The split leaves nothing to train on or nothing held out.
        """
        if len(store) == 0:
            raise StoreError(f"{store.path} has no episode: record or import some first")
        held_out = (0.2 if recipe.by_time else 0.1) if held_out is None else held_out
        training, watching = (part.tolist() for part in division(recipe, store, held_out=held_out, seed=seed))
        return cls(store=store, training=training, watching=watching, held_out=held_out, seed=seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class Joint:
    """Model and heads, of one run or of all members of an ensemble."""

    model: Model
    distance: Distance
    policy: Policy


def finish(
    out: Path, found: Joint, logs: Logs, recipe: Recipe, log: LatentLog, watched: LatentLog, fitted: FittedSensors | None, *, seed: int
) -> None:
    """Measure what was trained on what was held out, and write it: a run, or an ensemble as one.

    Args:
        out: Folder of the run.
        found: Model and heads, on the CPU.
        logs: What it was trained on.
        recipe: Settings.
        log: Latents of the training episodes.
        watched: Latents of those that were held out.
        fitted: Readouts of the sensors; None where there are none.
        seed: Of everything.
    """
    model, store = found.model, logs.store
    calibration = calibrate(model, found.distance, watched, seed=seed)
    config = RunConfig(
        recipe=recipe,
        seed=seed,
        store=str(store.path),
        source=json.loads(json.dumps(dict(store.source))),
        train_episodes=len(logs.training),
        held_out_episodes=len(logs.watching),
        held_out=logs.held_out,
        versions=versions(),
    )
    if fitted is not None:
        shows = sensor_log(store, logs.watching, model.schema).by_sensor()
        each = zip(fitted.readouts, shows, fitted.errors or [None] * len(shows), strict=True)
        write_readouts(out, [measured(model, readout, watched, values, horizon=FORECAST, wrong=wrong) for readout, values, wrong in each])
        if fitted.correction is not None:
            write_correction(out, fitted.correction)
        write_support(out, fit_support(model, fitted.readouts, log, watched, torch.cat(shows, -1), correction=fitted.correction))
    write_run(out, config=config, model=model, distance=found.distance, policy=found.policy, calibration=calibration)
