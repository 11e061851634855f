"""The quadruple tank: two pumps, each of which feeds a lower tank and the upper tank above the other one.

Johansson, The quadruple-tank process: a multivariable laboratory process with an adjustable zero, IEEE Transactions on Control Systems
Technology 8(3), 2000, equation (1), with the parameters and operating points of its section II: P- has its zeros in the left half plane,
P+ one in the right, where the lower tanks are fed mostly through the upper ones of the other side.

Ours: the lower levels are measured, level 3 is dipped once a minute and level 4 never. A line of others discharges into tank 2 at times
and is measured; a leak of tank 1, the settings of both three-way valves and the strength of both pumps are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from tacit.worlds.plants.plant import Floats, Loop
from tacit.worlds.plants.process import Actuator, Camera, Disturbance, Sensor, State, Truth

AREA = np.array([28.0, 32.0, 28.0, 32.0])  # cm2, A_i
HOLE = np.array([0.071, 0.057, 0.071, 0.057])  # cm2, a_i
GRAVITY = 981.0  # cm/s2
HEIGHT = 20.0  # cm, of a tank

INFLOW = Disturbance(
    name="inflow_2",
    unit="cm3/s",
    nominal=0.0,
    low=0.0,
    high=2.5,
    wander=0.1,
    wander_seconds=60.0,
    jump=1.2,
    jump_seconds=1200.0,
    measured=True,
    noise=0.02,
    resolution=0.02,
)
LEAK = Disturbance(name="leak_1", unit="cm3/s", nominal=0.0, low=0.0, high=2.0, jump=0.7, jump_seconds=3600.0)


@final
@dataclass(frozen=True, kw_only=True)
class FourTank:
    """The equations of one setting of the quadruple tank. States: levels 1 to 4 in cm.

    Attributes:
        name: Name in the registry.
        levels: At the operating point, in cm.
        volts: Of both pumps there.
        strength: Flow of each pump, k in cm3/Vs.
        split: Share of each pump's flow that goes into the lower tank, gamma.
        crossed: Whether decentralised control pairs each lower level with the pump of the other side.
        setpoints: Smallest and largest setpoint of both lower levels in normal operation, in cm.
        hold_seconds: Mean time between two setpoints.
    """

    name: str
    levels: tuple[float, float, float, float]
    volts: tuple[float, float]
    strength: tuple[float, float]
    split: tuple[float, float]
    crossed: bool
    setpoints: tuple[float, float]
    hold_seconds: float

    step_seconds: ClassVar[float] = 5.0
    substeps: ClassVar[int] = 1
    cameras: ClassVar[tuple[Camera, ...]] = ()
    truths: ClassVar[tuple[Truth, ...]] = (
        *(Truth(name=f"level_{i}.true", unit="cm") for i in (1, 2, 3, 4)),
        Truth(name="pump_power", unit="V2"),
    )
    sensors: ClassVar[tuple[Sensor, ...]] = (
        Sensor(name="level_1", unit="cm", low=0.0, high=HEIGHT, noise=0.03, resolution=0.02),
        Sensor(name="level_2", unit="cm", low=0.0, high=HEIGHT, noise=0.03, resolution=0.02),
        Sensor(name="level_3", unit="cm", low=0.0, high=HEIGHT, noise=0.05, resolution=0.1, every=12),
    )

    @property
    def states(self) -> tuple[State, ...]:
        return tuple(State(name=f"level_{i + 1}", unit="cm", low=0.0, high=HEIGHT, nominal=h) for i, h in enumerate(self.levels))

    @property
    def actuators(self) -> tuple[Actuator, ...]:
        return (
            Actuator(name="pump_1", unit="V", low=0.0, high=10.0, rate=0.5, nominal=self.volts[0], static=0.03, dynamic=0.015),
            Actuator(name="pump_2", unit="V", low=0.0, high=10.0, rate=0.5, nominal=self.volts[1]),
        )

    @property
    def disturbances(self) -> tuple[Disturbance, ...]:
        drifts = [
            Disturbance(name=f"{name}_{i + 1}", unit=unit, nominal=nominal, low=0.0, high=high, wander=wander, wander_seconds=4 * 3600.0)
            for name, unit, both, high, wander in (
                ("split", "1", self.split, 1.0, 0.01),
                ("strength", "cm3/Vs", self.strength, 5.0, 0.05),
            )
            for i, nominal in enumerate(both)
        ]
        return (INFLOW, LEAK, *drifts)

    @property
    def loops(self) -> tuple[Loop, ...]:
        pumps = ("pump_2", "pump_1") if self.crossed else ("pump_1", "pump_2")
        low, high = self.setpoints
        return tuple(
            Loop(controlled=f"level_{i + 1}", manipulated=pump, low=low, high=high, hold_seconds=self.hold_seconds)
            for i, pump in enumerate(pumps)
        )

    def derivative(self, t: float, x: Floats, u: Floats, d: Floats) -> Floats:
        """Equation (1) of the paper in cm/s, with a discharge into tank 2 and a leak of tank 1."""
        inflow, leak, split, strength = d[..., 0], d[..., 1], d[..., 2:4], d[..., 4:6]
        out = HOLE * np.sqrt(2 * GRAVITY * np.maximum(x, 0.0))
        pumped = strength * u
        below, above = split * pumped, (1 - split) * pumped
        flow = -out
        flow[..., :2] += out[..., 2:] + below
        flow[..., 2:] += above[..., ::-1]
        flow[..., 0] -= leak * (x[..., 0] > 0.0)
        flow[..., 1] += inflow
        change: Floats = flow / AREA
        return change

    def outputs(self, x: Floats) -> Floats:
        return x[..., :3]

    def truth(self, x: Floats, u: Floats, d: Floats) -> Floats:
        return np.append(x, u @ u)

    def pictures(self, x: Floats, d: Floats) -> tuple[Floats, ...]:
        return ()


FOUR_TANK = FourTank(
    name="four_tank",
    levels=(12.4, 12.7, 1.8, 1.4),
    volts=(3.0, 3.0),
    strength=(3.33, 3.35),
    split=(0.70, 0.60),
    crossed=False,
    setpoints=(10.0, 15.0),
    hold_seconds=900.0,
)
FOUR_TANK_NONMINIMUM = FourTank(
    name="four_tank_nonminimum",
    levels=(12.6, 13.0, 4.8, 4.9),
    volts=(3.15, 3.15),
    strength=(3.14, 3.29),
    split=(0.43, 0.34),
    crossed=True,
    setpoints=(11.5, 14.5),
    hold_seconds=1800.0,
)
