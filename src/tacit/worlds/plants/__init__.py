"""Process plants: sensors, actuators and a clock in seconds or minutes, by textbook equations."""

from collections.abc import Callable, Mapping

from tacit.worlds.plants.four_tank import FOUR_TANK, FOUR_TANK_NONMINIMUM
from tacit.worlds.plants.plant import ActionLimits, Loop, Plant, Process
from tacit.worlds.plants.simulated import SimulatedPlant

__all__ = ["PLANTS", "ActionLimits", "Loop", "Plant", "Process", "SimulatedPlant", "plant"]

PLANTS: Mapping[str, Callable[[], Plant]] = {
    process.name: lambda process=process: SimulatedPlant(process)  # type: ignore[misc]
    for process in (FOUR_TANK, FOUR_TANK_NONMINIMUM)
}


def plant(name: str) -> Plant:
    """A new plant by its name, at its operating point.

    Raises:
        ValueError: There is no plant of that name; the message lists those there are.
    """
    if name not in PLANTS:
        raise ValueError(f"there is no plant {name!r}; there are: {', '.join(PLANTS)}")
    return PLANTS[name]()
