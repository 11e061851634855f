"""What buys what: every planner, proposal and cost, at two budgets, on the same scenes.

    python -m benchmarks.tables.planners RUN [--world NAME] [--episodes 100] [--protocol long] [--only WORD ...] [--store DIR]

One thing is changed at a time from the planner that `tacit eval --protocol` uses. Numbers go to docs/results/WORLD-planners.json after
every row, and a table with them; rows that are there already are not measured again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from tacit.atomic import atomic_write
from tacit.contracts import Cost, Proposal
from tacit.data import EpisodeStore
from tacit.evaluation.baselines import CloningPolicy, PlannedPolicy, Samples
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.outcome import rates
from tacit.evaluation.protocol import NAMED, Policy, draw_manifest, run
from tacit.evaluation.suites import REACH
from tacit.planning import Controller, PlanSettings, Retrieval, Task, action_limits, planner_for
from tacit.planning.costs import LatentDistance, TemporalDistance, TerminalLatentDistance
from tacit.run import CostFor, Run, load
from tacit.training.folder import fingerprint
from tacit.training.latents import LatentLog, encode_log

RESULTS = Path(__file__).parents[2] / "docs" / "results"
Numbers = dict[str, Any]
ProposalFor = Callable[[Tensor], Proposal]

# What planners without proposals of their own begin with, and four times the rollouts of either kind.
BLIND = PlanSettings(horizon=25, candidates=64, iterations=2, initial_std=0.8)
FOURFOLD: Mapping[str, Any] = {"candidates": 128, "iterations": 4}
NOTHING: Mapping[str, Any] = {}
GRADIENT = replace(BLIND, planner="gradient", iterations=6)
PLANNERS: Mapping[str, PlanSettings] = {
    "CEM": replace(BLIND, planner="cem", noise_correlation=0.9),
    "iCEM": replace(BLIND, planner="icem"),
    "MPPI": replace(BLIND, planner="mppi", noise_correlation=0.9),
}
BOTH = "steps to go and latent distance, summed"  # the default
PART = {"planners": "Planners", "proposals": "Proposals", "costs": "Costs"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to act.

    Attributes:
        part: Which question it answers, a key of `PART`.
        settings: Of the planner; None for the proposals alone, followed unverified.
        cost: Name in `costs`.
        proposals: Name in `suggestions`.
    """

    part: str
    settings: PlanSettings | None = REACH
    cost: str = BOTH
    proposals: str = "inverse model"


def _rows() -> dict[str, Row]:
    rows = {"propose-verify": Row(part="planners")}
    fourfold = replace(REACH, proposals=64, **FOURFOLD)
    rows["propose-verify, four times the budget"] = Row(part="planners", settings=fourfold)
    for name, settings in PLANNERS.items():
        for ending, given in ("", NOTHING), (", four times the budget", FOURFOLD):
            rows[name + ending] = Row(part="planners", settings=replace(settings, **given))
            rows[f"{name} from proposals{ending}"] = Row(part="planners", settings=replace(settings, proposals=32, **given))
    for ending, candidates in ("", 16), (", four times the budget", 64):
        gradient = replace(GRADIENT, candidates=candidates)
        rows["gradient" + ending] = Row(part="planners", settings=gradient)
        rows[f"gradient from proposals{ending}"] = Row(part="planners", settings=replace(gradient, proposals=8))
    for ending, count in ("", 128), (", four times the budget", 512):
        compared = PlanSettings(planner="policy-rollout", horizon=25, candidates=count, proposals=count, iterations=1)
        rows["policy-rollout" + ending] = Row(part="planners", settings=compared, proposals="detours")
    for ending, iterations in ("", 2), (", four times the budget", 8):
        newton = replace(BLIND, planner="newton", iterations=iterations)
        rows[f"Newton on latent distance{ending}"] = Row(part="planners", settings=newton, cost="latent distance, summed")

    for kind in ("inverse model", "retrieval"):
        rows[f"{kind} alone"] = Row(part="proposals", settings=None, proposals=kind)
    rows["propose-verify, no refinement"] = Row(part="proposals", settings=replace(REACH, iterations=1))
    for ending, settings in ("", REACH), (", four times the budget", fourfold):
        rows[f"propose-verify, no proposals{ending}"] = Row(part="proposals", settings=replace(settings, proposals=0))
        for kind in ("retrieval", "half of each"):
            rows[f"propose-verify, {kind}{ending}"] = Row(part="proposals", settings=settings, proposals=kind)

    for cost in COSTS:
        rows[f"propose-verify on {cost}"] = Row(part="costs", cost=cost)
        rows[f"CEM on {cost}"] = Row(part="costs", settings=PLANNERS["CEM"], cost=cost)
    return rows


