"""What buys what: every planner at two budgets, every cost, with and without proposals, on the same scenes.

    python benchmarks/tables/planners.py RUN [--world NAME] [--episodes 100] [--protocol standard] [--json FILE]

One thing is changed at a time from the planner that `tacit eval --protocol` uses. Numbers go to docs/results/WORLD-planners.json after
every row, and a table with them; rows that are there already are not measured again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.evaluation.baselines import CloningPolicy, PlannedPolicy
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.outcome import rates
from tacit.evaluation.protocol import NAMED, Policy, draw_manifest, run
from tacit.evaluation.suites import REACH, fingerprint
from tacit.planning import PlanSettings, Task
from tacit.run import Run, load

RESULTS = Path(__file__).parents[2] / "docs" / "results"
Numbers = dict[str, Any]

BLIND = PlanSettings(horizon=25, candidates=64, iterations=2, initial_std=0.8)  # what planners without proposals of their own begin with
SETTINGS: Mapping[str, PlanSettings] = {
    "propose-verify": REACH,
    "propose-verify, no refinement": replace(REACH, iterations=1),
    "propose-verify, four times the budget": replace(REACH, candidates=128, iterations=4, proposals=64),
    "propose-verify, no proposals": replace(REACH, proposals=0),
    "CEM": replace(BLIND, planner="cem", noise_correlation=0.9),
    "CEM, four times the budget": replace(BLIND, planner="cem", noise_correlation=0.9, candidates=128, iterations=4),
    "CEM from proposals": replace(BLIND, planner="cem", noise_correlation=0.9, proposals=32),
    "iCEM": replace(BLIND, planner="icem"),
    "iCEM, four times the budget": replace(BLIND, planner="icem", candidates=128, iterations=4),
    "MPPI": replace(BLIND, planner="mppi", noise_correlation=0.9),
    "MPPI, four times the budget": replace(BLIND, planner="mppi", noise_correlation=0.9, candidates=128, iterations=4),
    "gradient from proposals": replace(BLIND, planner="gradient", candidates=16, iterations=6, proposals=8),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        run: Folder of the run.
        world: Where to plan; the world of the logs when left out.
        episodes: Scenes.
        protocol: Named protocol they are drawn by.
        seed: Of the scenes.
    """

    run: tyro.conf.Positional[Path]
    world: str | None = None
    episodes: int = 100
    protocol: Literal["standard", "long", "strict"] = "standard"
    seed: int = 2000


def rows(trained: Run) -> dict[str, Callable[[], Policy]]:
    """Everything that is tried, by name."""

    def planned(settings: PlanSettings, cost: str = "reaching_cost") -> Callable[[], Policy]:
        return lambda: PlannedPolicy(trained.controller(Task(plan=settings), cost_for=getattr(trained, cost)))

    made = {"inverse model alone": lambda: CloningPolicy(trained.model, trained.policy)}
    made |= {name: planned(settings) for name, settings in SETTINGS.items()}
    costs = {"latent distance alone": "latent_cost", "steps to go alone": "temporal_cost", "first arrival": "arrival_cost"}
    return made | {f"propose-verify on {name}": planned(REACH, cost) for name, cost in costs.items()}


def table(results: Numbers) -> str:
    """The rows as a table of Markdown."""
    lines = [
        f"# {results['world']}: what buys what",
        "",
        f"Protocol `{results['protocol']}`, {results['episodes']} scenes (seed {results['seed']}), one training seed. Success in percent "
        f"with 95 % intervals, and milliseconds of policy per action with 100 machines side by side on one thread. {results['cpu']}.",
        "",
        "| | success | ms per action |",
        "|---|---|---|",
    ]
    for name, row in results["rows"].items():
        success = f"{100 * row['rate']:.0f} ({100 * row['low']:.0f}–{100 * row['high']:.0f})"
        lines.append(f"| {name} | {success} | {1e3 * row['seconds_per_action']:.2f} |")
    return "\n".join([*lines, ""])


def main(options: Options) -> None:
    torch.set_num_threads(1)
    trained = load(options.run)
    name = options.world or trained.config.source["world"]
    path = RESULTS / f"{name}-planners.json"
    manifest = draw_manifest(NAMED[options.protocol](name, episodes=options.episodes, seed=options.seed))
    setting = {"world": name, "protocol": options.protocol, "episodes": options.episodes, "seed": options.seed}
    setting |= {"digest": manifest.digest, "model": fingerprint(options.run), "settings": {k: asdict(v) for k, v in SETTINGS.items()}}
    results: Numbers = json.loads(path.read_text()) if path.is_file() else {}
    if {key: results.get(key) for key in setting} != setting:
        results = {**setting, "cpu": cpu_model(), "rows": {}}
    for row, policy in rows(trained).items():
        if row in results["rows"]:
            continue
        began = time.perf_counter()
        outcome = run(manifest, policy())
        numbers = rates(outcome).overall.numbers() | {"seconds_per_action": round(outcome.seconds_per_action, 6)}
        results["rows"][row] = numbers | {"seconds": round(time.perf_counter() - began, 1)}
        RESULTS.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(results, indent=1) + "\n")
        atomic_write(path.with_suffix(".md"), table(results))
        Console().print(f"{row}: {numbers['rate']:.1%} ({numbers['low']:.1%} to {numbers['high']:.1%})")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
