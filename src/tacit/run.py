"""A trained run, loaded: the model, what it is worth, and controllers made of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tacit.contracts import Cost, Proposal
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
from tacit.training.folder import RunConfig, read_run

CostFor = Callable[[Tensor], Cost]


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
    """

    path: Path
    config: RunConfig
    model: JEPA
    distance: DistanceHead
    policy: GoalPolicy
    calibration: Calibration

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
        task = task if isinstance(task, Task) else Task.from_toml(task)
        return Controller(
            model=self.model,
            planner=planner_for(self.model, task.plan, seed=seed),
            cost_for=cost_for or self.arrival_cost,
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
    model.predictor.to(products_dtype())
    distance.to(products_dtype())
    return Run(path=Path(path), config=config, model=model, distance=distance, policy=policy, calibration=calibration)
