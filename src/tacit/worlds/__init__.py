"""Simulated worlds: where logs are recorded and policies are evaluated. Each is an adapter to a Gymnasium environment."""

from collections.abc import Mapping

from tacit.worlds.record import FrozenCamera, record
from tacit.worlds.two_room import Layout, TwoRoomWorld
from tacit.worlds.world import Env, Purpose, Recorder, Scene, Snapshot, World, blind, stream

__all__ = [
    "WORLDS",
    "Env",
    "FrozenCamera",
    "Purpose",
    "Recorder",
    "Scene",
    "Snapshot",
    "World",
    "blind",
    "record",
    "stream",
    "world",
]

WORLDS: Mapping[str, World] = {
    "two_room": TwoRoomWorld(name="two_room"),
    "two_room_fixed": TwoRoomWorld(name="two_room_fixed", layout=Layout()),
}


def world(name: str) -> World:
    """A world by its name.

    Raises:
        ValueError: There is no world of that name; the message lists those there are.
    """
    if name not in WORLDS:
        raise ValueError(f"there is no world {name!r}; there are: {', '.join(WORLDS)}")
    return WORLDS[name]
