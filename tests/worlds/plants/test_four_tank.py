"""The quadruple tank against the numbers of its paper."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigvals
from scipy.optimize import fsolve

from tacit.worlds.plants.four_tank import FOUR_TANK, FOUR_TANK_NONMINIMUM, FourTank

SETTINGS = (
    pytest.param(FOUR_TANK, (62, 90, 23, 30), (-0.060, -0.018), id="minimum"),
    pytest.param(FOUR_TANK_NONMINIMUM, (63, 91, 39, 56), (-0.057, 0.013), id="nonminimum"),
)


def linear(tank: FourTank) -> tuple[np.ndarray, np.ndarray]:
    """Matrices A (4, 4) and B (4, 2) at the operating point, by central differences."""
    x, u = np.array(tank.levels), np.array(tank.volts)
    d = np.array([each.nominal for each in tank.disturbances])
    h = 1e-5
    a = np.stack([(tank.derivative(0, x + e, u, d) - tank.derivative(0, x - e, u, d)) / (2 * h) for e in h * np.eye(4)], axis=1)
    b = np.stack([(tank.derivative(0, x, u + e, d) - tank.derivative(0, x, u - e, d)) / (2 * h) for e in h * np.eye(2)], axis=1)
    return a, b


@pytest.mark.parametrize(("tank", "seconds", "zeros"), SETTINGS)
def test_time_constants_and_zeros_are_those_of_the_paper(tank: FourTank, seconds: tuple[int, ...], zeros: tuple[float, ...]) -> None:
    a, b = linear(tank)
    assert -1 / np.diag(a) == pytest.approx(np.array(seconds), abs=1.0)
    c = np.eye(4)[:2]
    pencil = np.block([[a, b], [c, np.zeros((2, 2))]])
    found = eigvals(pencil, np.diag([1.0] * 4 + [0.0] * 2))
    finite = np.sort(found[np.isfinite(found) & (np.abs(found) < 1.0)].real)
    assert finite == pytest.approx(np.array(zeros), abs=0.0025)


@pytest.mark.parametrize(("tank", "seconds", "zeros"), SETTINGS)
def test_the_steady_state_of_the_published_voltages_is_the_published_one(tank: FourTank, seconds: object, zeros: object) -> None:
    d = np.array([each.nominal for each in tank.disturbances])
    levels = fsolve(lambda x: tank.derivative(0, x, np.array(tank.volts), d), np.array(tank.levels))
    assert levels == pytest.approx(np.array(tank.levels), abs=0.2)


def test_a_leak_and_an_inflow_act_on_their_tank_alone() -> None:
    x, u = np.array(FOUR_TANK.levels), np.array(FOUR_TANK.volts)
    d = np.array([each.nominal for each in FOUR_TANK.disturbances])
    change = FOUR_TANK.derivative(0, x, u, d + np.array([1.0, 0.5, 0, 0, 0, 0])) - FOUR_TANK.derivative(0, x, u, d)
    assert change == pytest.approx(np.array([-0.5 / 28, 1 / 32, 0, 0]))


def test_an_empty_tank_leaks_nothing() -> None:
    d = np.array([each.nominal for each in FOUR_TANK.disturbances])
    d[1] = 2.0
    assert FOUR_TANK.derivative(0, np.zeros(4), np.zeros(2), d) == pytest.approx(np.zeros(4))
