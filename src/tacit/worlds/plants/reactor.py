"""An exothermic reactor: a stirred tank in which A becomes B, cooled by a jacket.

Seborg, Edgar, Mellichamp, Doyle, Process Dynamics and Control, equations (2-66) and (2-68) with the parameters of table 2.3. At the
operating point there, 0.5 mol/L at 350 K with a coolant of 300 K, the reaction heats faster than the jacket cools: the steady state is a
saddle, from which the reactor left alone goes out or runs away within minutes. The log of such a plant is a log of its controller.

Ours: the concentration is analysed once a minute, and the result is a minute late. Temperature and flow of the feed are measured; its
concentration, the activity of the catalyst and the fouling of the jacket are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from tacit.worlds.plants.plant import Floats, Loop
from tacit.worlds.plants.process import Actuator, Camera, Disturbance, Sensor, State, Truth

VOLUME = 100.0  # L
RATE = 7.2e10  # 1/min, k0
ACTIVATION = 8750.0  # K, E/R
HEAT_CAPACITY = 1000.0 * 0.239  # J/(L K), density times specific heat
HEAT = 5e4  # J/mol, set free
COOLING = 5e4  # J/(min K), UA
MINUTE = 60.0


@final
@dataclass(frozen=True, kw_only=True)
class Reactor:
    """The equations of the reactor. States: concentration of A in mol/L, temperature in K.

    Attributes:
        name: Name in the registry.
    """

    name: str

    step_seconds: ClassVar[float] = 5.0
    substeps: ClassVar[int] = 2
    cameras: ClassVar[tuple[Camera, ...]] = ()
    states: ClassVar[tuple[State, ...]] = (
        State(name="concentration", unit="mol/L", low=0.0, high=2.0, nominal=0.5),
        State(name="temperature", unit="K", low=250.0, high=550.0, nominal=350.0),
    )
    sensors: ClassVar[tuple[Sensor, ...]] = (
        Sensor(name="concentration", unit="mol/L", low=0.0, high=1.5, noise=0.004, resolution=0.001, every=12, dead_steps=12),
        Sensor(name="temperature", unit="K", low=273.0, high=473.0, noise=0.08, resolution=0.05),
    )
    actuators: ClassVar[tuple[Actuator, ...]] = (
        Actuator(name="coolant", unit="K", low=280.0, high=370.0, rate=2.0, nominal=300.0, static=0.1, dynamic=0.05),
    )
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance(
            name="feed_temperature",
            unit="K",
            nominal=350.0,
            low=335.0,
            high=365.0,
            wander=0.8,
            wander_seconds=600.0,
            jump=1.5,
            jump_seconds=1200.0,
            measured=True,
            noise=0.05,
            resolution=0.05,
        ),
        Disturbance(
            name="feed_flow",
            unit="L/min",
            nominal=100.0,
            low=80.0,
            high=120.0,
            wander=0.5,
            wander_seconds=120.0,
            jump=2.0,
            jump_seconds=1800.0,
            measured=True,
            noise=0.1,
            resolution=0.1,
        ),
        Disturbance(
            name="feed_concentration",
            unit="mol/L",
            nominal=1.0,
            low=0.85,
            high=1.15,
            wander=0.006,
            wander_seconds=900.0,
            jump=0.012,
            jump_seconds=2400.0,
        ),
        Disturbance(name="activity", unit="1", nominal=1.0, low=0.7, high=1.3, wander=0.03, wander_seconds=4 * 3600.0),
        Disturbance(name="cooling", unit="1", nominal=1.0, low=0.7, high=1.2, wander=0.03, wander_seconds=4 * 3600.0),
    )
    truths: ClassVar[tuple[Truth, ...]] = (
        Truth(name="concentration.true", unit="mol/L"),
        Truth(name="temperature.true", unit="K"),
        Truth(name="production", unit="mol/min"),
        Truth(name="duty", unit="kJ/min"),
    )
    loops: ClassVar[tuple[Loop, ...]] = (Loop(controlled="temperature", manipulated="coolant", low=344.0, high=356.0),)

    def derivative(self, t: float, x: Floats, u: Floats, d: Floats) -> Floats:
        """Equations (2-66) and (2-68), per second; `activity` is a factor of k0 and `cooling` one of UA."""
        concentration, temperature, coolant = x[..., 0], x[..., 1], u[..., 0]
        feed_temperature, flow, feed, activity, cooling = (d[..., i] for i in range(5))
        reaction = activity * RATE * np.exp(-ACTIVATION / temperature) * concentration
        per_minute = flow / VOLUME
        heat = HEAT / HEAT_CAPACITY * reaction + cooling * (COOLING / (VOLUME * HEAT_CAPACITY)) * (coolant - temperature)
        change = (per_minute * (feed - concentration) - reaction, per_minute * (feed_temperature - temperature) + heat)
        return np.stack(np.broadcast_arrays(*change), axis=-1) / MINUTE

    def outputs(self, x: Floats) -> Floats:
        return x

    def truth(self, x: Floats, u: Floats, d: Floats) -> Floats:
        return np.array((*x, d[1] * (d[2] - x[0]), d[4] * COOLING * (x[1] - u[0]) / 1000))

    def pictures(self, x: Floats, d: Floats) -> tuple[Floats, ...]:
        return ()


REACTOR = Reactor(name="reactor")
