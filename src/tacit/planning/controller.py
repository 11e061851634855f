"""The controller: encode the observation, plan towards the goal, apply the first action, and again.

Dimensions: B machines, A action, D latent. Numpy in, numpy out; physical units.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tacit.contracts import Cost, Limit, Plan, Planner, Problem, Proposal, WorldModel
from tacit.planning.action_limits import action_limits
from tacit.planning.applied import told_before, told_first, told_since
from tacit.planning.costs import WeightedSum
from tacit.planning.decision import Decision, DecisionBatch, Evidence, Verdict
from tacit.planning.disturbance import OutputDisturbance
from tacit.planning.encoding import latents_of, latents_of_goal
from tacit.planning.fallbacks import WithoutPlan
from tacit.planning.fallen_back import FallenBack, fallback_of
from tacit.planning.history import LatentHistory
from tacit.planning.limits import BoxLimits
from tacit.planning.path_limits import PathLimits
from tacit.planning.plan_checks import limit_margins, objections, require_shapes
from tacit.planning.samples import LastGood, finite, samples_of
from tacit.planning.search import Noise
from tacit.planning.setpoints import Setpoints
from tacit.planning.signal_costs import SignalObjective
from tacit.planning.surprise import Surprise
from tacit.planning.task import Task
from tacit.planning.task_needs import require_means, require_squares


@final
class Controller:
    """Receding-horizon control of B independent machines towards a goal.

    Each call encodes the new observation, and plans when the last plan has been used for `replan_every` actions or some machine has
    no plan to follow. A plan starts from the last one, shifted by the actions it was used for.
    """

    def __init__(
        self,
        *,
        model: WorldModel,
        planner: Planner,
        cost_for: Callable[[Tensor], Cost],
        task: Task,
        proposals_for: Callable[[Tensor], Proposal] | None = None,
        limits: tuple[Limit, ...] = (),
        objective: SignalObjective | None = None,
        disturbance: OutputDisturbance | None = None,
        calibration: ArrayLike | None = None,
        seed: int = 0,
    ) -> None:
        """Check the task against the model and encode its goal.

        Args:
            model: Encodes observations, and moves them to its own device.
            planner: Searches through the same model, or one with the same latents that holds what nobody can foresee.
            cost_for: Makes the cost from the latents of the goals, (B, D).
            task: Goal, action limits, planner settings and fallback.
            proposals_for: Makes what suggests actions from the latents of the goals, (B, D), as many as the task says; None for nothing.
            limits: Limits that are checked on the prediction.
            objective: The task's goals on signals; None when it has none.
            disturbance: Estimates what is added to readouts of predictions, in limits and goals on signals; of this controller alone. None
                for nothing.
            calibration: Errors of one-step predictions on held-out logs (`one_step_error`), in any order.
            seed: Of the noise of proposals.

        Raises:
            TaskError: The task does not fit the model's schema, has a limit on states that is not among `limits`, has goals on
                signals and no objective, asks for proposals that nobody makes, or for Newton steps with a cost that is no sum of squares.
            ValueError: The goal leaves out an observation, or the calibration is empty or not finite.
        """
        self._model = model
        self._planner = planner
        self._cost_for = cost_for
        self._task = task
        self._action_limits = action_limits(model.schema, task)
        self._limits = limits
        require_means(task, limits, objective, has_proposals=proposals_for is not None)
        self._disturbance = disturbance
        self._setpoints = None if objective is None else Setpoints(objective, model.schema, task.plan.horizon)
        self._proposals_for = proposals_for
        self._noise = Noise(seed)
        self._proposal: Proposal | None = None
        self._surprise = Surprise(calibration)
        goal = {} if task.goal is None else {name: value[None] for name, value in task.goal.observations.items()}
        self._task_goal = latents_of_goal(model, goal) if goal else None
        self._task_goal_samples = goal or None
        if task.plan.kind.needs_squares and objective is None and self._task_goal is not None:
            require_squares(task, cost_for(self._task_goal))
        self._previous: Tensor
        self._earlier: Tensor  # applied before `_previous`
        self._cost: Cost | None  # of the goal's latents
        self._corrected = limits  # by the estimated disturbance
        self._fallen_back: FallenBack
        self.reset()

    def reset(self, goal: Mapping[str, ArrayLike] | None = None, applied: ArrayLike | None = None) -> None:
        """Begin a new episode: forget the history, the last plan, the last actions and other setpoints than the task's.

        Args:
            goal: One goal per machine, (B, *shape) by observation signal; None for the task's goal.
            applied: The last action that was really applied, or the last two, oldest first, (B, 1 or 2, A): what limits on rate and jerk
                count from. None when the first `act` tells the last one; a machine of which only one is known counts as at rest.

        Raises:
            ValueError: The goal or what was applied has a wrong name, shape or dtype, or a number that is not finite.
        """
        told = None if applied is None else told_before(applied, self._model.schema.action_size)
        self._goal = self._task_goal if goal is None else latents_of_goal(self._model, goal)
        self._told = told
        self._goal_samples = self._task_goal_samples if goal is None else {name: np.asarray(value) for name, value in goal.items()}
        self._history: LatentHistory | None = None
        self._good = LastGood()
        self._plan: Plan | None = None
        self._used = 0  # actions of the plan that were applied
        self._is_followed = False  # by every machine
        if self._setpoints is not None:
            self._setpoints.reset()
        if self._disturbance is not None:
            self._disturbance.reset()

    def retarget(self, setpoints: Mapping[str, ArrayLike]) -> None:
        """Change setpoints while the machine runs. The next decision plans for them, from the plan that is being followed and with all that
        was learned of disturbances, so that the actions go on without a jump.

        Args:
            setpoints: By channel that has a setpoint in the task: a number, one per machine (B, 1), or what it is to be at each step from
                the next observation on, (1, T) or (B, T), of which the last one stays.

        Raises:
            ValueError: A channel has no setpoint, or a value has a wrong shape, is not of this number of machines, is not finite or is
                outside its signal's range; then none is changed.
        """
        if self._setpoints is None:
            raise ValueError("the task has no goal on signals, so there is no setpoint to change")
        self._setpoints.change(setpoints, None if self._history is None else len(self._previous))
        self._is_followed = False

    @property
    def goal(self) -> Tensor | None:
        """Latents of the goals of this episode, (B, D), or (1, D) for all machines; None where there is no goal yet."""
        return self._goal

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Limits that are checked on predictions, as the last plan was checked: with the disturbance that was estimated then."""
        return self._corrected

    @property
    def goal_samples(self) -> Mapping[str, NDArray[Any]] | None:
        """What the sensors show at the goals of this episode, (B, *shape) or (1, *shape) by signal; None where there is no goal yet."""
        return self._goal_samples

    @property
    def action_limits(self) -> BoxLimits | PathLimits:
        """What every emitted action is moved inside of."""
        return self._action_limits

    def fallback(self) -> WithoutPlan:
        """What one machine does when there is no plan to trust, as the task says; a new one each time."""
        return fallback_of(self._task, self._model.schema)

    def act(self, observation: Mapping[str, ArrayLike | None], applied: ArrayLike | None = None) -> Decision:
        """Decide for one machine: `act_batch` without the batch dimension.

        Args:
            observation: One sample of every observation and disturbance signal, (*shape). Of a signal that may be missing, numbers that
                are not finite count as missing, as does None; its mask can be left out. A missing sample is replaced by the last good one.
            applied: Action (A,) that was really applied before this observation; None when it was the one decided.

        Returns:
            The decision.
        """
        batch = {name: None if value is None else np.asarray(value)[None] for name, value in observation.items()}
        for name, mask in self._model.schema.masks.items():
            if name in batch and batch[name] is None:
                batch[mask.name] = np.zeros((1, *mask.shape), np.bool_)
        return self.act_batch(batch, None if applied is None else np.asarray(applied)[None])[0]

    def act_batch(self, observations: Mapping[str, ArrayLike | None], applied: ArrayLike | None = None) -> DecisionBatch:
        """Decide for every machine.

        A number that is not finite never raises: its machine falls back, and the others go on. A proposal with such a number is not
        tried.

        Args:
            observations: One sample per machine of every observation and disturbance signal, (B, *shape); missing ones as in `act`.
            applied: Actions (B, A) that were really applied before these observations; None when they were those decided.

        Returns:
            A decision per machine.

        Raises:
            ValueError: A name, shape or dtype is wrong, also that of the proposals, the plan or what the model predicts; the number of
                machines changed within an episode; there is no goal; or a rate or jerk is limited and nobody has said what was
                applied before the first observation.
        """
        started = time.perf_counter()
        samples = samples_of(self._model.schema, observations)
        told = None if applied is None else np.asarray(applied, dtype=np.float32)
        self._require_fitting(len(next(iter(samples.values()))), told)  # what is refused leaves everything as it was
        with torch.no_grad():
            samples = self._good.filled(self._model.schema, samples)
            if self._history is None:
                first = told_first(self._told, told)
                latent = latents_of(self._model, samples, None if first is None else torch.from_numpy(first[:, -1]))
                self._begin(latent, first)
                self._previous, is_told = told_since(told, self._previous)
            else:
                self._previous, is_told = told_since(told, self._previous)
                latent = latents_of(self._model, samples, self._previous)
            history = self._history
            assert history is not None
            self._fallen_back.applied(self._previous)
            errors = history.advance(self._previous, latent, finite(self._model.schema, samples).to(latent.device)).tolist()
            if self._disturbance is not None:
                self._disturbance.advance(self._previous, samples, history.latents)
            encoded = time.perf_counter()

            made = None
            if self._plan is None or not self._is_followed or self._used >= self._task.plan.replan_every:
                made, self._used = self._planned(history, started), 0
                self._plan = made
            if self._setpoints is not None:
                self._setpoints.advance()
            assert self._plan is not None
            planned = time.perf_counter()

            step = self._plan.actions[:, self._used]
            problems = objections(self._plan, self._limits, step, history.observed, is_told)
            action = self._sent(self._fallen_back.actions([problem is not None for problem in problems], samples, step))
            if any(broken := self._action_limits.broken(action, self._previous, self._earlier)):
                late = [problem is None and reason is not None for problem, reason in zip(problems, broken, strict=True)]
                problems = [problem or reason for problem, reason in zip(problems, broken, strict=True)]
                is_late = torch.tensor(late, device=step.device)
                action = torch.where(is_late[:, None], self._sent(self._fallen_back.actions(late, samples, action)), action)
            self._fallen_back.recovered([problem is None for problem in problems])
            self._previous, self._earlier = action, self._previous
            self._used += 1
            self._is_followed = not any(problems)

        words = self._fallen_back.words
        costs = [None] * len(errors) if made is None else made.cost.tolist()
        disturbances = [{}] * len(errors) if self._disturbance is None else self._disturbance.by_channel()
        return DecisionBatch(
            actions=self._previous.cpu().numpy().copy(),
            verdicts=tuple(Verdict.FALLBACK if problem else Verdict.ACT for problem in problems),
            reasons=tuple(f"{problem}: {words}" if problem else "following a feasible plan" for problem in problems),
            plan=made,
            evidence=tuple(
                Evidence(
                    cost=cost,
                    surprise=error if math.isfinite(error) else None,
                    surprise_p=self._surprise.p_value(error),
                    encode_ms=(encoded - started) * 1e3,
                    plan_ms=(planned - encoded) * 1e3,
                    disturbance=disturbance,
                )
                for cost, error, disturbance in zip(costs, errors, disturbances, strict=True)
            ),
            latents=history.latents,
            limits=() if made is None else tuple(limit_margins(self._limits, margins) for margins in made.margins.tolist()),
            expected=history.predicted,
            forecast={} if made is None or self._setpoints is None else self._setpoints.forecast(made.trajectory, self._disturbance),
        )

    def _require_fitting(self, machines: int, applied: NDArray[np.float32] | None) -> None:
        """Refuse another number of machines than before or than there are goals, what was applied in a wrong shape, and a first moment of
        which too little is known."""
        if self._history is not None and machines != len(self._previous):
            raise ValueError(f"there are {machines} machines, but the episode began with {len(self._previous)}: call reset()")
        shape = (machines, self._model.schema.action_size)
        if applied is not None and applied.shape != shape:
            raise ValueError(f"applied has shape {applied.shape} instead of {shape}")
        if self._history is not None:
            return
        if self._told is not None and len(self._told) != machines:
            raise ValueError(f"what was applied was told of {len(self._told)} machines, but there are {machines}")
        if told_first(self._told, applied) is None and self._action_limits.counts_from_applied:
            raise ValueError(
                "limits on rate and jerk count from what was applied last: tell it with reset(applied=...) or act(..., applied=...)"
            )
        if self._goal is None and self._setpoints is None:
            raise ValueError("there is no goal: give the task one, or reset(goal=...) one per machine")
        if self._goal is not None and len(self._goal) not in (1, machines):
            raise ValueError(f"there are {len(self._goal)} goals for {machines} machines")

    def _begin(self, latent: Tensor, told: NDArray[np.float32] | None) -> None:
        """Start the episode of as many machines as there are first latents (B, D)."""
        batch = len(latent)
        goal = None if self._goal is None else self._goal.expand(batch, -1)
        self._cost = None if goal is None else self._cost_for(goal)
        self._proposal = None
        if goal is not None and self._proposals_for is not None and self._task.plan.proposals:
            self._proposal = self._proposals_for(goal)
        self._history = LatentHistory(self._model, latent)
        self._fallen_back = FallenBack(self.fallback, self._model.schema, batch)
        self._action_limits = self._action_limits.to(latent.device)
        if told is None:
            zero = torch.zeros(batch, self._model.schema.action_size, device=latent.device)
            self._previous = self._earlier = self._action_limits.nearest(zero, zero)
        else:
            self._earlier, self._previous = (torch.tensor(told[:, at], device=latent.device) for at in (0, -1))

    def _sent(self, step: Tensor) -> Tensor:
        """An action (B, A), once more inside the limits, whatever planner it came from."""
        return self._action_limits.nearest(step, self._previous, self._earlier)

    def _planned(self, history: LatentHistory, started: float) -> Plan:
        settings = self._task.plan
        if self._disturbance is not None:
            self._corrected = tuple(self._disturbance.correcting(limit) for limit in self._limits)
        proposals = None
        if self._proposal is not None:
            proposals = self._proposal(history.latents, settings.horizon, settings.proposals, self._noise.generator(history.latents.device))
        problem = Problem(
            history=history.latents,
            previous=self._previous,
            cost=self._present_cost(),
            action_limits=self._action_limits,
            limits=self._corrected,
            horizon=settings.horizon,
            earlier=self._earlier,
            proposals=proposals,
            hold_for=settings.hold_for,
        )
        deadline = None if settings.deadline_ms is None else started + settings.deadline_ms / 1e3
        plan = self._planner.plan(problem, self._warm_start(), deadline)
        batch, size = self._previous.shape
        require_shapes(plan, (batch, settings.horizon, size), len(self._limits))
        return plan

    def _present_cost(self) -> Cost:
        """What plans of this moment are scored by."""
        if self._setpoints is None:
            assert self._cost is not None
            return self._cost
        cost = self._setpoints.cost(self._previous, self._disturbance)
        return cost if self._cost is None else WeightedSum(terms=((1.0, self._cost), (1.0, cost)))

    def _warm_start(self) -> Tensor | None:
        """The last plan from where it is now, its last action repeated; the previous action where it was worth nothing, and at the first
        moment of a process that is to be held at its setpoints."""
        if self._plan is None:
            is_process = self._setpoints is not None
            return self._previous[:, None].expand(-1, self._task.plan.horizon, -1) if is_process else None
        actions = self._plan.actions
        rest = torch.cat([actions[:, self._used :], actions[:, -1:].expand(-1, self._used, -1)], dim=1)
        return torch.where(self._plan.cost[:, None, None].abs() < torch.inf, rest, self._previous[:, None])
