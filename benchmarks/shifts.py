"""What the monitor is worth when a world is not what its logs were.

    python -m benchmarks.shifts [--runs two_room RUN reacher RUN] [--episodes 60] [--calm 520] [--work FOLDER] [--json FILE]

A run is watched, and nothing is done about it: each episode goes to its end, and there was a warning or there was none. The monitor is made
of episodes of other scenes without a shift, of those that reached their goal. Then the run meets the suite of `tacit.worlds.SHIFTS` (Two
Rooms also a solid block that no log has shown), and the same scenes, and more, without a shift.

Of each shift: how often the run failed; how often there was a warning, that is an alarm in time, before the last action, or in the end no
arrival that the monitor is sure of; how often it failed without a warning (silent failure) and without an alarm in time; with 95 % Wilson
intervals; and the steps from the first alarm to the end. Then the AUROC for "this episode will fail" of the monitor's last word, of what it
said in time, and of each single score: among the episodes with the shift alone, and together with those of the same scenes without it,
since a shift in which all fail has nothing to tell apart. Beside it the floors: abstain always, and abstain at random as often as the
monitor warns.

At last the cost, as `benchmarks/monitor_cost.py` measures it.

Without --runs each world's logs are recorded and a run is trained on them, for ten minutes. What was recorded is kept in the work folder.

The monitor was designed on shifts of the scenes of seed 0. Here the shifts are met in scenes of other seeds.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from benchmarks.monitor_cost import cost
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tacit.assurance import Calibration, Moments
from tacit.assurance.monitor import CHANNELS
from tacit.assurance.scores import SCORES
from tacit.atomic import atomic_write
from tacit.cli import main as tacit
from tacit.data import EpisodeStore
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.monitoring import Warned, auroc, joined, judged, logged, matrix_row, monitor_of, recorded
from tacit.evaluation.protocol import Protocol, draw_manifest
from tacit.run import Run, load
from tacit.worlds import SHIFTS, ObstacleWorld, ShiftedWorld, World, world
from tacit.worlds.two_room import TwoRoomWorld

Numbers = dict[str, Any]
FAILURES = 5
FIELDS = ("latent", "expected", "action", "steps_to_go", "distance", "senses", "is_same", "goal_senses")
USUAL, CALM, TEST = 1000, (0, 1), (3, 7)  # seeds of the scenes that the monitor is made of, of those without a shift, and of the shifts


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        runs: Folder of a trained run by world.
        episodes: Of each shift, half of them with another seed, and of the same scenes without one.
        calm: More episodes without a shift, half of them with another seed.
        usual: Episodes that the monitor is made of.
        false_alarms: Share of episodes that go well in which there may be an alarm.
        minutes: Of training, where there is no run.
        work: Where recordings are kept, and runs that are trained.
        json: Where the numbers go.
        note: What else a reader of the numbers has to know.
    """

    runs: Mapping[str, Path] = field(default_factory=dict)
    episodes: int = 60
    calm: int = 520
    usual: int = 300
    false_alarms: float = 0.04
    minutes: float = 10.0
    work: Path = Path("benchmarks/work/shifts")
    json: Path = Path("benchmarks/results/shifts.json")
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """Episodes that were watched, and how they ended."""

    success: NDArray[np.bool_]
    moments: Moments


def protocol_of(name: str, episodes: int, seed: int) -> Protocol:
    """Half of the rooms are the other one, and 200 steps; other worlds with the field's usual protocol."""
    if name == "two_room":
        return Protocol(world=name, episodes=episodes, seed=seed)
    return Protocol.standard(name, episodes=episodes, seed=seed)


def arenas(name: str) -> dict[str, tuple[str, World]]:
    """What a run meets, with words for it, by name."""
    found: dict[str, tuple[str, World]] = {
        shift.name: (shift.words, ShiftedWorld(world=world(name), shift=shift)) for shift in SHIFTS.values()
    }
    rooms = world(name)
    if isinstance(rooms, TwoRoomWorld):
        found["obstacle"] = (ObstacleWorld.words, ObstacleWorld(rooms=rooms))
    return found


