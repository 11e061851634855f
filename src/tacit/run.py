"""A trained run, loaded: the model, what it is worth, and controllers made of both."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from numpy.typing import ArrayLike
from torch import Tensor

from tacit import run_costs
from tacit.assurance.conformal import Interval
from tacit.assurance.intervals import settled_tightening
from tacit.assurance.ledger import Ledger
from tacit.assurance.moments import Watch
from tacit.assurance.monitor import MONITOR
from tacit.assurance.monitor import Calibration as MonitorCalibration
from tacit.assurance.session import Session, build
from tacit.assurance.supervision import Supervision
from tacit.assurance.supervisor import Supervisor
from tacit.contracts import Cost, Planner, Proposal
from tacit.models.ensemble import Distance, Model, Policy, members_of
from tacit.models.held import holding_disturbances
from tacit.nn.precision import products_dtype
from tacit.planning import (
    Controller,
    StateLimit,
    Task,
    output_disturbance,
    planner_for,
    signal_objective,
    state_limits,
)
from tacit.run_costs import COSTS
from tacit.run_intervals import Record, first_intervals, settled
from tacit.run_proposals import imagined_detours, imagined_policy
from tacit.signals import Schema
from tacit.training.calibration import Calibration
from tacit.training.correction import Correction, read_correction
from tacit.training.folder import RunConfig, digest_of_run, fingerprint, read_run
from tacit.training.following import LiveForecasts
from tacit.training.forecasts import Forecast, forecast
from tacit.training.readouts import FittedReadout, read_readouts
from tacit.training.support import Support
from tacit.training.support_file import read_support

CostFor = Callable[[Tensor], Cost]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A trained run.

    Attributes:
        path: Its folder.
        config: What it was made with.
        model: Encoder and predictor; or several that are asked together.
        distance: Learned steps to go, the default cost of planning.
        policy: Goal policy cloned from the logs.
        calibration: Errors on held-out episodes.
        digest: SHA-256 of its files, in hex; see `digest_of_run`.
        fingerprint: SHA-256 of its weights alone, in hex.
        readouts: What sensors are read from latents, by name; none until some are fitted (`tacit.training.readouts`).
        correction: How forecasts of the sensors are corrected; None where a machine is no process, or shows no sensors.
    """

    path: Path
    config: RunConfig
    model: Model
    distance: Distance
    policy: Policy
    calibration: Calibration
    digest: str
    fingerprint: str
    readouts: Mapping[str, FittedReadout] = field(default_factory=dict)
    correction: Correction | None = None

    @property
    def schema(self) -> Schema:
        """Signals the model knows; never a label."""
        return self.model.schema

    @property
    def planning(self) -> str:
        """What makes the products of plans: "torch" where there is no compiler, else the name of the C code."""
        names = {"torch" if packed is None else packed.name for packed in (model.predictor.packed for model in members_of(self.model))}
        return names.pop() if len(names) == 1 else "torch"

    def temporal_cost(self, goal: Tensor) -> Cost:
        """Learned steps to the goal's latent (B, D), summed over the horizon."""
        return run_costs.temporal_cost(self.distance, goal)

    def arrival_cost(self, goal: Tensor) -> Cost:
        """Learned steps to the goal's latent (B, D) at the best moment of the horizon: for long horizons."""
        return run_costs.arrival_cost(self.distance, goal)

    def touching_cost(self, goal: Tensor) -> Cost:
        """Learned steps plus squared latent distance to the goal's latent (B, D), at the best moment of all: for things that are pushed."""
        return run_costs.touching_cost(self.distance, goal)

    def reaching_cost(self, goal: Tensor) -> Cost:
        """Squared latent distance to the goal's latent (B, D) plus the learned steps, summed over the horizon: for goals that the logs know
        a way to."""
        return run_costs.reaching_cost(self.distance, goal)

    def latent_cost(self, goal: Tensor) -> Cost:
        """Squared latent distance to the goal's latent (B, D), summed over the horizon: the ablation."""
        return run_costs.latent_cost(self.distance, goal)

    def proposals(self, goal: Tensor) -> Proposal:
        """What the goal policy would do on the way to the goal's latent (B, D), as the model imagines it."""
        return imagined_policy(self.model, self.policy, goal)

    def detours(self, goal: Tensor) -> Proposal:
        """What the goal policy would do on the way to the goal's latent (B, D), and short detours from that, as the model imagines them."""
        return imagined_detours(self.model, self.policy, goal)

    def controller(
        self,
        task: Task | str | Path,
        *,
        cost_for: CostFor | None = None,
        seed: int = 0,
        intervals: Mapping[str, Interval] | None = None,
    ) -> Controller:
        """Make a receding-horizon controller.

        Args:
            task: What is wanted, or the path of a task file.
            cost_for: Makes the cost from the latents of the goals, (B, D); None for `arrival_cost`.
            seed: Of the planner's samples.
            intervals: What is taken off the limits on states, by limit, while it is being recorded; None for what was settled for
                this task.

        Raises:
            TaskError: The task does not fit this run.
            CalibrationError: The run's file of intervals is damaged.
        """
        task = task if isinstance(task, Task) else Task.from_toml(task)
        recorded = None if intervals is None else {name: interval.tightening for name, interval in intervals.items()}
        limits = self.limits(task, settled_tightening(self.path, task, self.digest) if recorded is None else recorded)
        return self._controller(task, cost_for or self.arrival_cost, seed, lambda planner: planner, limits)

    def limits(self, task: Task, tightening: Mapping[str, Sequence[float]]) -> tuple[StateLimit, ...]:
        """The task's limits on states, with what is taken off at each step of the horizon, (H,), by limit.

        Raises:
            TaskError: As of `tacit.planning.state_limits`.
        """
        return state_limits(task, {name: fitted.readout for name, fitted in self.readouts.items()}, tightening)

    def first_intervals(self, task: Task, reach: Mapping[str, float], factor: float = 2.0) -> dict[str, Interval]:
        """Intervals to begin recording with: the scale is how the readouts' errors grow along the horizon on held-out logs.

        Args:
            task: Its limits with a confidence get one each.
            reach: Margins above it count as it, by limit, in its unit; more than will be taken off.
            factor: What the scale is multiplied by.

        Raises:
            TaskError: A limit names what no readout reads.
        """
        return first_intervals(self.readouts, task, reach, factor)

    def settle(
        self,
        task: Task,
        record: Record,
        intervals: Mapping[str, Interval],
        *,
        rounds: int = 6,
        slack: float = 0.0,
    ) -> dict[str, Interval]:
        """Record until the intervals are those of the planner that plans with them, and keep them in the run's folder.

        Args:
            task: With limits on states.
            record: Drives fresh episodes of the task with `controller(task, intervals=...)` and gives their scores by limit
                (`MarginWatch`).
                Of its cost nothing is kept: use the same one later.
            intervals: To begin with (`first_intervals`).
            rounds: At most.
            slack: How much more than was asked for the next round takes off, as a share of it.

        Raises:
            CalibrationError: Too few episodes, or no interval is wide enough; see `tacit.assurance.settle`.
        """
        return settled(self.path, self.digest, task, record, intervals, rounds=rounds, slack=slack)

    def forecast(self, seen: Mapping[str, ArrayLike], applied: ArrayLike, actions: ArrayLike) -> Forecast:
        """What the sensors will show under actions that may be taken, with intervals; T moments, K sequences of H actions.

        Args:
            seen: Observations and disturbances up to now by signal name, (T, *shape) each, oldest first.
            applied: Actions between them, (T - 1, A), in physical units and the order of the schema.
            actions: Actions from now on, (K, H, A).

        Raises:
            ValueError: The run has no readouts, or something does not fit; see `tacit.training.forecasts.forecast`.
        """
        return forecast(self.model, self.readouts, seen, applied, actions, self.correction)

    def live_forecasts(self) -> LiveForecasts:
        """Forecasts of a machine that runs, whose intervals follow what forecasts are wrong by.

        Raises:
            ValueError: The run has none that are corrected; see `correction`.
        """
        if self.correction is None:
            raise ValueError(f"{self.path} is no run of the sensors of a process: its forecasts have no intervals that could follow")
        return LiveForecasts(self.model, self.readouts, self.correction)

    def support(self) -> Support:
        """What the logs of this run can answer; see `tacit.training.support`.

        Raises:
            RunError: It has none, as a run of a machine with a camera, or the file is damaged or another run's.
        """
        return read_support(self.path, self.model, [fitted.readout for fitted in self.readouts.values()])

    def steps_to(self, goal: Tensor) -> Callable[[Tensor], Tensor]:
        """The learned steps from latents (B, D) to the goal's latent (B, D) or (1, D), as a function of the former."""
        return run_costs.steps_to(self.distance, goal)

    def watch(self) -> Watch:
        """Makes what a monitor of this run sees."""
        single = copy.deepcopy(self.distance).float()  # the products of a single latent begin faster than in `products_dtype()`
        return Watch(self.schema, lambda goal: run_costs.steps_to(single, goal))

    def monitor(self) -> MonitorCalibration:
        """What `tacit calibrate` wrote of this run.

        Raises:
            MonitorError: There is none, it is damaged, of another version, or of another machine or run.
        """
        return MonitorCalibration.load(self.path / MONITOR, self.schema, self.fingerprint)

    def supervisor(self, session: Session, *, supervision: Supervision | None = None, ledger: Ledger | None = None) -> Supervisor:
        """The controller of a session, and around it the fallback of its task; with the monitor, where `tacit calibrate` has made one.

        Args:
            session: Of this run.
            supervision: When to take over and when to give back.
            ledger: Where every decision goes that was emitted; None for nowhere.

        Raises:
            ValueError: As of `controller_of`.
            TaskError: As of `controller_of`.
            MonitorError: There is a monitor, but it is damaged, of another version, or of another machine or run.
        """
        is_watched = (self.path / MONITOR).exists()
        return Supervisor(
            self.controller_of(session),
            calibration=self.monitor() if is_watched else None,
            watch=self.watch() if is_watched else None,
            supervision=supervision,
            ledger=ledger,
        )

    def session(self, task: Task | str | Path, *, cost: str = "arrival_cost", seed: int = 0) -> Session:
        """All that a controller's decisions follow from besides what it observes: what a ledger begins with.

        Args:
            task: What is wanted, or the path of a task file.
            cost: One of `COSTS`.
            seed: Of the planner's samples.

        Raises:
            TaskError: The task file cannot be read, or its limits on states do not fit this run.
            ValueError: There is no such cost.
        """
        if cost not in COSTS:
            raise ValueError(f"{cost!r} is not a cost of a run; use one of: {', '.join(COSTS)}")
        task = task if isinstance(task, Task) else Task.from_toml(task)
        tightening = settled_tightening(self.path, task, self.digest)
        names = tuple(limit.name for limit in self.limits(task, tightening))
        return Session(
            model=self.digest,
            schema=self.schema,
            task=task,
            cost=cost,
            seed=seed,
            limits=names,
            tightening=tightening,
            build=build(self.planning),
        )

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
        limits = self.limits(session.task, session.tightening)
        return self._controller(session.task, partial(COSTS[session.cost], self.distance), session.seed, around, limits)

    def _controller(
        self, task: Task, cost_for: CostFor, seed: int, around: Callable[[Planner], Planner], limits: tuple[StateLimit, ...]
    ) -> Controller:
        channels = {name: fitted.readout for name, fitted in self.readouts.items()}
        spreads = {name: spread for fitted in self.readouts.values() for name, spread in fitted.spreads.items()}
        reaches = {name: steps for fitted in self.readouts.values() for name, steps in fitted.reaches.items()}
        planned = holding_disturbances(self.model)
        return Controller(
            model=self.model,
            planner=around(planner_for(planned, task.plan, seed=seed)),
            cost_for=cost_for,
            task=task,
            proposals_for=self.proposals if task.plan.kind.ways is None else self.detours,
            limits=limits,
            objective=signal_objective(task, self.schema, channels, spreads, reaches),
            disturbance=output_disturbance(task, planned, channels),
            calibration=self.calibration.one_step,
            seed=seed,
        )


def load(path: str | Path) -> Run:
    """Load a run for use on the CPU.

    What planning evaluates thousands of times, the predictor, the distance and the readouts, is kept in `products_dtype()`; running
    latents, costs and the encoder stay in float32, and so do linear readouts and a linear predictor, which live from small differences of
    large numbers.

    Args:
        path: Its folder.

    Raises:
        RunError: It is not a complete run of this version; the message says what is wrong with it.
    """
    config, model, distance, policy, calibration = read_run(Path(path))
    digest, weights = digest_of_run(Path(path)), fingerprint(Path(path))
    distance.to(products_dtype())
    readouts = read_readouts(Path(path), model.latent_size)
    if not config.recipe.jepa.predictor.leading:
        for member in members_of(model):
            member.predictor.to(products_dtype())
        for fitted in readouts.values():
            if fitted.readout.config.head.depth:
                fitted.readout.network.to(products_dtype())
    for network in (*(member.predictor for member in members_of(model)), distance, policy):
        network.pack(products_dtype())
    return Run(
        path=Path(path),
        config=config,
        model=model,
        distance=distance,
        policy=policy,
        calibration=calibration,
        digest=digest,
        fingerprint=weights,
        readouts=readouts,
        correction=read_correction(Path(path)),
    )
