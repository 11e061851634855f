"""From a store to a finished run: train, encode the logs, train the predictor on, fit the heads, calibrate, write.

`tacit.training.ensemble` does so several times at once, and joins what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch

from tacit.data import EpisodeStore
from tacit.models.jepa import JEPA
from tacit.nn.precision import multiplies_bfloat16
from tacit.training.distributed import Group
from tacit.training.dynamics import fit_dynamics
from tacit.training.finish import Joint, Logs, finish
from tacit.training.folder import merge_results, versions
from tacit.training.heads import fit_distance, fit_policy
from tacit.training.latents import LatentLog, encode_log
from tacit.training.loop import Moment, train
from tacit.training.recipes import Recipe
from tacit.training.seed import of_member
from tacit.training.sensors import FittedSensors, fit_sensors, read_sensors, sensor_log


class Display(Protocol):
    """Where progress goes."""

    def phase(self, name: str) -> Callable[[float, str], None]:
        """Begin a phase; the result takes the share done (0 to 1) and a few words."""


@dataclass(frozen=True, kw_only=True)
class Silent:
    """No display."""

    def phase(self, name: str) -> Callable[[float, str], None]:
        return lambda share, words: None


def fit(
    store: EpisodeStore,
    out: Path,
    recipe: Recipe,
    *,
    seed: int = 0,
    held_out: float | None = None,
    group: Group | None = None,
    resume: bool = False,
    display: Display | None = None,
    on_scalars: Callable[[int, Mapping[str, float]], None] | None = None,
    member: int = 0,
    on_latents: Callable[[LatentLog, LatentLog], None] | None = None,
) -> None:
    """Make a run out of a store's healthy episodes.

    Args:
        store: The logs.
        out: Folder of the run.
        recipe: Settings.
        seed: Of everything.
        held_out: Share of the episodes kept for the collapse watch, calibration and probes; None for a tenth, or for a fifth where they
            are the last ones: hours that follow each other are alike, and few.
        group: Processes that train together; only the first one goes on after the JEPA.
        resume: Go on from the checkpoint in `out`.
        display: Where progress goes.
        on_scalars: Told the scalars of the training loop.
        member: Which one of an ensemble it is: others have other weights and batches, and the same episodes held out.
        on_latents: Told the latents of the training episodes and of those that are held out.

    Raises:
        StoreError: There is no episode, or none that holds a window.
        ValueError: The split leaves nothing to train on or nothing held out.
        TrainingStopped: Training came to a bad end.
    """
    group, display = group or Group(), display or Silent()
    logs = Logs.of(store, recipe, held_out=held_out, seed=seed)
    seed = of_member(seed, member)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = JEPA(store.schema, recipe.jepa)

    shown = display.phase("train")

    def on_load(done: int, total: int) -> None:
        shown(0.0, f"{done:,} of {total:,} frames copied to the accelerator")

    def on_step(moment: Moment) -> None:
        shown(moment.share, f"step {moment.step}, loss {moment.loss:.3f}, {moment.frames_per_second:,.0f} frames/s")

    trained = train(
        store,
        logs.training,
        logs.watching,
        model,
        recipe.train,
        out,
        seed=seed,
        group=group,
        resume=resume,
        on_load=on_load,
        on_step=on_step,
        on_scalars=on_scalars,
    )
    if not group.is_first:
        return

    frames = int(store.lengths[logs.training].sum()) + len(logs.training)
    shown = display.phase("encode")
    log = encode_log(store, logs.training, model, device=group.device, progress=lambda done: shown(done / frames, f"{done:,} frames"))
    watched = encode_log(store, logs.watching, model, device=group.device)
    if on_latents is not None:
        on_latents(log, watched)
    shown = display.phase("dynamics")
    fitted: FittedSensors | None = None
    sensors = None if recipe.readout is None else sensor_log(store, logs.training, model.schema)
    if recipe.readout is not None and sensors is not None and recipe.jepa.predictor.leading:
        fitted = fit_sensors(
            model.cpu(),
            log,
            sensors,
            recipe.readout,
            recipe.dynamics,
            seed=seed,
            progress=lambda done, loss: shown(done, f"loss {loss:.3f}"),
        )
    else:
        fit_dynamics(model, log.to(group.device), recipe.dynamics, seed=seed, progress=lambda done, loss: shown(done, f"loss {loss:.3f}"))
        model.cpu()
        if recipe.readout is not None and sensors is not None:
            fitted = FittedSensors(
                readouts=read_sensors(model.schema, log, sensors, recipe.readout, seed=seed), errors=None, correction=None
            )
    shown = display.phase("distance")
    bfloat16, there = recipe.train.bfloat16, log.to(group.device)
    distance = fit_distance(
        there, recipe.head, recipe.distance, seed=seed, bfloat16=bfloat16, progress=lambda done, loss: shown(done, f"loss {loss:.3f}")
    )
    shown = display.phase("policy")
    policy = fit_policy(
        there,
        recipe.head,
        recipe.policy,
        frames=model.history,
        seed=seed,
        bfloat16=bfloat16,
        progress=lambda done, loss: shown(done, f"loss {loss:.3f}"),
    )
    finish(out, Joint(model=model, distance=distance, policy=policy), logs, recipe, log, watched, fitted, seed=logs.seed)
    merge_results(
        out,
        {
            "train": {
                "seconds": round(trained.seconds, 2),
                "steps": trained.steps,
                "frames": trained.frames,
                "frames_per_second": round(trained.frames / max(trained.seconds, 1e-9), 1),
                "threads": torch.get_num_threads(),
                "precision": "bfloat16" if bfloat16 and multiplies_bfloat16(group.device.type) else "float32",
            }
            | {name: round(value, 4) for name, value in asdict(trained.health).items()},
            "versions": versions(),
            "seed": logs.seed,
        },
    )
