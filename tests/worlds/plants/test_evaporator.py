"""The evaporator against its published operating point."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.worlds.plants.evaporator import EVAPORATOR

X = np.array([1.0, 25.0, 50.5])
U = np.array([2.0, 194.7, 208.0])
D = np.array([each.nominal for each in EVAPORATOR.disturbances])


def test_nothing_changes_at_the_published_operating_point() -> None:
    assert 60 * EVAPORATOR.derivative(0, X, U, D) == pytest.approx(np.zeros(3), abs=1e-3)


def test_the_other_published_variables_follow() -> None:
    vapour, condensate, steam = EVAPORATOR.flows(X, U, D)
    assert (vapour, condensate, steam) == pytest.approx((8.0, 8.0, 9.3), abs=0.04)
    assert EVAPORATOR.outputs(X)[3] == pytest.approx(84.6, abs=0.05), "temperature of the product"


def test_the_level_is_an_integrator_and_the_composition_keeps_the_solids() -> None:
    change = 60 * EVAPORATOR.derivative(0, X, U + np.array([0.5, 0, 0]), D)
    assert change[0] == pytest.approx(-0.5 / 20, abs=1e-4)
    assert change[1] == pytest.approx(-0.5 * 25 / 20, abs=1e-3)


def test_a_fouled_condenser_condenses_less_and_a_fouled_heater_evaporates_less() -> None:
    for place, sign in ((5, -1), (6, 1)):
        fouled = D.copy()
        fouled[place] = 0.8
        assert sign * EVAPORATOR.derivative(0, X, U, fouled)[2] > 0