def recording(trained: Run, name: str, shift: str | None, episodes: int, seed: int, work: Path, console: Console) -> Recording:
    """What a run does with or without a shift; made once."""
    path = work / f"{name}-{shift or 'none'}-{seed}-{episodes}.npz"
    if not path.exists():
        began = time.perf_counter()
        arena = None if shift is None else arenas(name)[shift][1]
        outcome, moments = recorded(trained, draw_manifest(protocol_of(name, episodes, seed)), arena=arena)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, success=outcome.success, **{part: getattr(moments, part) for part in FIELDS})
        partial.replace(path)
        console.print(f"{path.stem}: {outcome.success.mean():.1%} in {time.perf_counter() - began:.0f} s")
    with np.load(path) as kept:
        return Recording(success=kept["success"], moments=Moments(**{part: kept[part].astype(_kind(part)) for part in FIELDS}))


def _kind(part: str) -> type:
    return np.bool_ if part == "is_same" else np.float32


def run_of(name: str, options: Options) -> Run:
    if name in options.runs:
        return load(options.runs[name])
    store, run = options.work / f"{name}-logs", options.work / f"{name}-run"
    if not store.exists():
        assert tacit(["record", name, "--out", str(store)]) == 0
    if not (run / "config.json").exists():
        assert tacit(["train", str(store), "--out", str(run), "--size", "s", "--minutes", f"{options.minutes:g}"]) == 0
    return load(run)


def areas(warned: Warned, failed: NDArray[np.bool_]) -> Numbers:
    """AUROC of the last word, of what was said in time and of each score, as far as there are episodes of both kinds."""
    singles = {name: auroc(warned.singles[:, i], failed) for i, name in enumerate(SCORES)}
    found = {"monitor": auroc(warned.last_word, failed), "in_time": auroc(warned.statistic.max(1), failed), **singles}
    return {name: None if value is None else round(value, 4) for name, value in found.items()}


def unusual(calibration: Calibration, warned: Warned) -> Numbers:
    """Share of episodes in which a score gets higher than in any of the episodes that the alarm level was set on."""
    shares = (warned.singles > calibration.maxima[-1]).mean(0)
    return {score: round(float(share), 4) for score, share in zip(SCORES, shares, strict=True)}


def floors(row: Numbers) -> Numbers:
    """What abstaining without looking would do: always, and at random as often as the monitor."""
    rate = row["warned"]["rate"]
    failed = row["failed"]["rate"]
    return {
        "always": {"success": 0.0, "warned": 1.0, "silent_failure": 0.0},
        "never": {"success": round(1 - failed, 4), "warned": 0.0, "silent_failure": failed},
        "random": {
            "success": round((1 - failed) * (1 - rate), 4),
            "warned": rate,
            "silent_failure": round(failed * (1 - rate), 4),
        },
    }


