"""What the monitor is worth when a world is not what its logs were.

    python benchmarks/shifts.py [--runs two_room=RUN reacher=RUN] [--episodes 60] [--calm 520] [--work FOLDER] [--json FILE]

A run is watched, and nothing is done about it: each episode goes to its end, and there was a warning or there was none. The monitor is made
of episodes of other scenes without a shift, of those that reached their goal. Then the run meets the suite of `tacit.worlds.SHIFTS`, and
the same scenes, and more, without a shift.

Of each shift: how often the run failed, how often there was an alarm before the end (abstained), and how often it failed without one
(silent failure), with 95 % Wilson intervals; the steps from the first alarm to the end; and the AUROC of the largest value of the
combined statistic and of each single score for "this episode will fail": among the episodes with the shift alone, and together with those
of the same scenes without it, since a shift in which all fail has nothing to tell apart. Beside it the floors: abstain always, and abstain
at random as often as the monitor does.

At last the cost: milliseconds of the monitor, and of the supervisor with monitor and ledger on top of the controller, one thread.

Without --runs each world's logs are recorded and a run is trained on them, for ten minutes. What was recorded is kept in the work folder.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tacit.assurance import Calibration, Ledger, Moments, Monitor, Supervisor
from tacit.assurance.scores import SCORES
from tacit.atomic import atomic_write
from tacit.cli import main as tacit
from tacit.data import EpisodeStore
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.monitoring import Warned, auroc, judged, logged, matrix_row, monitor_of, recorded
from tacit.evaluation.protocol import Manifest, Protocol, draw_manifest
from tacit.evaluation.suites import cost_for, planning_for
from tacit.planning import Decision, Task
from tacit.run import Run, load
from tacit.worlds import SHIFTS, ShiftedWorld, world

Numbers = dict[str, Any]
FAILURES = 5
FIELDS = ("latent", "expected", "action", "steps_to_go", "distance", "senses", "is_same")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        runs: Folder of a trained run by world.
        episodes: Of each shift, and of the same scenes without one.
        calm: Episodes without a shift, half of them with another seed; at least twice `episodes`.
        usual: Episodes that the monitor is made of.
        false_alarms: Share of episodes that go well in which there may be an alarm.
        minutes: Of training, where there is no run.
        work: Where recordings are kept, and runs that are trained.
        json: Where the numbers go.
    """

    runs: Mapping[str, Path] = field(default_factory=dict)
    episodes: int = 60
    calm: int = 520
    usual: int = 300
    false_alarms: float = 0.04
    minutes: float = 10.0
    work: Path = Path("benchmarks/work/shifts")
    json: Path = Path("benchmarks/results/shifts.json")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """Episodes that were watched, and how they ended."""

    success: NDArray[np.bool_]
    moments: Moments

    def first(self, count: int) -> Recording:
        rows = np.arange(min(count, len(self.success)))
        return Recording(success=self.success[rows], moments=self.moments.among(rows))


def protocol_of(name: str, episodes: int, seed: int) -> Protocol:
    """Half of the rooms are the other one, and 200 steps; other worlds with the field's usual protocol."""
    if name == "two_room":
        return Protocol(world=name, episodes=episodes, seed=seed)
    return Protocol.standard(name, episodes=episodes, seed=seed)


def recording(trained: Run, name: str, shift: str | None, episodes: int, seed: int, work: Path, console: Console) -> Recording:
    """What a run does with or without a shift; made once."""
    path = work / f"{name}-{shift or 'none'}-{seed}-{episodes}.npz"
    if not path.exists():
        began = time.perf_counter()
        arena = None if shift is None else ShiftedWorld(world=world(name), shift=SHIFTS[shift])
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
    """AUROC of the combined statistic and of each score, as far as there are episodes of both kinds."""
    singles = {name: auroc(warned.singles[..., i].max(1), failed) for i, name in enumerate(SCORES)}
    found = {"monitor": auroc(warned.statistic.max(1), failed), **singles}
    return {name: None if value is None else round(value, 4) for name, value in found.items()}


def joined(*parts: Warned) -> Warned:
    return Warned(
        success=np.concatenate([part.success for part in parts]),
        statistic=np.concatenate([part.statistic for part in parts]),
        singles=np.concatenate([part.singles for part in parts]),
        level=parts[0].level,
    )


