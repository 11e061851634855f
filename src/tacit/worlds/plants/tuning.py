"""Settings of decentralised PI control, by a rule from step responses of the equations.

The rule is SIMC: Skogestad, Simple analytic rules for model reduction and PID controller tuning, Journal of Process Control 13 (2003),
equations (23) and (24). Its one dial, the closed loop's time constant, is a multiple of each loop's dead time. Loops are closed one after
the other: each one's step response is taken with those before it at work. The multiple, one for the whole plant, is the one that follows
steps of the setpoints best with all loops closed and all sensors noisy. No loop is so fast that noise shakes its actuator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tacit.worlds.plants.integrate import runge_kutta
from tacit.worlds.plants.pid import DecentralisedPid, Gains
from tacit.worlds.plants.plant import Floats, Loop, Plant
from tacit.worlds.plants.process import Process

STEP = 0.01  # of an actuator's range
LONGEST = 300  # control steps of a step response
STOP = 0.1  # of the range of setpoints: an unstable plant is not watched any further
TAUS = np.geomspace(1.0, 1000.0, 80)  # time constants that are tried, in control steps
SLOWNESS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)
TRIAL_STEPS = 160  # control steps after each step of a setpoint
WEAR = 0.1  # weight of moving the actuators
NOISE = 0.01  # largest standard deviation of an actuator that follows the noise of its sensor, as a share of its range
LOST = 2.0  # error, in ranges of the setpoint, of a loop that gets lost
PATIENCE = 2  # slower settings that are tried after the best one


@dataclass(frozen=True, kw_only=True)
class Lag:
    """A first-order lag with dead time: what a step response looks like.

    Attributes:
        slope: Gain divided by time constant: how fast the sensor leaves, per second and per unit of the actuator.
        seconds: Time constant; infinite for an integrator and for what runs away.
        dead_seconds: Dead time.
    """

    slope: float
    seconds: float
    dead_seconds: float

    def simc(self, closed_seconds: float) -> Gains:
        """SIMC settings for a time constant of the closed loop."""
        speed = closed_seconds + self.dead_seconds
        return Gains(gain=1 / (self.slope * speed), integral_seconds=min(self.seconds, 4 * speed))


def tuned(process: Process, make: Callable[[], Plant]) -> Mapping[str, Gains]:
    """Settings of every loop of a process, by controlled sensor.

    Args:
        process: Its equations; loops are closed in its order.
        make: A new plant of them, with noise and without disturbances.

    Raises:
        ValueError: No multiple keeps the plant near its setpoints.
    """
    best, cost, worse = dict[str, Gains](), math.inf, 0
    for slowness in SLOWNESS:
        gains = closed_one_by_one(process, slowness)
        found = trial(make(), gains)
        worse = worse + 1 if math.isfinite(cost) and found >= cost else 0
        if found < cost:
            best, cost = gains, found
        if worse == PATIENCE:
            break
    if not best:
        raise ValueError(f"{process.name}: no setting of its loops keeps them near their setpoints; pair sensors and actuators otherwise")
    return best


def closed_one_by_one(process: Process, slowness: float) -> dict[str, Gains]:
    """Settings of every loop, where the closed loop's time constant is `slowness` times the dead time, or longer where the noise of the
    sensor would move the actuator too much."""
    gains: dict[str, Gains] = {}
    for loop in process.loops:
        found = lag(process, loop, gains)
        noise = next(s.noise for s in process.sensors if s.name == loop.controlled)
        width = next(a.high - a.low for a in process.actuators if a.name == loop.manipulated)
        quiet = noise / (abs(found.slope) * NOISE * width) - found.dead_seconds
        gains[loop.controlled] = found.simc(max(slowness * found.dead_seconds, quiet))
    return gains


def lag(process: Process, loop: Loop, closed: Mapping[str, Gains]) -> Lag:
    """The lag that fits the step response of a loop's sensor to its actuator.

    Half a control step, half an analyser's interval and its dead time are part of the dead time.

    Args:
        process: The equations.
        loop: Which sensor and which actuator.
        closed: Settings of the loops at work meanwhile, by controlled sensor.

    Raises:
        ValueError: The actuator does not move the sensor.
    """
    period = process.step_seconds
    response = step_response(process, loop, closed)
    if not response.any():
        raise ValueError(f"{process.name}: {loop.manipulated!r} does not move {loop.controlled!r}; close the loops in another order")
    found = fitted(response)
    sensor = next(s for s in process.sensors if s.name == loop.controlled)
    late = 0.5 + sensor.dead_steps + (0.5 * sensor.every if sensor.every > 1 else 0.0)
    return Lag(slope=found.slope / period, seconds=found.seconds * period, dead_seconds=(found.dead_seconds + late) * period)


def step_response(process: Process, loop: Loop, closed: Mapping[str, Gains]) -> Floats:
    """How a loop's sensor leaves the operating point after a step of its actuator, per unit of the actuator, at each control step; the
    arguments are those of `lag`."""
    d = np.array([each.nominal for each in process.disturbances])
    sensors, actuators = [s.name for s in process.sensors], [a.name for a in process.actuators]
    seen, moved = sensors.index(loop.controlled), actuators.index(loop.manipulated)
    others = [
        (sensors.index(other.controlled), actuators.index(other.manipulated), closed[other.controlled])
        for other in process.loops
        if other.controlled in closed
    ]
    size = STEP * (process.actuators[moved].high - process.actuators[moved].low)
    x = np.tile([s.nominal for s in process.states], (2, 1))  # left alone, and with the step
    u = np.tile([a.nominal for a in process.actuators], (2, 1))
    u[1, moved] += size
    first = before = process.outputs(x)
    response = [0.0]
    while len(response) < LONGEST and abs(response[-1]) * size < STOP * (loop.high - loop.low):
        x = runge_kutta(lambda t, x: process.derivative(t, x, u, d), x, process.step_seconds, process.substeps)
        y = process.outputs(x)
        for of, by, gains in others:
            u[:, by] -= gains.gain * (y - before + (y - first) * process.step_seconds / gains.integral_seconds)[:, of]
        before = y
        response.append((y[1, seen] - y[0, seen]) / size)
    return np.array(response)


def fitted(response: Floats) -> Lag:
    """The lag nearest to a step response (T,) by least squares, with a control step as the unit of time.

    Among the lags that are tried are those that run away, whose time constant is negative: they count as integrators of the same slope.
    """
    t = np.arange(len(response), dtype=np.float64)
    taus = np.concatenate([TAUS, -TAUS])
    best = (math.inf, 0.0, 0.0, 0.0)
    for dead in np.linspace(0.0, len(response) / 2, 50):
        since = np.maximum(t - dead, 0.0)
        with np.errstate(over="ignore"):
            shapes = taus[:, None] * -np.expm1(np.clip(-since / taus[:, None], -700.0, 50.0))  # of slope 1 at their beginning
        power = np.einsum("nt,nt->n", shapes, shapes)
        slopes = np.divide(shapes @ response, power, out=np.zeros(len(taus)), where=power > 0)
        errors = np.square(response - slopes[:, None] * shapes).sum(axis=1)
        if errors.min() < best[0]:
            at = int(np.argmin(errors))
            best = (float(errors[at]), float(slopes[at]), float(taus[at]), float(dead))
    _, slope, tau, dead = best
    return Lag(slope=slope, seconds=tau if tau > 0 else math.inf, dead_seconds=dead)


def trial(plant: Plant, gains: Mapping[str, Gains]) -> float:
    """What settings cost: absolute errors of all loops after a step of each setpoint, as shares of the ranges of the setpoints, plus the
    movement of the actuators, as shares of theirs; infinite where a loop gets lost."""
    control, limits = DecentralisedPid(plant, gains), plant.action_limits
    spans = {loop.controlled: loop.high - loop.low for loop in plant.loops}
    widths = np.array([limit.high - limit.low for limit in limits.values()])
    samples, commands, cost = plant.reset(0), control.act(plant.reset(0)), 0.0
    nominal = dict(control.setpoints)
    for name, span in spans.items():
        for setpoint in (nominal[name] + 0.2 * span, nominal[name]):
            control.setpoints[name] = setpoint
            for _ in range(TRIAL_STEPS):
                before, commands = commands, control.act(samples)
                samples = plant.apply(commands)
                errors = [abs(float(samples[each]) - control.setpoints[each]) / spans[each] for each in spans]
                cost += sum(errors) + WEAR * float(np.abs((commands - before) / widths).sum())
                if max(errors) > LOST:
                    return math.inf
    return cost
