"""Success after training on logs that went out to LeRobot v3 and came back, beside training on the logs themselves.

    python benchmarks/round_trip.py [--logs DATA] [--episodes 3000] [--steps 1400] [--scenes 100] [--json FILE]

The store is exported with its cameras as H.264 video and imported again; numbers come back bit by bit, pixels within what the codec
loses. Both models are trained for the same number of steps from the same seed and plan in the same scenes.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore
from tacit.data.export_lerobot import export_lerobot
from tacit.data.first_mapping import draft
from tacit.data.formats import format_named
from tacit.data.importing import prepare
from tacit.data.importing import run as import_all
from tacit.data.mapping import LogMapping
from tacit.evaluation.baselines import PlannedPolicy
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.outcome import compare, rates
from tacit.evaluation.protocol import Protocol, draw_manifest, run
from tacit.evaluation.suites import PLAN
from tacit.planning import Task
from tacit.run import load
from tacit.training.fit import fit
from tacit.training.recipes import for_steps
from tacit.worlds import record, world


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        logs: Store to train on; new episodes of the world when left out.
        world: Where to record and plan.
        episodes: Recorded.
        steps: Of training; each head gets `head_steps`.
        head_steps: Of the predictor alone and of each head.
        scenes: Scenes to plan in.
        scenes_seed: Seed of the scenes.
        seed: Of the training.
        threads: Threads of torch.
        json: Where the numbers go.
    """

    logs: Path | None = None
    world: str = "two_room"
    episodes: int = 3000
    steps: int = 1400
    head_steps: int = 2500
    scenes: int = 100
    scenes_seed: int = 1000
    seed: int = 0
    threads: int = 2
    json: Path = Path(__file__).parent / "results" / "round_trip.json"


def there_and_back(store: EpisodeStore, scratch: Path) -> tuple[EpisodeStore, dict[str, float]]:
    """The store after its way through a LeRobot data set, and what the way cost."""
    began = time.perf_counter()
    export_lerobot(store, scratch / "published", include_labels=True)
    exported = time.perf_counter()
    reader = format_named("lerobot")
    mapping = LogMapping.from_text(draft("published", "lerobot", reader.describe(scratch / "published", {})))
    import_all(prepare(scratch / "published", mapping), scratch / "back")
    took = {"export_seconds": round(exported - began, 1), "import_seconds": round(time.perf_counter() - exported, 1)}
    nbytes = sum(file.stat().st_size for file in (scratch / "published").rglob("*") if file.is_file())
    return EpisodeStore(scratch / "back"), took | {"published_mb": round(nbytes / 1e6, 1), "store_mb": round(store.nbytes / 1e6, 1)}


def pixel_error(one: EpisodeStore, other: EpisodeStore, episodes: int = 50) -> dict[str, float]:
    """Mean and largest difference of the pictures, in levels of 255, over the first episodes."""
    pairs = [(one[i].signals["image"].astype(np.int16), other[i].signals["image"].astype(np.int16)) for i in range(min(episodes, len(one)))]
    differences = [np.abs(a - b) for a, b in pairs]
    return {"mean": round(float(np.mean([d.mean() for d in differences])), 3), "largest": int(max(d.max() for d in differences))}


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    manifest = draw_manifest(Protocol(world=options.world, episodes=options.scenes, seed=options.scenes_seed))
    found: dict[str, Any] = {}
    reached = {}
    with tempfile.TemporaryDirectory() as scratch:
        logs = options.logs or record(world(options.world), Path(scratch) / "logs", episodes=options.episodes).path
        store = EpisodeStore(logs)
        back, cost = there_and_back(store, Path(scratch))
        store.schema.require_same(back.schema, "the store that came back")
        same = all(
            np.array_equal(a.signals[s.name], b.signals[s.name])
            for a, b in zip(store, back, strict=True)
            for s in store.schema.signals
            if not s.is_image
        )
        for name, data in (("as recorded", store), ("there and back", back)):
            out = Path(scratch) / name
            fit(data, out, for_steps("s", options.steps, options.head_steps), seed=options.seed)
            trained = load(out)
            outcome = run(manifest, PlannedPolicy(trained.controller(Task(plan=PLAN), seed=options.seed)))
            reached[name] = outcome
            found[name] = rates(outcome).overall.numbers()
            Console().print(f"{name}: success {found[name]['rate']:.1%}")
        difference = compare(reached["there and back"], reached["as recorded"])
        low, high = difference.interval
        numbers = {
            "success": found,
            "difference": {"rate": round(difference.difference, 4), "low": round(low, 4), "high": round(high, 4)},
            "numbers_bit_identical": same,
            "pixel_error": pixel_error(store, back),
            **cost,
            "settings": {k: v for k, v in vars(options).items() if not isinstance(v, Path | None)} | {"manifest": manifest.digest},
            "machine": cpu_model(),
        }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
