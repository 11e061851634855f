"""Whether anything makes a controller break the limits of its actions: many emitted actions, random tasks, hostile models and planners.

    python benchmarks/action_limits.py [--actions 10000000] [--machines 4000] [--json FILE]

Every task has random action signals, a random control period and random limits: boxes, and in all mixtures rates, jerks, norms and linear
combinations. A real `Controller` drives a batch of machines with one of the planners, or with a planner that answers what it likes. The
model predicts NaN, infinities, noise or what tempts the planner out of its range, the cost likes what is forbidden, and now and then the
controller is restarted and told the last two applied actions. What was emitted is then checked by `violations`, which knows the numbers of
the task and float64, and nothing of how the limits are kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from tacit.atomic import atomic_write
from tacit.contracts import Deadline, Plan, Planner, Problem, Spent
from tacit.evaluation.machine import cpu_model
from tacit.planning import (
    ActionLimit,
    BoxLimits,
    Controller,
    Fallback,
    Goal,
    LinearLimit,
    PlanSettings,
    Task,
    TaskError,
    Verdict,
    action_limits,
    planner_for,
    planner_kinds,
)
from tacit.planning.plan_settings import PLANNERS
from tacit.signals import Role, Schema, Signal

KINDS = ("rate", "jerk", "norm", "linear")
STEPS = 24  # of an episode
MOODS = ("noise", "tempting", "some nan", "all nan", "inf")
ANSWERS = ("huge", "corners", "nan", "inf", "other sign each step", "ordinary")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        actions: Emitted actions, at least.
        machines: Machines that one controller drives.
        seed: Of everything.
        threads: Threads of torch.
        json: Where the numbers go.
    """

    actions: int = 10_000_000
    machines: int = 4000
    seed: int = 0
    threads: int = 1
    json: Path = Path(__file__).parent / "results" / "action_limits.json"


def random_task(rng: np.random.Generator) -> tuple[Schema, Task, tuple[str, ...]]:
    """A machine, a task, and which kinds of limits it has beside the box."""
    period = float(rng.choice([0.01, 0.1, 1 / 3, 1.0, 60.0]))
    kinds = tuple(kind for kind in KINDS if rng.random() < 0.5)
    signals, limits = [], {}
    for number in range(rng.integers(1, 4)):
        size, scale = int(rng.integers(1, 4)), 10.0 ** rng.uniform(-3, 4)
        if "norm" in kinds or rng.random() < 0.5:  # a norm needs a range around 0
            low, high = -scale * rng.uniform(0.01, 1), scale * rng.uniform(0.01, 1)
        else:
            low, high = np.sort(scale * rng.uniform(-1, 2, 2))
            high += 0.01 * scale
        width = high - low
        wanted: dict[str, object] = {}
        if "rate" in kinds and rng.random() < 0.8:
            rates = width * 10.0 ** rng.uniform(-3, 0.3, size) / period
            wanted["rate"] = rates.tolist() if rng.random() < 0.5 else float(rates[0])
        if "jerk" in kinds and rng.random() < 0.8:
            wanted["jerk"] = float(width * 10.0 ** rng.uniform(-3.5, 0) / period**2)
        if "norm" in kinds:
            wanted["max_norm"] = float(scale * 10.0 ** rng.uniform(-1.5, 0.3))
        name = f"action{number}"
        signals.append(Signal(name=name, role=Role.ACTION, shape=(size,), low=float(low), high=float(high)))
        limits[name] = ActionLimit(**wanted)  # type: ignore[arg-type]
    schema = Schema(signals=(Signal(name="state", role=Role.OBSERVATION, shape=(2,)), *signals), period=period)
    linear = [random_combination(rng, f"sum{number}", signals) for number in range(rng.integers(1, 4) if "linear" in kinds else 0)]
    horizon = int(rng.integers(1, 6))
    planner = str(rng.choice(PLANNERS))
    is_proposed = planner_kinds.KINDS[planner].ways is not None
    settings = PlanSettings(
        planner=planner,
        horizon=horizon,
        replan_every=int(rng.integers(1, horizon + 1)),
        candidates=8 if is_proposed else 6,
        proposals=8 if is_proposed else 0,
        iterations=2,
        initial_std=10.0 ** rng.uniform(-1, 2),
    )
    goal = Goal(observations={"state": np.zeros(2, np.float32)})
    return schema, Task(goal=goal, limits=limits, linear=tuple(linear), plan=settings, fallback=Fallback.HOLD), kinds


