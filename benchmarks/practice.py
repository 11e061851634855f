"""Practice: does a model plan better when it has seen what its own plans came to?

    python -m benchmarks.practice RUN WORLD LOGS [--scenes 2200] [--minutes 5] [--episodes 300] [--work DIR] [--json FILE]

The planner tries scenes of a seed that nothing else is judged by, each until it is there or the time is up, and what was seen and done is
kept. Then the predictors are trained on, encoders and heads at rest: once on the logs that the run was trained on, and once on logs and
practice together, for the same minutes. All three try the same new scenes. What is learned from is the machine's doing and no score, but
scenes that were solved end early, so how an episode went decides how long it is. Numbers go to the file after each of the three.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore
from tacit.evaluation.baselines import PlannedPolicy
from tacit.evaluation.outcome import rates
from tacit.evaluation.protocol import NAMED, Manifest, Policy, draw_manifest
from tacit.evaluation.protocol import run as play
from tacit.evaluation.suites import cost_for, planning_for
from tacit.models.ensemble import members_of
from tacit.models.jepa import JEPA
from tacit.planning import Task
from tacit.run import Run, load
from tacit.training.dynamics import fit_dynamics
from tacit.training.folder import read_run, write_run
from tacit.training.latents import LatentLog, encode_log

PARTS = 50  # scenes that are played at once; of the others' frames only those until the arrival are kept
SHARE = 4  # how often an episode of practice counts
HELD_OUT = 10  # of so many episodes of practice one is not trained on
RATE = 1e-3  # peak learning rate; half of what a new predictor learns with
AHEAD = (1, 5, 10)  # steps after which predictions are compared
AS_IS, LOGS, BOTH = "as it is", "trained on: logs", "trained on: logs and practice"

Numbers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        run: Folder of a run.
        world: Where it acts.
        logs: The store that it was trained on.
        scenes: That are practised, of the standard protocol.
        seed: Of those scenes.
        minutes: Of training, for each model of the run, on one thread.
        episodes: New scenes that are judged.
        judged: Their seed.
        work: Where the two other runs go.
        json: Where the numbers go.

    Raises:
        ValueError: What is practised would be judged.
    """

    run: tyro.conf.Positional[Path]
    world: tyro.conf.Positional[str]
    logs: tyro.conf.Positional[Path]
    scenes: int = 2200
    seed: int = 101
    minutes: float = 5.0
    episodes: int = 300
    judged: int = 2000
    work: Path = Path("benchmarks/work/practice")
    json: Path = Path("benchmarks/results/practice.json")

    def __post_init__(self) -> None:
        if self.seed == self.judged:
            raise ValueError(f"scenes of seed {self.seed} would be practised and judged: give another --seed")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tried:
    """What was seen and done in one scene: samples (T + 1, *shape) by signal, and actions (T, A)."""

    seen: dict[str, NDArray[Any]]
    actions: NDArray[np.float32]


def planner(run: Run, manifest: Manifest) -> Policy:
    """The planner that the suite gives such a run."""
    settings = planning_for(run, manifest.protocol)
    return PlannedPolicy(run.controller(Task(plan=settings), cost_for=cost_for(run, manifest.protocol)))


def tried(run: Run, manifest: Manifest) -> tuple[list[Tried], int]:
    """What the planner did in every scene, until it was there, and how many it solved."""
    outcome = play(manifest, planner(run, manifest), keep=range(len(manifest.scenes)))
    found = []
    for trace, distance in zip(outcome.traces, outcome.distance, strict=True):
        there = np.flatnonzero(distance <= outcome.tolerance)
        steps = int(there[0]) if len(there) else len(trace.actions)
        seen = {name: values[: steps + 1].copy() for name, values in trace.observations.items()}
        found.append(Tried(seen=seen, actions=trace.actions[:steps].copy()))
    return [each for each in found if len(each.actions)], int(outcome.success.sum())


def encoded(model: JEPA, episodes: Sequence[Tried]) -> LatentLog:
    """Those episodes as a model sees them."""
    latents, actions = [], []
    for episode in episodes:
        with torch.no_grad():
            latents.append(model.encode({name: torch.tensor(values)[None] for name, values in episode.seen.items()})[0])
        actions.append(torch.from_numpy(np.pad(episode.actions, ((0, 1), (0, 0)))))
    return _laid(torch.cat(latents), torch.cat(actions), torch.tensor([len(episode.actions) for episode in episodes]))


