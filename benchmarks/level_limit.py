"""Whether a plant keeps a level below a limit while setpoints pull it there: the settled limit beside naive ones, on the four-tank plant.

    python benchmarks/level_limit.py [--folder FOLDER] [--episodes 1000] [--calibration 500] [--minutes 2] [--json FILE]

The model is trained on eight hours of logs. Its task keeps `level_1` below a limit at confidence 0.99. In every episode, with disturbances
and noise of its own, the setpoint of that level first lies well below the limit and then within 4 % of normal operation below it, and the
other level is sent anywhere in normal operation. Calibration and test episodes have different seeds. Compared in the same episodes:

    unconstrained    the planner without the limit
    settled          what is taken off was settled on other episodes of this very planner
    no interval      the limit on predictions as they are
    per candidate    what is taken off comes from single predictions of held-out logs, a quantile of their errors

A violation is an episode in which the true level, a label without noise, is above the limit at any moment. A success is one at whose end
both true levels are at their setpoints: within 5 % of normal operation, in the mean of the last steps. What is finished is kept in the
folder and not done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console

from tacit.assurance import Interval, conformal_quantile
from tacit.assurance.canonical import digest
from tacit.atomic import atomic_write
from tacit.cli.evaluate_plant import plant_task
from tacit.data import EpisodeStore
from tacit.evaluation.closed_loop import Scenario
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.outcome import Rate
from tacit.evaluation.watched_plants import drive_watched
from tacit.planning import SignalLimit, Task, Verdict, for_signals
from tacit.planning.task_fallback import SafeSettings
from tacit.run import Run, load
from tacit.training.fit import fit
from tacit.training.folder import CONFIG
from tacit.training.latents import encode_log
from tacit.training.readouts import of_signal, readings
from tacit.training.recipes import for_minutes
from tacit.worlds.plants import SimulatedPlant, plant, record_plant
from tacit.worlds.plants.four_tank import FOUR_TANK
from tacit.worlds.plants.near_limit import setpoints_near

LIMITED, HIGH, CONFIDENCE = "level_1", 14.0, 0.99  # cm
REACH = 0.8  # cm
PUMPS = (1.0, 5.5)  # V
HOURS = 8
PROCESS = replace(FOUR_TANK, hold_seconds=250.0)  # wishes change every 125 s
BATCH = 100
LAST = 5  # steps at the end of an episode, over which errors are a mean
TOLERANCE = 0.25  # cm, 5 % of the range of normal operation
FACTOR = 4.0  # to begin settling with


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        folder: Logs, run and episodes, kept for the next time.
        minutes: Of training.
        episodes: Test episodes.
        naive: Test episodes of the naive variants, the first ones.
        calibration: Episodes of each round of calibration.
        steps: Control steps per episode, of 5 s.
        seed: Of everything.
        json: Where the numbers go.
    """

    folder: Path = Path("level_limit")
    minutes: float = 2.0
    episodes: int = 1000
    naive: int = 1000
    calibration: int = 500
    steps: int = 50
    seed: int = 0
    json: Path = Path(__file__).parent / "results" / "level_limit.json"


def task(confidence: float | None) -> Task:
    """Both levels at their setpoints and one below its limit, with pumps that move calmly and stay where the logs have been. Without
    a plan, the pump that feeds the limited level most is turned down."""
    hold = plant_task(plant("four_tank"))
    assert hold.goal is not None
    return replace(
        hold,
        goal=replace(hold.goal, moves=dict.fromkeys(hold.limits, 20.0)),
        limits={name: replace(limit, low=PUMPS[0], high=PUMPS[1]) for name, limit in hold.limits.items()},
        signals={LIMITED: SignalLimit(high=HIGH, confidence=confidence, unit="cm")},
        plan=for_signals(disturbance_filter=0.7),
        fallback=SafeSettings(action={"pump_1": 2.0, "pump_2": 3.0}),
    )


