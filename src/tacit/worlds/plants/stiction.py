"""Valve stiction: a stem that rests until the command has moved far enough, and then slips."""

from __future__ import annotations

import numpy as np

from tacit.worlds.plants.plant import Floats


class Stems:
    """Stems of valves with static and dynamic friction: the two-parameter model of He, Wang, Pottmann, Qin, A curve fitting method for
    detecting valve stiction in oscillating control loops, Ind. Eng. Chem. Res. 46 (2007).

    The force that a stem has not followed yet adds up; above the static friction the stem moves by all of it but the dynamic friction.
    Deadband plus stickband is static + dynamic, the slip jump static - dynamic, in the words of Choudhury, Thornhill and Shah (2005).

    Args:
        commands: Where the stems are, (m,).
        static: Static friction, (m,), in the unit of the command; 0 where the stem follows at once.
        dynamic: Dynamic friction, (m,), at most static.
    """

    def __init__(self, commands: Floats, static: Floats, dynamic: Floats) -> None:
        self.position = commands.copy()
        self._command = commands.copy()
        self._static, self._dynamic = static, dynamic
        self._force = np.zeros(len(commands))

    def move(self, commands: Floats) -> Floats:
        """Where the stems are after new commands (m,)."""
        force = self._force + commands - self._command
        moves = np.abs(force) > self._static
        left = np.where(moves, np.sign(force) * self._dynamic, force)
        self.position = self.position + np.where(moves, force - left, 0.0)
        self._force, self._command = left, commands.copy()
        return self.position
