"""How far a machine still goes when it brakes, and how fast it may go: whole numbers in, whole numbers out.

Places, speeds and changes of speed are counted in quanta per step, as float64 that hold whole numbers: nothing here rounds.
"""

from __future__ import annotations

import torch
from torch import Tensor

UNLIMITED = 2.0**50  # more quanta than any limit; its small multiples are still exact in float64


def distance(speed: Tensor, change: Tensor) -> Tensor:
    """How far one goes on when the speed falls by `change` per step until it is 0: `sum over k >= 1 of max(speed - k change, 0)`.

    Args:
        speed: Quanta of the last step, not negative, any shape.
        change: Largest change of the speed from one step to the next, positive, broadcast to that shape.

    Returns:
        Quanta, of the same shape.
    """
    steps = (speed / change).floor()
    return steps * speed - change * (steps * (steps + 1) / 2)


def fastest(room: Tensor, change: Tensor) -> Tensor:
    """The largest speed at which one step and the braking after it (`distance`) fit into the room.

    Args:
        room: Quanta to where one must stand, any shape. Negative room is no room: the speed that leads straight back.
        change: Largest change of the speed from one step to the next, positive, broadcast to that shape.

    Returns:
        Quanta per step, of the same shape; below 0 where the room is.
    """
    steps = (((1 + 8 * room.clamp(min=0) / change).sqrt() - 1) / 2).floor()
    # A square root may be off by a rounding: what it stands for decides.
    steps = torch.where(change * (steps * (steps + 1) / 2) > room, steps - 1, steps).clamp(min=0)
    steps = torch.where(change * ((steps + 1) * (steps + 2) / 2) <= room, steps + 1, steps)
    speed = ((room + change * (steps * (steps + 1) / 2)) / (steps + 1)).floor()
    return torch.where(room < 0, room, speed)
