"""Success on a world: record, train several seeds, and let every policy try the same scenes of three protocols.

    python -m benchmarks.tables.success WORLD [--seeds 0 1 2] [--minutes 30] [--members 1] [--episodes 300] [--protocols standard long]
        [--work DIR]

The protocols: `standard`, to where the recorder was 25 steps later, within 50; `long`, 75 steps and 150; `strict`, to a goal of another
episode in another region within 200, kept for the last five moments. Policies: the planner, its inverse model alone, the cross-entropy
method on latent distance, random actions, and none. What was finished in DIR is not done again, so a run that was stopped goes on. Numbers
go to docs/results/WORLD.json after every policy, and with them a table and a plot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import torch
import tyro
from benchmarks.tables.bars import empty, written
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore
from tacit.evaluation.baselines import CloningPolicy, NoOpPolicy, PlannedPolicy, RandomPolicy
from tacit.evaluation.intervals import wilson
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.outcome import Outcome, compare, rates
from tacit.evaluation.protocol import NAMED, Manifest, Policy, Protocol, draw_manifest, run
from tacit.evaluation.suites import cost_for, cost_name, planning_for
from tacit.planning import PlanSettings, Task
from tacit.run import Run, load
from tacit.training.distributed import joined
from tacit.training.ensemble import Workers, fit_ensemble, has_checkpoint
from tacit.training.fit import fit
from tacit.training.recipes import Size, for_minutes, of_members, on_device
from tacit.worlds import record, world

matplotlib.use("Agg")

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PROTOCOLS = NAMED
PLANNER, INVERSE, LATENT, RANDOM, NOTHING = "planner", "inverse model alone", "CEM on latent distance", "random", "no action"
BLIND = (RANDOM, NOTHING)
COLOURS = {PLANNER: "#1f4e79", INVERSE: "#6b9ac4", LATENT: "#97a97c", RANDOM: "#c9ada7", NOTHING: "#d9d9d9"}
CEM = PlanSettings(horizon=25, candidates=128, iterations=3, initial_std=1.0, noise_correlation=0.8, replan_every=2)

Numbers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Logs:
    """What is recorded of a world, whether it matters there which way things are turned, and that things are pushed, and how many models
    are trained apart and asked together."""

    episodes: int
    steps: int = 100
    shapes: bool = False
    pushes: bool = False
    members: int = 1


LOGS: Mapping[str, Logs] = {
    "two_room": Logs(episodes=3000),
    "reacher": Logs(episodes=2000),
    "point_maze": Logs(episodes=2000, steps=200),
    "push_t": Logs(episodes=6000, shapes=True, pushes=True, members=2),
    "cube": Logs(episodes=1000, steps=200, shapes=True, pushes=True),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        world: Where.
        seeds: Of training; scenes are of seed 1000 for all of them.
        minutes: Of training, each model on one thread; None for 30 of one model, as many steps as 20 on two threads, and 20 of several, at
            the same time.
        size: Of the model; of another one than `s` the table has a file of its own.
        residual: A predictor of residual blocks (`tacit train --residual`); the table has a file of its own.
        members: Models that are trained apart and asked together (`tacit train --members`); None for the world's usual number. With
            another one the table has a file of its own.
        device: Where it is trained, cpu or cuda; it plans on one thread either way.
        logs: Recorded episodes; None for the usual number.
        episodes: Scenes per protocol.
        protocols: Which ones.
        work: Where logs and runs are kept.
    """

    world: tyro.conf.Positional[str]
    seeds: tuple[int, ...] = (0, 1, 2)
    minutes: float | None = None
    size: Size = "s"
    residual: tyro.conf.FlagCreatePairsOff[bool] = False
    members: int | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    logs: int | None = None
    episodes: int = 300
    protocols: tuple[str, ...] = tuple(PROTOCOLS)
    work: Path = Path("data/success")


def logged(options: Options) -> str:
    """Name of the folder of the logs; another number of episodes than usual has one of its own."""
    return options.world if options.logs is None else f"{options.world}-{options.logs}"


def kind(options: Options) -> str:
    """Of the model, in names of folders and files."""
    several = "" if members(options) == 1 else f"-{members(options)}-members"
    return f"{options.size}{'-residual' * options.residual}{several}"


def members(options: Options) -> int:
    """Models that are asked together."""
    return options.members or LOGS[options.world].members


def minutes(options: Options) -> float:
    """Of training, on a thread for each model."""
    return options.minutes or (30.0 if members(options) == 1 else 20.0)


def file_name(options: Options) -> str:
    """Of the table: the world's, where all is as usual."""
    is_usual = options.size == "s" and not options.residual and members(options) == LOGS[options.world].members
    return options.world if is_usual else f"{options.world}-{kind(options)}"


