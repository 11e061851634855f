"""Simulated worlds: where logs are recorded and policies are evaluated. Each is an adapter to a Gymnasium environment."""

from collections.abc import Mapping

from tacit.worlds.cube import CubeWorld
from tacit.worlds.mujoco_camera import NoGraphics
from tacit.worlds.obstacle import ObstacleWorld
from tacit.worlds.point_maze import PointMazeWorld
from tacit.worlds.push_t import PushTWorld
from tacit.worlds.reacher import ReacherWorld
from tacit.worlds.record import FrozenCamera, record
from tacit.worlds.shifts import SHIFTS, Shift, ShiftedWorld
from tacit.worlds.two_room import Layout, TwoRoomWorld
from tacit.worlds.world import Env, Purpose, Recorder, Scene, Snapshot, World, blind, stream

__all__ = [
    "SHIFTS",
    "WORLDS",
    "Env",
    "FrozenCamera",
    "NoGraphics",
    "ObstacleWorld",
    "Purpose",
    "Recorder",
    "Scene",
    "Shift",
    "ShiftedWorld",
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
    "reacher": ReacherWorld(name="reacher"),
    "point_maze": PointMazeWorld(name="point_maze"),
    "push_t": PushTWorld(name="push_t"),
    "cube": CubeWorld(name="cube"),
}


def world(name: str) -> World:
    """A world by its name.

    Raises:
        ValueError: There is no world of that name; the message lists those there are.
    """
    if name not in WORLDS:
        raise ValueError(f"there is no world {name!r}; there are: {', '.join(WORLDS)}")
    return WORLDS[name]
