"""`tacit demo`: the whole way of the data, from nothing to a report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tacit.cli import evaluate, record, report, train
from tacit.cli.terminal import Stopped, Terminal, clock

MINUTES = 3.8  # of training, so that all of it takes less than eight on two cores


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Record, train, evaluate and report on a small world, in about eight minutes on two cores. Stopped, it goes on where it was.

    $ tacit demo --out demo
    """

    out: Path = Path("demo")
    """Folder for the logs, the run, results.json and report.html."""
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M", help_behavior_hint="(default: 3.8)")] = None
    """Wall minutes of training."""
    quick: bool = False
    """Go through everything with tiny sizes in less than a minute; the numbers then mean nothing."""
    seed: int = 0
    """Seed of the recording, the training and the scenes."""
    world: Literal["two_room", "two_room_fixed"] = "two_room"
    """World to learn."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all physical cores, one with --quick)")] = None
    """Threads for training and evaluation."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything: episodes recorded, size of the model and steps of its training (None for minutes), scenes for the planner
    and for the ablation, actions per scene, threads (None for all cores)."""

    recorded: int
    model: Literal["xs", "s"]
    steps: int | None
    scenes: int
    ablation: int
    budget: int
    threads: int | None


FULL = Size(recorded=3000, model="s", steps=None, scenes=200, ablation=50, budget=200, threads=None)
QUICK = Size(recorded=60, model="xs", steps=40, scenes=6, ablation=6, budget=20, threads=1)


def run(options: Demo, terminal: Terminal) -> int:
    from tacit.atomic import atomic_write
    from tacit.evaluation.suites import REPORT
    from tacit.training.folder import RESULTS, read_results

    if options.quick and options.minutes is not None:
        raise ValueError("--quick trains for a few steps, whatever --minutes says: give one of them")
    size = QUICK if options.quick else FULL
    data, out = options.out / "data", options.out / "run"
    began = time.perf_counter()
    steps: list[tuple[str, Callable[[], object]]] = [
        ("record", lambda: record.run(_record(options, size, data), terminal)),
        ("train", lambda: _train(options, size, data, out, terminal)),
        ("eval", lambda: _evaluate(options, size, out, terminal)),
        ("report", lambda: report.run(report.ReportOptions(run=out), terminal)),
    ]
    times = []
    try:
        for number, (name, step) in enumerate(steps, 1):
            terminal.say(f"\n[{number}/{len(steps)}] {name}")
            since = time.perf_counter()
            step()
            times.append(f"{name} {clock(time.perf_counter() - since)}")
    except Stopped as stopped:
        raise Stopped(stopped.kept, terminal.command) from None
    except KeyboardInterrupt:
        raise Stopped(f"what was finished is in {options.out}", terminal.command) from None
    for name in (RESULTS, REPORT):
        atomic_write(options.out / name, (out / name).read_bytes())
    terminal.say(f"\n{', '.join(times)}; {clock(time.perf_counter() - began)} in all\n")
    for line in evaluate.headline(read_results(out)):
        terminal.say(line)
    terminal.say(f"\nnumbers  {options.out / RESULTS}\nreport   {options.out / REPORT}")
    return 0


def _record(options: Demo, size: Size, data: Path) -> record.Record:
    return record.Record(world=options.world, out=data, episodes=size.recorded, seed=options.seed)


def _train(options: Demo, size: Size, data: Path, out: Path, terminal: Terminal) -> None:
    """Train, go on with a training that was stopped, or see that it was finished.

    Raises:
        ValueError: The folder holds a run with other settings.
    """
    from tacit.training.folder import CONFIG, read_config
    from tacit.training.progress import CHECKPOINT

    threads = options.threads or size.threads
    minutes = None if size.steps is not None else options.minutes or MINUTES
    wanted = train.Train(data=data, out=out, size=size.model, minutes=minutes, steps=size.steps, seed=options.seed, threads=threads)
    if (out / CONFIG).is_file():
        found = read_config(out)
        if (found.recipe, found.seed) != (train.recipe_of(wanted), options.seed):
            raise ValueError(f"{out} was trained with other settings; choose another --out, or give the same --minutes, --quick and --seed")
        terminal.say("trained before")
        return
    train.run(replace(wanted, resume=(out / CHECKPOINT).is_file()), terminal)


def _evaluate(options: Demo, size: Size, out: Path, terminal: Terminal) -> None:
    """Evaluate, or see that the same was measured before."""
    from tacit.evaluation.suites import is_evaluated
    from tacit.run import load

    wanted = evaluate.Evaluate(
        run=out,
        world=options.world,
        episodes=size.scenes,
        budget=size.budget,
        seed=options.seed,
        ablation_episodes=size.ablation,
        threads=options.threads or size.threads,
    )
    trained = load(out)
    if is_evaluated(trained, evaluate.manifest_of(wanted, trained), ablation_episodes=size.ablation):
        terminal.say("evaluated before")
        return
    evaluate.run(wanted, terminal)
