"""What planning is worth when the logs lie about the actions: success after training on right, late and exchanged actions.

    python benchmarks/wrong_actions.py [--episodes 600] [--steps 700] [--scenes 60] [--json FILE]

The same images three times: with the actions that were applied, with every action one step late, and with every episode holding the
actions of another. Same settings, same seed, same scenes; the fixed layout of Two Rooms. A method that learns what actions do must fail
with exchanged actions; late ones differ little where headings last.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.evaluation.baselines import PlannedPolicy
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.outcome import rates
from tacit.evaluation.protocol import Protocol, draw_manifest, run
from tacit.evaluation.suites import PLAN
from tacit.planning import Task
from tacit.run import load
from tacit.training.fit import fit
from tacit.training.recipes import for_steps
from tacit.worlds import record, world

WORLD = "two_room_fixed"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        episodes: Logged episodes.
        steps: Optimiser steps of the joint training.
        scenes: Scenes to plan in.
        seed: Of everything.
        threads: Threads of torch.
        json: Where the numbers go.
    """

    episodes: int = 600
    steps: int = 700
    scenes: int = 60
    seed: int = 0
    threads: int = 2
    json: Path = Path(__file__).parent / "results" / "wrong_actions.json"


def altered(store: EpisodeStore, kind: str) -> Iterator[Episode]:
    """The episodes of a store with other actions; all of them have the same length."""
    for number, episode in enumerate(store):
        moves = {
            "right": episode.signals["move"],
            "one step late": np.roll(episode.signals["move"], 1, axis=0),
            "another episode's": store[(number + 1) % len(store)].signals["move"],
        }[kind]
        yield Episode(signals={**episode.signals, "move": moves}, time=episode.time)


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    manifest = draw_manifest(Protocol(world=WORLD, episodes=options.scenes, seed=options.seed))
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        right = record(world(WORLD), folder / "logs", episodes=options.episodes, seed=options.seed)
        for kind in ("right", "one step late", "another episode's"):
            store_at, out = folder / "altered", folder / "run"
            with EpisodeWriter.create(store_at, right.schema, source=right.source) as writer:
                for episode in altered(right, kind):
                    writer.add(episode)
            fit(EpisodeStore(store_at), out, for_steps("s", options.steps), seed=options.seed)
            trained = load(out)
            policy = PlannedPolicy(trained.controller(Task(plan=PLAN), seed=options.seed))
            rate = rates(run(manifest, policy)).overall
            low, high = rate.interval
            calibration = trained.calibration
            found[kind] = {
                "success": rate.numbers(),
                "prediction_over_staying_8_steps": round(calibration.prediction[7] / calibration.stay[7], 4),
            }
            Console().print(f"{kind}: success {rate.rate:.0%} ({low:.0%} to {high:.0%})")
            for used in (store_at, out):
                used.rename(folder / f"{used.name}, {kind}")
    settings = {key: value for key, value in vars(options).items() if key != "json"}
    numbers = {"actions": found, "settings": settings | {"world": WORLD, "manifest": manifest.digest}, "machine": cpu_model()}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
