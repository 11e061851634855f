"""Process plants: sensors, actuators and a clock in seconds or minutes, by textbook equations."""

from collections.abc import Callable, Mapping

from tacit.worlds.plants.evaporator import EVAPORATOR
from tacit.worlds.plants.four_tank import FOUR_TANK, FOUR_TANK_NONMINIMUM
from tacit.worlds.plants.heater import HEATER
from tacit.worlds.plants.historian import record_plant
from tacit.worlds.plants.pid import DecentralisedPid, Gains
from tacit.worlds.plants.plant import ActionLimits, Loop, Operator, Plant
from tacit.worlds.plants.process import Process
from tacit.worlds.plants.reactor import REACTOR
from tacit.worlds.plants.simulated import SimulatedPlant, gains_of
from tacit.worlds.plants.tennessee_eastman import TennesseeEastman

__all__ = [
    "PLANTS",
    "ActionLimits",
    "DecentralisedPid",
    "Gains",
    "Loop",
    "Operator",
    "Plant",
    "Process",
    "SimulatedPlant",
    "TennesseeEastman",
    "gains_of",
    "plant",
    "record_plant",
]

PLANTS: Mapping[str, Callable[[], Plant]] = {
    **{
        process.name: lambda process=process: SimulatedPlant(process)  # type: ignore[misc]
        for process in (FOUR_TANK, FOUR_TANK_NONMINIMUM, REACTOR, EVAPORATOR, HEATER)
    },
    TennesseeEastman.name: TennesseeEastman,
}


def plant(name: str) -> Plant:
    """A new plant by its name, at its operating point.

    Raises:
        ValueError: There is no plant of that name; the message lists those there are.
    """
    if name not in PLANTS:
        raise ValueError(f"there is no plant {name!r}; there are: {', '.join(PLANTS)}")
    return PLANTS[name]()
