"""What a ledger proves, and what it costs.

    python benchmarks/ledger.py [--mutations 10000] [--kills 200] [--seconds 60] [--json FILE]

Mutations: a ledger of two sessions and a head that was kept elsewhere; of each copy, one thing is changed at random (a bit flipped;
records dropped, moved or repeated; the end cut off, with the head beside the ledger cut back to match; a record of another ledger of the
same machine put in). One that `check` does not find is counted.

Kills: a process writes a ledger as fast as it can and is killed (SIGKILL) at a random moment; the ledger must verify at least up to the
head that was on disk at the kill, and the next process goes on with it. After every other kill the file is also cut at a random byte
behind that head, as a power failure may do.

Cost: microseconds of `Ledger.add` on the control thread, for a machine of vectors (12 positions, 6 forces; 6 set points) and for the same
with a camera of 64x64x3, with plans of 12 actions and full inputs: at a control rate, sleeping between the steps as a control loop does,
and flat out, where decisions that were not kept are counted. The writing thread is on the same core, or on others where there are some;
what it takes of a processor per decision stands beside.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tacit.assurance import Checked, Head, Ledger, Reading, Session, check
from tacit.assurance.chain import head_path, read_head
from tacit.atomic import atomic_write
from tacit.contracts import Plan, Spent
from tacit.planning import Decision, Evidence, Goal, Task, Verdict
from tacit.signals import Role, Schema, Signal

VECTORS = (
    Signal(name="position", role=Role.OBSERVATION, shape=(12,)),
    Signal(name="force", role=Role.OBSERVATION, shape=(6,)),
    Signal(name="set_point", role=Role.ACTION, shape=(6,), low=-1.0, high=1.0),
)
CAMERA = Signal(name="camera", role=Role.OBSERVATION, shape=(64, 64, 3), dtype="uint8")
MACHINES = {"vectors": VECTORS, "vectors and image": (*VECTORS, CAMERA)}
HORIZON, LATENT, ACTION = 12, 192, 6
SAMPLES = 16
QUANTILES = (50, 99, 99.9)
GOAL = 200.0  # microseconds, p99
Sample = tuple[dict[str, NDArray[Any]], Decision]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        mutations: Copies of a ledger that are changed.
        kills: Processes that are killed.
        seconds: Length of each recording at the control rate.
        rate: Control rate in Hz.
        flat_steps: Decisions of each recording flat out.
        seed: Of the mutations and of the moments of the kills.
        folder: Where the ledgers are made; the system's temporary folder when left out. A folder in memory hides the disk.
        json: Where the numbers go.
    """

    mutations: int = 10_000
    kills: int = 200
    seconds: float = 60.0
    rate: float = 100.0
    flat_steps: int = 20_000
    seed: int = 0
    folder: Path | None = None
    json: Path = Path(__file__).parent / "results" / "ledger.json"


def session(signals: tuple[Signal, ...]) -> Session:
    goal = Goal(observations={"position": np.zeros(12, np.float32)})
    return Session(model="0" * 64, schema=Schema(signals=signals, period=0.01), task=Task(goal=goal), limits=("pressure", "reach"))


