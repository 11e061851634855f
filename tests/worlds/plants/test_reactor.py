"""The reactor against its published steady states."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import fsolve

from tacit.worlds.plants import SimulatedPlant
from tacit.worlds.plants.reactor import REACTOR

U = np.array([300.0])
D = np.array([each.nominal for each in REACTOR.disturbances])


def test_the_operating_point_is_a_steady_state_and_a_saddle() -> None:
    found = fsolve(lambda x: REACTOR.derivative(0, x, U, D), np.array([0.5, 350.0]))
    assert found == pytest.approx(np.array([0.5, 350.0]), rel=1e-3)
    jacobian = np.stack(
        [(REACTOR.derivative(0, found + e, U, D) - REACTOR.derivative(0, found - e, U, D)) / (2 * e.sum()) for e in np.diag([1e-6, 1e-4])],
        axis=1,
    )
    rates = np.sort(np.linalg.eigvals(jacobian).real) * 60
    assert rates == pytest.approx(np.array([-0.454, 2.83]), rel=0.01), "per minute"


def test_left_alone_and_a_little_cooler_it_goes_out_to_the_published_cold_state() -> None:
    """0.8772 mol/L and 324.5 K with the same coolant."""
    plant = SimulatedPlant(REACTOR, unrest=0.0, noise=0.0)
    plant.reset(0, state=np.array([0.5, 349.0]))
    for _ in range(12 * 15):
        plant.apply(U)
    assert plant.state == pytest.approx(np.array([0.8772, 324.5]), rel=2e-3)


def test_more_reaction_is_more_production_and_more_heat() -> None:
    names = [t.name for t in REACTOR.truths]
    cold, hot = (dict(zip(names, REACTOR.truth(np.array([c, 350.0]), U, D), strict=True)) for c in (0.6, 0.4))
    assert hot["production"] == pytest.approx(60.0)
    assert cold["production"] == pytest.approx(40.0)
