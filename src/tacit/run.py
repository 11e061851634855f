"""A trained run, loaded: the model, what it is worth, and controllers made of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tacit.assurance.monitor import MONITOR, Watch
from tacit.assurance.monitor import Calibration as MonitorCalibration
from tacit.assurance.session import Session
from tacit.contracts import Cost, Planner, Proposal
from tacit.models.heads import GoalPolicy
from tacit.models.heads import TemporalDistance as DistanceHead
from tacit.models.jepa import JEPA
from tacit.nn.precision import products_dtype
from tacit.planning import (
    Controller,
    FirstArrival,
    ImaginedPolicy,
    LatentDistance,
    Task,
    TemporalDistance,
    WeightedSum,
    planner_for,
)
from tacit.signals import Schema
from tacit.training.calibration import Calibration
from tacit.training.folder import RunConfig, digest_of_run, read_run

CostFor = Callable[[Tensor], Cost]
COSTS = ("arrival_cost", "temporal_cost", "reaching_cost", "latent_cost")
"""Names of a run's costs, as a session has them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A trained run.

    Attributes:
        path: Its folder.
        config: What it was made with.
        model: Encoder and predictor.
        distance: Learned steps to go, the default cost of planning.
        policy: Goal policy cloned from the logs.
        calibration: Errors on held-out episodes.
        digest: SHA-256 of its files, in hex; see `digest_of_run`.
    """

    path: Path
    config: RunConfig
    model: JEPA
    distance: DistanceHead
    policy: GoalPolicy
    calibration: Calibration
    digest: str

    @property
    def schema(self) -> Schema:
        """Signals the model knows; never a label."""
        return self.model.schema

    def temporal_cost(self, goal: Tensor) -> Cost:
        """Learned steps to the goal's latent (B, D), summed over the horizon."""
        return TemporalDistance(distance=self.distance, goal=goal)

    def arrival_cost(self, goal: Tensor) -> Cost:
        """Learned steps to the goal's latent (B, D) at the best moment of the horizon: for long horizons."""
        return FirstArrival(distance=self.distance, goal=goal, stride=5, near=4.0)

    def reaching_cost(self, goal: Tensor) -> Cost:
        """Squared latent distance to the goal's latent (B, D) plus the learned steps, summed over the horizon: for goals that the logs know
        a way to. The steps show the way from afar, and the latents tell the last bit better."""
        far = TemporalDistance(distance=self.distance, goal=goal, stride=5)
        return WeightedSum(terms=((1.0, LatentDistance(goal=goal)), (1.0, far)))

    def latent_cost(self, goal: Tensor) -> Cost:
        """Squared latent distance to the goal's latent (B, D), summed over the horizon: the ablation."""
        return LatentDistance(goal=goal)

    def proposals(self, goal: Tensor) -> Proposal:
        """What the goal policy would do on the way to the goal's latent (B, D), as the model imagines it."""
        return ImaginedPolicy(model=self.model, policy=self.policy.distribution, goal=goal)

    def controller(self, task: Task | str | Path, *, cost_for: CostFor | None = None, seed: int = 0) -> Controller:
        """Make a receding-horizon controller.

        Args:
            task: What is wanted, or the path of a task file.
            cost_for: Makes the cost from the latents of the goals, (B, D); None for `arrival_cost`.
            seed: Of the planner's samples.

        Raises:
            TaskError: The task does not fit this run.
        """
        return self._controller(task, cost_for or self.arrival_cost, seed, lambda planner: planner)

    def steps_to(self, goal: Tensor) -> Callable[[Tensor], Tensor]:
        """The learned steps from latents (B, D) to the goal's latent (B, D) or (1, D), as a function of the former."""
        there = self.distance.embed(goal)
        return lambda latent: self.distance.between(self.distance.embed(latent), there)

    def watch(self) -> Watch:
        """Makes what a monitor of this run sees."""
        return Watch(self.schema, self.steps_to)

    def monitor(self) -> MonitorCalibration:
        """What `tacit calibrate` wrote of this run.

        Raises:
            MonitorError: There is none, it is damaged, or of another machine.
        """
        return MonitorCalibration.load(self.path / MONITOR, self.schema)

    def session(self, task: Task | str | Path, *, cost: str = "arrival_cost", seed: int = 0) -> Session:
        """All that a controller's decisions follow from besides what it observes: what a ledger begins with.

        Args:
            task: What is wanted, or the path of a task file.
            cost: One of `COSTS`.
            seed: Of the planner's samples.

        Raises:
            TaskError: The task file cannot be read.
            ValueError: There is no such cost.
        """
        if cost not in COSTS:
            raise ValueError(f"{cost!r} is not a cost of a run; use one of: {', '.join(COSTS)}")
        task = task if isinstance(task, Task) else Task.from_toml(task)
        return Session(model=self.digest, schema=self.schema, task=task, cost=cost, seed=seed)

    def controller_of(self, session: Session, around: Callable[[Planner], Planner] = lambda planner: planner) -> Controller:
        """Make the controller of a session: each time one that decides the same from the same observations.

        Args:
            session: Of this run.
            around: What to put the planner into.

        Raises:
            ValueError: The session is of another run, or has a cost that runs of this version lack.
            TaskError: The task does not fit this run.
        """
        if session.model != self.digest:
            raise ValueError(f"{self.path} is another run (SHA-256 {self.digest}) than the one that decided (SHA-256 {session.model})")
        if session.cost not in COSTS:
            raise ValueError(f"the session's cost {session.cost!r} is not a cost of a run: {', '.join(COSTS)}")
        return self._controller(session.task, getattr(self, session.cost), session.seed, around)

    def _controller(self, task: Task | str | Path, cost_for: CostFor, seed: int, around: Callable[[Planner], Planner]) -> Controller:
        task = task if isinstance(task, Task) else Task.from_toml(task)
        return Controller(
            model=self.model,
            planner=around(planner_for(self.model, task.plan, seed=seed)),
            cost_for=cost_for,
            task=task,
            proposals_for=self.proposals,
            calibration=self.calibration.one_step,
            seed=seed,
        )


def load(path: str | Path) -> Run:
    """Load a run for use on the CPU.

    What planning evaluates thousands of times, the predictor and the distance, is kept in `products_dtype()`; running latents, costs
    and the encoder stay in float32.

    Args:
        path: Its folder.

    Raises:
        RunError: It is not a complete run of this version; the message says what is wrong with it.
    """
    config, model, distance, policy, calibration = read_run(Path(path))
    digest = digest_of_run(Path(path))
    model.predictor.to(products_dtype())
    distance.to(products_dtype())
    return Run(path=Path(path), config=config, model=model, distance=distance, policy=policy, calibration=calibration, digest=digest)