def unusual(calibration: Calibration, warned: Warned) -> Numbers:
    """Share of episodes in which a score gets higher than in any of the episodes that the alarm level was set on."""
    shares = (warned.singles.max(1) > calibration.maxima[-1]).mean(0)
    return {score: round(float(share), 4) for score, share in zip(SCORES, shares, strict=True)}


def floors(row: Numbers) -> Numbers:
    """What abstaining without looking would do: always, and at random as often as the monitor."""
    rate = row["abstained"]["rate"]
    failed = row["failed"]["rate"]
    return {
        "always": {"success": 0.0, "abstained": 1.0, "silent_failure": 0.0},
        "never": {"success": round(1 - failed, 4), "abstained": 0.0, "silent_failure": failed},
        "random": {
            "success": round((1 - failed) * (1 - rate), 4),
            "abstained": rate,
            "silent_failure": round(failed * (1 - rate), 4),
        },
    }


def measured(name: str, options: Options, console: Console) -> tuple[Numbers, Run, Calibration]:
    """All numbers of one world."""
    trained = run_of(name, options)
    store = EpisodeStore(trained.config.store)
    train = trained.config.division(store)[0].tolist()
    logs = logged(trained, store, train[:60], steps=min(100, int(np.median(store.lengths))))
    usual = recording(trained, name, None, options.usual, 1000, options.work, console)
    calibration = monitor_of(trained, usual.moments, usual.success, logs=logs, false_alarms=options.false_alarms)
    calm = [recording(trained, name, None, options.calm // 2, seed, options.work, console) for seed in (0, 1)]
    undisturbed = joined(*(judged(calibration, part.moments, part.success) for part in calm))
    scenes = calm[0].first(options.episodes)  # those of the shifts
    same = judged(calibration, scenes.moments, scenes.success)
    good = undisturbed.success
    row = matrix_row(undisturbed)
    rows: Numbers = {}
    every = []
    for shift in SHIFTS:
        tried = recording(trained, name, shift, options.episodes, 0, options.work, console)
        warned = judged(calibration, tried.moments, tried.success)
        every.append(warned)
        both = joined(warned, same)
        rows[shift] = matrix_row(warned) | {
            "words": SHIFTS[shift].words,
            "auroc_with_undisturbed": areas(both, ~both.success),
            "auroc_within": areas(warned, ~warned.success),
            "unusual_single_scores": unusual(calibration, warned),
            "floors": floors(matrix_row(warned)),
        }
    whole = joined(*every)
    found = {
        "run": {"sha256": trained.digest},
        "usual": {"episodes": len(usual.success), "went_well": int(usual.success.sum())},
        "level": round(calibration.level, 4),
        "undisturbed": row
        | {
            "false_alarms": matrix_row(_among(undisturbed, good))["abstained"],
            "auroc": areas(undisturbed, ~good),
            "floors": floors(row),
        },
        "shifts": rows,
        "all_shifts": matrix_row(whole) | {"floors": floors(matrix_row(whole))},
    }
    return found, trained, calibration


def _among(warned: Warned, rows: NDArray[np.bool_]) -> Warned:
    return Warned(success=warned.success[rows], statistic=warned.statistic[rows], singles=warned.singles[rows], level=warned.level)


class Timed:
    """A controller that tells how long it thought."""

    def __init__(self, controller: Any) -> None:
        self.controller = controller
        self.spent = 0.0
        self.computed = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.controller, name)

    def act(self, observation: Any, applied: Any = None) -> Decision:
        began, computing = time.perf_counter(), time.thread_time()
        decision: Decision = self.controller.act(observation, applied)
        self.spent, self.computed = time.perf_counter() - began, time.thread_time() - computing
        return decision


def cost(name: str, trained: Run, calibration: Calibration, steps: int = 1000) -> Numbers:
    """Milliseconds of supervisor, monitor and ledger on top of the controller: by the clock, and of the processor.

    The controller is replayed from few decisions, so that planning does not take the time; what is around it does all that it does.
    """
    torch.set_num_threads(1)
    manifest: Manifest = draw_manifest(protocol_of(name, 1, 0))
    arena, scene = world(name), manifest.scenes[0]
    task = Task(plan=planning_for(manifest.protocol))
    env = arena.make()
    names = [s.name for s in trained.schema.observations]
    goal = {n: np.asarray(arena.goal(env, scene)[n])[None] for n in names}
    controller = Timed(trained.controller(task, cost_for=cost_for(trained, manifest.protocol)))
    found: dict[str, list[float]] = {part: [] for part in ("supervisor", "supervisor_cpu", "monitor", "monitor_cpu")}
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "l", trained.session(task)) as ledger:
        supervisor = Supervisor(controller, calibration=calibration, watch=trained.watch(), ledger=ledger)  # type: ignore[arg-type]
        monitor, watch = Monitor(calibration), trained.watch()
        supervisor.reset(goal)
        observation, _ = arena.start(env, scene)
        for step in range(steps):
            seen = {n: observation[n] for n in names}
            began, computing = time.perf_counter(), time.thread_time()
            decision = supervisor.act(seen)
            spent, computed = time.perf_counter() - began, time.thread_time() - computing
            if step >= 20:
                found["supervisor"].append(spent - controller.spent)
                found["supervisor_cpu"].append(computed - controller.computed)
            began, computing = time.perf_counter(), time.thread_time()
            monitor.judge(watch.moment(seen, decision, controller.goal))
            if step >= 20:
                found["monitor"].append(time.perf_counter() - began)
                found["monitor_cpu"].append(time.thread_time() - computing)
            observation, *_ = env.step(decision.action)
    env.close()
    return {
        part: {f"ms_p{q}": round(float(np.percentile(values, q)) * 1e3, 3) for q in (50, 99)} | {"calls": len(values)}
        for part, values in found.items()
    }