def samples(signals: tuple[Signal, ...]) -> list[Sample]:
    """Observations and decisions as a controller makes them."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(SAMPLES):
        seen = {s.name: (rng.random(s.shape) * 255).astype(s.dtype) for s in signals if s.role is Role.OBSERVATION}
        actions = torch.rand(1, HORIZON, ACTION)
        plan = Plan(
            actions=actions,
            trajectory=torch.rand(1, HORIZON, LATENT),
            cost=torch.rand(1),
            margins=torch.rand(1, 2),
            feasible=torch.ones(1, dtype=torch.bool),
            spent=Spent(seconds=0.01, iterations=3, candidates=384, cut_by_deadline=False),
        )
        decision = Decision(
            action=actions[0, 0].numpy(),
            verdict=Verdict.ACT,
            reason="following a feasible plan",
            plan=plan,
            evidence=Evidence(cost=0.5, surprise=0.1, surprise_p=0.5, encode_ms=1.0, plan_ms=10.0),
            latents=torch.rand(1, 3, LATENT),
        )
        made.append((seen, decision))
    return made


def write(path: Path, given: list[Sample], decisions: int, *, inputs: Any = "digest") -> Head:
    """A session of so many decisions in three episodes; its head."""
    with Ledger(path, session(VECTORS), inputs=inputs) as ledger:
        for step in range(decisions):
            if step % max(1, decisions // 3) == 0:
                ledger.begin()
            ledger.add(*given[step % SAMPLES], readings={"novelty": Reading(value=0.3, low=0.05)})
    return check(path).head or Head(hash="", count=0)


def mutations(folder: Path, options: Options) -> dict[str, Any]:
    """Change copies of a ledger, each once; how many of each kind were found, and as what."""
    rng = random.Random(options.seed)
    path, other, given = folder / "machine.ledger", folder / "other.ledger", samples(VECTORS)
    write(path, given, 20)
    head = write(path, given, 20)
    write(other, given, 40)
    lines, foreign = path.read_bytes().splitlines(keepends=True), other.read_bytes().splitlines(keepends=True)
    changes: dict[str, Callable[[], list[bytes]]] = {
        "flip": lambda: _flipped(lines, rng),
        "drop": lambda: _dropped(lines, rng),
        "reorder": lambda: _reordered(lines, rng),
        "repeat": lambda: _repeated(lines, rng),
        "truncate": lambda: _truncated(lines, rng),
        "splice": lambda: _spliced(lines, foreign, rng),
    }
    made: Counter[str] = Counter()
    found: Counter[str] = Counter()
    named: dict[str, Counter[str]] = {name: Counter() for name in changes}
    copy = folder / "copy.ledger"
    for number in range(options.mutations):
        name = list(changes)[number % len(changes)]
        changed = changes[name]()
        copy.write_bytes(b"".join(changed))
        if name == "truncate":  # by somebody who can write the head beside it, too: only the head that was kept elsewhere tells
            whole = [line for line in changed if line.endswith(b"\n")]
            head_path(copy).write_text(f"{whole[-1][:64].decode()}:{len(whole)}\n" if whole else "")
        else:
            shutil.copy(head_path(path), head_path(copy))
        finding = check(copy, head).finding
        made[name] += 1
        if finding is not None:
            found[name] += 1
            named[name][str(finding.damage)] += 1
    untouched = check(path, head).finding is None
    return {
        "made": sum(made.values()),
        "found": sum(found.values()),
        "records": len(lines),
        "bytes": sum(map(len, lines)),
        "found_by_kind": {name: f"{found[name]} of {made[name]}" for name in changes},
        "named": {name: dict(named[name].most_common()) for name in changes},
        "the_unchanged_one_verifies": untouched,
    }


def _flipped(lines: list[bytes], rng: random.Random) -> list[bytes]:
    data = bytearray(b"".join(lines))
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return [bytes(data)]


def _dropped(lines: list[bytes], rng: random.Random) -> list[bytes]:
    start = rng.randrange(len(lines))
    return lines[:start] + lines[start + rng.randint(1, 3) :]


def _reordered(lines: list[bytes], rng: random.Random) -> list[bytes]:
    moved = list(lines)
    first, second = rng.sample(range(len(lines)), 2)
    moved[first], moved[second] = moved[second], moved[first]
    return moved


def _repeated(lines: list[bytes], rng: random.Random) -> list[bytes]:
    place = rng.randrange(len(lines) + 1)
    return [*lines[:place], rng.choice(lines), *lines[place:]]


def _truncated(lines: list[bytes], rng: random.Random) -> list[bytes]:
    if rng.random() < 0.5:
        return lines[: rng.randrange(len(lines))]
    data = b"".join(lines)
    return data[: rng.randrange(len(data))].splitlines(keepends=True)


def _spliced(lines: list[bytes], foreign: list[bytes], rng: random.Random) -> list[bytes]:
    place = rng.randrange(len(lines))
    return [*lines[:place], foreign[min(place, len(foreign) - 1)], *lines[place + rng.randint(0, 1) :]]


def kills(folder: Path, options: Options) -> dict[str, Any]:
    """Kill one writing process after another, all on the same ledger; what was left each time."""
    rng = random.Random(options.seed + 1)
    path, given = folder / "killed.ledger", samples(VECTORS)
    failures, torn, behind, sessions = [], 0, [], 0
    for number in range(options.kills):
        if number % 8 == 0:  # so that opening, which reads all, stays short
            path = folder / f"killed-{number}.ledger"
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _write_until_killed(path, given)
        time.sleep(rng.uniform(0.0, 0.6))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not path.exists() or not path.stat().st_size:
            continue  # killed before it wrote anything
        sessions += 1
        synced = read_head(path)
        if number % 2 and synced is not None:
            _lose_power(path, synced, rng)
        found = check(path)
        if not _is_sound(found, synced):
            failures.append(f"kill {number}: {found.finding}")
        torn += found.torn_bytes > 0
        behind.append(found.records - (synced.count if synced is not None else 0))
    last = write(path, given, 3)
    whole = check(path, last)
    return {
        "kills": options.kills,
        "with_records_on_disk": sessions,
        "not_verified_up_to_the_synced_record": len(failures),
        "failures": failures[:5],
        "torn_at_the_end": torn,
        "whole_records_behind_the_synced_one": {"median": float(np.median(behind)), "largest": int(max(behind))} if behind else {},
        "goes_on_after_the_last_kill": whole.finding is None,
    }


def _lose_power(path: Path, synced: Head, rng: random.Random) -> None:
    """Cut off, at a random byte, what was never brought to the disk."""
    lines = path.read_bytes().splitlines(keepends=True)
    safe, size = sum(map(len, lines[: synced.count])), sum(map(len, lines))
    os.truncate(path, rng.randint(safe, size))


def _is_sound(found: Checked, synced: Head | None) -> bool:
    """Whether everything up to the synced record is right, and nothing behind it is worse than torn."""
    just_made = synced is None and found.records <= 1  # killed between its first record and its first head
    return just_made or (synced is not None and found.finding is None and found.records >= synced.count)


def _write_until_killed(path: Path, given: list[Sample]) -> None:
    try:
        ledger = Ledger(path, session(VECTORS), inputs="full")
        for step in range(10**9):
            if step % 50 == 0:
                ledger.begin()
            ledger.add(*given[step % SAMPLES])
            if step % 8 == 7:
                time.sleep(0.001)
    finally:
        os._exit(1)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What decisions cost: microseconds of each that was kept, of each that was not, and of processor time for writing one."""

    kept: NDArray[np.float64]
    lost: NDArray[np.float64]
    writing: float


