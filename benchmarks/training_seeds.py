"""Success of several training seeds on scenes that no setting was tried on.

    python benchmarks/training_seeds.py [--logs DATA] [--world two_room] [--seeds 0 1 2] [--minutes 30] [--scenes 200] [--json FILE]

Each seed trains its own model on the same logs (with its own split into trained and held out) and plans in the same scenes. The spread
over seeds says what one number is worth. As it stands it takes two hours on two cores.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore
from tacit.evaluation.baselines import PlannedPolicy
from tacit.evaluation.held_out import probe_labels, read_logs
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.outcome import rates
from tacit.evaluation.protocol import Protocol, draw_manifest, run
from tacit.evaluation.suites import PLAN
from tacit.planning import Task
from tacit.run import load
from tacit.training.fit import Silent, fit
from tacit.training.folder import read_results
from tacit.training.recipes import for_minutes
from tacit.worlds import record, world


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        logs: Store to train on; 3,000 new episodes of the world when left out.
        world: Where to plan.
        seeds: Training seeds.
        minutes: Of training, each.
        scenes: Scenes to plan in.
        scenes_seed: Seed of the scenes; one that no setting was tried on.
        threads: Threads of torch.
        runs: Folder to keep the runs in; left out, they are not kept.
        json: Where the numbers go.
    """

    logs: Path | None = None
    world: str = "two_room"
    seeds: tuple[int, ...] = (0, 1, 2)
    minutes: float = 30.0
    scenes: int = 200
    scenes_seed: int = 1000
    threads: int = 2
    runs: Path | None = None
    json: Path = Path(__file__).parent / "results" / "training_seeds.json"


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    manifest = draw_manifest(Protocol(world=options.world, episodes=options.scenes, seed=options.scenes_seed))
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        logs = options.logs or record(world(options.world), Path(scratch) / "logs", episodes=3000).path
        for seed in options.seeds:
            store, out = EpisodeStore(logs), (options.runs or Path(scratch)) / f"run {seed}"
            fit(store, out, for_minutes("s", options.minutes), seed=seed)
            trained = load(out)
            found_rates = rates(run(manifest, PlannedPolicy(trained.controller(Task(plan=PLAN), cost_for=trained.arrival_cost, seed=seed))))
            train = read_results(out)["train"]
            found[str(seed)] = {
                "success": found_rates.overall.numbers(),
                "hard": found_rates.hard.numbers() if found_rates.hard else None,
                "probe": {probe.label.name: probe.numbers() for probe in probe_labels(read_logs(trained, store, Silent()), seed=seed)},
                "frames": train["frames"],
                "frames_per_second": train["frames_per_second"],
            }
            Console().print(f"seed {seed}: success {found_rates.overall.rate:.1%}")
    every = [float(values["success"]["rate"]) for values in found.values()]
    told = {key: value for key, value in vars(options).items() if key not in ("json", "runs")}
    settings = {key: value if not isinstance(value, Path) else value.name for key, value in told.items()}
    numbers = {
        "mean": round(statistics.mean(every), 4),
        "lowest": min(every),
        "seeds": found,
        "settings": settings | {"manifest": manifest.digest},
        "machine": cpu_model(),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
