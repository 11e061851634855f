"""Whether a controller stays out of a region that only its task knows: Two Rooms, the calibrated limit beside naive ones.

    python benchmarks/state_limits.py [--run RUN --store STORE] [--episodes 1000] [--calibration 200] [--json FILE]

The task names a rectangle on a frequent way. Position is no signal of this world: it is measured in the image (the centre of the dot's
colour), and a readout is fitted from latents to that measure. The label with the true position is used for the score only. Scenes are those
with a way of 3 px of room past the rectangle; calibration and test scenes are drawn with different seeds. Compared on the same scenes:

    unconstrained    the planner without the limit
    no interval      the limit on predictions as they are
    per candidate    what is taken off comes from single predictions for random actions in the logs, a quantile at every step
    settled          what is taken off was settled on episodes of this very planner

All of it again with ten times as many candidates, for which the planner has ten times the choice of flattering errors. A violation is an
episode with the true position inside the rectangle at any moment; `crossed` counts straight lines between moments, too, which no limit here
promises anything about. A run is trained when none is given.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from scipy import ndimage
from torch import Tensor

from tacit.assurance import Interval, conformal_quantile
from tacit.atomic import atomic_write
from tacit.data import EpisodeStore
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.outcome import Rate
from tacit.evaluation.protocol import Manifest, Protocol, draw_manifest
from tacit.evaluation.protocol import run as tried
from tacit.evaluation.suites import PLAN
from tacit.evaluation.watched import WatchedPolicy
from tacit.models.readout import ReadoutConfig
from tacit.planning import Fallback, PlanSettings, RegionLimit, Task, Verdict
from tacit.run import Run, load
from tacit.training.fit import fit
from tacit.training.latents import LatentLog, encode_log
from tacit.training.readouts import Sensor, fit_readout, measured, readings, write_readouts
from tacit.training.recipes import for_steps
from tacit.worlds import Scene, record, two_room, world
from tacit.worlds.two_room import Layout

WORLD, LIMIT, BATCH = "two_room", "no-go", 100
LOW, HIGH = (10.0, 24.0), (18.0, 40.0)  # of the rectangle, px
ROOM = 3.0  # px between the rectangle and a way past it
REACH = 4.0  # px
CONFIDENCE = 0.99
READ_EPISODES, MEASURED_EPISODES = 1500, 200  # of the logs


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        run: A trained run of the world, which is not changed; None trains one.
        store: The logs it was trained on.
        episodes: Test scenes.
        naive: Test scenes of the naive variants, the first ones; those where the unconstrained planner enters the rectangle come on top.
        calibration: Episodes of each round of calibration.
        more: Test scenes with ten times the candidates, the first ones; 0 leaves that part out.
        budget: Actions per episode.
        seed: Of everything.
        workers: Processes.
        json: Where the numbers go.
    """

    run: Path | None = None
    store: Path | None = None
    episodes: int = 1000
    naive: int = 300
    calibration: int = 200
    more: int = 1000
    budget: int = 80
    seed: int = 0
    workers: int = 1
    json: Path = Path(__file__).parent / "results" / "state_limits.json"


