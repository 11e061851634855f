"""The equations of a plant, and what stands around them: states, sensors, actuators, disturbances and cameras, all frozen values.

Dimensions: n states, m manipulated variables, k disturbances, p sensors. Time is in seconds everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tacit.signals import Role, Schema, Signal, mask_of
from tacit.worlds.plants.plant import Floats, Loop


@dataclass(frozen=True, kw_only=True)
class State:
    """One number that the equations integrate.

    Attributes:
        name: What it is.
        unit: Of the number.
        low: It never falls below (an empty tank).
        high: It never rises above (a tank that runs over).
        nominal: At the operating point.
    """

    name: str
    unit: str
    low: float
    high: float
    nominal: float


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """What measures one output of the equations.

    Attributes:
        name: Of the observation.
        unit: Of its samples.
        low: Smallest value that it shows.
        high: Largest value that it shows.
        noise: Standard deviation of what is added to each sample.
        resolution: Step between two values that it can show.
        every: Control steps between two samples; more than 1 for an analyser.
        dead_steps: Control steps by which its samples are late.
    """

    name: str
    unit: str
    low: float
    high: float
    noise: float
    resolution: float
    every: int = 1
    dead_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Actuator:
    """What moves one manipulated variable.

    Attributes:
        name: Of the action.
        unit: Of its command.
        low: Smallest command.
        high: Largest command.
        rate: Largest change per second.
        nominal: At the operating point.
        static: Static friction: the command has to move so far before a resting stem moves, in the unit of the command; 0 for none.
        dynamic: Dynamic friction, at most `static`: so far a moving stem stays behind the command.
    """

    name: str
    unit: str
    low: float
    high: float
    rate: float
    nominal: float
    static: float = 0.0
    dynamic: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """Something that acts on the plant and that nobody chooses; a parameter that drifts is one too.

    Its value is `nominal`, plus a slow wandering (an Ornstein-Uhlenbeck process), plus a level that jumps to a new one now and then,
    and never leaves `low` and `high`.

    Attributes:
        name: Of the disturbance signal, or of the label where it is not measured.
        unit: Of its value.
        nominal: At the operating point.
        low: Smallest value.
        high: Largest value.
        wander: Standard deviation of the wandering.
        wander_seconds: Its correlation time.
        jump: Standard deviation of the levels.
        jump_seconds: Mean time between two jumps.
        measured: Whether a sensor shows it.
        noise: Standard deviation of that sensor's noise.
        resolution: Step between two values that it can show.
    """

    name: str
    unit: str
    nominal: float
    low: float
    high: float
    wander: float = 0.0
    wander_seconds: float = 3600.0
    jump: float = 0.0
    jump_seconds: float = 3600.0
    measured: bool = False
    noise: float = 0.0
    resolution: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Camera:
    """What shows a plant as a picture.

    Attributes:
        name: Of the observation.
        shape: Height, width and channels.
        noise: Standard deviation of the noise of each pixel, in grey levels.
    """

    name: str
    shape: tuple[int, int, int]
    noise: float


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A label that follows from the states: what the plant is really like, or what its operation costs.

    Attributes:
        name: Of the label.
        unit: Of its value.
    """

    name: str
    unit: str


class Process(Protocol):
    """The equations of a plant, and what stands around them. Arrays may have leading dimensions (..., n), which broadcast."""

    def __hash__(self) -> int:
        """Of a frozen value."""

    @property
    def name(self) -> str:
        """Name in the registry."""

    @property
    def step_seconds(self) -> float:
        """Length of a control step."""

    @property
    def substeps(self) -> int:
        """Steps of integration in a control step."""

    @property
    def states(self) -> tuple[State, ...]:
        """What the equations integrate, n."""

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """What measures the outputs, p, in their order."""

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """What shows the plant as a picture."""

    @property
    def actuators(self) -> tuple[Actuator, ...]:
        """What can be moved, m."""

    @property
    def disturbances(self) -> tuple[Disturbance, ...]:
        """What acts on the plant, k."""

    @property
    def truths(self) -> tuple[Truth, ...]:
        """Labels that follow from the states."""

    @property
    def loops(self) -> tuple[Loop, ...]:
        """How decentralised control pairs sensors and actuators."""

    def derivative(self, t: float, x: Floats, u: Floats, d: Floats) -> Floats:
        """Change of the states per second, (..., n).

        Args:
            t: Time in seconds.
            x: States, (..., n).
            u: Manipulated variables as they really are, (..., m).
            d: Disturbances, (..., k).
        """

    def outputs(self, x: Floats) -> Floats:
        """What the sensors would show without noise and dead time, (..., p), of states (..., n)."""

    def truth(self, x: Floats, u: Floats, d: Floats) -> Floats:
        """The values of `truths`; the arguments are those of `derivative`, without leading dimensions."""

    def pictures(self, x: Floats, d: Floats) -> tuple[Floats, ...]:
        """What each camera would show without noise, (height, width) in grey levels from 0 to 255, the same in all colours."""


def schema_of(process: Process) -> Schema:
    """The signals of a process that runs: cameras and sensors, actions, measured disturbances, labels."""
    period = process.step_seconds
    signals = [Signal(name=c.name, role=Role.OBSERVATION, shape=c.shape, dtype="uint8") for c in process.cameras]
    for s in process.sensors:
        rate = None if s.every == 1 else 1 / (s.every * period)
        signals.append(Signal(name=s.name, role=Role.OBSERVATION, unit=s.unit, low=s.low, high=s.high, rate=rate))
        if s.every > 1:
            signals.append(mask_of(signals[-1]))
    signals += [Signal(name=a.name, role=Role.ACTION, unit=a.unit, low=a.low, high=a.high) for a in process.actuators]
    for role in (Role.DISTURBANCE, Role.LABEL):
        own = [d for d in process.disturbances if d.measured == (role is Role.DISTURBANCE)]
        signals += [Signal(name=d.name, role=role, unit=d.unit, low=d.low, high=d.high) for d in own]
    signals += [Signal(name=position(a), role=Role.LABEL, unit=a.unit, low=a.low, high=a.high) for a in process.actuators if a.static]
    signals += [Signal(name=t.name, role=Role.LABEL, unit=t.unit) for t in process.truths]
    return Schema(signals=tuple(signals), period=period)


def position(actuator: Actuator) -> str:
    """Name of the label with the position of an actuator that sticks."""
    return f"{actuator.name}.position"