def recorded(options: Options, numbers: Numbers) -> EpisodeStore:
    """The logs, recorded now or before."""
    logs, path = LOGS[options.world], options.work / logged(options)
    episodes = options.logs or logs.episodes
    before = len(EpisodeStore(path)) if (path / "store.json").is_file() else 0
    began = time.perf_counter()
    store = record(world(options.world), path, episodes=episodes, steps=logs.steps, seed=0)
    frames = int(store.lengths.sum()) + len(store)
    known = numbers.get("recording", {}).get("seconds")
    seconds = round(time.perf_counter() - began, 1) if before == 0 else known  # None when it was recorded by somebody else
    numbers["recording"] = {"episodes": len(store), "steps": logs.steps, "frames": frames, "seconds": seconds}
    return store


def trained(options: Options, store: EpisodeStore, seed: int) -> Run:
    """The run of a seed, trained now or before."""
    out = options.work / f"{logged(options)}-{kind(options)}-{minutes(options):g}-{seed}"
    if not (out / "config.json").is_file():
        resume = has_checkpoint(out)
        logs = LOGS[options.world]
        recipe = for_minutes(options.size, minutes(options), shapes=logs.shapes, pushes=logs.pushes, residual=options.residual)
        recipe = on_device(of_members(recipe, members(options)), options.device, int(store.lengths.sum()))
        if recipe.members > 1:
            workers = Workers(processes=recipe.members, threads=1, device=options.device)
            fit_ensemble(store, out, recipe, seed=seed, workers=workers, resume=resume)
        else:
            with joined(options.device) as group:
                fit(store, out, recipe, seed=seed, group=group, resume=resume)
    return load(out)


def policies(trained: Run, protocol: Protocol) -> dict[str, Callable[[], Policy]]:
    """Everybody who tries, the planner first."""
    arena, settings = world(protocol.world), planning_for(trained, protocol)
    return {
        PLANNER: lambda: PlannedPolicy(trained.controller(Task(plan=settings), cost_for=cost_for(trained, protocol))),
        INVERSE: lambda: CloningPolicy(trained.model, trained.policy),
        RANDOM: lambda: RandomPolicy(arena),
        NOTHING: lambda: NoOpPolicy(arena.schema),
        LATENT: lambda: PlannedPolicy(trained.controller(Task(plan=CEM), cost_for=trained.latent_cost)),
    }


def plan_of(trained: Run, protocol: Protocol) -> Numbers:
    """What is searched for, and how."""
    return asdict(planning_for(trained, protocol)) | {"cost": cost_name(trained, protocol)}


def tried(manifest: Manifest, made: Mapping[str, Callable[[], Policy]], plan: Numbers, found: Numbers, save: Callable[[], None]) -> None:
    """Let each policy try that has not yet; all but the planner are compared with it, scene by scene.

    Where the planner was measured with another plan, all are measured anew.
    """
    if found.get(PLANNER, {}).get("plan", plan) != plan:
        for name in set(found) & set(COLOURS):
            del found[name]
    outcomes: dict[str, Outcome] = {}
    for name, policy in made.items():
        if name in found:
            continue
        if name != PLANNER and PLANNER not in outcomes and PLANNER in found:
            outcomes[PLANNER] = outcome_of(manifest, found[PLANNER]["solved"])
        began = time.perf_counter()
        outcomes[name] = run(manifest, policy(), camera=name not in BLIND)
        numbers: Numbers = rates(outcomes[name]).overall.numbers() | {"seconds": round(time.perf_counter() - began, 1)}
        numbers["seconds_per_action"] = round(outcomes[name].seconds_per_action, 6)
        if name == PLANNER:
            numbers["plan"] = plan
            numbers["solved"] = np.flatnonzero(outcomes[name].success).tolist()
        else:
            against = compare(outcomes[PLANNER], outcomes[name])
            low, high = against.interval
            numbers["planner_ahead"] = {"difference": round(against.difference, 4), "low": round(low, 4), "high": round(high, 4)}
        found[name] = numbers
        save()
        Console().print(f"  {name}: {numbers['rate']:.1%} ({numbers['low']:.1%} to {numbers['high']:.1%}), {numbers['seconds']:.0f} s")


def outcome_of(manifest: Manifest, solved: list[int]) -> Outcome:
    """An outcome that is known by the scenes that were solved only."""
    distance = np.ones((len(manifest.scenes), 1))
    distance[solved] = 0.0
    return Outcome(digest=manifest.digest, hard=manifest.hard, distance=distance, tolerance=0.5, unit="", seconds_per_action=0.0, hold=0)


def pooled(results: Numbers, protocol: str, name: str) -> tuple[int, int, list[float]] | None:
    """Successes and episodes over all seeds, and the rate of each seed."""
    cells = [s["protocols"][protocol][name] for s in results["seeds"].values() if name in s["protocols"].get(protocol, {})]
    if not cells:
        return None
    return sum(c["successes"] for c in cells), sum(c["episodes"] for c in cells), [c["rate"] for c in cells]


