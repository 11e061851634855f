"""Integration against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tacit.worlds.plants.integrate import runge_kutta


def test_a_decay_is_that_of_the_exponential_to_order_four() -> None:
    def decay(t: float, x: np.ndarray) -> np.ndarray:
        return -x

    errors = [abs(runge_kutta(decay, np.array([1.0]), 1.0, steps)[0] - math.exp(-1)) for steps in (4, 8)]
    assert errors[1] < 1e-6
    assert errors[0] / errors[1] == pytest.approx(16.0, rel=0.15)


def test_time_runs_from_zero_to_the_end() -> None:
    assert runge_kutta(lambda t, x: np.array([3 * t**2]), np.zeros(1), 2.0, 3)[0] == pytest.approx(8.0)


def test_many_states_at_once_are_each_on_their_own() -> None:
    x = np.array([[1.0, 0.0], [0.0, 2.0]])
    turned = runge_kutta(lambda t, x: np.stack((-x[..., 1], x[..., 0]), axis=-1), x, math.pi / 2, 100)
    assert turned == pytest.approx(np.array([[0.0, 1.0], [-2.0, 0.0]]), abs=1e-7)
