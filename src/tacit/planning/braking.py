"""How far a machine still goes when it brakes, and how fast it may go: whole numbers in, whole numbers out.

Places, speeds and changes of speed are counted in quanta per step, as float64 that hold whole numbers: nothing here rounds.
"""

from __future__ import annotations

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
    # The step and the braking after it take (m + 1) speed - change m (m + 1) / 2 when the braking takes m steps: straight pieces. Where two
    # of them meet either one is right, and a whole number of room is never so near to there that a square root would pick the wrong one.
    steps = ((room.clamp(min=0) * (2 / change) + 0.25).sqrt() - 0.5).floor()
    return ((room + change * (steps * (steps + 1) / 2)) / (steps + 1)).floor()
