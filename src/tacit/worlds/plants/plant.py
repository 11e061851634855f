"""What a process plant brings: sensors and actuators on a control clock, in physical units, and what nobody on site sees.

    Plant            a plant that runs: every world of this folder, whoever wrote its equations
    Process          the equations of a plant and what stands around them; a frozen value (`tacit.worlds.plants.process`)
    SimulatedPlant   a process that runs (`tacit.worlds.plants.simulated`)

Roles of a plant's signals: `observation` for sensors, `action` for manipulated variables, `disturbance` for disturbances that are measured,
and `label` for the truth: states, disturbances that are not measured, positions of valves, and what the operation costs. A plant never
ends by itself.

Dimensions: m manipulated variables. Time is in seconds everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.signals import Schema

Floats: TypeAlias = NDArray[np.float64]
Samples: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class ActionLimits:
    """What an actuator can do.

    Attributes:
        low: Smallest command.
        high: Largest command.
        rate: Largest change per second, or None.
    """

    low: float
    high: float
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Loop:
    """One pairing of decentralised control: which sensor an actuator is used for.

    Attributes:
        controlled: Observation that is held at a setpoint.
        manipulated: Action that holds it there.
        low: Smallest setpoint of normal operation, in the unit of the observation.
        high: Largest setpoint of normal operation.
        hold_seconds: Mean time between two setpoints in normal operation.
    """

    controlled: str
    manipulated: str
    low: float
    high: float
    hold_seconds: float = 900.0


class Operator(Protocol):
    """Who runs a plant: controllers, and people who change their setpoints and try things out."""

    @property
    def setpoints(self) -> Mapping[str, float]:
        """What the operator holds now, by name of the observation; always the same names."""

    def act(self, samples: Samples) -> Floats:
        """The commands (m,) for the step that begins with these samples; called once for every step."""


@runtime_checkable
class Plant(Protocol):
    """A plant that runs. Samples are by name of signal, in the shape and dtype of the schema: all but the actions.

    Where a sensor has no new sample, its mask `NAME.valid` is False and the last sample stands there.
    """

    @property
    def name(self) -> str:
        """Name in the registry, `tacit.worlds.plants.PLANTS`."""

    @property
    def schema(self) -> Schema:
        """Signals of the plant; its period is the control step."""

    @property
    def step_seconds(self) -> float:
        """Length of a control step, the period of the schema."""

    @property
    def action_limits(self) -> Mapping[str, ActionLimits]:
        """What each actuator can do, by name of the action."""

    @property
    def loops(self) -> tuple[Loop, ...]:
        """How decentralised control pairs sensors and actuators; an actuator without loop is set by hand."""

    @property
    def operating_point(self) -> Mapping[str, float]:
        """The published steady state: the value of every observation that is a number, of every action and of every disturbance."""

    def reset(self, seed: int = 0) -> Samples:
        """Bring the plant to its operating point, with disturbances as they may be there; what the sensors show at the first moment.

        Args:
            seed: Of noise and disturbances, at least 0. They do not depend on what is done to the plant.
        """

    def apply(self, action: ArrayLike) -> Samples:
        """Run one control step with the commands `action` (m,), in physical units and in the order of the schema; what is seen then.

        An actuator never leaves its limits, whatever the command.

        Raises:
            ValueError: The action is not m finite numbers.
        """

    def disturb(self, values: Mapping[str, float | None]) -> None:
        """Hold disturbances, measured or not, at values of their unit from the next step on; None lets one go its own way again.

        Raises:
            ValueError: There is no disturbance of that name; the message lists those there are.
        """

    def operator(self, rng: np.random.Generator) -> Operator:
        """Who runs the plant from its operating point on while its logs are written."""

    def branch(self) -> Self:
        """Another plant that goes on from here by itself, with the same noise and disturbances to come."""