def prepared(options: Options) -> tuple[Run, EpisodeStore]:
    """Logs as `tacit record` makes them and a run as `tacit train` does, unless they are there."""
    made = plant("four_tank")
    store = record_plant(made, options.folder / "store", episodes=HOURS, steps=round(3600 / made.step_seconds), seed=options.seed)
    if not (options.folder / "run" / CONFIG).exists():
        fit(store, options.folder / "run", for_minutes("s", options.minutes, schema=store.schema), seed=options.seed)
    return load(options.folder / "run"), store


def scenarios(count: int, seed: int, stage: int, steps: int) -> list[Scenario]:
    """The first episodes of a stage: 0 for the test, 1 and up for rounds of calibration."""
    drawn, rng = [], np.random.default_rng((seed, 23, stage))
    for number in range(count):
        own = int(rng.integers(2**31))
        wishes = setpoints_near(SimulatedPlant(PROCESS), np.random.default_rng(own), controlled=LIMITED, limit=HIGH, steps=steps)
        drawn.append(Scenario(name=f"{stage}.{number}", seed=own, steps=steps, setpoints=wishes))
    return drawn


@dataclass(frozen=True, kw_only=True)
class Driven:
    """How it went, per episode."""

    success: NDArray[np.bool_]
    violated: NDArray[np.bool_]
    beyond: NDArray[np.float64]  # cm above the limit at the worst moment, below 0 under it
    tracking: NDArray[np.float64]  # root mean square error of both levels, cm
    scores: NDArray[np.float64]
    decisions: NDArray[np.int64]  # (number, fallbacks) of all episodes of a batch, (1, 2)


def drive(trained: Run, intervals: Mapping[str, Interval] | None, some: list[Scenario], seed: int) -> Driven:
    """Some episodes side by side."""
    given = replace(task(CONFIDENCE), signals={}) if intervals is None else task(CONFIDENCE)
    controller = trained.controller(given, intervals=intervals, seed=seed)
    found = drive_watched([SimulatedPlant(PROCESS) for _ in some], controller, some, intervals or {})
    errors = np.stack([found.truth[name][:, 1:] - found.setpoints[name] for name in found.truth], axis=1)  # (B, 2, T)
    beyond = found.truth[LIMITED].max(1) - HIGH
    return Driven(
        success=(np.abs(errors[..., -LAST:].mean(-1)) <= TOLERANCE).all(1),
        violated=beyond > 0,
        beyond=beyond,
        tracking=np.sqrt((errors**2).mean((1, 2))),
        scores=found.scores.get(LIMITED, np.zeros(len(some))),
        decisions=np.array([[found.verdicts.total(), found.verdicts[Verdict.FALLBACK]]]),
    )


