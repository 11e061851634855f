"""Microseconds that recording a step costs the control thread.

    python benchmarks/recorder.py [--seconds 60] [--rate 100] [--flat-steps 20000] [--json FILE]

Two machines: one of vectors only (12 positions, 6 forces, a temperature; 6 set points), and the same with a camera of 64x64x3. Each is
recorded at a control rate, sleeping between the steps as a control loop does, and then flat out: as fast as the loop turns, which a disk
may not follow, so steps that were not recorded are counted and timed apart. Only `Recorder.step` is timed; the samples are ready, and a
different one of several is given each time. All of it is measured twice: with the control thread on a core of its own, as the last core is
here, and with the recorder's threads on that same core.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
import warnings
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tacit.atomic import atomic_write
from tacit.data.recording.recorder import Recorder, RecordingWarning
from tacit.signals import Role, Schema, Signal

VECTORS = (
    Signal(name="position", role=Role.OBSERVATION, shape=(12,)),
    Signal(name="force", role=Role.OBSERVATION, shape=(6,)),
    Signal(name="temperature", role=Role.DISTURBANCE),
    Signal(name="set_point", role=Role.ACTION, shape=(6,)),
)
CAMERA = Signal(name="camera", role=Role.OBSERVATION, shape=(64, 64, 3), dtype="uint8")
MACHINES = {"vectors": VECTORS, "vectors and image": (*VECTORS, CAMERA)}
SAMPLES = 16
QUANTILES = (50, 99, 99.9)
GOAL = 200.0  # microseconds, p99


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        seconds: Length of each recording at the control rate.
        rate: Control rate in Hz.
        flat_steps: Steps of each recording flat out.
        max_steps: Steps per episode, so that episodes are closed while others are recorded.
        folder: Where the stores are made; the system's temporary folder when left out. A folder in memory hides the disk.
        json: Where the numbers go.
    """

    seconds: float = 60.0
    rate: float = 100.0
    flat_steps: int = 20_000
    max_steps: int = 1_000
    folder: Path | None = None
    json: Path = Path(__file__).parent / "results" / "recorder.json"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What steps cost.

    Attributes:
        recorded: Microseconds of each recorded step.
        dropped: Microseconds of each step that was refused because the disk did not keep up.
    """

    recorded: NDArray[np.float64]
    dropped: NDArray[np.float64]


def samples(signals: tuple[Signal, ...]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Actions and what is seen after them."""
    rng = np.random.default_rng(0)
    made = [{s.name: (rng.random(s.shape) * 255).astype(s.dtype) if s.shape else rng.random() for s in signals} for _ in range(SAMPLES)]
    actions = {s.name for s in signals if s.role is Role.ACTION}
    return [({n: v for n, v in m.items() if n in actions}, {n: v for n, v in m.items() if n not in actions}) for m in made]


def record(store: Path, signals: tuple[Signal, ...], options: Options, steps: int, period: float, *, shared: bool) -> Cost:
    """Record `steps` steps, one each `period` seconds, and time each; `shared` keeps the recorder on the control thread's core."""
    everywhere = os.sched_getaffinity(0)
    own = {max(everywhere)}
    given = samples(signals)
    nanoseconds = np.zeros(steps, np.int64)  # touched now, not while it is measured
    kept = np.zeros(steps, bool)
    schema = Schema(signals=signals, period=1 / options.rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordingWarning)
        os.sched_setaffinity(0, own if shared else everywhere - own or own)  # threads begin where the thread that made them may be
        with Recorder(schema, store, max_steps=options.max_steps) as recorder:
            os.sched_setaffinity(0, own)
            recorder.begin(given[0][1])
            due = time.monotonic()
            for step in range(steps):
                due += period
                if (early := due - time.monotonic()) > 0:
                    time.sleep(early)
                action, then = given[step % SAMPLES]
                begun = time.perf_counter_ns()
                kept[step] = recorder.step(action=action, then=then)
                nanoseconds[step] = time.perf_counter_ns() - begun
            recorder.end()
    os.sched_setaffinity(0, everywhere)
    return Cost(recorded=nanoseconds[kept] / 1e3, dropped=nanoseconds[~kept] / 1e3)


def quantiles(microseconds: NDArray[np.float64]) -> dict[str, float]:
    """Quantiles and the largest, by name."""
    found = dict(zip((f"p{q}" for q in QUANTILES), np.percentile(microseconds, QUANTILES).tolist(), strict=True))
    return {**found, "largest": float(microseconds.max())}


def main(options: Options) -> None:
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("this system cannot keep a thread on a core, so its numbers would not say much: run it on Linux")
    load = os.getloadavg()[0]
    ways = {f"{options.rate:g} Hz": (round(options.seconds * options.rate), 1 / options.rate), "flat out": (options.flat_steps, 0.0)}
    found: dict[str, dict[str, Any]] = {}
    places = {"own core": False, "shared core": True} if len(os.sched_getaffinity(0)) > 1 else {"shared core": True}
    table = Table("machine", "core", "pace", "steps", "p50", "p99", "p99.9", "largest", "not recorded", title="Microseconds per step")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for machine, signals in MACHINES.items():
            for (place, shared), (pace, (steps, period)) in product(places.items(), ways.items()):
                cost = record(Path(folder) / f"{machine} {place} {pace}", signals, options, steps, period, shared=shared)
                summary = quantiles(cost.recorded)
                found[f"{machine}, {place}, {pace}"] = {"recorded": len(cost.recorded), "not_recorded": len(cost.dropped), **summary}
                row = (f"{value:,.1f}" for value in summary.values())
                table.add_row(machine, place, pace, f"{len(cost.recorded):,}", *row, f"{len(cost.dropped):,}")
    Console().print(table)
    for place in places:
        paced = [summary["p99"] for name, summary in found.items() if f", {place}, " in name and not name.endswith("flat out")]
        Console().print(f"p99 at {options.rate:g} Hz, {place}: {max(paced):.1f} us, the goal is {GOAL:g} us or less")
    setting = {k: v for k, v in vars(options).items() if k not in ("folder", "json")}
    machine_found = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": "control, journal and closing", "load": load}
    versions = {"python": platform.python_version(), "numpy": np.__version__, "pyarrow": pa.__version__}
    text = json.dumps({"microseconds_per_step": found, "goal_p99": GOAL, **setting, **machine_found, **versions}, indent=1)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, text + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
