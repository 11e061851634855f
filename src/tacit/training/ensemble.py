"""An ensemble: models with seeds of their own, trained side by side on the same logs, and joined to one run.

Each member is trained as a run of its own in OUT/members, where it also stays: several at once, each by a process of its own, since small
models train hardly faster on two cores than on one, and do not fill an accelerator. All hold the same episodes out.
Dimensions: M members.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore
from tacit.models.ensemble import Ensemble, MeanDistance, MeanPolicy, beside
from tacit.models.heads import GoalPolicy, TemporalDistance
from tacit.models.jepa import JEPA
from tacit.training.checkpoint import CheckpointError, load_tensors, save_tensors, under, with_prefix
from tacit.training.distributed import joined
from tacit.training.finish import Joint, Logs, finish
from tacit.training.fit import Display, Silent, fit
from tacit.training.folder import CONFIG, RunError, merge_results, read_config, read_results, read_run
from tacit.training.latents import LatentLog
from tacit.training.metrics import METRICS
from tacit.training.progress import CHECKPOINT
from tacit.training.recipes import Recipe
from tacit.training.sensors import FittedSensors, read_sensors, sensor_log
from tacit.training.side_by_side import Shown, Slowest, side_by_side

MEMBERS = "members"  # folder of their runs
LATENTS = "latents.safetensors"  # of a member that waits for the others


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who trains the members.

    Attributes:
        processes: So many members are trained at the same time, each by a process of its own; with 1 by this process, one after another.
        threads: Of torch, in each process; None leaves this process as it is.
        device: "cpu" or "cuda"; None takes an accelerator where there is one.
    """

    processes: int = 1
    threads: int | None = None
    device: str | None = None


def folder_of(out: Path, member: int) -> Path:
    """Where a member of the ensemble in `out` is."""
    return out / MEMBERS / str(member)


def has_checkpoint(out: Path) -> bool:
    """Whether a training in `out`, of one model or of members, can be gone on with."""
    members = out / MEMBERS
    return (out / CHECKPOINT).is_file() or any(members.glob(f"*/{CHECKPOINT}")) or any(members.glob(f"*/{LATENTS}"))


