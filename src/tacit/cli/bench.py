"""`tacit bench plan`: how fast a run plans, and how far that is from the fastest it could be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tacit.cli.terminal import Stopped, Terminal, stoppable

BUSY = 0.3  # cores that others keep busy, from which a timing says little


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure the latency of planning on one thread, beside its floor: the time that its products alone would take.

    $ tacit bench plan runs/rooms
    """

    what: Annotated[Literal["plan"], tyro.conf.Positional, tyro.conf.arg(metavar="plan")]
    """What to measure."""
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    task: Path | None = None
    """Task file whose [plan] is measured; how `tacit eval` plans when left out."""
    protocol: Annotated[Literal["standard", "long", "strict"] | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    """Protocol of `tacit eval` whose planning is measured."""
    calls: int = 200
    """Plans to measure."""
    json: Path | None = None
    """Write the numbers here."""


def run(options: Bench, terminal: Terminal) -> int:
    from tacit.atomic import atomic_write
    from tacit.evaluation.machine import busy_cores
    from tacit.evaluation.protocol import NAMED
    from tacit.evaluation.speed import plan_speed
    from tacit.evaluation.suites import PLAN, cost_for, planning_for
    from tacit.planning import Task
    from tacit.run import CostFor, load

    if options.calls < 1:
        raise ValueError(f"--calls {options.calls} must be at least 1")
    if options.task is not None and options.protocol is not None:
        raise ValueError("--task and --protocol both say how to plan; leave out one of the two")
    trained = load(options.run)
    settings = PLAN if options.task is None else Task.from_toml(options.task).plan
    cost: CostFor = trained.arrival_cost
    if options.protocol is not None:
        if not isinstance(name := trained.config.source.get("world"), str):
            raise ValueError(f"{options.run} was not trained on a simulated world: give --task instead of --protocol")
        protocol = NAMED[options.protocol](name)
        settings, cost = planning_for(trained, protocol), cost_for(trained, protocol)
    if (busy := busy_cores()) > BUSY:
        terminal.warn(f"other programs keep {busy:.1f} cores busy: the numbers will be worse than this machine's")
    with stoppable(lambda: Stopped("nothing was written", terminal.command)), terminal.phases() as phases:
        shown, total = phases.phase("plan"), options.calls + 20
        found = plan_speed(
            trained, settings, cost_for=cost, calls=options.calls, progress=lambda done: shown(done / total, f"{done} plans")
        )
    numbers = found.numbers()
    terminal.say(
        f"one plan      {numbers['plan_ms_p50']:.1f} ms median, {numbers['plan_ms_p99']:.1f} ms at the 99th percentile, one thread"
    )
    terminal.say(f"encoding      {numbers['encode_ms_p50']:.1f} ms median, {numbers['encode_ms_p99']:.1f} ms at the 99th percentile")
    terminal.say(f"computing     {numbers['cpu_ms_p50']:.1f} ms of a plan, median: without what other programs took")
    terminal.say(
        f"floor         {found.floor_ms:.1f} ms: {numbers['megaflops']:,.0f} million operations at "
        f"{numbers['gigaflops_per_second']:.0f} billion per second; that is {found.share_of_floor:.0%} of the computing"
    )
    terminal.say(
        f"products      by {found.products}; the floor is at the rate of torch with large matrices, with one of {settings.candidates} rows "
        f"it makes {numbers['small_gigaflops_per_second']:.0f} billion per second"
    )
    if options.json is not None:
        atomic_write(options.json, json.dumps(numbers, indent=1) + "\n")
    return 0
