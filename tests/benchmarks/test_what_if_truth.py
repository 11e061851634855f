"""What the answers to what-if questions are held against: the simulator's futures, the one that came, and the true equations."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.what_if import HORIZON, Later, Tally, by_equations, told_apart, truth

from tacit.evaluation.what_if_answer import Kpi, Situation, Wish
from tacit.worlds.plants import plant
from tacit.worlds.plants.simulated import SimulatedPlant

HIGH = Kpi(channel="level_1", wish=Wish.LARGE)


@pytest.fixture
def later() -> Later:
    made = plant("four_tank")
    assert isinstance(made, SimulatedPlant)
    made.reset(3)
    nothing = np.zeros((0, 2), np.float32)
    now = Situation(seen={}, applied=nothing, actions=nothing, logged=0, happened=nothing)
    return Later(plant=made, now=now, states=made.state, disturbances=made.disturbances)


def sequences(made: SimulatedPlant) -> list[np.ndarray]:
    usual = np.array([made.operating_point[a.name] for a in made.schema.actions], np.float32)
    return [np.tile(usual + more, (HORIZON["four_tank"], 1)) for more in (0.0, 0.3, -0.3)]


def test_the_future_that_came_is_that_of_the_plant_itself_and_leaves_it_where_it_was(later: Later) -> None:
    done, before = sequences(later.plant), later.plant.state.copy()
    found = truth(later, HIGH, done, seed=5)
    assert np.array_equal(later.plant.state, before)
    path = []
    for action in done[0]:
        later.plant.apply(action)
        path.append(later.plant.state[0])
    assert found.really[0, 0] == pytest.approx(-np.mean(path))
    assert found.really.shape == (3, 1)
    assert not np.allclose(found.futures, found.really), "other futures have other disturbances"
    assert (found.really.argmin(0) == 1).all(), "less is better, so more water is best where much is wanted"


def test_the_true_equations_say_what_comes_as_far_as_disturbances_let_them(later: Later) -> None:
    done = sequences(later.plant)
    said, found = -HIGH.of(by_equations(later, "level_1", done)), truth(later, HIGH, done, seed=5).futures.mean(1)
    assert said == pytest.approx(found, abs=0.5)
    assert said - said[0] == pytest.approx(found - found[0], abs=0.05), "what actions do is known better than where the level will be"


def test_what_is_told_apart_in_one_future_must_differ_by_more_than_noise() -> None:
    values = np.array([[1.0], [1.05], [2.0]])
    assert told_apart(values, 0.1).tolist() == [[False, False, True], [False, False, True], [False, False, False]]
    tally = Tally()
    tally.add(np.array([0.2, 0.1, 0.3]), values, 0.1)
    tally.add(np.array([0.2, 0.3, 0.1]), values, 0.1)
    assert (tally.first, tally.questions) == (1, 2), "a tie of the truth counts as right, what is worse beyond noise does not"
