"""What the monitor costs, and what the supervisor with monitor and ledger costs on top of the controller.

    python benchmarks/monitor_cost.py [--run RUN] [--steps 1000] [--rounds 3] [--json FILE]

One machine, one thread, a run of Two Rooms that is made here where none is given: of few logs and a minute of training, since what a
monitor costs depends on the size of the model alone. Each round is three loops of so many decisions, in milliseconds by the clock and
of the thread's processor time:

- the monitor alone, after each decision of a controller: what a machine without a ledger pays;
- supervisor, monitor and ledger around the same controller, with the time of the controller taken off. The ledger's thread writes the
  decision before beside it, and that shows in the clock;
- a control: a loop that always does the same, about as long as the monitor. What it takes longer now and then, other programs on the
  processor are the reason for.
"""

from __future__ import annotations

import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console

from tacit.assurance import Calibration, Ledger, Monitor, Supervisor
from tacit.atomic import atomic_write
from tacit.cli import main as tacit
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.protocol import Protocol, draw_manifest
from tacit.evaluation.suites import cost_for, planning_for
from tacit.planning import Decision, Task
from tacit.run import Run, load
from tacit.worlds import world

Numbers = dict[str, Any]
CONTROL = 14_000  # square roots
WARM_UP = 20  # decisions before those that count
LOOPS = ("monitor", "supervisor", "control")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        run: Folder of a run of Two Rooms with a monitor (`tacit calibrate`); None for one that is made here.
        steps: Decisions of each loop.
        rounds: How often all of it is measured.
        json: Where the numbers go.
    """

    run: Path | None = None
    steps: int = 1000
    rounds: int = 3
    json: Path = Path("benchmarks/results/monitor_cost.json")


class Timed:
    """A controller, or what is put around one, that tells how long its last decision took, in seconds."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self.clock = 0.0
        self.processor = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._actor, name)

    def act(self, observation: Any, applied: Any = None) -> Decision:
        began, computing = time.perf_counter(), time.thread_time()
        decision: Decision = self._actor.act(observation, applied)
        self.clock, self.processor = time.perf_counter() - began, time.thread_time() - computing
        return decision


def cost(protocol: Protocol, trained: Run, calibration: Calibration, steps: int = 1000) -> Numbers:
    """Milliseconds of the three loops, by the clock and of the processor, as median and 99th percentile."""
    torch.set_num_threads(1)
    spent: dict[str, list[tuple[float, float]]] = {
        "monitor": list(_monitored(protocol, trained, calibration, steps)),
        "supervisor": list(_supervised(protocol, trained, calibration, steps)),
        "control": [_taken(lambda: sum(math.sqrt(n) for n in range(CONTROL))) for _ in range(steps)],
    }
    found: Numbers = {}
    for loop in LOOPS:
        clock, processor = np.array(spent[loop][WARM_UP:]).T * 1e3
        for name, values in ((loop, clock), (f"{loop}_cpu", processor)):
            found[name] = {f"ms_p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 99)} | {"calls": len(values)}
    return found


def _taken(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds that a call takes, by the clock and of the thread's processor time."""
    began, computing = time.perf_counter(), time.thread_time()
    call()
    return time.perf_counter() - began, time.thread_time() - computing


def _decisions(protocol: Protocol, trained: Run, actor: Timed, steps: int) -> Iterator[tuple[dict[str, Any], Decision, dict[str, Any]]]:
    """What is seen, decided and wanted at each step of the first scene."""
    manifest = draw_manifest(protocol)
    arena, scene = world(protocol.world), manifest.scenes[0]
    env, names = arena.make(), [s.name for s in trained.schema.observations]
    try:
        goal = {name: np.asarray(arena.goal(env, scene)[name])[None] for name in names}
        actor.reset(goal)
        observation, _ = arena.start(env, scene)
        for _ in range(steps):
            seen = {name: observation[name] for name in names}
            decision = actor.act(seen)
            yield seen, decision, goal
            observation, *_ = env.step(decision.action)
    finally:
        env.close()


def _controller(protocol: Protocol, trained: Run) -> Timed:
    return Timed(trained.controller(Task(plan=planning_for(trained, protocol)), cost_for=cost_for(trained, protocol)))


def _monitored(protocol: Protocol, trained: Run, calibration: Calibration, steps: int) -> Iterator[tuple[float, float]]:
    controller, monitor, watch = _controller(protocol, trained), Monitor(calibration), trained.watch()
    for seen, decision, goal in _decisions(protocol, trained, controller, steps):
        yield _taken(lambda: monitor.judge(watch.moment(seen, decision, controller.goal, goal)))  # noqa: B023


def _supervised(protocol: Protocol, trained: Run, calibration: Calibration, steps: int) -> Iterator[tuple[float, float]]:
    controller, session = _controller(protocol, trained), trained.session(Task(plan=planning_for(trained, protocol)))
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "l", session) as ledger:
        around: Any = controller
        supervisor = Timed(Supervisor(around, calibration=calibration, watch=trained.watch(), ledger=ledger))
        for _ in _decisions(protocol, trained, supervisor, steps):
            yield supervisor.clock - controller.clock, supervisor.processor - controller.processor


def made(folder: Path) -> Path:
    """A small run of Two Rooms with a monitor."""
    logs, run = folder / "logs", folder / "run"
    assert tacit(["record", "two_room", "--out", str(logs), "--episodes", "150"]) == 0
    assert tacit(["train", str(logs), "--out", str(run), "--size", "s", "--minutes", "1.5"]) == 0
    assert tacit(["calibrate", str(run), "--world", "two_room", "--episodes", "60", "--false-alarms", "0.2"]) == 0
    return run


def main(options: Options, console: Console) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trained = load(options.run or made(Path(folder)))
        calibration = trained.monitor()
        protocol = Protocol(world="two_room", episodes=1, seed=0)
        rounds = [cost(protocol, trained, calibration, options.steps) for _ in range(options.rounds)]
    for number, found in enumerate(rounds):
        console.print(f"round {number + 1}: " + ", ".join(f"{name} {row['ms_p50']:.2f}/{row['ms_p99']:.2f}" for name, row in found.items()))
    worst = {name: max(found[name]["ms_p99"] for found in rounds) for name in rounds[0]}
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": cpu_model(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)},
        "unit": "milliseconds",
        "worst_p99": worst,
        "rounds": rounds,
    }
    atomic_write(options.json, json.dumps(results, indent=1, allow_nan=False) + "\n")
    console.print(f"99th percentile, the worst of {len(rounds)} rounds: {worst}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__), Console())
