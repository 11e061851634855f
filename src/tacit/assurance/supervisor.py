"""The supervisor: a simple, checkable layer that takes over when the clever one is not to be trusted.

It stands around a controller, in the place of one. The controller goes on deciding all the time, so that the supervisor can give back what
it took; what is emitted is the controller's action or that of a fallback, always inside the action limits.

Source: the Simplex architecture (L. Sha, Using simplicity to control complexity, IEEE Software 18 (2001), 20-28).

Dimensions: A action.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tacit.assurance.entries import Timing
from tacit.assurance.ledger import Ledger
from tacit.assurance.moments import Watch
from tacit.assurance.monitor import Calibration, Judgement, Monitor
from tacit.assurance.recorded import Actor
from tacit.assurance.supervision import Supervision
from tacit.planning.decision import Decision, Verdict
from tacit.planning.fallbacks import MEMORY, Action, WithoutPlan
from tacit.planning.limits import BoxLimits
from tacit.planning.path_limits import PathLimits


class Supervised(Actor, Protocol):
    """What can be supervised: a `tacit.planning.Controller`."""

    @property
    def goal(self) -> Tensor | None:
        """Latent of the goal, (1, D), or None."""

    def fallback(self) -> WithoutPlan:
        """What the task says is to be done when there is no plan to trust."""

    @property
    def goal_samples(self) -> Mapping[str, NDArray[Any]] | None:
        """What the sensors show at the goal, (1, *shape) by signal, or None."""

    @property
    def action_limits(self) -> BoxLimits | PathLimits:
        """What every action is moved inside of."""


@final
class Supervisor:
    """A controller of one machine that is watched. Satisfies `tacit.assurance.Actor`.

    `act` while the plan is followed; `abstain` when the monitor says that all is not as it should be, although there is a plan; `fallback`
    when there is no sound plan, the observation is too old, or the decision came too late. In the last two the fallback acts.
    """

    def __init__(
        self,
        controller: Supervised,
        *,
        fallback: WithoutPlan | None = None,
        calibration: Calibration | None = None,
        watch: Watch | None = None,
        supervision: Supervision | None = None,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put a supervisor around a controller.

        Args:
            controller: Decides; nobody else calls it.
            fallback: What to do without a plan; None for what the task says.
            calibration: What the monitor takes for usual; None for no monitor.
            watch: Makes what the monitor sees; needed with a calibration.
            supervision: When to take over and when to give back.
            ledger: Where these settings go, and every decision that was emitted, with what the monitor read; None for nowhere. The
                controller is then a new one of the ledger's session.
            clock: Seconds that only grow, those of `taken` too.

        Raises:
            ValueError: There is a calibration and no watch, or the other way round.
        """
        if (calibration is None) != (watch is None):
            raise ValueError("a monitor needs both its calibration and a watch")
        self._controller = controller
        self._fallback = fallback or controller.fallback()
        self._calibration = calibration
        self._watch = watch
        self._supervision = supervision or Supervision()
        self._ledger = ledger
        self._clock = clock
        self._last: Action | None  # action that was applied last
        self._earlier: Action | None  # and the one before
        if ledger is not None:
            ledger.supervise(
                self._supervision,
                monitor=None if calibration is None else calibration.digest,
                fallback=None if fallback is None else fallback.words,
            )
        self._begin()

    def reset(self, goal: Mapping[str, ArrayLike] | None = None, applied: ArrayLike | None = None) -> None:
        """Begin a new episode; see `Controller.reset`."""
        self._controller.reset(goal, applied)
        if self._ledger is not None:
            self._ledger.begin(goal, applied)
        self._begin()
        if applied is not None:
            self._earlier, self._last = (np.asarray(applied, dtype=np.float32)[0, at] for at in (0, -1))

    def retarget(self, setpoints: Mapping[str, ArrayLike]) -> None:
        """Change setpoints while the machine runs; see `Controller.retarget`."""
        self._controller.retarget(setpoints)
        if self._ledger is not None:
            self._ledger.retarget(setpoints)

    def act(self, observation: Mapping[str, ArrayLike | None], applied: ArrayLike | None = None, *, taken: float | None = None) -> Decision:
        """Decide for one machine; see `Controller.act`.

        Args:
            observation: One sample of every observation signal, (*shape).
            applied: Action (A,) that was really applied before this observation; None when it was the one emitted.
            taken: When the observation was taken, by the supervisor's clock; None when it is not known.

        Returns:
            The decision as it is to be emitted.
        """
        began, taken = self._clock(), None if taken is None else float(taken)
        told = self._last if applied is None else np.asarray(applied, dtype=np.float32)
        decision = self._controller.act(observation, told)
        judged = self._judged(observation, decision)
        timing = Timing(began=began, taken=taken, decided=self._clock())
        problem = self._problem(decision, timing)
        alarm = self._alarm(judged)
        if told is not None and told.shape == decision.action.shape and np.isfinite(told).all():
            self._last = told
        if self._past and self._last is not None:
            self._past[-1] = self._last
        emitted = self._emitted(observation, decision, problem, alarm)
        self._last, self._earlier = emitted.action, self._last
        self._past.append(emitted.action)
        if self._ledger is not None:
            self._ledger.add(observation, emitted, applied=told, readings={} if judged is None else judged.readings(), timing=timing)
        return emitted

    @property
    def judgement(self) -> Judgement | None:
        """What the monitor said at the last step; None without one. Ask it, when the episode ends, whether the goal is reached
        (`Judgement.arrived`)."""
        return self._judgement

    def _begin(self) -> None:
        self._monitor = None if self._calibration is None else Monitor(self._calibration)
        if self._watch is not None:
            self._watch.reset()
        self._judgement: Judgement | None = None
        self._last = self._earlier = None
        self._past: deque[Action] = deque(maxlen=MEMORY)
        self._taken = -math.inf
        self._is_fallen = False
        self._calm = 0  # steps without a reason to be in the fallback
        self._blended = self._supervision.blend  # steps since the plan is followed again
        self._why = ""

    def _judged(self, observation: Mapping[str, ArrayLike | None], decision: Decision) -> Judgement | None:
        if self._monitor is None or self._watch is None:
            return None
        moment = self._watch.moment(observation, decision, self._controller.goal, self._controller.goal_samples)
        self._judgement = self._monitor.judge(moment)
        return self._judgement

    def _problem(self, decision: Decision, timing: Timing) -> str | None:
        """Why there is nothing to follow, whatever the monitor says; None when there is something."""
        settings, taken, now = self._supervision, timing.taken, timing.decided
        if taken is not None:
            if not taken > self._taken:  # one that is no number is not new either
                return "there is no new observation"
            self._taken = taken
            if settings.oldest is not None and not now - taken <= settings.oldest:
                return f"the observation is {1e3 * (now - taken):.0f} ms old, and {1e3 * settings.oldest:.0f} ms is the most"
        if settings.deadline is not None and now - timing.began > settings.deadline:
            return f"the decision took {1e3 * (now - timing.began):.0f} ms, and {1e3 * settings.deadline:.0f} ms is the most"
        if decision.verdict is not Verdict.ACT:
            return decision.reason.split(":")[0]
        return None

    def _alarm(self, judged: Judgement | None) -> str | None:
        """Why the plan is not to be trusted; None when it is. Once it was not, it takes less to go on so."""
        if judged is None:
            return None
        statistic = float(judged.statistic[0])
        level = self._supervision.release if self._is_fallen else 1.0
        return judged.reason() if not statistic <= level else None

    def _emitted(self, observation: Mapping[str, ArrayLike | None], decision: Decision, problem: str | None, alarm: str | None) -> Decision:
        """The decision as it is sent: the plan's, the fallback's, or on the way from one to the other."""
        settings = self._supervision
        reason = problem or alarm
        last = decision.action if self._last is None else self._last
        if reason is not None:
            if not self._is_fallen:
                if self._last is None:
                    last = np.zeros_like(decision.action)
                self._fallback.begin(self._past or deque([last]))
            self._is_fallen, self._calm, self._why = True, 0, reason
        elif self._is_fallen:
            self._calm += 1
            if self._calm >= settings.dwell:
                self._is_fallen, self._blended = False, 0
        if self._is_fallen:
            verdict = Verdict.FALLBACK if problem is not None else Verdict.ABSTAIN
            words = self._why if reason is not None else f"{self._why}, until {settings.dwell} steps in a row were calm"
            action = self._fallback.act(observation, last)
            return self._sent(decision, action, last, verdict, f"{words}: {self._fallback.words}")
        if self._blended < settings.blend:
            self._blended += 1
            share = self._blended / (settings.blend + 1)
            action = (last + share * (decision.action - last)).astype(np.float32)
            return self._sent(decision, action, last, Verdict.ACT, "going over to a feasible plan")
        return self._sent(decision, decision.action, last, Verdict.ACT, decision.reason)

    def _sent(self, decision: Decision, action: Action, last: Action, verdict: Verdict, reason: str) -> Decision:
        """Once more inside the limits, whoever made it; an action that is not finite becomes the last one. Where no action near it is
        allowed, what the limits make of holding the last one is sent: with a limit on jerk it brakes."""
        limits = self._controller.action_limits
        usable = np.where(np.isfinite(action), action, last)
        before = last if self._earlier is None else self._earlier
        wanted, previous, earlier = torch.tensor(np.stack((usable, last, before)), dtype=torch.float32, device=limits.low.device)[:, None]
        sent = limits.nearest(wanted, previous, earlier)
        if limits.broken(sent, previous, earlier)[0] is not None:
            sent = limits.nearest(previous, previous, earlier)
        return replace(decision, action=sent[0].cpu().numpy().copy(), verdict=verdict, reason=reason)