COSTS: Mapping[str, Callable[[Run], CostFor]] = {
    "latent distance, summed": lambda _: lambda goal: LatentDistance(goal=goal),
    "latent distance, at the end": lambda _: lambda goal: TerminalLatentDistance(goal=goal),
    "steps to go, summed": lambda trained: trained.temporal_cost,
    "steps to go, at the end": lambda trained: lambda goal: _steps_at_the_end(trained, goal),
    "steps to go, at the first arrival": lambda trained: trained.arrival_cost,
    "steps to go and latent distance, at the best moment": lambda trained: trained.touching_cost,
    BOTH: lambda trained: trained.reaching_cost,
}


def _steps_at_the_end(trained: Run, goal: Tensor) -> Cost:
    return TemporalDistance(distance=trained.distance, goal=goal, stride=REACH.horizon)  # a look at the last moment alone


ROWS = _rows()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        run: Folder of the run.
        world: Where to plan; the world of the logs when left out.
        episodes: Scenes.
        protocol: Named protocol they are drawn by.
        seed: Of the scenes.
        only: Rows whose name contains one of these; all when left out.
        store: Logs that are retrieved from; those of the run when left out.
        logs: How many of their training episodes.
        results: Where the numbers go.
    """

    run: tyro.conf.Positional[Path]
    world: str | None = None
    episodes: int = 100
    protocol: Literal["standard", "long", "strict"] = "standard"
    seed: int = 2000
    only: tuple[str, ...] = ()
    store: Path | None = None
    logs: int = 500
    results: Path = RESULTS


class Suggested:
    """Does the first thing that is suggested at each moment, unverified: the floor of a kind of proposals."""

    def __init__(self, trained: Run, proposal_for: ProposalFor) -> None:
        self._trained, self._proposal_for = trained, proposal_for
        self._limits = action_limits(trained.schema)

    def reset(self, goals: Samples, seed: int) -> None:
        self._proposal = self._proposal_for(self._encoded(goals))
        self._history: Tensor | None = None

    def act(self, observations: Samples) -> NDArray[Any]:
        latest = self._encoded(observations)[:, None]
        past = latest.expand(-1, self._trained.model.history, -1) if self._history is None else self._history
        self._history = torch.cat((past[:, 1:], latest), 1)
        suggested = self._proposal(self._history, REACH.horizon, 1, torch.Generator())[:, 0, 0]
        return self._limits.nearest(suggested, torch.zeros_like(suggested)).numpy()

    def _encoded(self, samples: Samples) -> Tensor:
        with torch.no_grad():
            return self._trained.model.encode({name: torch.tensor(value)[:, None] for name, value in samples.items()})[:, 0]


class Timed:
    """A policy, and the processor's seconds that it takes."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self.seconds = policy, 0.0

    def reset(self, goals: Samples, seed: int) -> None:
        self._policy.reset(goals, seed)

    def act(self, observations: Samples) -> NDArray[Any]:
        began = time.process_time()
        actions = np.asarray(self._policy.act(observations))
        self.seconds += time.process_time() - began
        return actions


