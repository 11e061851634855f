"""What a run does, and its monitor says, where the logs have never been.

    python benchmarks/unseen_region.py [--logs STORE] [--minutes 10] [--episodes 60] [--goals 400] [--work FOLDER] [--json FILE]

From the logs of Two Rooms every moment is left out at which the dot is in the lower part of the picture, in either room; what is left of an
episode between two of them is an episode of its own. A run is trained on that, and its monitor is made in scenes that start and end outside
that region. Then it meets new scenes outside, scenes that start in the region, and scenes whose goal lies in it. The doors are outside, so
that no way has to lead through it. Nothing else is changed, and nothing is done about alarms.

Beside it a run that was trained likewise on all of the logs, in the same scenes: how hard they are. Numbers as in `benchmarks/shifts.py`:
failed, success without a warning, warned, silent failure (failed without a warning), with 95 % Wilson intervals, and the floors.

Of the goals alone: how many are more unusual than 98.67 % of the goals of the scenes that the monitor was made of, by how they look, which
is a score of the monitor, and by what is none: how far their latents are from those of the logs, and the learned steps to them from there.

Where the dot is, is used to cut the logs, to choose the scenes and to score, and never shown to a run or a monitor.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tacit.assurance import Calibration, Moments
from tacit.assurance.moments import senses
from tacit.assurance.monitor import CHANNELS
from tacit.assurance.scores import NEIGHBOURS
from tacit.atomic import atomic_write
from tacit.cli import main as tacit
from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.evaluation.intervals import wilson
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.monitoring import Warned, auroc, joined, judged, logged, matrix_row, monitor_of, recorded
from tacit.evaluation.protocol import Manifest, Protocol, draw_manifest
from tacit.run import Run, load
from tacit.signals import Role, Schema
from tacit.worlds import Scene, world

Numbers = dict[str, Any]
EDGE = 44.0  # the region is below it: y of the dot's centre, pixels, downwards
MARGIN = 3.0  # that starts, goals and doors keep from the edge
LEAST = 40  # actions of an episode that is kept
DRAWN = 4000  # scenes that are chosen from
USUAL, TEST = 1000, 3  # seeds of the scenes that the monitor is made of, and of the others


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        logs: Store of Two Rooms; recorded when left out.
        minutes: Of training, for each run.
        steps: Of training instead of minutes.
        episodes: Of each kind but that with the goal in the region.
        goals: Episodes of that one: few of them are silent failures.
        usual: Episodes that the monitor is made of.
        whole: Whether a run is trained on all of the logs, too.
        work: Where logs, runs and recordings are kept.
        json: Where the numbers go.
        note: What else a reader of the numbers has to know.
    """

    logs: Path | None = None
    minutes: float = 10.0
    steps: int | None = None
    episodes: int = 60
    goals: int = 400
    usual: int = 300
    whole: bool = True
    work: Path = Path("benchmarks/work/unseen_region")
    json: Path = Path("benchmarks/results/unseen_region.json")
    note: str = ""


def is_known(y: float) -> bool:
    return y < EDGE - MARGIN


def is_unseen(y: float) -> bool:
    return y > EDGE + MARGIN


UNSEEN_GOAL = "goal in the region"
KINDS: Mapping[str, Callable[[float, float], bool]] = {
    "outside": lambda start, goal: is_known(start) and is_known(goal),
    "start in the region": lambda start, goal: is_unseen(start) and is_known(goal),
    UNSEEN_GOAL: lambda start, goal: is_known(start) and is_unseen(goal),
}
"""Kinds of scenes, by y of start and goal."""


def stretches(episode: Episode, schema: Schema) -> Iterator[Episode]:
    """What is left of an episode outside the region."""
    outside = np.flatnonzero(np.asarray(episode.signals["position"], np.float64)[:, 1] <= EDGE)
    for part in np.split(outside, np.flatnonzero(np.diff(outside) != 1) + 1):
        if len(part) > LEAST:
            first, end = int(part[0]), int(part[-1]) + 1
            lasts = {s.name: end - 1 if s.role is Role.ACTION else end for s in schema.signals}
            signals = {name: values[first : lasts[name]] for name, values in episode.signals.items()}
            yield Episode(signals=signals, time=episode.time[first:end])


