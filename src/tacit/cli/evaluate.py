"""`tacit eval`: measure what a run is worth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tacit.cli.evaluate_plant import run_plant
from tacit.cli.terminal import Stopped, Terminal, stoppable
from tacit.cli.train import set_threads, verify

if TYPE_CHECKING:
    from tacit.evaluation.protocol import Manifest
    from tacit.run import Run

EPISODES, BUDGET, SEED = 200, 200, 0  # without a manifest


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Let a run plan in a simulated world, beside an ablation and its floors on the same scenes, and probe its latents.

    $ tacit eval runs/rooms --world two_room --episodes 200 --json runs/rooms/eval.json

    A run of a plant is driven in closed loop instead, beside the plant's own controllers, through setpoints that change and disturbances
    that nobody measures; plant.html in its folder shows what came of it.

    $ tacit eval runs/tanks --world four_tank --task tanks.toml
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    world: Annotated[str | None, tyro.conf.arg(metavar="WORLD", help_behavior_hint="(default: the world of the logs)")] = None
    """World to plan in."""
    episodes: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 200)")] = None
    """Scenes, half of them hard. Of a plant: scenarios, 6 of them unless told otherwise."""
    budget: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 200)")] = None
    """Actions per scene. Of a plant: what an hour holds unless told otherwise."""
    protocol: Annotated[Literal["standard", "long", "strict"] | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    """Scenes and budget of a named protocol, instead of scenes of which half are hard: standard and long are stretches of 25 and 75
    steps of the recorder's own way, strict are goals in another region that must be kept."""
    task: Annotated[Path | None, tyro.conf.arg(metavar="TASK", help_behavior_hint="(default: hold every loop at its setpoint)")] = None
    """Task file for a plant: weights, limits and planner; its setpoints are changed by the scenarios."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 0)")] = None
    """Seed of the scenes and of the planner's samples."""
    manifest: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Scenes that were drawn before, instead of the five options above."""
    ablation_episodes: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """Scenes for the ablation, the first ones."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DATA", help_behavior_hint="(default: where it was)")] = None
    """Store that the run was trained on."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all physical cores)")] = None
    """Threads for everything but the latency, which is measured on one."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Write the numbers there, too."""


def run(options: Evaluate, terminal: Terminal) -> int:
    from tacit.atomic import atomic_write
    from tacit.data import EpisodeStore, StoreError
    from tacit.evaluation.suites import evaluate
    from tacit.run import load
    from tacit.training.folder import merge_results, read_results
    from tacit.worlds import world
    from tacit.worlds.plants import PLANTS

    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise FileNotFoundError(2, "no such folder for --json", str(options.json.parent))
    trained = load(options.run)
    name = options.world or trained.config.source.get("world")
    if isinstance(name, str) and name in PLANTS:
        return run_plant(options, trained, name, terminal)
    if options.task is not None:
        raise ValueError("--task is of plants: other worlds bring a goal with each scene")
    manifest = manifest_of(options, trained)
    trained.schema.require_same(world(manifest.protocol.world).schema, f"the world {manifest.protocol.world}")
    set_threads(options.threads, 1, terminal)
    with stoppable(lambda: Stopped(f"{options.run} is as it was before", terminal.command)), terminal.phases() as phases:
        store = None
        try:
            store = EpisodeStore(options.data or Path(trained.config.store))
        except StoreError as error:
            if options.data is not None:
                raise
            terminal.warn(f"{error}. Nothing is probed without the logs: name their folder with --data")
        if store is not None:
            trained.schema.require_same(store.schema, f"the store {store.path}")
            verify(store, phases, terminal)
        evaluate(trained, manifest, store=store, ablation_episodes=options.ablation_episodes, display=phases)
    before = read_results(options.run)
    results = merge_results(
        options.run,
        {
            "phases": before.get("phases", {}) | phases.seconds,
            "commands": before.get("commands", {}) | {"eval": terminal.command},
        },
    )
    if options.json is not None:
        atomic_write(options.json, json.dumps(results, indent=2, allow_nan=False) + "\n")
    for line in headline(results):
        terminal.say(line)
    return 0


def manifest_of(options: Evaluate, trained: Run) -> Manifest:
    """The manifest that was named, or a new one.

    Raises:
        ValueError: A manifest and something that it decides are both given, or there is nothing that names a world.
    """
    from tacit.evaluation.protocol import NAMED, Manifest, Protocol, draw_manifest

    own = {
        "world": options.world,
        "episodes": options.episodes,
        "budget": options.budget,
        "protocol": options.protocol,
        "seed": options.seed,
    }
    if options.manifest is not None:
        if given := [name for name, value in own.items() if value is not None]:
            raise ValueError(f"--{given[0]} is decided by the manifest {options.manifest}; leave out one of the two")
        return Manifest.load(options.manifest)
    name = options.world or trained.config.source.get("world")
    if not isinstance(name, str):
        raise ValueError(f"{options.run} was not trained on a simulated world; say where to plan with --world")
    if options.protocol is not None and options.budget is not None:
        raise ValueError(f"--budget is decided by --protocol {options.protocol}; leave out one of the two")
    episodes, budget, seed = (
        default if given is None else given
        for given, default in ((options.episodes, EPISODES), (options.budget, BUDGET), (options.seed, SEED))
    )
    if options.protocol is not None:
        return draw_manifest(NAMED[options.protocol](name, episodes=episodes, seed=seed))
    return draw_manifest(Protocol(world=name, episodes=episodes, budget=budget, seed=seed))


def headline(results: dict[str, Any]) -> list[str]:
    """The numbers that a person looks for first, each with its interval."""
    hard, easy = (results["protocol"][part] for part in ("hard", "easy"))
    rows = [("goals reached", results["success"])]
    rows += [(f"  {name}", results[key]) for name in (hard, easy) if (key := f"success_{name.replace(' ', '_')}") in results]
    rows += [("on latent distance", results["ablation"]["latent_l2"])]
    rows += [(f"floor: {name}", rate) for name, rate in results["floors"].items()]
    lines = [
        f"{name:20} {rate['rate']:6.1%}   95 % interval {rate['low']:.1%} to {rate['high']:.1%}   {rate['successes']} of {rate['episodes']}"
        for name, rate in rows
    ]
    lines += [f"{'probe: ' + name:20} R² {r['r2']:.3f} linear, {r['r2_mlp']:.3f} small network" for name, r in results["probe"].items()]
    plan = results["plan"]
    return [*lines, f"{'one plan':20} {plan['ms_p50']:.1f} ms median, {plan['ms_p99']:.1f} ms at the 99th percentile, one thread"]