def summary(worlds: Numbers) -> Numbers:
    """The numbers that the suite is about, over all worlds and shifts; an AUROC needs at least `FAILURES` failed episodes of the shift."""
    together = [
        row["auroc_with_undisturbed"]["monitor"]
        for found in worlds.values()
        for row in found["shifts"].values()
        if row["failed"]["episodes"] >= FAILURES
    ]
    alone = [
        row["auroc_within"]["monitor"]
        for found in worlds.values()
        for row in found["shifts"].values()
        if FAILURES <= row["failed"]["episodes"] <= row["episodes"] - FAILURES
    ]
    return {
        "auroc_with_undisturbed": {"mean": round(float(np.mean(together)), 4), "worst": min(together), "shifts": len(together)},
        "auroc_within": {"mean": round(float(np.mean(alone)), 4), "worst": min(alone), "shifts": len(alone)} if alone else None,
        "undisturbed_alarms": {name: found["undisturbed"]["abstained"] for name, found in worlds.items()},
        "undisturbed_false_alarms": {name: found["undisturbed"]["false_alarms"] for name, found in worlds.items()},
        "undisturbed_silent_failures": {name: found["undisturbed"]["silent_failure"] for name, found in worlds.items()},
        "shifted_silent_failures": {name: found["all_shifts"]["silent_failure"] for name, found in worlds.items()},
    }


def show(name: str, found: Numbers, console: Console) -> None:
    table = Table(title=name)
    for column in ("shift", "failed", "success", "abstained", "silent failure", "AUROC", "within", "best single"):
        table.add_column(column, justify="left" if column == "shift" else "right")
    rows = {"no shift": found["undisturbed"] | {"auroc_with_undisturbed": found["undisturbed"]["auroc"], "auroc_within": {"monitor": None}}}
    for label, row in (rows | found["shifts"]).items():
        area, within = row["auroc_with_undisturbed"], row["auroc_within"]["monitor"]
        best = max((s for s in SCORES if area[s] is not None), key=lambda s: area[s], default=None)
        silent = row["silent_failure"]
        table.add_row(
            label,
            *(f"{row[part]['rate']:.1%}" for part in ("failed", "success", "abstained")),
            f"{silent['rate']:.1%} ({silent['low']:.1%} to {silent['high']:.1%})",
            "" if area["monitor"] is None else f"{area['monitor']:.3f}",
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
        worlds[name] = found | {"cost": cost(name, trained, calibration)}
        show(name, found, console)
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": cpu_model(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)},
        "false_alarms": options.false_alarms,
        "summary": summary(worlds),
        "worlds": worlds,
    }
    atomic_write(options.json, json.dumps(results, indent=1, allow_nan=False) + "\n")
    console.print(json.dumps(results["summary"], indent=1))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__), Console())