def table(results: Numbers, name: str) -> str:
    """Success in percent as a table of Markdown, all seeds together, over the chart of that name."""
    recording, seeds = results["recording"], results["seeds"]
    blocks = " with a predictor of residual blocks" if results.get("residual") else ""
    several, shared = "", results.get("device", "one thread") != "one thread"
    if results.get("members", 1) > 1:
        whose = "for all" if shared else "for each of"
        several = f" {whose} {results['members']} models that are asked together, trained at the same time,"
    took = "" if recording["seconds"] is None else f" ({recording['seconds']:.0f} s)"
    lines = [
        f"# {results['world']}",
        "",
        f"{recording['episodes']:,} recorded episodes of {recording['steps']} steps{took}; {results['minutes']:g} minutes of training on "
        f"{results.get('device', 'one thread')}{several} at size `{results['size']}`{blocks}, training seeds {', '.join(seeds)}; "
        f"{results['episodes']} scenes per protocol. Success in percent with 95 % intervals over all seeds, and each seed in brackets. "
        f"{results['cpu']}.",
        "",
        "| | " + " | ".join(PROTOCOLS) + " |",
        "|---" * (1 + len(PROTOCOLS)) + "|",
    ]
    for who in COLOURS:
        cells = []
        for protocol in PROTOCOLS:
            if (found := pooled(results, protocol, who)) is None:
                cells.append("not measured")
                continue
            successes, episodes, each = found
            low, high = wilson(successes, episodes)
            single = ", ".join(f"{100 * rate:.1f}" for rate in each)
            cells.append(f"{100 * successes / episodes:.1f} ({100 * low:.1f}–{100 * high:.1f}) [{single}]")
        lines.append(f"| {who} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"![success]({name}.svg)", ""])


def draw(results: Numbers, path: Path) -> None:
    """The same as bars."""
    figure, axes = empty()
    width, unnamed = 0.8 / len(COLOURS), set(COLOURS)
    for i, (name, colour) in enumerate(COLOURS.items()):
        for j, protocol in enumerate(PROTOCOLS):
            where = j - 0.4 + (i + 0.5) * width
            if (found := pooled(results, protocol, name)) is None:
                axes.text(where, 2, "not measured", rotation=90, ha="center", va="bottom", fontsize=6, color="grey")
                continue
            successes, episodes, _ = found
            rate, (low, high) = successes / episodes, wilson(successes, episodes)
            axes.bar(where, 100 * rate, width * 0.92, color=colour, label=name if name in unnamed else None)
            unnamed.discard(name)
            axes.plot([where, where], [100 * low, 100 * high], color="black", linewidth=1)
    ends = (-0.5, len(PROTOCOLS) - 0.5)
    axes.set(xticks=range(len(PROTOCOLS)), xticklabels=list(PROTOCOLS), xlim=ends, ylim=(0, 104), ylabel="success, %")
    axes.set_title(results["world"], loc="left")
    written(figure, axes, path)


def main(options: Options) -> None:
    torch.set_num_threads(1)
    name = file_name(options)
    path = RESULTS / f"{name}.json"
    setting = {"world": options.world, "minutes": minutes(options), "size": options.size, "episodes": options.episodes}
    setting |= {"logs": options.logs, "device": "one thread" if options.device == "cpu" else f"one {torch.cuda.get_device_name()}"}
    setting |= {"residual": options.residual, "members": members(options)}
    results: Numbers = {"logs": None, "device": "one thread", "residual": False, "members": 1} | (
        json.loads(path.read_text()) if path.is_file() else {}
    )
    if {part: results.get(part) for part in setting} != setting:
        results = setting | {"seeds": {}}
    results["cpu"] = cpu_model()

    def save() -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(results, indent=1) + "\n")

    store = recorded(options, results)
    for seed in options.seeds:
        model = trained(options, store, seed)
        cell = results["seeds"].setdefault(str(seed), {"protocols": {}})
        for protocol in options.protocols:
            manifest = draw_manifest(PROTOCOLS[protocol](options.world, episodes=options.episodes, seed=1000))
            Console().print(f"{options.world}, seed {seed}, {protocol} {manifest.digest[:12]}")
            found = cell["protocols"].setdefault(protocol, {"digest": manifest.digest})
            if found["digest"] != manifest.digest:
                found = cell["protocols"][protocol] = {"digest": manifest.digest}
            tried(manifest, policies(model, manifest.protocol), plan_of(model, manifest.protocol), found, save)
    save()
    atomic_write(RESULTS / f"{name}.md", table(results, name))
    draw(results, RESULTS / f"{name}.svg")
    Console().print(table(results, name), markup=False)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