def suggestions(trained: Run, log: Callable[[], LatentLog]) -> dict[str, ProposalFor]:
    """Kinds of proposals, by name."""

    def retrieval(goal: Tensor) -> Proposal:
        logged = log()
        last = torch.repeat_interleave(logged.first + logged.steps, logged.steps + 1)
        return Retrieval(latents=logged.latents, actions=logged.actions, last=last, goal=goal)

    def half_of_each(goal: Tensor) -> Proposal:
        one, other = trained.proposals(goal), retrieval(goal)

        def both(history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
            few = count // 2
            return torch.cat((one(history, horizon, count - few, generator), other(history, horizon, few, generator)), 1)

        return both

    return {"inverse model": trained.proposals, "retrieval": retrieval, "half of each": half_of_each, "detours": trained.detours}


def policy_of(row: Row, trained: Run, kinds: Mapping[str, ProposalFor]) -> Policy:
    """What acts as a row says."""
    if row.settings is None and row.proposals == "inverse model":
        return CloningPolicy(trained.model, trained.policy)
    if row.settings is None:
        return Suggested(trained, kinds[row.proposals])
    planner = planner_for(trained.model, row.settings)
    made = Controller(
        model=trained.model,
        planner=planner,
        cost_for=COSTS[row.cost](trained),
        task=Task(plan=row.settings),
        proposals_for=kinds[row.proposals],
    )
    return PlannedPolicy(made)


def table(results: Numbers) -> str:
    """The rows as a table of Markdown."""
    lines = [
        f"# {results['world']}: what buys what",
        "",
        f"Protocol `{results['protocol']}`, {results['episodes']} scenes (seed {results['seed']}), one training seed. Success in percent "
        f"with 95 % intervals, and milliseconds that one thread computes for a decision, encoding included, with up to 100 machines side "
        f"by side. {results['cpu']}.",
        "",
        "The planner of `tacit eval` is propose-verify with proposals of the inverse model, on steps to go and latent distance, summed. "
        "One thing is changed at a time.",
    ]
    for part, title in PART.items():
        rows = {name: results["rows"][name] for name, row in ROWS.items() if row.part == part and name in results["rows"]}
        if rows:
            lines += ["", f"## {title}", "", "| | success | ms per decision |", "|---|---|---|"]
        for name, row in rows.items():
            success = f"{100 * row['rate']:.0f} ({100 * row['low']:.0f}–{100 * row['high']:.0f})"
            lines.append(f"| {name} | {success} | {1e3 * row['cpu_seconds_per_decision']:.2f} |")
    return "\n".join([*lines, ""])


def main(options: Options) -> None:
    torch.set_num_threads(1)
    trained = load(options.run)
    name = options.world or trained.config.source["world"]
    path = options.results / f"{name}-planners.json"
    manifest = draw_manifest(NAMED[options.protocol](name, episodes=options.episodes, seed=options.seed))
    setting = {"world": name, "protocol": options.protocol, "episodes": options.episodes, "seed": options.seed, "logs": options.logs}
    setting |= {"digest": manifest.digest, "model": fingerprint(options.run)}
    results: Numbers = json.loads(path.read_text()) if path.is_file() else {}
    if {key: results.get(key) for key in setting} != setting:
        results = {**setting, "cpu": cpu_model(), "rows": {}}

    @cache
    def log() -> LatentLog:
        store = EpisodeStore(options.store or Path(trained.config.store))
        episodes = trained.config.division(store)[0][: options.logs]
        return encode_log(store, episodes.tolist(), trained.model, device=torch.device("cpu"))

    kinds = suggestions(trained, log)
    for row_name, row in ROWS.items():
        said = json.loads(json.dumps(asdict(row)))
        known = results["rows"].get(row_name, {})
        if known.get("row") == said or not any(word in row_name for word in options.only or ("",)):
            continue
        began = time.perf_counter()
        policy = Timed(policy_of(row, trained, kinds))
        numbers = rates(run(manifest, policy)).overall.numbers()
        decisions = options.episodes * manifest.protocol.budget
        numbers |= {"cpu_seconds_per_decision": round(policy.seconds / decisions, 6), "seconds": round(time.perf_counter() - began, 1)}
        results["rows"][row_name] = numbers | {"row": said}
        options.results.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(results, indent=1) + "\n")
        atomic_write(path.with_suffix(".md"), table(results))
        milliseconds = 1e3 * numbers["cpu_seconds_per_decision"]
        Console().print(f"{row_name}: {numbers['rate']:.1%} ({numbers['low']:.1%} to {numbers['high']:.1%}), {milliseconds:.2f} ms")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
