"""Plants in closed loop: what a policy makes of setpoints and disturbances, and what that is worth.

    chosen = scenarios(make_plant(), episodes=4, steps=600, seed=0, lead=90)
    traces = [drive(make_plant(), policy, scenario, operator=PidControl(gains)) for scenario in chosen]

Every policy meets the same noise and the same disturbances. Dimensions: T steps, A action, H horizon.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from tacit.planning import Controller, Decision, Verdict
from tacit.signals import MASK, Role, Schema
from tacit.worlds.plants import DecentralisedPid, Gains, Plant

Floats = NDArray[np.float64]
Samples = Mapping[str, NDArray[Any]]
NUDGE = 0.1  # of the range of a disturbance, that a scenario adds to it
SETTLE = 0.2  # share of a scenario before a disturbance begins
WATCHED = 60  # steps beyond its horizon that a planner watches before it takes over: then it knows what its model is wrong by


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What happens to a plant, whoever controls it.

    Attributes:
        name: What a person calls it.
        seed: Of the plant.
        steps: T, control steps.
        setpoints: What each controlled signal should be from a step on, by step; step 0 has all of them.
        disturbances: What disturbances are held at from a step on, by step.
        lead: Steps before these, at what holds at step 0, during which an operator controls the plant and the policy watches. None of
            them counts: what is taken over on site runs already, and has been watched for a while.
    """

    name: str
    seed: int
    steps: int
    setpoints: Mapping[int, Mapping[str, float]]
    disturbances: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    lead: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Fan:
    """What a controller expected at one moment.

    Attributes:
        step: The moment.
        channels: Predicted signals, (H,) each, by name, from the next step on.
    """

    step: int
    channels: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """One scenario as it went.

    Attributes:
        policy: Whose.
        scenario: Which.
        signals: What was seen, and the labels, (T + 1,) each, by name; NaN where a sensor had no new sample.
        actions: What was sent, (T, A).
        before: What was sent last before them, (A,).
        setpoints: In force at each step, (T,) each, by signal.
        verdicts: Of each decision, for policies that have them.
        ms: Milliseconds of each decision, (T,), of this thread's processor time.
        fans: What was expected now and then.
    """

    policy: str
    scenario: Scenario
    signals: Mapping[str, Floats]
    actions: Floats
    before: Floats
    setpoints: Mapping[str, Floats]
    verdicts: tuple[Verdict, ...]
    ms: Floats
    fans: tuple[Fan, ...]


class Policy(Protocol):
    """What controls a plant."""

    @property
    def name(self) -> str:
        """What a report calls it."""

    def begin(self, plant: Plant) -> None:
        """A scenario begins at the plant's operating point; nothing may be kept of the one before."""

    def watch(self, samples: Samples, setpoints: Mapping[str, float], commands: Floats) -> None:
        """Take in what somebody else does: the commands (A,) for the step that begins with these samples."""

    def act(self, samples: Samples, setpoints: Mapping[str, float]) -> tuple[Floats, Decision | None]:
        """The commands (A,) for the step that begins with these samples, and what they rest on, where that is known."""


@final
class Constant:
    """The operating point, whatever happens: the floor."""

    name = "constant"

    def begin(self, plant: Plant) -> None:
        self._commands = _at_home(plant)

    def watch(self, samples: Samples, setpoints: Mapping[str, float], commands: Floats) -> None:
        """Nothing is learned from it."""

    def act(self, samples: Samples, setpoints: Mapping[str, float]) -> tuple[Floats, Decision | None]:
        return self._commands, None


@final
class PidControl:
    """Decentralised PI control, as the logs were written under.

    Args:
        gains: By controlled signal.
    """

    name = "PI control"

    def __init__(self, gains: Mapping[str, Gains]) -> None:
        self._gains = gains

    def begin(self, plant: Plant) -> None:
        self._control = DecentralisedPid(plant, self._gains)

    def watch(self, samples: Samples, setpoints: Mapping[str, float], commands: Floats) -> None:
        """Handing over is smooth: its integral is nowhere but in what was sent."""
        self.act(samples, setpoints)
        self._control.commands = dict(zip(self._control.commands, commands.tolist(), strict=True))

    def act(self, samples: Samples, setpoints: Mapping[str, float]) -> tuple[Floats, Decision | None]:
        self._control.setpoints.update({name: value for name, value in setpoints.items() if name in self._control.setpoints})
        return self._control.act(dict(samples)), None


@final
class Planned:
    """A controller that plans.

    Args:
        controller: Of a task with a setpoint for every signal that scenarios move.
        name: What a report calls it.
        hidden: Signals of the plant that it is not shown, because its model has not seen them.
    """

    def __init__(self, controller: Controller, name: str = "Tacit", hidden: Collection[str] = ()) -> None:
        self.name = name
        self._controller, self._hidden = controller, set(hidden)

    def begin(self, plant: Plant) -> None:
        self._controller.reset(applied=_at_home(plant)[None, None].astype(np.float32))
        self._held: Mapping[str, float] = {}
        self._seen = {signal.name for signal in plant.schema.seen} - self._hidden
        self._told: Floats | None = None  # what somebody else has sent instead of what was decided

    def watch(self, samples: Samples, setpoints: Mapping[str, float], commands: Floats) -> None:
        """Decide as if in charge, and be told next time what was sent instead."""
        self.act(samples, setpoints)
        self._told = commands

    def act(self, samples: Samples, setpoints: Mapping[str, float]) -> tuple[Floats, Decision | None]:
        if setpoints != self._held:
            self._controller.retarget(setpoints)
            self._held = dict(setpoints)
        decision = self._controller.act({name: value for name, value in samples.items() if name in self._seen}, self._told)
        self._told = None
        return decision.action.astype(np.float64), decision


