"""Whether decisions come out again bit for bit, of a machine that is supervised and meets everything that can go wrong.

    python benchmarks/replay.py [--run RUN] [--steps 120] [--json FILE]

A run with its monitor drives Two Rooms, one episode under each shift of `tacit.worlds.SHIFTS` and one without, with a supervisor, its
fallback (retreat along the way that was come) and a ledger. One picture in fifty is old, one in fifty is black, and one decision in
fifty comes too late by the supervisor's clock. Then the ledger is replayed, in the same process and in another one (`tacit ledger replay`).

Without --run logs are recorded, a run is trained on them for five minutes, and `tacit calibrate` makes its monitor.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console

from tacit.assurance import Ledger, Supervision, Supervisor
from tacit.atomic import atomic_write
from tacit.cli import main as tacit
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.protocol import Protocol, draw_manifest
from tacit.evaluation.suites import PLAN
from tacit.planning import RetreatSettings, Task
from tacit.run import Run, load
from tacit.run_replay import replayed
from tacit.worlds import SHIFTS, ShiftedWorld, World, world

RARE = 0.02  # share of old and of black pictures, and of late decisions


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        run: Folder of a run of Two Rooms with its monitor; made when left out.
        steps: Of each episode.
        seed: Of the scenes, and of what goes wrong.
        work: Where logs, run and ledger are kept.
        json: Where the numbers go.
    """

    run: Path | None = None
    steps: int = 120
    seed: int = 11
    work: Path = Path("benchmarks/work/replay")
    json: Path = Path("benchmarks/results/replay.json")


class Clock:
    """Seconds by which the controller takes 20 ms, and now and then far longer."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.now = rng, 0.0

    def __call__(self) -> float:
        self.now += 0.2 if self.rng.random() < RARE / 2 else 0.02
        return self.now


def run_of(options: Options) -> Run:
    if options.run is not None:
        return load(options.run)
    logs, path = options.work / "logs", options.work / "run"
    if not (path / "monitor.safetensors").exists():
        assert tacit(["record", "two_room", "--out", str(logs)]) == 0
        assert tacit(["train", str(logs), "--out", str(path), "--size", "s", "--minutes", "5", "--threads", "1"]) == 0
        assert tacit(["calibrate", str(path), "--world", "two_room", "--episodes", "200", "--threads", "1"]) == 0
    return load(path)


def drive(trained: Run, path: Path, options: Options) -> Counter[str]:
    """Episodes in a ledger; how many decisions there were of each kind."""
    rng, made = np.random.default_rng(options.seed), Counter[str]()
    clock = Clock(rng)
    session = trained.session(Task(plan=PLAN, fallback=RetreatSettings(by="moves")))
    arenas: list[World] = [world("two_room"), *(ShiftedWorld(world=world("two_room"), shift=shift) for shift in SHIFTS.values())]
    scenes = draw_manifest(Protocol(world="two_room", episodes=len(arenas), seed=options.seed)).scenes
    with Ledger(path, session) as ledger:
        supervisor = Supervisor(
            trained.controller_of(session),
            calibration=trained.monitor(),
            watch=trained.watch(),
            supervision=Supervision(oldest=0.15, deadline=0.1),
            ledger=ledger,
            clock=clock,
        )
        for arena, scene in zip(arenas, scenes, strict=True):
            env = arena.make()
            supervisor.reset({"image": np.asarray(arena.goal(env, scene)["image"])[None]})
            observation, _ = arena.start(env, scene)
            for _ in range(options.steps):
                image = np.zeros_like(observation["image"]) if rng.random() < RARE else observation["image"]
                old = 0.3 if rng.random() < RARE else 0.0
                decision = supervisor.act({"image": image}, taken=clock.now - old)
                made[decision.verdict] += 1
                observation, *_ = env.step(decision.action)
            env.close()
        assert not ledger.lost
    return made


def main(options: Options, console: Console) -> None:
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    trained = run_of(options)
    path = options.work / f"{time.time_ns()}.ledger"
    made = drive(trained, path, options)
    began = time.perf_counter()
    found = replayed(trained, path)
    seconds = time.perf_counter() - began
    again = subprocess.run([sys.executable, "-m", "tacit.cli", "ledger", "replay", path, trained.path], capture_output=True, text=True)
    results: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": cpu_model(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)},
        "run": {"sha256": trained.digest},
        "episodes": 1 + len(SHIFTS),
        "decisions": sum(made.values()),
        "verdicts": dict(made),
        "same_in_this_process": found.same,
        "in_another_process": again.stdout.strip().splitlines()[:1],
        "first_difference": None if found.difference is None else vars(found.difference),
        "ms_per_decision_replayed": round(1e3 * seconds / sum(made.values()), 2),
    }
    atomic_write(options.json, json.dumps(results, indent=1, allow_nan=False) + "\n")
    console.print_json(json.dumps(results))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__), Console())
