"""Futures of a simulated plant are what its branches come to."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.worlds.plants import plant
from tacit.worlds.plants.simulated import SimulatedPlant


@pytest.mark.parametrize("name", ["four_tank", "reactor"])
def test_futures_are_those_of_branches_with_the_same_seeds(name: str) -> None:
    made, rng = plant(name), np.random.default_rng(0)
    assert isinstance(made, SimulatedPlant)
    made.reset(3)
    usual = np.array([made.operating_point[action.name] for action in made.schema.actions])
    for _ in range(5):
        made.apply(usual + 0.2 * rng.normal(size=usual.shape))
    before = made.state
    actions = usual + 0.3 * rng.normal(size=(3, 8, len(usual)))
    futures = made.futures(actions, [1, 2])
    assert futures.shape == (3, 2, 8, len(before))
    for k, sequence in enumerate(actions):
        for m, seed in enumerate((1, 2)):
            branch = made.branch(seed=seed)
            for h, action in enumerate(sequence):
                branch.apply(action)
                np.testing.assert_allclose(branch.state, futures[k, m, h], atol=1e-9)
    assert np.array_equal(made.state, before), "the plant stays where it is"
    assert np.abs(futures[:, 0] - futures[:, 1]).max() > 1e-6, "disturbances differ"
