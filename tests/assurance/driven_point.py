"""A point that is driven to a goal, and whatever it takes to note its decisions: a model whose latent is the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tacit.assurance import Ledger, Made, Recorded, Session
from tacit.assurance.replay import entries
from tacit.contracts import Limit, Planner
from tacit.planning import Controller, Decision, Goal, ImaginedDetours, LatentDistance, PlanSettings, Task, planner_for
from tacit.signals import Role, Schema, Signal

SCHEMA = Schema(
    signals=(
        Signal(name="state", role=Role.OBSERVATION, shape=(2,), unit="m"),
        Signal(name="velocity", role=Role.ACTION, shape=(2,), unit="m/s", low=-1.0, high=1.0),
    )
)
WEIGHTS = "ab" * 32  # SHA-256 of its weights, if it had any
PLAN = PlanSettings(horizon=5, candidates=16, iterations=2)


@dataclass(kw_only=True)
class Point:
    """z' = z + gain a, observed as it is."""

    gain: float = 0.1
    schema: Schema = SCHEMA
    latent_size: int = 2
    history: int = 1

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        return observations["state"]

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        return history[:, -1] + self.gain * action

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        return history[:, None, -1:] + self.gain * actions.cumsum(2)


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The first coordinate stays below."""

    bound: float = 0.3
    hard: bool = True
    unit: str = "m"
    confidence: float | None = None
    priority: float = 1.0
    name: str = "ceiling"

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        return self.bound - trajectory[..., 0].amax(-1)


def session(plan: PlanSettings = PLAN, *, seed: int = 0, goal: tuple[float, float] = (0.5, -0.3), limits: tuple[str, ...] = ()) -> Session:
    task = Task(goal=Goal(observations={"state": np.array(goal, np.float32)}), plan=plan)
    return Session(model="ab" * 32, schema=SCHEMA, task=task, seed=seed, limits=limits)


def towards(history: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    """A policy that goes straight to the goal."""
    return 5 * (goal - history[:, -1]), torch.full_like(goal, 0.2)


@dataclass(kw_only=True)
class Maker:
    """Makes controllers of sessions, all from the same model."""

    gain: float = 0.1
    limits: tuple[Limit, ...] = ()
    sessions: list[Session] = field(default_factory=list)

    def __call__(self, session: Session, around: Callable[[Planner], Planner] = lambda planner: planner) -> Controller:
        self.sessions.append(session)
        model = Point(gain=self.gain)
        return Controller(
            model=model,
            planner=around(planner_for(model, session.task.plan, seed=session.seed)),
            cost_for=lambda goal: LatentDistance(goal=goal),
            task=session.task,
            proposals_for=lambda goal: ImaginedDetours(model=model, policy=towards, goal=goal),
            limits=self.limits,
            calibration=np.linspace(0.001, 0.1, 50),
            seed=session.seed,
        )


def drive(actor: Recorded | Controller, steps: int, *, noise: float = 0.01, seed: int = 0) -> list[np.ndarray]:
    """Let it drive a point that does not do quite what it should; the actions it gave."""
    rng, state, given = np.random.default_rng(seed), np.zeros(2), []
    for _ in range(steps):
        decision = actor.act({"state": state})
        given.append(decision.action)
        state = state + 0.1 * decision.action + noise * rng.normal(size=2)
    return given


def decided(observation: dict[str, object] | None = None) -> tuple[dict[str, object], Decision]:
    """An observation, and what was decided on it."""
    seen = observation or {"state": np.array([0.1, 0.2])}
    return seen, Maker()(session()).act(seen)


def made(path: Path) -> list[Made]:
    """The decisions in a ledger."""
    return [entry for entry in entries(path) if isinstance(entry, Made)]


def write(
    path: Path, told: Session | None = None, *, episodes: int = 2, steps: int = 4, maker: Maker | None = None, **options: object
) -> None:
    """One session in a ledger."""
    told = told or session()
    with Ledger(path, told, **options) as ledger:  # type: ignore[arg-type]
        actor = Recorded((maker or Maker())(told), ledger)
        for episode in range(episodes):
            actor.reset({"state": np.array([[0.1 * episode, 0.2]], np.float32)} if episode else None)
            drive(actor, steps, seed=episode)


def write_with_gap(path: Path, before: int, lost: int, after: int) -> None:
    """One episode in a ledger, with so many decisions before, in and after a time without room in the queue."""
    with Ledger(path, session()) as ledger:
        actor = Recorded(Maker()(session()), ledger)
        drive(actor, before)
        ledger.sync()
        ledger._queue_bytes, room = 0, ledger._queue_bytes
        drive(actor, lost)
        ledger._queue_bytes = room
        drive(actor, after)