def random_combination(rng: np.random.Generator, name: str, signals: list[Signal]) -> LinearLimit:
    """A weighted sum that some of the actions in the box keep."""
    weights, low, high = {}, 0.0, 0.0
    for signal in signals:
        assert signal.low is not None
        assert signal.high is not None
        weight = rng.normal(size=signal.size) / (signal.high - signal.low) * (rng.random(signal.size) < 0.8)
        if not weight.any():
            weight[0] = 1 / (signal.high - signal.low)
        weights[signal.name] = weight.tolist()
        low += float(np.minimum(weight * signal.low, weight * signal.high).sum())
        high += float(np.maximum(weight * signal.low, weight * signal.high).sum())
    return LinearLimit(name=name, weights=weights, at_most=low + (high - low) * rng.uniform(0.2, 0.9))


@dataclass(kw_only=True)
class HostileModel:
    """Predicts what its mood says; its latents are two numbers of the observation."""

    schema: Schema
    mood: str
    generator: torch.Generator
    history: int = 1
    latent_size: int = 2

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        return observations["state"]

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        return history[:, -1]

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        trajectory = actions.sum(-1, keepdim=True).cumsum(2).expand(*actions.shape[:3], 2)
        drawn = torch.rand(trajectory.shape, generator=self.generator)
        match self.mood:
            case "noise":
                return 1e3 * drawn + 0 * trajectory
            case "some nan":
                return torch.where(drawn < 0.1, torch.nan, trajectory)
            case "all nan":
                return trajectory * torch.nan
            case "inf":
                return torch.where(drawn < 0.2, torch.inf, torch.where(drawn > 0.8, -torch.inf, trajectory))
        return trajectory


