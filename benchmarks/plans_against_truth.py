"""What a plan promises, and what the simulator then shows: a diagnosis that no planner is given.

    python -m benchmarks.plans_against_truth RUN WORLD [--episodes 60] [--seed 2000] [--json FILE]

The first plan of every scene, in three ways: two suggestions by chance, the best suggestion of the first round, and the best of all
rounds, which the planner follows. Each is played in the simulator, and what its camera shows is encoded. The squared error of the
predicted latents, the cost foretold and the cost of what was shown say where the model is wrong: about what is usual, or about what a
search picks. Scenes that the controller fails in the end are counted apart as well; they are chosen by how they end, and so partly by how
wrong the model is in them. For planners that follow what is foretold the lowest cost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from tacit.atomic import atomic_write
from tacit.contracts import Cost
from tacit.evaluation.baselines import PlannedPolicy
from tacit.evaluation.protocol import NAMED, Manifest, draw_manifest
from tacit.evaluation.protocol import run as play
from tacit.evaluation.suites import cost_for, planning_for
from tacit.planning import Task
from tacit.run import Run, load
from tacit.worlds import Env, Scene, World, world

Numbers = dict[str, Any]
AHEAD = (5, 10, 25)  # steps after which latents are compared
WAYS = ("chance", "best suggestion", "chosen")
PLANNER = "propose-verify"  # others follow another plan than the one of the lowest cost, or have no suggestions


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        run: Folder of a run.
        world: Where it acts.
        episodes: Scenes of its standard protocol.
        seed: Of the scenes, and of the suggestions that are looked at.
        json: Where the numbers go.
    """

    run: tyro.conf.Positional[Path]
    world: tyro.conf.Positional[str]
    episodes: int = 60
    seed: int = 2000
    json: Path = Path("benchmarks/results/plans_against_truth.json")


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """What was scored at once: predicted latents (B, K, H, D), actions (B, K, H, A) and costs (B, K)."""

    latents: Tensor
    actions: Tensor
    costs: Tensor


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A cost that remembers what it was asked."""

    cost: Cost
    rounds: list[Round]

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        costs = self.cost(trajectory, actions)
        self.rounds.append(Round(latents=trajectory.clone(), actions=actions.clone(), costs=costs.clone()))
        return costs


def first_plans(run: Run, manifest: Manifest, seen: dict[str, NDArray[Any]], goals: dict[str, NDArray[Any]]) -> tuple[Cost, list[Round]]:
    """The cost of all scenes, and what was scored on the way to their first plans."""
    found: list[Watched] = []

    def watched(goal: Tensor) -> Cost:
        found.append(Watched(cost=cost_for(run, manifest.protocol)(goal), rounds=[]))
        return found[-1]

    controller = run.controller(Task(plan=planning_for(run, manifest.protocol)), cost_for=watched)
    controller.reset(goals)
    controller.act_batch(seen)
    return found[-1].cost, found[-1].rounds


def played(run: Run, arena: World, env: Env, scene: Scene, actions: NDArray[np.float32]) -> Tensor:
    """Latents (H, D) of what a scene shows while actions (H, A) are applied."""
    arena.start(env, scene)
    shown = [env.step(action)[0] for action in actions]
    seen = {s.name: torch.tensor(np.stack([np.asarray(moment[s.name]) for moment in shown]))[None] for s in run.model.schema.seen}
    with torch.no_grad():
        return run.model.encode(seen)[0]


def looked_at(rounds: Sequence[Round], scene: int, rng: np.random.Generator) -> list[tuple[str, Round, int]]:
    """Way, round and candidate of what is played of a scene."""
    first = rounds[0]
    by_chance = rng.choice(first.costs.shape[1], 2, replace=False)
    best = min(rounds, key=lambda each: float(each.costs[scene].min()))
    return [
        *(("chance", first, int(k)) for k in by_chance),
        ("best suggestion", first, int(first.costs[scene].argmin())),
        ("chosen", best, int(best.costs[scene].argmin())),
    ]


def measured(run: Run, manifest: Manifest, seed: int) -> Numbers:
    """Errors and costs of first plans, of all scenes and of those that fail in the end.

    Raises:
        ValueError: The world is planned with another planner, or not as far ahead as is looked.
    """
    plan = planning_for(run, manifest.protocol)
    if plan.planner != PLANNER or plan.horizon < max(AHEAD):
        had = f"{plan.planner!r} over {plan.horizon} steps"
        raise ValueError(f"{manifest.protocol.world} is planned with {had}; this takes {PLANNER!r} over at least {max(AHEAD)}")
    arena, rng = world(manifest.protocol.world), np.random.default_rng(seed)
    env = arena.make()
    names = [s.name for s in run.model.schema.seen]
    try:
        goals = [arena.goal(env, scene) for scene in manifest.scenes]
        starts = [arena.start(env, scene)[0] for scene in manifest.scenes]
        together = [{name: np.stack([np.asarray(each[name]) for each in samples]) for name in names} for samples in (starts, goals)]
        cost, rounds = first_plans(run, manifest, *together)
        rows: dict[str, list[tuple[int, list[float]]]] = {way: [] for way in WAYS}
        for i, scene in enumerate(manifest.scenes):
            for way, scored, k in looked_at(rounds, i, rng):
                shown = played(run, arena, env, scene, scored.actions[i, k].numpy())
                error = run.model.predicted_part(scored.latents[i, k] - shown).square().sum(-1)
                truth = scored.latents[:, :1].clone()  # the cost is that of all scenes at once
                truth[i, 0] = shown
                real = float(cost(truth, scored.actions[:, k : k + 1])[i, 0])
                rows[way].append((i, [float(scored.costs[i, k]), real, *(float(error[step - 1]) for step in AHEAD)]))
    finally:
        env.close()
    controller = run.controller(Task(plan=plan), cost_for=cost_for(run, manifest.protocol))
    failed = ~play(manifest, PlannedPolicy(controller)).success
    return {
        "scenes": len(failed),
        "failed": int(failed.sum()),
        **{group: {way: summed(rows[way], kept) for way in WAYS} for group, kept in (("all", np.ones_like(failed)), ("failing", failed))},
    }


def summed(rows: Sequence[tuple[int, list[float]]], kept: NDArray[np.bool_]) -> Numbers:
    """Of the scenes that are kept: median costs, their correlation, and mean squared errors."""
    values = np.array([numbers for scene, numbers in rows if kept[scene]])
    if len(values) < 3:
        return {}
    return {
        "plans": len(values),
        "cost_foretold": round(float(np.median(values[:, 0])), 2),
        "cost_shown": round(float(np.median(values[:, 1])), 2),
        "correlation": round(float(np.corrcoef(values[:, 0], values[:, 1])[0, 1]), 3),
        "squared_error": {str(step): round(float(error), 2) for step, error in zip(AHEAD, values[:, 2:].mean(0), strict=True)},
    }


def main(options: Options) -> None:
    torch.set_num_threads(1)
    run = load(options.run)
    manifest = draw_manifest(NAMED["standard"](options.world, episodes=options.episodes, seed=options.seed))
    found = {"world": options.world, "run": options.run.name, "seed": options.seed, **measured(run, manifest, options.seed)}
    atomic_write(options.json, json.dumps(found, indent=1) + "\n")
    Console().print_json(data=found)


if __name__ == "__main__":
    main(tyro.cli(Options))