def seen_position(observations: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The centre of the dot in images (T, 64, 64, 3), px, (T, 2): nothing else in them is redder than it is green."""
    image = observations["image"].astype(np.float32)
    weight = np.clip(image[..., 0] - image[..., 1] - 12.0, 0.0, None)
    centres, total = np.arange(image.shape[-2], dtype=np.float32) + 0.5, weight.sum((-2, -1))
    x, y = (weight * centres).sum((-2, -1)) / total, (weight * centres[:, None]).sum((-2, -1)) / total
    return np.stack((x, y), axis=-1)


SENSORS: Mapping[str, Sensor] = {LIMIT: seen_position}


def task(confidence: float | None, plan: PlanSettings = PLAN) -> Task:
    region = RegionLimit(name=LIMIT, channels=("position.x", "position.y"), low=LOW, high=HIGH, confidence=confidence, unit="px")
    return Task(regions=(region,), plan=plan, fallback=Fallback.ZERO)


def scenes(count: int, seed: int, budget: int) -> Manifest:
    """The first scenes of a seed that have a way past the rectangle with room to spare."""
    drawn: list[Scene] = []
    size = 2 * count
    while len(drawn) < count:
        offered = draw_manifest(Protocol(world=WORLD, episodes=size, seed=seed)).scenes
        drawn, size = [scene for scene in offered if has_way(scene)], 2 * size
    return Manifest(protocol=Protocol(world=WORLD, episodes=count, seed=seed, budget=budget), scenes=tuple(drawn[:count]))


def has_way(scene: Scene) -> bool:
    """Whether start and goal are connected, a pixel at a time, outside the walls and the rectangle grown by the room."""
    at = np.arange(64) + 0.5
    x, y = at[None], at[:, None]
    free = (x >= two_room.LOW) & (x <= two_room.HIGH) & (y >= two_room.LOW) & (y <= two_room.HIGH)
    blocked = (*Layout(**scene.layout).blocked(), (LOW[0] - ROOM, HIGH[0] + ROOM, LOW[1] - ROOM, HIGH[1] + ROOM))
    for x0, x1, y0, y1 in blocked:
        free &= ~((x > x0) & (x < x1) & (y > y0) & (y < y1))
    parts, _ = ndimage.label(free)
    here, there = (parts[int(down), int(across)] for across, down in (scene.start, scene.goal))
    return bool(here and here == there)


@dataclass(frozen=True, kw_only=True)
class Drive:
    """What a planner is tried with."""

    folder: Path
    task: Task
    intervals: Mapping[str, Interval] | None  # in place while driving
    watched: Mapping[str, Interval]  # scored with
    seed: int


@dataclass(frozen=True, kw_only=True)
class Driven:
    """How it went, per episode."""

    success: NDArray[np.bool_]
    violated: NDArray[np.bool_]
    crossed: NDArray[np.bool_]
    scores: NDArray[np.float64]
    fallbacks: int
    decisions: int


def drive(what: Drive, manifest: Manifest) -> Driven:
    """Some scenes of one manifest, side by side."""
    torch.set_num_threads(1)
    trained = load(what.folder)
    given = what.task
    if what.intervals is None:
        given = replace(given, regions=())
    controller = trained.controller(given, intervals=what.intervals, seed=what.seed)
    limits = trained.limits(task(None, given.plan), {})
    policy = WatchedPolicy(controller, limits, what.watched, SENSORS)
    outcome = tried(manifest, policy, keep=range(len(manifest.scenes)), batch=len(manifest.scenes))
    path: NDArray[np.float64] = np.stack([trace.labels["position"] for trace in outcome.traces]).astype(np.float64)  # (N, T + 1, 2)
    inside = is_inside(path)
    share = np.linspace(0, 1, 9)[:, None, None, None]
    between = np.any(is_inside(path[None, :, :-1] * (1 - share) + path[None, :, 1:] * share), axis=0)
    return Driven(
        success=outcome.success,
        violated=np.any(inside, axis=1),
        crossed=np.any(between, axis=1),
        scores=policy.scores()[LIMIT],
        fallbacks=policy.verdicts[Verdict.FALLBACK],
        decisions=policy.verdicts.total(),
    )


def is_inside(position: NDArray[np.float64]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.all((position > LOW) & (position < HIGH), axis=-1)
    return inside


def driven(what: Drive, manifest: Manifest, workers: int) -> Driven:
    """All scenes of a manifest, in parts, each with a seed of its own."""
    parts = []
    for first in range(0, len(manifest.scenes), BATCH):
        some = manifest.scenes[first : first + BATCH]
        protocol = replace(manifest.protocol, episodes=len(some))
        parts.append((replace(what, seed=what.seed + first), Manifest(protocol=protocol, scenes=some)))
    if workers == 1:
        found = [drive(*part) for part in parts]
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(drive, *zip(*parts, strict=True)))
    arrays = {name: np.concatenate([getattr(one, name) for one in found]) for name in ("success", "violated", "crossed", "scores")}
    return Driven(fallbacks=sum(one.fallbacks for one in found), decisions=sum(one.decisions for one in found), **arrays)


def prepared(options: Options, folder: Path) -> tuple[Run, LatentLog, Tensor]:
    """A copy of the run with a readout of the position, and held-out logs with what was seen in them, (F, 2)."""
    store_at, run_at = options.store, options.run
    if run_at is None or store_at is None:
        store_at, run_at = folder / "store", folder / "trained"
        fit(record(world(WORLD), store_at, episodes=1000, seed=options.seed), run_at, for_steps("s", 4000), seed=options.seed)
    shutil.copytree(run_at, folder / "run", ignore=shutil.ignore_patterns("checkpoints"))
    trained, store = load(folder / "run"), EpisodeStore(store_at)
    training, held_out = trained.config.division(store)
    config, cpu = ReadoutConfig(name="position", channels=("x", "y"), unit="px"), torch.device("cpu")
    logs = []
    for episodes in (training[:READ_EPISODES], held_out[:MEASURED_EPISODES]):
        log = encode_log(store, episodes.tolist(), trained.model, device=cpu)
        logs.append((log, readings(store, episodes, seen_position, 2)))
    readout = fit_readout(*logs[0], config, seed=options.seed)
    write_readouts(folder / "run", [measured(trained.model, readout, *logs[1], horizon=PLAN.horizon)])
    return load(folder / "run"), *logs[1]


@torch.no_grad()
def per_candidate(trained: Run, log: LatentLog, seen: Tensor) -> Interval:
    """What is taken off by who looks at predictions one by one: the quantile, at every step, of how much a plan flatters itself.

    The plans are the random actions of held-out logs: nobody chose them for what was predicted.
    """
    [limit] = trained.limits(task(None), {})
    steps = PLAN.replan_every
    starts = torch.cat([torch.arange(int(n) - steps + 1) + int(f) for f, n in zip(log.first, log.steps, strict=True)])
    episode = torch.searchsorted(log.first, starts, right=True) - 1
    ahead = torch.arange(steps)
    history = log.history(episode, starts - log.first[episode], trained.model.history)
    predicted = limit.predicted(trained.model.rollout(history, log.actions[starts[:, None] + ahead][:, None])[:, 0])
    found = limit.inside(seen[starts[:, None] + ahead + 1])
    flattery = (predicted.clamp(max=REACH) - found.clamp(max=REACH)).numpy()
    taken = [conformal_quantile(flattery[:, step], CONFIDENCE) for step in range(steps)]
    return Interval(scale=tuple(taken) + (taken[-1],) * (PLAN.horizon - steps), factor=1.0, reach=REACH, applied=steps)


def numbers(found: Driven) -> dict[str, Any]:
    """Rates with their 95 % Wilson intervals."""
    rates = {name: rate(getattr(found, name)) for name in ("success", "violated", "crossed")}
    return rates | {"fallbacks_per_decision": round(found.fallbacks / found.decisions, 5)}


def rate(happened: NDArray[np.bool_]) -> dict[str, float]:
    return Rate(successes=int(happened.sum()), episodes=len(happened)).numbers()


def part_of(manifest: Manifest, which: NDArray[np.int64]) -> Manifest:
    """Some scenes of a manifest, by their numbers (N,)."""
    picked = tuple(manifest.scenes[number] for number in which)
    return Manifest(protocol=replace(manifest.protocol, episodes=len(picked)), scenes=picked)


def main(options: Options) -> None:
    torch.set_num_threads(1)
    say = Console().print
    results: dict[str, Any] = {
        "region": {"low": LOW, "high": HIGH, "unit": "px", "room": ROOM},
        "confidence": CONFIDENCE,
        "machine": cpu_model(),
        "settings": {k: v for k, v in vars(options).items() if k not in ("json", "run", "store", "workers")},
    }

    def keep(part: str, name: str, values: dict[str, Any]) -> None:
        results.setdefault(part, {})[name] = values
        options.json.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(options.json, json.dumps(results, indent=2) + "\n")
        if "success" in values:
            s, v = values["success"], values["violated"]
            say(f"{part}, {name}: success {s['rate']:.1%}, violated {v['rate']:.1%} ({v['low']:.1%} to {v['high']:.1%})")
        else:
            say(f"{part}, {name}: {values}")

    with tempfile.TemporaryDirectory() as scratch:
        trained, log, seen = prepared(options, Path(scratch))
        fitted = trained.readouts["position"]
        errors = {"now": round(fitted.now, 3), "ahead": [round(s, 3) for s in fitted.spread]}
        keep("readout", "root_mean_square_error_px", errors)
        test = scenes(options.episodes, options.seed, options.budget)
        results["manifest"] = test.digest
        first = trained.first_intervals(task(CONFIDENCE), {LIMIT: REACH})
        before = None
        for part, plan, count in (
            ("candidates", PLAN, options.episodes),
            ("ten_times_the_candidates", replace(PLAN, candidates=10 * PLAN.candidates), options.more),
        ):
            if not count:
                continue
            first = first if before is None else {LIMIT: replace(before, scores=(), rounds=0)}
            settled = settle(trained, options, plan, first, keep, part)

            def drive_with(interval: Interval | None, plan: PlanSettings = plan, settled: Interval = settled) -> Drive:
                intervals = None if interval is None else {LIMIT: interval}
                return Drive(
                    folder=trained.path, task=task(CONFIDENCE, plan), intervals=intervals, watched={LIMIT: settled}, seed=options.seed
                )

            every = np.arange(count)
            free = driven(drive_with(None), part_of(test, every), options.workers)
            keep(part, "unconstrained", numbers(free))
            on_the_way = np.flatnonzero(free.violated)
            some = every[: options.naive]
            variants = [
                ("settled", settled, every),
                ("no interval", replace(settled, factor=0.0), some),
                ("no interval, rectangle on the way", replace(settled, factor=0.0), on_the_way),
                ("per candidate", per_candidate(trained, log, seen), some),
                ("per candidate, rectangle on the way", per_candidate(trained, log, seen), on_the_way),
            ]
            if before is not None:
                variants.append(("settled with fewer candidates", before, every))
            for name, interval, which in variants:
                if not len(which):
                    continue
                found = driven(drive_with(interval), part_of(test, which), options.workers)
                values = numbers(found) | {"taken_off_px": [round(t, 3) for t in interval.tightening[: interval.applied]]}
                if which is every and len(on_the_way):
                    values["violated_on_the_way"] = rate(found.violated[on_the_way])
                keep(part, name, values)
            before = settled


def settle(trained: Run, options: Options, plan: PlanSettings, first: Mapping[str, Interval], keep: Any, part: str) -> Interval:
    """The interval of a planner, settled on scenes that are never tested on."""
    rounds: list[dict[str, Any]] = []

    def recorded(intervals: Mapping[str, Interval]) -> dict[str, NDArray[np.float64]]:
        # A policy is not shown the moment after its last action: one action more, so that all of an episode's moments are scored.
        manifest = scenes(options.calibration, options.seed + 100 + len(rounds), options.budget + 1)
        what = Drive(folder=trained.path, task=task(CONFIDENCE, plan), intervals=intervals, watched=intervals, seed=options.seed + 7)
        found = driven(what, manifest, options.workers)
        asked = conformal_quantile(found.scores, CONFIDENCE)
        in_place = intervals[LIMIT].factor
        rounds.append({"factor": round(in_place, 4), "asked_for": round(asked, 4)} | numbers(found))
        keep(part, "round " + str(len(rounds)), rounds[-1])
        return {LIMIT: found.scores}

    settled = trained.settle(task(CONFIDENCE, plan), recorded, first)[LIMIT]
    taken = [round(t, 3) for t in settled.tightening[: settled.applied]]
    keep(part, "interval", {"taken_off_px": taken, "rounds": settled.rounds, "episodes": len(settled.scores)})
    return settled


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