@dataclass(frozen=True, kw_only=True)
class Temptation:
    """Costs less the further actions are out, on one side or the other, or in turns; as a sum of squares, too, for Newton steps."""

    sides: Tensor

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        return -(actions * self.sides[: actions.shape[2]]).sum((-1, -2)) + 1e-3 * trajectory.sum((-1, -2))

    def residuals(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        return torch.cat((actions * self.sides[: actions.shape[2]] - 10.0, 1e-3 * trajectory), dim=-1).flatten(2)


@dataclass(frozen=True, kw_only=True)
class HostileProposal:
    """Suggests actions as far out as float32 goes, and some that are no numbers."""

    size: int

    def __call__(self, history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(len(history), count, horizon, self.size, generator=generator)
        far = drawn * 10.0 ** (40 * torch.rand(drawn.shape, generator=generator))  # beyond it, too: infinite
        return torch.where(torch.rand(len(history), count, 1, 1, generator=generator) < 0.2, torch.nan, far)


@dataclass(kw_only=True)
class HostilePlanner:
    """Answers what it likes, and calls it feasible."""

    rng: np.random.Generator
    seen: Problem | None = None

    def plan(self, problem: Problem, warm_start: Tensor | None = None, deadline: Deadline | None = None) -> Plan:
        limits, (batch, size) = problem.action_limits, problem.previous.shape
        shape = (batch, problem.horizon, size)
        low, high = limits.low.numpy(), limits.high.numpy()
        corner = np.where(self.rng.random(shape) < 0.5, low, high)
        match self.rng.choice(ANSWERS):
            case "huge":
                actions = corner * 10.0 ** self.rng.uniform(0, 30, shape)
            case "corners":
                actions = corner
            case "nan":
                actions = np.where(self.rng.random(shape) < 0.3, np.nan, corner)
            case "inf":
                actions = np.where(self.rng.random(shape) < 0.5, np.inf, -np.inf)
            case "other sign each step":
                actions = np.where(np.arange(problem.horizon)[:, None] % 2, low, high) * np.ones(shape)
            case _:
                actions = self.rng.uniform(low, high, shape)
        return Plan(
            actions=torch.tensor(actions.clip(-3e38, 3e38).astype(np.float32)) if np.isfinite(actions).all() else torch.tensor(actions),
            trajectory=torch.zeros(batch, problem.horizon, 2),
            cost=torch.zeros(batch),
            margins=torch.zeros(batch, 0),
            feasible=torch.ones(batch, dtype=torch.bool),
            spent=Spent(seconds=0.0, iterations=1, candidates=1, cut_by_deadline=False),
        )


def violations(schema: Schema, task: Task, actions: NDArray[np.float32]) -> dict[str, int]:
    """How many actions break each kind of limit, in float64, in more than one way of writing it.

    Args:
        schema: The machine.
        task: Its limits.
        actions: (2 + T, B, A) float32; the first two were applied before and are not counted.
    """
    u, period = actions.astype(np.float64), schema.period
    change, second = u[1:] - u[:-1], u[2:] - 2 * u[1:-1] + u[:-2]
    now, step, steps = u[2:], change[1:], change[1:] - change[:-1]
    found = dict.fromkeys(("box", *KINDS), 0)
    start = 0
    for signal in schema.actions:
        assert signal.low is not None
        assert signal.high is not None
        part, limit = slice(start, start + signal.size), task.limits[signal.name]
        start += signal.size
        found["box"] += _count((now[..., part] < signal.low) | (now[..., part] > signal.high))
        if limit.max_norm is not None:
            found["norm"] += _count(np.sqrt((now[..., part] ** 2).sum(-1, keepdims=True)) > limit.max_norm)
        if limit.rate is not None:
            rate, size = np.array(limit.rate), abs(step[..., part])
            found["rate"] += _count((size > rate * period) | (size / period > rate))
        if limit.jerk is not None:
            jerk = np.array(limit.jerk)
            size = np.maximum(abs(steps[..., part]), abs(second[..., part]))
            found["jerk"] += _count((size > jerk * period**2) | (size / period / period > jerk))
    for combination in task.linear:
        weights = np.concatenate([np.atleast_1d(combination.weights.get(s.name, np.zeros(s.size))) for s in schema.actions])
        found["linear"] += _count((now * weights).sum(-1, keepdims=True) > combination.at_most)
    return found


def _count(is_broken: NDArray[np.bool_]) -> int:
    return int(is_broken.any(-1).sum())


@dataclass(kw_only=True)
class Tally:
    """What was found, task after task."""

    actions: dict[str, int]
    by_planner: dict[str, int]
    violations: dict[str, int]
    tasks: int = 0
    refused: int = 0
    fallbacks: int = 0
    flagged: int = 0


def drive(rng: np.random.Generator, machines: int, tally: Tally) -> None:
    """One episode of one random task; adds to the tally."""
    schema, task, kinds = random_task(rng)
    try:
        limits = action_limits(schema, task)
    except TaskError:  # the combinations leave no action: a person would be told the line
        tally.refused += 1
        return
    is_hostile = rng.random() < 0.3
    name = "hostile" if is_hostile else task.plan.planner
    if name == "newton" or (is_hostile and {"norm", "linear"} & set(kinds)):
        machines = max(1, machines // 20)  # each of its answers is a quadratic program
    model = HostileModel(schema=schema, mood=str(rng.choice(MOODS)), generator=torch.Generator().manual_seed(int(rng.integers(1 << 31))))
    planner: Planner = HostilePlanner(rng=rng) if is_hostile else planner_for(model, task.plan, seed=int(rng.integers(1 << 31)))
    sides = torch.tensor(rng.choice([-1.0, 1.0], (task.plan.horizon, schema.action_size)), dtype=torch.float32) / (limits.high - limits.low)
    suggests = HostileProposal(size=schema.action_size)
    cost = Temptation(sides=sides)
    controller = Controller(model=model, planner=planner, cost_for=lambda goal: cost, task=task, proposals_for=lambda goal: suggests)
    rest = torch.zeros(machines, schema.action_size) if isinstance(limits, BoxLimits) else limits.rest.expand(machines, -1)
    emitted = [limits.nearest(rest, rest).numpy()] * 2
    controller.reset(applied=np.stack(emitted, 1))
    for step in range(STEPS):
        state = rng.normal(size=(machines, 2)).astype(np.float32)
        if rng.random() < 0.1:
            state[rng.random(machines) < 0.3] = np.nan
        if step and rng.random() < 0.1:  # a restart
            controller.reset(applied=np.stack(emitted[-2:], 1))
        told = emitted[-1] if rng.random() < 0.3 else None
        decided = controller.act_batch({"state": state}, applied=told)
        emitted.append(decided.actions)
        tally.fallbacks += sum(verdict is Verdict.FALLBACK for verdict in decided.verdicts)
        tally.flagged += sum("applied actions" in reason for reason in set(decided.reasons))
    made = STEPS * machines
    tally.tasks += 1
    tally.by_planner[name] = tally.by_planner.get(name, 0) + made
    for kind in ("box", *kinds):
        tally.actions[kind] = tally.actions.get(kind, 0) + made
    for kind, count in violations(schema, task, np.stack(emitted)).items():
        tally.violations[kind] = tally.violations.get(kind, 0) + count
        if count:
            Console().print(f"task {tally.tasks}, {kinds}, {name}: {count} actions break {kind}")


def microseconds() -> dict[str, dict[str, float]]:
    """Median time to project the candidates of a plan, and the action that is sent, by kind of limit."""
    combination = (LinearLimit(name="sum", weights={"u": 1.0}, at_most=0.8),)
    mixtures: dict[str, Task] = {
        "box": Task(),
        "box, norm": Task(limits={"u": ActionLimit(max_norm=1.0)}),
        "box, rate": Task(limits={"u": ActionLimit(rate=3.0)}),
        "box, rate, jerk": Task(limits={"u": ActionLimit(rate=3.0, jerk=20.0)}),
        "box, linear": Task(linear=combination),
        "box, rate, linear": Task(limits={"u": ActionLimit(rate=3.0)}, linear=combination),
        "all": Task(limits={"u": ActionLimit(rate=3.0, jerk=20.0, max_norm=1.0)}, linear=combination),
    }
    schema = Schema(signals=(Signal(name="u", role=Role.ACTION, shape=(2,), low=-1.0, high=1.0),), period=0.1)
    candidates = 0.5 * torch.randn(1, 128, 12, 2, generator=torch.Generator().manual_seed(0))
    found = {}
    for name, task in mixtures.items():
        limits, rest = action_limits(schema, task), torch.zeros(1, 2)
        inside, beyond = limits.project(candidates, rest, rest), torch.full((1, 2), 3.0)
        found[name] = {
            "plan_of_128_candidates_12_actions": _median(lambda: limits.project(candidates, rest, rest)),  # noqa: B023
            "sent_as_planned": _median(lambda: limits.nearest(inside[:, 0, 0], rest, rest)),  # noqa: B023
            "sent_but_not_allowed": _median(lambda: limits.nearest(beyond, rest, rest)),  # noqa: B023
        }
    return found


def _median(call: object, repeats: int = 60) -> float:
    assert callable(call)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return round(float(np.median(times)) * 1e6, 1)


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    rng, began = np.random.default_rng(options.seed), time.perf_counter()
    tally = Tally(actions={}, by_planner={}, violations={})
    while tally.actions.get("box", 0) < options.actions:
        drive(rng, options.machines, tally)
    numbers = {
        "emitted_actions": tally.actions["box"],
        "emitted_actions_with_limit": tally.actions,
        "emitted_actions_by_planner": tally.by_planner,
        "violations": tally.violations,
        "tasks": tally.tasks,
        "tasks_refused_because_nothing_keeps_them": tally.refused,
        "verdicts_fallback": tally.fallbacks,
        "steps_in_which_a_machine_was_flagged": tally.flagged,
        "seconds": round(time.perf_counter() - began, 1),
        "microseconds": microseconds(),
        "settings": {key: value for key, value in vars(options).items() if key != "json"},
        "machine": cpu_model(),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps(numbers, indent=2) + "\n")
    Console().print_json(json.dumps(numbers))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
