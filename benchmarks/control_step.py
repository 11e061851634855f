"""How long one decision about a plant takes, planned in C and in torch.

    python -m benchmarks.control_step [--plants four_tank ...] [--work DIR] [--json FILE]

The first scenarios of the table of a plant, of another seed, with PI control before them; one thread, milliseconds of its processor time,
the median of all decisions and the 99th percentile of the slowest scenario. Runs are those of the tables (`benchmarks.tables.plants`), and
are trained where there are none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from benchmarks.tables.plants import ASKED, Asked, asked_scenes, recorded, trained
from benchmarks.tables.plants import Options as TableOptions
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.evaluation.closed_loop import PidControl, Planned, Scenario, drive
from tacit.evaluation.machine import cpu_model
from tacit.nn import native
from tacit.run import Run, load
from tacit.worlds.plants import SimulatedPlant, gains_of, plant

WAYS: dict[str, Callable[[], AbstractContextManager[None]]] = {"in C": nullcontext, "in torch": native.without}
SCENARIOS = 3
Numbers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        plants: Which.
        work: Where logs and runs are kept, in a folder for each state of the code.
        json: Where the numbers go.
    """

    plants: tuple[str, ...] = ("four_tank", "evaporator", "reactor", "heater", "four_tank_nonminimum")
    work: Path = Path("data/plants")
    json: Path = Path("benchmarks/results/control_step.json")


def decided(run: Run, made: SimulatedPlant, scenarios: Sequence[Scenario]) -> Numbers:
    """Milliseconds of the decisions of a run in some scenarios."""
    controller = run.controller(ASKED.get(made.name, Asked()).task(made), seed=0)
    policy, operator = Planned(controller), PidControl(gains_of(made.process))
    times = [drive(made, policy, scenario, operator=operator).ms for scenario in scenarios]
    slowest = max(float(np.percentile(each, 99)) for each in times)
    return {"p50": round(float(np.median(np.concatenate(times))), 2), "p99": round(slowest, 2), "decisions": sum(map(len, times))}


def main(options: Options) -> None:
    torch.set_num_threads(1)
    results: Numbers = {"cpu": cpu_model(), "unit": "milliseconds", "plants": {}}
    for name in options.plants:
        made = plant(name)
        if not isinstance(made, SimulatedPlant):
            raise SystemExit(f"{name} has no equations here")
        table = TableOptions(plant=name, work=options.work)
        run = load(trained(table, recorded(table, made), seed=0))
        chosen = [scenario for _, scenario in asked_scenes(made, episodes=5, seed=2000)][:SCENARIOS]
        row = results["plants"][name] = {}
        for way, context in WAYS.items():
            with context():
                row[way] = decided(run, made, chosen)
            Console().print(f"{name}, {way}: {row[way]}")
        atomic_write(options.json, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
