"""Closed loop on a plant: log its operation, train several seeds, and let every controller meet the same setpoints and disturbances.

    python -m benchmarks.tables.plants PLANT [--seeds 0 1 2] [--minutes 3] [--scenarios 20] [--work DIR]

Controllers: PI control as the logs were written under (SIMC settings by `tacit.worlds.plants.tuning`), linear predictive control on an ARX
model of the same logs, nonlinear predictive control that knows the true equations, once with states and disturbances from a Kalman filter
of the same sensors and once told them (neither of a field of temperatures, whose states are too many), nobody (the actions of the operating
point), and Tacit's planner; of a plant with a camera also with a model that has never seen a picture. All that plan have the same horizon,
costs, limits and control step. What was finished is not done again, so a run that was stopped goes on; with other code than it was begun
with it begins anew, from the logs on. Numbers go to docs/results/plants-PLANT.json after every scenario, with a table and a plot.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
import tyro
from benchmarks.plants.aims import HORIZON, MOVES, aims_of, plant_task
from benchmarks.plants.identification import Arx, identified
from benchmarks.plants.linear import LinearControl
from benchmarks.plants.nonlinear import NonlinearControl
from benchmarks.plants.scenes import KINDS, SETPOINTS, UNMEASURED, scenes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore
from tacit.evaluation.closed_loop import WATCHED, Constant, PidControl, Planned, Policy, Scenario, Trace, drive
from tacit.evaluation.figures import BLUE, GREEN, INK, ORANGE, PURPLE, STYLE
from tacit.evaluation.forecasters import process_log
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.plant_score import score, truth
from tacit.planning import Task
from tacit.run import load
from tacit.training.fit import fit
from tacit.training.recipes import Size, for_minutes
from tacit.worlds.plants import Plant, SimulatedPlant, gains_of, plant, record_plant

mpl.use("Agg")

HOUSE = Path(__file__).parents[2]
RESULTS = HOUSE / "docs" / "results"
DECISIVE = (
    "benchmarks/plants",
    *(f"src/tacit/{room}" for room in ("data", "models", "nn", "objectives", "planning", "training", "worlds/plants")),
)
SOURCES = (".py", ".c")
FILES, FILE_MINUTES = 16, 30  # of logs: eight hours
MOST_STATES = 100  # of a plant that there is a ceiling of: the equations of a field are too many for it
TACIT, ALONE, PI, LINEAR, NOTHING = "Tacit", "Tacit, sensors alone", "PI control", "linear MPC", "constant"
EQUATIONS, CEILING = "NMPC, true equations", "NMPC, true model"
ORDER = (TACIT, ALONE, PI, LINEAR, EQUATIONS, CEILING, NOTHING)
COLOURS = {TACIT: BLUE, PI: ORANGE, LINEAR: PURPLE, CEILING: GREEN}
RESAMPLES = 4000
FEWEST = 4  # scenarios that give an interval

Numbers = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What everybody that plans is asked for.

    Attributes:
        minutes: Of a scenario.
        horizon: Steps that plans look ahead.
        moves: What changes of actions cost.
        keep: What stays from one step to the next of what plans were wrong by.
    """

    minutes: float = 30.0
    horizon: int = HORIZON
    moves: float = MOVES
    keep: float = 0.95

    def task(self, made: Plant) -> Task:
        """Its loops at their setpoints."""
        task = plant_task(made, horizon=self.horizon)
        assert task.goal is not None
        goal = replace(task.goal, moves=dict.fromkeys(made.action_limits, self.moves))
        return replace(task, goal=goal, plan=replace(task.plan, disturbance_filter=self.keep))