def driven(trained: Run, intervals: Mapping[str, Interval] | None, options: Options, stage: int, count: int) -> Driven:
    """All episodes of a stage, in parts; a part that is in the folder is read."""
    every, parts = scenarios(count, options.seed, stage, options.steps), []
    for first in range(0, count, BATCH):
        some = every[first : first + BATCH]
        taken = None if intervals is None else {name: interval.tightening for name, interval in intervals.items()}
        what = {"run": trained.digest, "task": task(CONFIDENCE), "taken": taken, "options": [options.seed, stage, first, len(some)]}
        what |= {"steps": options.steps, "hold": PROCESS.hold_seconds, "success": [LAST, TOLERANCE]}
        kept = options.folder / "episodes" / f"{digest(what)[:16]}.npz"
        if not kept.exists():
            part = drive(trained, intervals, some, options.seed)
            kept.parent.mkdir(exist_ok=True)
            np.savez(kept, **vars(part))
        with np.load(kept) as arrays:
            parts.append(Driven(**arrays))
    return Driven(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


@torch.no_grad()
def per_candidate(trained: Run, store: EpisodeStore, like: Interval) -> Interval:
    """What is taken off by who looks at predictions one by one: the quantile of how much too low the next level was predicted.

    The actions are those of held-out logs: nobody chose them for what was predicted.
    """
    [limit] = trained.limits(task(None), {})
    _, held_out = trained.config.division(store)
    log = encode_log(store, held_out.tolist(), trained.model, device=torch.device("cpu"))
    seen = readings(store, held_out, of_signal(LIMITED), 1)
    starts = torch.cat([torch.arange(int(n)) + int(f) for f, n in zip(log.first, log.steps, strict=True)])
    episode = torch.searchsorted(log.first, starts, right=True) - 1
    history = log.history(episode, starts - log.first[episode], trained.model.history)
    predicted = limit.predicted(trained.model.rollout(history, log.actions[starts][:, None, None])[:, 0])[:, 0]
    flattery = (predicted - limit.inside(seen[starts + 1])).numpy()
    return replace(like, scale=(conformal_quantile(flattery, CONFIDENCE),) * len(like.scale), factor=1.0)


def numbers(found: Driven, free: Driven) -> dict[str, Any]:
    """Rates with their 95 % Wilson intervals, beside those of the planner without the limit in the same episodes."""
    count = len(found.success)
    decisions, fallbacks = found.decisions.sum(0).tolist()
    return {
        "success": rate(found.success),
        "violated": rate(found.violated),
        "success_of_unconstrained": ratio(found.success, free.success[:count]),
        "violated_where_unconstrained_does": rate(found.violated[free.violated[:count]]) if free.violated[:count].any() else None,
        "largest_cm_above": round(float(found.beyond.max()), 4),
        "median_root_mean_square_error_cm": round(float(np.median(found.tracking)), 4),
        "fallbacks_per_decision": round(fallbacks / decisions, 5),
    }


def rate(happened: NDArray[np.bool_]) -> dict[str, float]:
    return Rate(successes=int(happened.sum()), episodes=len(happened)).numbers()


def ratio(success: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, float]:
    """One rate of success as a share of another in the same episodes, with the 95 % interval of 2,000 bootstraps over episodes."""
    again = np.random.default_rng(0).integers(len(success), size=(2000, len(success)))
    low, high = np.quantile(success[again].mean(1) / other[again].mean(1), (0.025, 0.975))
    return {name: round(float(value), 4) for name, value in (("ratio", success.mean() / other.mean()), ("low", low), ("high", high))}


def main(options: Options) -> None:
    torch.set_num_threads(1)
    say = Console().print
    results: dict[str, Any] = {
        "limit": {"signal": LIMITED, "high": HIGH, "unit": "cm", "confidence": CONFIDENCE},
        "success": {"tolerance_cm": TOLERANCE, "last_steps": LAST},
        "machine": cpu_model(),
        "settings": {k: v for k, v in vars(options).items() if k not in ("json", "folder")},
    }

    def keep(name: str, values: dict[str, Any]) -> None:
        results[name] = values
        atomic_write(options.json, json.dumps(results, indent=2) + "\n")
        say(f"{name}: {values}")

    trained, store = prepared(options)
    settled = settle(trained, options, keep)
    free = driven(trained, None, options, 0, options.episodes)
    keep("unconstrained", numbers(free, free))
    for name, interval, count in (
        ("settled", settled, options.episodes),
        ("no interval", replace(settled, factor=0.0), options.naive),
        ("per candidate", per_candidate(trained, store, settled), options.naive),
    ):
        found = driven(trained, {LIMITED: interval}, options, 0, count)
        keep(name, numbers(found, free) | {"taken_off_cm": round(interval.tightening[0], 4)})


def settle(trained: Run, options: Options, keep: Any) -> Interval:
    """The interval of the planner, settled on episodes that are never tested on."""
    rounds: list[dict[str, Any]] = []

    def recorded(intervals: Mapping[str, Interval]) -> dict[str, NDArray[np.float64]]:
        found = driven(trained, intervals, options, 1 + len(rounds), options.calibration)
        asked = conformal_quantile(found.scores, CONFIDENCE)
        in_place = intervals[LIMITED]
        rounds.append({"factor": round(in_place.factor, 4), "asked_for": round(asked, 4), "violated": rate(found.violated)})
        keep(f"round {len(rounds)}", rounds[-1])
        return {LIMITED: found.scores}

    settled = trained.settle(task(CONFIDENCE), recorded, trained.first_intervals(task(CONFIDENCE), {LIMITED: REACH}, FACTOR), slack=0.1)
    interval = settled[LIMITED]
    keep("interval", {"taken_off_cm": round(interval.tightening[0], 4), "rounds": interval.rounds, "episodes": len(interval.scores)})
    return interval


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