def fit_ensemble(
    store: EpisodeStore,
    out: Path,
    recipe: Recipe,
    *,
    seed: int = 0,
    held_out: float | None = None,
    workers: Workers | None = None,
    resume: bool = False,
    display: Display | None = None,
) -> None:
    """Make a run of several models out of a store's healthy episodes.

    Args:
        store: The logs.
        out: Folder of the run; those of its members are in it.
        recipe: Settings, with at least two members. Its minutes are wall minutes of all members together.
        seed: Of everything. The first member is the model that one of this seed alone would be.
        held_out: Share of the episodes kept for the collapse watch, calibration and probes; None for a tenth.
        workers: Who trains.
        resume: Go on where the members are.
        display: Where progress goes: that of the member that is furthest behind.

    Raises:
        ValueError: The recipe has one member, or is that of a process, whose predictor is an ensemble of small networks by itself; or the
            split leaves nothing to train on or nothing held out.
        StoreError: There is no episode, or none that holds a window.
        TrainingStopped: The training of a member came to a bad end.
        CheckpointError: `resume` finds members with other settings.
        KeyboardInterrupt: After every member wrote a checkpoint.
    """
    workers, display = workers or Workers(), display or Silent()
    if recipe.members < 2:
        raise ValueError(f"an ensemble has at least two members, not {recipe.members}")
    if recipe.by_time:
        raise ValueError("the model of a process has one member: its predictor is the mean of several small networks already")
    logs = Logs.of(store, recipe, held_out=held_out, seed=seed)
    if not resume:
        shutil.rmtree(out / MEMBERS, ignore_errors=True)
    processes = min(workers.processes, recipe.members)
    rounds = -(-recipe.members // processes)
    works = [
        _Work(
            store=store.path,
            signals=tuple(s.name for s in store.schema.signals),
            out=folder_of(out, member),
            recipe=_shortened(replace(recipe, members=1), rounds),
            seed=seed,
            member=member,
            held_out=logs.held_out,
            threads=workers.threads,
            device=workers.device,
            sharing=processes,
        )
        for member in range(recipe.members)
    ]
    waiting = [work for work in works if not work.is_done()]
    if processes == 1:
        for work in waiting:
            work.train(_Named(display, f", member {work.member + 1} of {recipe.members}"))
    elif waiting:
        side_by_side(waiting, processes, Slowest(display, [work.member for work in waiting]))
    display.phase("join")
    _join(out, works, logs, recipe, seed)


def _shortened(recipe: Recipe, rounds: int) -> Recipe:
    """A recipe with a share of the minutes."""

    def part(minutes: float | None) -> float | None:
        return None if minutes is None else minutes / rounds

    return replace(
        recipe,
        train=replace(recipe.train, minutes=part(recipe.train.minutes)),
        dynamics=replace(recipe.dynamics, minutes=part(recipe.dynamics.minutes)),
        distance=replace(recipe.distance, minutes=part(recipe.distance.minutes)),
        policy=replace(recipe.policy, minutes=part(recipe.policy.minutes)),
    )


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A member to be trained; it goes to another process as it is."""

    store: Path
    signals: tuple[str, ...]
    out: Path
    recipe: Recipe
    seed: int
    member: int
    held_out: float
    threads: int | None
    device: str | None
    sharing: int

    def is_done(self) -> bool:
        """Whether the member is there, with its latents.

        Raises:
            CheckpointError: It is, with other settings.
        """
        if not (self.out / CONFIG).is_file():
            return False
        config = read_config(self.out)
        if config.recipe != self.recipe or config.seed != self.seed:
            raise CheckpointError(f"{self.out} was trained with other settings: resume with the same ones, or train anew in another folder")
        return (self.out / LATENTS).is_file()

    def train(self, display: Display) -> None:
        """Train it, from where it is."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        store = EpisodeStore(self.store).view(self.signals)
        with joined(self.device) as group:
            fit(
                store,
                self.out,
                self.recipe,
                seed=self.seed,
                held_out=self.held_out,
                group=replace(group, sharing=self.sharing),
                resume=(self.out / CHECKPOINT).is_file(),
                display=display,
                member=self.member,
                on_latents=self._keep,
            )

    def _keep(self, *logs: LatentLog) -> None:
        tensors: dict[str, Tensor] = {}
        for name, log in zip(("training", "watching"), logs, strict=True):
            tensors |= with_prefix(name, {part: getattr(log, part) for part in ("latents", "actions", "first", "steps")})
        save_tensors(self.out / LATENTS, tensors, {})

    def latents(self) -> list[LatentLog]:
        """What was kept: of the training episodes, and of those that were held out."""
        tensors, _ = load_tensors(self.out / LATENTS)
        return [LatentLog(**under(name, tensors)) for name in ("training", "watching")]


def _join(out: Path, works: Sequence[_Work], logs: Logs, recipe: Recipe, seed: int) -> None:
    """One run of all members; what only its making needs is taken away."""
    models: list[JEPA] = []
    distances: list[TemporalDistance] = []
    policies: list[GoalPolicy] = []
    for work in works:
        _, model, distance, policy, _ = read_run(work.out)
        if not isinstance(model, JEPA) or not isinstance(distance, TemporalDistance) or not isinstance(policy, GoalPolicy):
            raise RunError(f"{work.out} is an ensemble, and no member of one")
        models.append(model)
        distances.append(distance)
        policies.append(policy)
    found = Joint(model=Ensemble(models), distance=MeanDistance(distances), policy=MeanPolicy(policies))
    each = [work.latents() for work in works]
    log, watched = (replace(of[0], latents=beside([one.latents for one in of])) for of in zip(*each, strict=True))
    fitted: FittedSensors | None = None
    if recipe.readout is not None and (shown := sensor_log(logs.store, logs.training, found.model.schema)) is not None:
        fitted = FittedSensors(
            readouts=read_sensors(found.model.schema, log, shown, recipe.readout, seed=seed), errors=None, correction=None
        )
    atomic_write(out / METRICS, (works[0].out / METRICS).read_bytes())
    merge_results(out, _together([read_results(work.out) for work in works]))
    finish(out, found, logs, recipe, log, watched, fitted, seed=seed)
    for work in works:
        (work.out / LATENTS).unlink()
        shutil.rmtree(work.out / Path(CHECKPOINT).parent, ignore_errors=True)


def _together(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Numbers of the training of all members: frames and their rate are summed, the latents' health is their mean."""
    each = [result["train"] for result in results]
    summed, same = ("frames", "frames_per_second"), ("threads", "precision")
    numbers = {name: round(sum(one[name] for one in each) / len(each), 4) for name in each[0] if name not in (*summed, *same)}
    numbers |= {name: round(sum(one[name] for one in each), 1) for name in summed} | {name: each[0][name] for name in same}
    numbers |= {"steps": min(one["steps"] for one in each), "seconds": max(one["seconds"] for one in each)}
    return {"train": numbers, "versions": results[0]["versions"], "seed": results[0]["seed"]}


@final
class _Named:
    """A display whose words end with whose they are."""

    def __init__(self, display: Display, whose: str) -> None:
        self._display, self._whose = display, whose

    def phase(self, name: str) -> Shown:
        shown = self._display.phase(name)
        return lambda share, words: shown(share, words + self._whose)