# Where it is not the usual. A plant that first answers the other way needs to look further ahead. Calm hands do better there, where a plant
# runs away by itself, and where noise is most of what is left; so does a calm estimate. Tried in scenarios of seed 2000: prices of moves of
# 0.1, 1, 10 and 30 (reactor: 0.1, 0.5, 2, 3, 6 and 20; heater: 0.1, 1, 3 and 10), and filters of 0.95, 0.97 and 0.98.
ASKED = {
    "evaporator": Asked(minutes=60.0),
    "four_tank_nonminimum": Asked(horizon=120, moves=10.0, keep=0.98),
    "heater": Asked(minutes=60.0, moves=1.0, keep=0.98),
    "reactor": Asked(moves=3.0, keep=0.98),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        plant: Which.
        seeds: Of training; scenarios are of seed 1000 for all of them.
        minutes: Of training.
        size: Of the model.
        scenarios: How many.
        work: Where logs, runs and traces are kept, in a folder for each state of the code.
    """

    plant: tyro.conf.Positional[str]
    seeds: tuple[int, ...] = (0, 1, 2)
    minutes: float = 3.0
    size: Size = "s"
    scenarios: int = 20
    work: Path = Path("data/plants")


def code(house: Path = HOUSE, parts: Sequence[str] = DECISIVE) -> str:
    """A digest of the code that numbers follow from, in Python and C, in hex: plants, models, training and planning, or other folders and
    files."""
    digest = hashlib.sha256()
    found = [house / part for part in parts]
    for file in sorted(file for part in found for file in ([part] if part.is_file() else part.rglob("*")) if file.suffix in SOURCES):
        digest.update(f"{file.relative_to(house)}\0{file.read_text()}\0".encode())
    return digest.hexdigest()[:12]


def workplace(options: Options) -> Path:
    """Where logs, runs and traces are kept: a folder for each state of the code."""
    return options.work / code()


def recorded(options: Options, made: Plant) -> EpisodeStore:
    """Eight hours of logged operation, now or before, by way of the historian's files and `tacit import`."""
    steps = round(FILE_MINUTES * 60 / made.step_seconds)
    return record_plant(made, workplace(options) / options.plant, episodes=FILES, steps=steps, seed=0)


def without_pictures(store: EpisodeStore) -> EpisodeStore:
    """What sensors and actuators alone tell."""
    return store.view(s.name for s in store.schema.signals if not s.is_image)


def trained(options: Options, store: EpisodeStore, seed: int, alone: bool = False) -> Path:
    """The run of a seed, trained now or before; on sensors alone, where that is asked for."""
    out = workplace(options) / f"{options.plant}{'-alone' * alone}-{options.size}-{options.minutes:g}-{seed}"
    store = without_pictures(store) if alone else store
    if not (out / "config.json").is_file():
        resume = (out / "checkpoints").is_dir()
        fit(store, out, for_minutes(options.size, options.minutes, schema=store.schema), seed=seed, resume=resume)
    return out


def policies(options: Options, store: EpisodeStore, made: SimulatedPlant, task: Task) -> dict[str, Callable[[], Policy]]:
    """Everybody who controls, by the name in the results; made when needed."""
    aims = aims_of(task, made)

    @cache
    def model() -> Arx:
        kept, _ = load(trained(options, store, options.seeds[0])).config.division(store)  # episodes held out are so for everybody
        found = identified(process_log(store, [int(n) for n in kept], store.schema), aims.names)
        Console().print(f"ARX of {', '.join(found.outputs)}, order {found.order}, {found.error:.2f} of the squared error of no change")
        return found

    @cache
    def planned(seed: int, alone: bool = False) -> Policy:
        hidden = cameras if alone else ()
        return Planned(load(trained(options, store, seed, alone)).controller(task, seed=seed), hidden=hidden)

    known = {EQUATIONS: lambda: NonlinearControl(aims, is_told=False), CEILING: lambda: NonlinearControl(aims)}
    cameras = [camera.name for camera in made.process.cameras]
    seeds = [(TACIT, seed, False) for seed in options.seeds] + [(ALONE, seed, True) for seed in options.seeds if cameras]

    return {
        PI: lambda: PidControl(gains_of(made.process)),
        LINEAR: lambda: LinearControl(model(), aims),
        **(known if len(made.process.states) <= MOST_STATES else {}),
        NOTHING: Constant,
        **{f"{name} {seed}": partial(planned, seed, alone) for name, seed, alone in seeds},
    }


def asked_scenes(made: SimulatedPlant, *, episodes: int, seed: int) -> list[tuple[str, Scenario]]:
    """Scenarios of a plant as long as they are to be, with their kinds, after everybody has watched for a while."""
    asked = ASKED.get(made.name, Asked())
    return scenes(made, episodes=episodes, steps=round(asked.minutes * 60 / made.step_seconds), seed=seed, lead=asked.horizon + WATCHED)


def measured(trace: Trace, made: Plant, task: Task) -> Numbers:
    """The numbers of one scenario under one policy."""
    found = score(trace, made, task)
    spans = {loop.controlled: loop.high - loop.low for loop in made.loops}
    widths = {name: limit.high - limit.low for name, limit in made.action_limits.items()}
    return {
        "tracking": round(found.tracking, 5),
        "offset": round(float(np.mean([abs(found.offset[name]) / spans[name] for name in spans])), 6),
        "broken": found.broken,
        "moves": round(float(np.mean([found.moves[name] / widths[name] for name in widths])), 6),
        "fallbacks": found.fallbacks,
        "ms_p50": round(float(np.median(trace.ms)), 3),
        "ms_p99": round(found.ms_p99, 3),
    }


def pooled(results: Numbers, name: str, kind: str | None, what: str, over: Callable[[list[float]], float] = np.mean) -> dict[str, float]:
    """A number by scenario; where there are several seeds of training, those that the results tell of, their mean or what `over` says."""
    names = [f"{name} {seed}" for seed in results["seeds"]] if name in (TACIT, ALONE) else [name]
    rows = [results["policies"][each] for each in names if each in results["policies"]]
    chosen = [scene for scene, of in results["scenes"].items() if kind in (None, of) and rows and all(scene in row for row in rows)]
    return {scene: float(over([row[scene][what] for row in rows])) for scene in chosen}


def ratio(ours: Mapping[str, float], theirs: Mapping[str, float]) -> tuple[float, float, float] | None:
    """The sum of one policy by that of another over the scenarios that both have met, with its 95 % interval by bootstrap over pairs."""
    both = [name for name in ours if name in theirs]
    if not both:
        return None
    pairs = np.array([(ours[name], theirs[name]) for name in both])
    drawn = pairs[np.random.default_rng(0).integers(len(both), size=(RESAMPLES, len(both)))].sum(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    if len(both) < FEWEST:
        low = high = np.nan
    total = pairs.sum(0)
    return float(total[0] / total[1]), float(low), float(high)


def mean(values: Mapping[str, float]) -> tuple[float, float, float] | None:
    """The mean over scenarios with a 95 % interval, by bootstrap."""
    return ratio(values, dict.fromkeys(values, 1.0))


def table(results: Numbers) -> str:
    """Everything as tables of Markdown."""
    count = {kind: sum(of == kind for of in results["scenes"].values()) for kind in KINDS}
    counted = ", ".join(f"{n} with {kind}" for kind, n in count.items())
    lines = [
        f"# {results['plant']} in closed loop",
        "",
        f"{FILES * FILE_MINUTES / 60:g} hours of logged operation; {results['minutes']:g} minutes of training at size "
        f"`{results['size']}` on one shared core, training seeds {', '.join(map(str, results['seeds']))}. "
        f"Scenarios of {results['scenario_minutes']:g} minutes, the same for everybody: {counted}. "
        f"Before each, PI control holds the operating point for {results['lead']} steps, which everybody watches and nobody is judged by. "
        f"All that plan look {results['horizon']} steps of {results['step_seconds']:g} s ahead, with the same costs, limits and filter "
        f"({results['filter']:g}) of what they were wrong by. The true model knows equations, states and all disturbances, which nobody "
        "does on site; with the true equations alone, a Kalman filter finds these from the sensors that everybody has. "
        f"{results['cpu']}.",
        "",
        "Integrated squared error, in ranges of the setpoints squared times seconds, mean over scenarios; and as a share of that of PI "
        f"control with its 95 % interval (bootstrap over pairs of scenarios; none where there are fewer than {FEWEST}).",
        "",
        "| | " + " | ".join(f"{kind} | of PI's" for kind in KINDS) + " |",
        "|---" * (1 + 2 * len(KINDS)) + "|",
    ]
    for name in ORDER:
        if name == ALONE and not pooled(results, ALONE, None, "tracking"):
            continue
        cells = []
        for kind in KINDS:
            ours = pooled(results, name, kind, "tracking")
            share = ratio(ours, pooled(results, PI, kind, "tracking"))
            cells += ["not measured", ""] if share is None else [f"{np.mean(list(ours.values())):.3g}", spread(share, 2)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Tacit's squared error as a share of that of others, over all scenarios: "
        + "; ".join(
            f"{spread(found, 2)} of {name}'s"
            for name in ORDER[1:-1]
            if (found := ratio(pooled(results, TACIT, None, "tracking"), pooled(results, name, None, "tracking")))
        )
        + ".",
        "",
        "| | offset under a constant unmeasured disturbance, % of the range | steps with a hard limit broken "
        "| moves, % of the range per step | steps without plan | ms per step, p50 | p99, worst scenario |",
        "|---" * 7 + "|",
    ]
    for name in ORDER:
        off = mean(pooled(results, name, UNMEASURED, "offset"))
        if off is None:
            continue
        rest = {what: list(pooled(results, name, None, what).values()) for what in ("broken", "moves", "fallbacks", "ms_p50")}
        slowest = max(pooled(results, name, None, "ms_p99", max).values())
        percent = (100 * off[0], 100 * off[1], 100 * off[2])
        lines.append(
            f"| {name} | {spread(percent, 2)} | {sum(rest['broken']):g} | {100 * np.mean(rest['moves']):.2f} | {sum(rest['fallbacks']):g} "
            f"| {np.median(rest['ms_p50']):.1f} | {slowest:.1f} |"
        )
    return "\n".join([*lines, "", f"![trends](plants-{results['plant']}.svg)", ""])


def spread(found: tuple[float, float, float], digits: int) -> str:
    """A number with its interval, where it has one."""
    return f"{found[0]:.{digits}f}" + (f" ({found[1]:.{digits}f}–{found[2]:.{digits}f})" if np.isfinite(found[1]) else "")


def kept(trace: Trace, made: Plant, path: Path) -> None:
    """Keep what the plot shows of a trace."""
    columns: dict[str, Any] = {f"signal {name}": truth(trace, name) for name in trace.setpoints}
    columns |= {f"setpoint {name}": wanted for name, wanted in trace.setpoints.items()}
    columns |= {f"action {s.name}": trace.actions[:, column] for column, s in enumerate(made.schema.actions)}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **columns)


def draw(results: Numbers, made: Plant, folder: Path, shown: Sequence[str]) -> Figure:
    """Trends of some scenarios, beside each other: controlled signals with setpoints, then actions with limits."""
    names = [*(f"signal {loop.controlled}" for loop in made.loops), *(f"action {s.name}" for s in made.schema.actions)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 0.8 + 1.7 * len(names)), layout="constrained")
        axes = figure.subplots(len(names), len(shown), squeeze=False, sharex="col")
        for column, scene in enumerate(shown):
            drawn = (CEILING, LINEAR, PI, next(name for name in results["policies"] if name.startswith(TACIT)))
            files = {policy: folder / f"{policy}-{scene.split(':')[0]}.npz" for policy in drawn}
            there = [policy for policy, file in files.items() if file.is_file()]
            for policy in there:
                values = np.load(files[policy])
                for row, name in enumerate(names):
                    kind, signal = name.split(" ", 1)
                    ax, minutes = axes[row, column], np.arange(len(values[name])) * made.step_seconds / 60
                    colour = COLOURS[policy if policy in COLOURS else TACIT]
                    label = (policy if policy in COLOURS else TACIT) if row == column == 0 else None
                    ax.plot(
                        minutes,
                        values[name],
                        color=colour,
                        linewidth=1.1,
                        label=label,
                        drawstyle="steps-post" if kind == "action" else None,
                    )
                    if kind == "signal" and policy == there[0]:
                        ax.step(minutes[:-1], values[f"setpoint {signal}"], where="post", color=INK, linestyle="--", linewidth=0.9)
                    unit = made.schema.by_name[signal].unit
                    ax.set_title(f"{signal} in {unit}" + (f", {scene}" if row == 0 else ""))
            axes[-1, column].set_xlabel("minutes")
        figure.legend(loc="outside upper center", ncols=4)
        return figure