def cut(logs: EpisodeStore, path: Path) -> EpisodeStore:
    """What is left of logs; made once."""
    if not path.exists():
        partial = path.with_name(path.name + ".partial")
        with EpisodeWriter.create(partial, logs.schema, source={"of": dict(logs.source), "left_out": f"y > {EDGE:g} px"}) as writer:
            for episode in logs:
                for part in stretches(episode, logs.schema):
                    writer.add(part)
        partial.rename(path)
    return EpisodeStore(path)


def scenes(kind: str, count: int, seed: int) -> Manifest:
    """The first scenes of a seed that are of a kind and have their door outside the region."""
    drawn = draw_manifest(Protocol(world="two_room", episodes=DRAWN, seed=seed))
    kept = [scene for scene in drawn.scenes if is_of(kind, scene)][:count]
    return Manifest(protocol=replace(drawn.protocol, episodes=len(kept)), scenes=tuple(kept))


def is_of(kind: str, scene: Scene) -> bool:
    return is_known(scene.layout["door"]) and KINDS[kind](scene.start[1], scene.goal[1])


MEASURES = ("appearance", "novelty", "steps")


def run_of(path: Path, logs: EpisodeStore, options: Options) -> Run:
    if not (path / "config.json").exists():
        long = ["--minutes", f"{options.minutes:g}"] if options.steps is None else ["--steps", str(options.steps)]
        assert tacit(["train", str(logs.path), "--out", str(path), "--size", "s", "--threads", "1", *long]) == 0
    return load(path)


def recording(trained: Run, kind: str, count: int, seed: int, work: Path, console: Console) -> tuple[Moments, NDArray[np.bool_]]:
    """What a run does in scenes of a kind, and how they ended; made once."""
    path = work / f"{trained.path.name}-{kind.replace(' ', '_')}-{seed}-{count}.npz"
    if not path.exists():
        began = time.perf_counter()
        outcome, moments = recorded(trained, scenes(kind, count, seed))
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, success=outcome.success, **vars(moments))
        partial.replace(path)
        console.print(f"{path.stem}: {outcome.success.mean():.1%} in {time.perf_counter() - began:.0f} s")
    with np.load(path) as kept:
        return Moments(**{part: kept[part] for part in kept.files if part != "success"}), kept["success"]


def floors(row: Numbers) -> Numbers:
    """What abstaining without looking would do: never, and at random as often as the monitor warns."""
    failed, warned = row["failed"]["rate"], row["warned"]["rate"]
    silent = round(failed * (1 - warned), 4)
    return {
        "never": {"success": round(1 - failed, 4), "silent_failure": failed},
        "random": {"success": round((1 - failed) * (1 - warned), 4), "silent_failure": silent},
    }


def areas(unseen: Warned, known: Warned) -> Numbers:
    """AUROC for "this episode will fail", together with scenes outside: of the last word, and of what was said in time."""
    both = joined(unseen, known)
    found = {"monitor": auroc(both.last_word, ~both.success), "in_time": auroc(both.statistic.max(1), ~both.success)}
    return {name: None if value is None else round(value, 4) for name, value in found.items()}


@torch.no_grad()
def measured(trained: Run, calibration: Calibration, manifest: Manifest) -> NDArray[np.float32]:
    """How unusual goals are, by each of `MEASURES`: (N, 3)."""
    arena, known = world(manifest.protocol.world), torch.from_numpy(calibration.reference.latents)
    env = arena.make()
    images = np.stack([arena.goal(env, scene)["image"] for scene in manifest.scenes])
    env.close()
    goals = trained.model.encode({"image": torch.from_numpy(images)[:, None]})[:, 0]
    steps = torch.stack([trained.steps_to(goal[None])(known) for goal in goals])
    nearest = [values.float().topk(NEIGHBOURS, largest=False).values.mean(-1) for values in (torch.cdist(goals, known), steps)]
    looks = calibration.reference.appearance(senses(trained.schema, {"image": images}))
    return np.stack([looks, *(values.numpy() for values in nearest)], axis=1)