def cost(path: Path, signals: tuple[Signal, ...], steps: int, period: float, *, shared: bool) -> Cost:
    """Note `steps` decisions, one each `period` seconds, and time each; `shared` keeps the writing thread on the control thread's core."""
    everywhere = os.sched_getaffinity(0)
    own = {max(everywhere)}
    given = samples(signals)
    nanoseconds, kept = np.zeros(steps, np.int64), np.zeros(steps, bool)
    os.sched_setaffinity(0, own if shared else everywhere - own or own)  # a thread begins where the one that made it may be
    with Ledger(path, session(signals), inputs="full") as ledger:
        os.sched_setaffinity(0, own)
        ledger.begin()
        readings = {"novelty": Reading(value=0.3, low=0.05), "drift": Reading(value=0.5, low=0.05)}
        before = time.process_time() - time.thread_time()
        due = time.monotonic()
        for step in range(steps):
            due += period
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
            seen, decision = given[step % SAMPLES]
            begun = time.perf_counter_ns()
            kept[step] = ledger.add(seen, decision, applied=decision.action, readings=readings)
            nanoseconds[step] = time.perf_counter_ns() - begun
    writing = time.process_time() - time.thread_time() - before
    os.sched_setaffinity(0, everywhere)
    return Cost(kept=nanoseconds[kept] / 1e3, lost=nanoseconds[~kept] / 1e3, writing=1e6 * writing / max(1, kept.sum()))


def costs(folder: Path, options: Options) -> dict[str, dict[str, Any]]:
    ways = {f"{options.rate:g} Hz": (round(options.seconds * options.rate), 1 / options.rate), "flat out": (options.flat_steps, 0.0)}
    places = {"own core": False, "shared core": True} if len(os.sched_getaffinity(0)) > 1 else {"shared core": True}
    found = {}
    for (machine, signals), (place, shared), (pace, (steps, period)) in product(MACHINES.items(), places.items(), ways.items()):
        path = folder / f"{machine} {place} {pace}.ledger"
        spent = cost(path, signals, steps, period, shared=shared)
        summary = dict(zip((f"p{q}" for q in QUANTILES), np.percentile(spent.kept, QUANTILES).tolist(), strict=True))
        found[f"{machine}, {place}, {pace}"] = {
            "kept": len(spent.kept),
            "not_kept": len(spent.lost),
            **summary,
            "largest": float(spent.kept.max()),
            "writing_thread": spent.writing,
            "bytes_per_decision": path.stat().st_size / max(1, len(spent.kept)),
        }
        path.unlink()
    return found


def main(options: Options) -> None:
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("this system cannot keep a thread on a core, so its numbers would not say much: run it on Linux")
    load = os.getloadavg()[0]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        killed = kills(folder, options)  # first: a process that has threads must not fork
        changed = mutations(folder, options)
        spent = costs(folder, options)
    columns = ("machine, core, pace", "kept", "p50", "p99", "p99.9", "largest", "writing thread", "not kept")
    table = Table(*columns, title="Microseconds of Ledger.add")
    for name, row in spent.items():
        numbers = (f"{row[key]:,.1f}" for key in ("p50", "p99", "p99.9", "largest", "writing_thread"))
        table.add_row(name, f"{row['kept']:,}", *numbers, f"{row['not_kept']:,}")
    console = Console()
    console.print(f"mutations found: {changed['found']:,} of {changed['made']:,}; by kind: {changed['found_by_kind']}")
    console.print(f"kills: {killed}")
    console.print(table)
    paced = max(row["p99"] for name, row in spent.items() if not name.endswith("flat out"))
    console.print(f"p99 at {options.rate:g} Hz: {paced:.1f} us, the goal is {GOAL:g} us or less")
    setting = {k: v for k, v in vars(options).items() if k not in ("folder", "json")}
    machine = {"machine": platform.machine(), "cores": len(os.sched_getaffinity(0)), "load": load}
    versions = {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__}
    found = {"mutations": changed, "kills": killed, "microseconds_per_decision": spent, "goal_p99": GOAL, "options": setting}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps({**found, **machine, **versions}, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