def svg(figure: Figure) -> str:
    """A figure as text, its lines to a tenth of a point."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return re.sub(r"(?m)^L .*$", lambda line: re.sub(r"(\.\d)\d+", r"\1", line[0]), text.getvalue())


def main(options: Options) -> None:
    torch.set_num_threads(1)
    made = plant(options.plant)
    if not isinstance(made, SimulatedPlant):
        raise SystemExit(f"{options.plant} has no equations here")
    asked = ASKED.get(options.plant, Asked())
    path = RESULTS / f"plants-{options.plant}.json"
    setting = {
        "plant": options.plant,
        "minutes": options.minutes,
        "size": options.size,
        "scenario_minutes": asked.minutes,
        "horizon": asked.horizon,
        "moves": asked.moves,
        "filter": asked.keep,
        "lead": asked.horizon + WATCHED,
        "step_seconds": made.step_seconds,
        "code": code(),
    }
    results: Numbers = json.loads(path.read_text()) if path.is_file() else {}
    if {name: results.get(name) for name in setting} != setting:
        results = setting | {"policies": {}}
    chosen = asked_scenes(made, episodes=options.scenarios, seed=1000)
    results |= {"cpu": cpu_model(), "seeds": list(options.seeds), "scenes": {scenario.name: kind for kind, scenario in chosen}}
    store, task = recorded(options, made), asked.task(made)
    for seed in options.seeds:
        for alone in (False, True)[: 1 + bool(made.process.cameras)]:
            trained(options, store, seed, alone)
    operator = PidControl(gains_of(made.process))
    everybody, folder = policies(options, store, made, task), workplace(options) / f"{options.plant}-traces"
    firsts = [next(scenario.name for of, scenario in chosen if of == kind) for kind in (SETPOINTS, UNMEASURED)]
    for kind, scenario in chosen:
        for name, policy in everybody.items():
            row = results["policies"].setdefault(name, {})
            if scenario.name in row:
                continue
            trace = drive(plant(options.plant), policy(), scenario, operator=operator)
            row[scenario.name] = measured(trace, made, task)
            if scenario.name in firsts:
                kept(trace, made, folder / f"{name}-{scenario.name.split(':')[0]}.npz")
            Console().print(f"{kind}, {scenario.name}, {name}: {row[scenario.name]['tracking']:.3g}", markup=False)
        RESULTS.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(results, indent=1) + "\n")
        atomic_write(RESULTS / f"plants-{options.plant}.md", table(results))
    atomic_write(RESULTS / f"plants-{options.plant}.svg", svg(draw(results, made, folder, firsts)))
    Console().print(table(results), markup=False)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