def unusual(trained: Run, calibration: Calibration, manifests: Mapping[str, Manifest], usual: Manifest) -> Numbers:
    """Share of the goals of each kind of scenes that are more unusual than a channel's share of the usual ones."""
    level = np.quantile(measured(trained, calibration, usual), 1 - calibration.false_alarms / len(CHANNELS), axis=0)
    beyond = {kind: measured(trained, calibration, manifest) > level for kind, manifest in manifests.items()}
    return {kind: {name: share_of(found[:, n]) for n, name in enumerate(MEASURES)} for kind, found in beyond.items()}


def share_of(ended: NDArray[np.bool_]) -> Numbers:
    low, high = wilson(int(ended.sum()), len(ended))
    return {"rate": round(float(ended.mean()), 4), "low": round(low, 4), "high": round(high, 4), "episodes": len(ended)}


def show(rows: Mapping[str, Numbers], console: Console) -> None:
    parts = ("failed", "success", "warned", "warned_in_time", "silent_failure")
    table = Table("scenes", "episodes", *(part.replace("_", " ") for part in parts), "AUROC", "success with all logs")
    for kind, row in rows.items():
        shares = (f"{row[part]['rate']:.1%} ({row[part]['low']:.1%} to {row[part]['high']:.1%})" for part in parts)
        area = row.get("auroc_with_outside", {}).get("monitor")
        whole = row.get("success_with_all_logs", {}).get("rate")
        table.add_row(
            kind,
            str(row["episodes"]),
            *shares,
            "" if area is None else f"{area:.2f}",
            "" if whole is None else f"{whole:.1%}",
        )
    console.print(table)


def main(options: Options, console: Console) -> None:
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    whole = options.logs or options.work / "all-logs"
    if not whole.exists():
        assert tacit(["record", "two_room", "--out", str(whole)]) == 0
    logs, left = EpisodeStore(whole), cut(EpisodeStore(whole), options.work / "logs")
    trained = run_of(options.work / "run", left, options)
    counts = {kind: options.goals if kind == UNSEEN_GOAL else options.episodes for kind in KINDS}
    train = trained.config.division(left)[0].tolist()
    usual, went_well = recording(trained, "outside", options.usual, USUAL, options.work, console)
    seen = logged(trained, left, [n for n in train if left.lengths[n] >= LEAST][:120], steps=LEAST)
    calibration = monitor_of(trained, usual, went_well, logs=seen)
    calibration.save(options.work / "monitor.safetensors")
    met = {kind: judged(calibration, *recording(trained, kind, count, TEST, options.work, console)) for kind, count in counts.items()}
    rows: dict[str, Numbers] = {}
    for kind, warned in met.items():
        row = matrix_row(warned)
        rows[kind] = row | {"floors": floors(row)}
        if kind != "outside":
            rows[kind]["auroc_with_outside"] = areas(warned, met["outside"])
    if options.whole:
        other = run_of(options.work / "run-of-all-logs", logs, options)
        for kind, count in counts.items():
            rows[kind]["success_with_all_logs"] = share_of(recording(other, kind, count, TEST, options.work, console)[1])
    show(rows, console)
    goals = unusual(
        trained,
        calibration,
        {kind: scenes(kind, counts[kind], TEST) for kind in ("outside", UNSEEN_GOAL)},
        scenes("outside", options.usual, USUAL),
    )
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": cpu_model(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)},
        "note": options.note,
        "region": f"y > {EDGE:g} px of 64",
        "logs": {"steps": int(logs.lengths.sum()), "steps_left": int(left.lengths.sum()), "episodes_left": len(left)},
        "training": {"minutes": options.minutes} if options.steps is None else {"steps": options.steps},
        "run": {"sha256": trained.digest},
        "usual": {"episodes": len(went_well), "went_well": int(went_well.sum())},
        "scenes": rows,
        "goals_beyond_usual": goals,
    }
    atomic_write(options.json, json.dumps(results, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__), Console())
