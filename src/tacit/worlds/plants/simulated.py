"""A process that runs: equations, with valves that stick, disturbances that come and go, and sensors that are not perfect."""

from __future__ import annotations

import copy
import functools
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from tacit.signals import MASK, Schema
from tacit.worlds.plants.integrate import runge_kutta
from tacit.worlds.plants.pid import Gains
from tacit.worlds.plants.plant import ActionLimits, Floats, Loop, Operator, Samples
from tacit.worlds.plants.process import Process, position, schema_of
from tacit.worlds.plants.shift import Shift
from tacit.worlds.plants.stiction import Stems
from tacit.worlds.plants.tuning import tuned


@final
class SimulatedPlant:
    """A `Plant` of a `Process`. It starts at the operating point, as if `reset(0)` had been called.

    Noise and disturbances are drawn for every step whatever is done, so that two controllers on plants of the same seed meet the same.

    Args:
        process: The equations and what stands around them.
        unrest: Factor of the standard deviation of all disturbances and drifts; 0 for a plant at rest.
        noise: Factor of the noise of all sensors and cameras; 0 leaves their resolution.
        sticks: Whether valves stick.
    """

    def __init__(self, process: Process, *, unrest: float = 1.0, noise: float = 1.0, sticks: bool = True) -> None:
        self.process = process
        self._unrest, self._noise, self._sticks = unrest, noise, sticks
        self._schema = schema_of(process)
        self._sensors, self._actuators, self._disturbances = process.sensors, process.actuators, process.disturbances
        self._low, self._high = (np.array([getattr(s, side) for s in process.states]) for side in ("low", "high"))
        self._commands_low, self._commands_high = (np.array([getattr(a, side) for a in process.actuators]) for side in ("low", "high"))
        self._commands_step = np.array([a.rate for a in process.actuators]) * process.step_seconds
        self._names = tuple(d.name for d in self._disturbances)
        self._nominal = np.array([s.nominal for s in process.states])
        self.reset(0)

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def schema(self) -> Schema:
        return self._schema

    @property
    def step_seconds(self) -> float:
        return self.process.step_seconds

    @property
    def action_limits(self) -> Mapping[str, ActionLimits]:
        return {a.name: ActionLimits(low=a.low, high=a.high, rate=a.rate) for a in self.process.actuators}

    @property
    def loops(self) -> tuple[Loop, ...]:
        return self.process.loops

    @property
    def operating_point(self) -> Mapping[str, float]:
        process = self.process
        shown = process.outputs(np.array([s.nominal for s in process.states]))
        sensors = {s.name: float(value) for s, value in zip(process.sensors, shown, strict=True)}
        return {**sensors, **{a.name: a.nominal for a in process.actuators}, **{d.name: d.nominal for d in process.disturbances}}

    @property
    def state(self) -> Floats:
        """States, (n,)."""
        return self._x.copy()

    @property
    def disturbances(self) -> Floats:
        """Disturbances as they are in the step to come, (k,)."""
        return self._d.copy()

    def reset(self, seed: int = 0, *, state: Floats | None = None) -> Samples:
        """Bring the plant to its operating point, or to `state` (n,); see `Plant.reset`."""
        process = self.process
        self._seed(seed)
        self._x = self._nominal.copy() if state is None else np.array(state, np.float64)
        self._command = np.array([a.nominal for a in self._actuators])
        friction = [np.array([a.static, a.dynamic]) * self._sticks for a in self._actuators]
        self._stems = Stems(self._command, *np.array(friction).T)
        self._held: dict[str, float] = {}
        wander, jump = self._weather.normal(size=(2, len(self._names)))
        self._wander, self._level = wander, jump  # both in standard deviations
        self._d = self._disturbed()
        self._step = 0
        self._lines = [deque([y] * (s.dead_steps + 1)) for s, y in zip(self._sensors, process.outputs(self._x), strict=True)]
        self._shown = {s.name: y[0] for s, y in zip(self._sensors, self._lines, strict=True)}
        return self._samples()

    def apply(self, action: ArrayLike) -> Samples:
        """Run one control step; see `Plant.apply`."""
        wanted = np.asarray(action, np.float64)
        if wanted.shape != self._command.shape or not np.isfinite(wanted).all():
            raise ValueError(f"{self.name}: an action is {len(self._command)} finite numbers, not {action!r}")
        step = np.clip(wanted - self._command, -self._commands_step, self._commands_step)
        self._command = np.clip(self._command + step, self._commands_low, self._commands_high)
        u, process = self._stems.move(self._command), self.process
        d = self._d = self._disturbed()
        x = runge_kutta(lambda t, x: process.derivative(t, x, u, d), self._x, process.step_seconds, process.substeps)
        self._x = np.clip(x, self._low, self._high)
        self._step += 1
        for line, y in zip(self._lines, process.outputs(self._x), strict=True):
            line.append(y)
            line.popleft()
        self._drift()
        return self._samples()

    def disturb(self, values: Mapping[str, float | None]) -> None:
        """Hold disturbances; see `Plant.disturb`."""
        for name, value in values.items():
            if name not in self._names:
                raise ValueError(f"{self.name}: there is no disturbance {name!r}; there are: {', '.join(self._names)}")
            if value is None:
                self._held.pop(name, None)
            else:
                self._held[name] = float(value)
        self._d = self._disturbed()

    def operator(self, rng: np.random.Generator) -> Operator:
        """People who trust tuned PI controllers; see `Plant.operator`."""
        return Shift(self, gains_of(self.process), rng)

    def branch(self, *, seed: int | None = None) -> SimulatedPlant:
        """Another plant that goes on from here; see `Plant.branch`. With a seed, other noise and disturbances are to come."""
        shared = (self.process, self._schema, self._sensors, self._actuators, self._disturbances)
        other = copy.deepcopy(self, {id(each): each for each in shared})
        if seed is not None:
            other._seed(seed)
        return other

    def futures(self, actions: Floats, seeds: Sequence[int]) -> Floats:
        """The true states after every step of several futures from here on; the plant itself stays where it is.

        Args:
            actions: Commands of K sequences, (K, H, m).
            seeds: Of the disturbances of M futures, the same for every sequence.

        Returns:
            (K, M, H, n), as K M branches with these seeds would come to.
        """
        process, (count, steps, _) = self.process, actions.shape
        weather = []
        for seed in seeds:
            other, path = self.branch(seed=seed), []
            for _ in range(steps):
                path.append(other._disturbed())
                other._drift()
            weather.append(path)
        disturbed = np.array(weather)
        stems, command = copy.deepcopy(self._stems), np.broadcast_to(self._command, (count, len(self._command)))
        x, found = np.broadcast_to(self._x, (count, len(seeds), len(self._x))), []
        for k in range(steps):
            step = np.clip(actions[:, k] - command, -self._commands_step, self._commands_step)
            command = np.clip(command + step, self._commands_low, self._commands_high)
            u = np.broadcast_to(stems.move(command)[:, None], (*x.shape[:2], command.shape[1]))
            held = partial(process.derivative, u=u, d=disturbed[:, k])
            x = runge_kutta(held, x, process.step_seconds, process.substeps)
            x = np.clip(x, self._low, self._high)
            found.append(x)
        return np.stack(found, axis=2)

    def _seed(self, seed: int) -> None:
        """Decide all noise and disturbances to come."""
        sources = np.random.SeedSequence(seed).spawn(2)
        self._weather, self._grain = (np.random.Generator(np.random.Philox(source)) for source in sources)

    def _disturbed(self) -> Floats:
        """Disturbances, (k,), from where they wander and what is held."""
        values = [
            self._held.get(d.name, min(max(d.nominal + self._unrest * (d.wander * w + d.jump * j), d.low), d.high))
            for d, w, j in zip(self._disturbances, self._wander, self._level, strict=True)
        ]
        return np.array(values)

    def _drift(self) -> None:
        """The disturbances of the next step."""
        steps, levels = self._weather.normal(size=(2, len(self._names)))
        chances = self._weather.random(len(self._names))
        for i, d in enumerate(self._disturbances):
            memory = np.exp(-self.process.step_seconds / d.wander_seconds)
            self._wander[i] = memory * self._wander[i] + np.sqrt(1 - memory**2) * steps[i]
            if chances[i] < self.process.step_seconds / d.jump_seconds:
                self._level[i] = levels[i]
        self._d = self._disturbed()

    def _samples(self) -> Samples:
        """What is seen now, by name of signal."""
        process = self.process
        found: dict[str, Any] = {}
        noise = self._grain.normal(size=len(self._sensors) + len(self._disturbances)) * self._noise
        for sensor, line, e in zip(self._sensors, self._lines, noise, strict=False):
            fresh = self._step % sensor.every == 0
            if fresh:
                self._shown[sensor.name] = shown(line[0] + sensor.noise * e, sensor.resolution, sensor.low, sensor.high)
            found[sensor.name] = np.float32(self._shown[sensor.name])
            if sensor.every > 1:
                found[sensor.name + MASK] = np.bool_(fresh)
        for d, value, e in zip(self._disturbances, self._d, noise[len(self._sensors) :], strict=True):
            found[d.name] = np.float32(shown(value + d.noise * e, d.resolution, d.low, d.high) if d.measured else value)
        for camera, picture in zip(process.cameras, process.pictures(self._x, self._d), strict=True):
            grains = self._grain.standard_normal(picture.shape, np.float32) * (camera.noise * self._noise)
            grey = np.clip(np.rint(picture + grains), 0, 255).astype(np.uint8)
            found[camera.name] = np.broadcast_to(grey[..., None], camera.shape).copy()
        found |= {position(a): np.float32(at) for a, at in zip(self._actuators, self._stems.position, strict=True) if a.static}
        values = process.truth(self._x, self._stems.position, self._d)
        found |= {t.name: np.float32(value) for t, value in zip(process.truths, values, strict=True)}
        return {name: np.asarray(found[name]) for name in self._schema.by_name if name in found}


@functools.cache
def gains_of(process: Process) -> Mapping[str, Gains]:
    """Settings of decentralised PI control of a process, by controlled sensor; see `tacit.worlds.plants.tuning`. Takes seconds, once."""
    return tuned(process, lambda: SimulatedPlant(process, unrest=0.0))


def shown(value: float, resolution: float, low: float, high: float) -> float:
    """What a sensor of a range and a resolution (0 for any value) shows."""
    rounded = round(value / resolution) * resolution if resolution else value
    return min(max(rounded, low), high)
