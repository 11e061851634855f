"""Integration of a plant's equations over one control step."""

from __future__ import annotations

from collections.abc import Callable

from tacit.worlds.plants.plant import Floats


def runge_kutta(derivative: Callable[[float, Floats], Floats], x: Floats, seconds: float, steps: int) -> Floats:
    """The states after `seconds`, by the classic Runge-Kutta method of order 4 with a fixed step (Hairer, Nørsett, Wanner:
    Solving Ordinary Differential Equations I, table II.1.2).

    The plants' steps are so short that it agrees with adaptive integration far below the noise of any sensor, in a tenth of its time.

    Args:
        derivative: Change per second, of time in seconds since the beginning and states (..., n).
        x: States, (..., n).
        seconds: How long.
        steps: Number of equal steps of integration.
    """
    h = seconds / steps
    for step in range(steps):
        t = step * h
        k1 = derivative(t, x)
        k2 = derivative(t + h / 2, x + h / 2 * k1)
        k3 = derivative(t + h / 2, x + h / 2 * k2)
        k4 = derivative(t + h, x + h * k3)
        x = x + h / 6 * (k1 + 2 * (k2 + k3) + k4)
    return x