def _at_home(plant: Plant) -> Floats:
    """Commands at the operating point, (A,)."""
    return np.array([plant.operating_point[signal.name] for signal in plant.schema.actions])


def scenarios(plant: Plant, *, episodes: int, steps: int, seed: int, lead: int = 0) -> list[Scenario]:
    """Scenarios of a plant, in turns: setpoints that step to places of normal operation, and one disturbance that nobody measures.

    In the second kind all other disturbances stay as they are at the operating point, so that what is left at the end is the policy's.

    Args:
        plant: Whose; it is not touched.
        episodes: How many.
        steps: T, of each.
        seed: Of what happens, at least 0.
        lead: Steps before, under an operator.
    """
    rng = np.random.default_rng((seed, 7))
    home = {loop.controlled: plant.operating_point[loop.controlled] for loop in plant.loops}
    hidden = [s for s in plant.schema.labels if s.name in plant.operating_point]
    still = {name: value for name, value in plant.operating_point.items() if _is_disturbance(plant.schema, name)}
    found = []
    for number in range(episodes):
        own = int(rng.integers(2**31))
        if number % 2 == 0 or not hidden:
            moves: dict[int, dict[str, float]] = {0: home}
            for turn, step in enumerate(np.linspace(0.05, 0.8, 2 * len(plant.loops)) * steps):
                loop = plant.loops[turn % len(plant.loops)]
                moves.setdefault(int(step), {})[loop.controlled] = float(np.round(rng.uniform(loop.low, loop.high), 3))
            found.append(Scenario(name=f"setpoints {number // 2 + 1}", seed=own, steps=steps, setpoints=moves, lead=lead))
            continue
        signal = hidden[int(rng.integers(len(hidden)))]
        low, high = (plant.operating_point[signal.name] if end is None else end for end in (signal.low, signal.high))
        nominal = plant.operating_point[signal.name]
        nudge = NUDGE * (high - low) * (1 if high - nominal >= nominal - low else -1)
        disturbances = {0: still, int(SETTLE * steps): {signal.name: nominal + nudge}}
        name = f"disturbance {number // 2 + 1}: {signal.name} {nudge:+.2g}{'' if signal.unit == '1' else ' ' + signal.unit}"
        found.append(Scenario(name=name, seed=own, steps=steps, setpoints={0: home}, disturbances=disturbances, lead=lead))
    return found


def _is_disturbance(schema: Schema, name: str) -> bool:
    signal = schema.by_name.get(name)
    return signal is not None and signal.role in (Role.DISTURBANCE, Role.LABEL)


def drive(plant: Plant, policy: Policy, scenario: Scenario, *, operator: Policy | None = None, fans: int = 6) -> Trace:
    """Let a policy control a plant through a scenario.

    Args:
        plant: It is reset, and disturbances that a scenario held before are let go.
        policy: What controls it.
        scenario: What happens.
        operator: Who controls it before the policy does, where the scenario has a lead; None leaves it at the operating point.
        fans: How many moments to keep what was expected at.
    """
    names = [s.name for s in plant.schema.signals if s.role is not Role.ACTION and not s.is_image and not s.name.endswith(MASK)]
    plant.disturb({name: None for name in plant.operating_point if _is_disturbance(plant.schema, name)})
    samples = plant.reset(scenario.seed)
    policy.begin(plant)
    before, wanted = _at_home(plant), dict(scenario.setpoints.get(0, {}))
    operator = operator or Constant()
    operator.begin(plant)
    for _ in range(scenario.lead):
        plant.disturb(dict(scenario.disturbances.get(0, {})))
        before, _ = operator.act(samples, wanted)
        policy.watch(samples, wanted, before)
        samples = plant.apply(before)
    seen, actions, told, verdicts, times, kept = [_row(samples, names)], [], [], [], [], []
    moments = set(np.linspace(0, scenario.steps, fans, endpoint=False).astype(int).tolist()) | set(scenario.setpoints)
    for step in range(scenario.steps):
        wanted |= scenario.setpoints.get(step, {})
        plant.disturb(dict(scenario.disturbances.get(step, {})))
        began = time.thread_time()
        action, decision = policy.act(samples, wanted)
        times.append(1e3 * (time.thread_time() - began))
        if decision is not None:
            verdicts.append(decision.verdict)
            if decision.forecast and step in moments:
                kept.append(Fan(step=step, channels={name: value[0] for name, value in decision.forecast.items()}))
        samples = plant.apply(action)
        actions.append(np.asarray(action, np.float64))
        told.append([wanted[name] for name in sorted(wanted)])
        seen.append(_row(samples, names))
    signals, setpoints = np.array(seen), np.array(told)
    return Trace(
        policy=policy.name,
        scenario=scenario,
        signals={name: signals[:, column] for column, name in enumerate(names)},
        actions=np.array(actions),
        before=before,
        setpoints={name: setpoints[:, column] for column, name in enumerate(sorted(wanted))},
        verdicts=tuple(verdicts),
        ms=np.array(times),
        fans=tuple(kept),
    )


def _row(samples: Samples, names: Sequence[str]) -> list[float]:
    return [float(samples[name]) if bool(samples.get(name + MASK, True)) else np.nan for name in names]