def _laid(latents: torch.Tensor, actions: torch.Tensor, steps: torch.Tensor) -> LatentLog:
    first = torch.cat((torch.zeros(1, dtype=torch.int64), (steps + 1).cumsum(0)[:-1]))
    return LatentLog(latents=latents, actions=actions, first=first, steps=steps)


def joined(logs: Sequence[LatentLog]) -> LatentLog:
    """All episodes of some logs as one."""
    parts = ([getattr(log, name) for log in logs] for name in ("latents", "actions", "steps"))
    return _laid(*(torch.cat(part) for part in parts))


def chosen(log: LatentLog, episodes: Sequence[int]) -> LatentLog:
    """Some episodes of a log."""
    rows = torch.cat([torch.arange(int(log.first[e]), int(log.first[e] + log.steps[e]) + 1) for e in episodes])
    return _laid(log.latents[rows], log.actions[rows], log.steps[list(episodes)])


def errors(model: JEPA, log: LatentLog) -> dict[str, float]:
    """Mean squared error of the state after some steps, from every third moment that has so many left; nothing where none has."""
    found: dict[str, float] = {}
    longest = max(AHEAD)
    where = [(e, t) for e, steps in enumerate(log.steps.tolist()) for t in range(0, steps - longest + 1, 3)]
    if not where:
        return found
    episode, t = torch.tensor(where).unbind(1)
    rows = (log.first[episode] + t)[:, None] + torch.arange(longest)
    with torch.no_grad():
        predicted = model.predicted_part(model.rollout(log.history(episode, t, model.history), log.actions[rows][:, None])[:, 0])
    for ahead in AHEAD:
        truth = model.predicted_part(log.latents[rows[:, ahead - 1] + 1])
        found[str(ahead)] = round(float((predicted[:, ahead - 1] - truth).square().sum(-1).mean()), 4)
    return found


def trained_on(model: JEPA, log: LatentLog, minutes: float, run: Run, seed: int) -> None:
    """Train a predictor on, in place, as its recipe trained it, from a smaller learning rate down."""
    model.predictor.requires_grad_(True).train()
    dynamics = replace(run.config.recipe.dynamics, steps=None, minutes=minutes, learning_rate=RATE)
    fit_dynamics(model, log, dynamics, seed=seed)
    model.predictor.requires_grad_(False).eval()


def main(options: Options) -> None:
    torch.set_num_threads(1)
    trained, store = load(options.run), EpisodeStore(options.logs)
    results: Numbers = {"world": options.world, "scenes": options.scenes, "minutes": options.minutes, "judged": {}, "errors": {}}
    manifest = draw_manifest(NAMED["standard"](options.world, episodes=options.episodes, seed=options.judged))

    def judge(name: str, run: Run) -> None:
        results["judged"][name] = rates(play(manifest, planner(run, manifest))).overall.numbers()
        atomic_write(options.json, json.dumps(results, indent=1) + "\n")
        Console().print(name, results["judged"][name])

    judge(AS_IS, trained)
    practice: list[Tried] = []
    solved = 0
    whole = draw_manifest(NAMED["standard"](options.world, episodes=options.scenes, seed=options.seed))
    for start in range(0, options.scenes, PARTS):
        scenes = whole.scenes[start : start + PARTS]
        part, there = tried(trained, Manifest(protocol=replace(whole.protocol, episodes=len(scenes)), scenes=scenes))
        practice, solved = practice + part, solved + there
    results |= {"practised_steps": sum(len(each.actions) for each in practice), "practised_solved": solved}

    config, model, distance, policy, calibration = read_run(options.run)
    training, _ = config.division(store)
    after = {LOGS: copy.deepcopy(model), BOTH: copy.deepcopy(model)}
    for number, member in enumerate(members_of(model)):
        log, own = encode_log(store, training.tolist(), member, device=torch.device("cpu")), encoded(member, practice)
        test = chosen(own, range(0, len(own), HELD_OUT))
        used = chosen(own, [e for e in range(len(own)) if e % HELD_OUT])
        found = {AS_IS: errors(member, test)}
        for name, data in ((LOGS, log), (BOTH, joined([log, *[used] * SHARE]))):
            learner = members_of(after[name])[number]
            trained_on(learner, data, options.minutes, trained, options.seed + number)
            found[name] = errors(learner, test)
        results["errors"][str(number)] = found
    for name, changed in after.items():
        out = options.work / name.replace(": ", "-").replace(" ", "-")
        write_run(out, config=config, model=changed, distance=distance, policy=policy, calibration=calibration)
        judge(name, load(out))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