def measured(name: str, options: Options, console: Console) -> tuple[Numbers, Run, Calibration]:
    """All numbers of one world."""
    trained = run_of(name, options)
    store = EpisodeStore(trained.config.store)
    train = trained.config.division(store)[0].tolist()
    logs = logged(trained, store, train[:60], steps=min(100, int(np.median(store.lengths))))
    usual = recording(trained, name, None, options.usual, USUAL, options.work, console)
    passing = protocol_of(name, 1, 0).hold == 0
    calibration = monitor_of(trained, usual.moments, usual.success, logs=logs, false_alarms=options.false_alarms, passing=passing)

    def met(shift: str | None, episodes: int, seeds: tuple[int, ...]) -> Warned:
        tried = [recording(trained, name, shift, episodes // len(seeds), seed, options.work, console) for seed in seeds]
        return joined(*(judged(calibration, part.moments, part.success) for part in tried))

    undisturbed = met(None, options.calm, CALM)
    same = met(None, options.episodes, TEST)  # the scenes of the shifts
    good = undisturbed.success
    row = matrix_row(undisturbed)
    rows: Numbers = {}
    every = []
    for shift, (words, _) in arenas(name).items():
        warned = met(shift, options.episodes, TEST)
        every.append(warned)
        both = joined(warned, same)
        rows[shift] = matrix_row(warned) | {
            "words": words,
            "auroc_with_undisturbed": areas(both, ~both.success),
            "auroc_within": areas(warned, ~warned.success),
            "unusual_single_scores": unusual(calibration, warned),
            "floors": floors(matrix_row(warned)),
        }
    whole = joined(*every)
    found = {
        "run": {"sha256": trained.digest},
        "usual": {"episodes": len(usual.success), "went_well": int(usual.success.sum())},
        "levels": {channel: round(float(level), 4) for channel, level in zip(CHANNELS, calibration.levels, strict=True)},
        "undisturbed": row
        | {
            "false_alarms": matrix_row(undisturbed.among(good))["warned"],
            "auroc": areas(undisturbed, ~good),
            "floors": floors(row),
        },
        "same_scenes_as_shifts": matrix_row(same),
        "shifts": rows,
        "all_shifts": matrix_row(whole) | {"floors": floors(matrix_row(whole))},
    }
    return found, trained, calibration


def summary(worlds: Numbers) -> Numbers:
    """The numbers that the suite is about, over all worlds and shifts; an AUROC needs at least `FAILURES` failed episodes of the shift."""
    rows = [row for found in worlds.values() for row in found["shifts"].values()]

    def spread(kind: str, of: str, room: int) -> Numbers | None:
        """Of the shifts in which `FAILURES` episodes failed, and all but `room` of them at most."""
        areas = [row[kind][of] for row in rows if FAILURES <= row["failed"]["episodes"] <= row["episodes"] - room]
        return {"mean": round(float(np.mean(areas)), 4), "worst": min(areas), "shifts": len(areas)} if areas else None

    return {
        "auroc_with_undisturbed": spread("auroc_with_undisturbed", "monitor", 0),
        "auroc_with_undisturbed_in_time": spread("auroc_with_undisturbed", "in_time", 0),
        "auroc_within": spread("auroc_within", "monitor", FAILURES),
        "undisturbed_warned": {name: found["undisturbed"]["warned"] for name, found in worlds.items()},
        "undisturbed_false_alarms": {name: found["undisturbed"]["false_alarms"] for name, found in worlds.items()},
        "undisturbed_silent_failures": {name: found["undisturbed"]["silent_failure"] for name, found in worlds.items()},
        "shifted_silent_failures": {name: found["all_shifts"]["silent_failure"] for name, found in worlds.items()},
        "shifted_failures_without_alarm_in_time": {
            name: found["all_shifts"]["failed_without_alarm_in_time"] for name, found in worlds.items()
        },
    }


def show(name: str, found: Numbers, console: Console) -> None:
    table = Table(title=name)
    for column in ("shift", "failed", "success", "warned", "in time", "silent failure", "AUROC", "in time", "within", "best single"):
        table.add_column(column, justify="left" if column == "shift" else "right")
    rows = {"no shift": found["undisturbed"] | {"auroc_with_undisturbed": found["undisturbed"]["auroc"], "auroc_within": {"monitor": None}}}
    for label, row in (rows | found["shifts"]).items():
        area, within = row["auroc_with_undisturbed"], row["auroc_within"]["monitor"]
        best = max((s for s in SCORES if area[s] is not None), key=lambda s: area[s], default=None)
        silent = row["silent_failure"]
        table.add_row(
            label,
            *(f"{row[part]['rate']:.1%}" for part in ("failed", "success", "warned", "warned_in_time")),
            f"{silent['rate']:.1%} ({silent['low']:.1%} to {silent['high']:.1%})",
            *("" if area[part] is None else f"{area[part]:.3f}" for part in ("monitor", "in_time")),
            "" if within is None else f"{within:.3f}",
            "" if best is None else f"{best} {area[best]:.3f}",
        )
    console.print(table)


def main(options: Options, console: Console) -> None:
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    worlds: Numbers = {}
    for name in options.runs or ("two_room", "reacher"):
        found, trained, calibration = measured(name, options, console)
        worlds[name] = found | {"cost": cost(protocol_of(name, 1, 0), trained, calibration)}
        show(name, found, console)
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": cpu_model(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)},
        "false_alarms": options.false_alarms,
        "note": options.note,
        "summary": summary(worlds),
        "worlds": worlds,
    }
    atomic_write(options.json, json.dumps(results, indent=1, allow_nan=False) + "\n")
    console.print(json.dumps(results["summary"], indent=1))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__), Console())
