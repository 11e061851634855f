"""Whether a monitor notices that a goal lies where the logs never were.

    python benchmarks/unseen_region.py --logs STORE [--steps 4000] [--work FOLDER] [--json FILE]

From the logs of Two Rooms every moment is left out in which the dot is in the lower part of the rooms, and what is left of each episode is
an episode of its own. A run is trained on that, and its monitor is made in scenes outside that region. Then it is asked for goals outside
the region, in new scenes, and for goals inside. Where the dot is, is used to make the logs and the scenes, and to score, never by the run
or the monitor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console

from tacit.assurance import Moments
from tacit.atomic import atomic_write
from tacit.cli import main as tacit
from tacit.data import Episode, EpisodeStore, EpisodeWriter, split
from tacit.evaluation.monitoring import auroc, joined, judged, logged, matrix_row, monitor_of, recorded
from tacit.evaluation.protocol import Manifest, Protocol, draw_manifest
from tacit.run import Run, load
from tacit.worlds import Scene

EDGE = 44.0  # the region is below it: y of the dot's centre, pixels, y downwards
MARGIN = 3.0  # that starts, goals and doors keep from the edge
LEAST = 40  # actions of an episode that is kept
DRAWN = 2000  # scenes that are chosen from


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        logs: Store of Two Rooms.
        steps: Of training.
        episodes: With a goal in the region, and as many without.
        usual: Episodes that the monitor is made of.
        work: Where the logs that are left, the run and the recordings are kept.
        json: Where the numbers go.
    """

    logs: Path
    steps: int = 4000
    episodes: int = 60
    usual: int = 160
    work: Path = Path("benchmarks/work/unseen_region")
    json: Path = Path("benchmarks/results/unseen_region.json")


def stretches(episode: Episode) -> Iterator[Episode]:
    """What is left of an episode outside the region."""
    outside = np.flatnonzero(episode.signals["position"][:, 1] <= EDGE)
    for part in np.split(outside, np.flatnonzero(np.diff(outside) != 1) + 1):
        if len(part) > LEAST:
            first, end = int(part[0]), int(part[-1]) + 1
            signals = {name: values[first : end - (name == "move")] for name, values in episode.signals.items()}
            yield Episode(signals=signals, time=episode.time[first:end])


def filtered(logs: Path, path: Path) -> int:
    """Write what is left of the logs; the number of episodes."""
    if not path.exists():
        store = EpisodeStore(logs)
        with EpisodeWriter.create(path, store.schema, source={"of": store.path.name, "left_out": f"y above {EDGE:g} px"}) as writer:
            for episode in store:
                for part in stretches(episode):
                    writer.add(part)
    return len(EpisodeStore(path))


def is_outside(scene: Scene) -> bool:
    """Whether start, goal and door are outside the region."""
    return max(scene.start[1], scene.goal[1], scene.layout["door"]) < EDGE - MARGIN


def leads_inside(scene: Scene) -> bool:
    """Whether the goal alone is in the region."""
    return max(scene.start[1], scene.layout["door"]) < EDGE - MARGIN and scene.goal[1] > EDGE + MARGIN


def scenes(keep: Callable[[Scene], bool], count: int, seed: int) -> Manifest:
    """The first scenes of a seed that are to be kept."""
    drawn = draw_manifest(Protocol(world="two_room", episodes=DRAWN, seed=seed))
    kept = tuple(scene for scene in drawn.scenes if keep(scene))[:count]
    return Manifest(protocol=replace(drawn.protocol, episodes=len(kept)), scenes=kept)


def recording(trained: Run, name: str, manifest: Manifest, work: Path, console: Console) -> tuple[Moments, NDArray[np.bool_]]:
    """What the run does in some scenes; made once."""
    path = work / f"{name}-{len(manifest.scenes)}.npz"
    if not path.exists():
        outcome, moments = recorded(trained, manifest)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, success=outcome.success, **vars(moments))
        partial.replace(path)
        console.print(f"{path.stem}: {outcome.success.mean():.1%}")
    with np.load(path) as kept:
        return Moments(**{part: kept[part] for part in kept.files if part != "success"}), kept["success"]


def main(options: Options, console: Console) -> None:
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    left, run = options.work / "logs", options.work / "run"
    count = filtered(options.logs, left)
    if not (run / "results.json").exists():
        assert tacit(["train", str(left), "--out", str(run), "--size", "s", "--steps", str(options.steps), "--threads", "1"]) == 0
    trained, store = load(run), EpisodeStore(left)
    train = split(store, held_out=trained.config.held_out, seed=trained.config.seed)[0].tolist()
    logs = logged(trained, store, [n for n in train if store.lengths[n] >= LEAST][:120], steps=LEAST)
    usual, went_well = recording(trained, "usual", scenes(is_outside, options.usual, 1000), options.work, console)
    calibration = monitor_of(trained, usual, went_well, logs=logs)
    known = judged(calibration, *recording(trained, "known", scenes(is_outside, options.episodes, 3), options.work, console))
    unseen = judged(calibration, *recording(trained, "unseen", scenes(leads_inside, options.episodes, 3), options.work, console))
    both = joined(unseen, known)
    results: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "logs": {"episodes": count, "actions": int(store.lengths.sum()), "left_out": f"y above {EDGE:g} px of 64"},
        "training_steps": options.steps,
        "usual": {"episodes": len(went_well), "went_well": int(went_well.sum())},
        "goals_outside": matrix_row(known),
        "goals_in_the_region": matrix_row(unseen),
        "auroc": {name: auroc(values, ~both.success) for name, values in (("monitor", both.last_word), ("in_time", both.statistic.max(1)))},
    }
    atomic_write(options.json, json.dumps(results, indent=1, allow_nan=False) + "\n")
    console.print_json(json.dumps(results))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__), Console())
