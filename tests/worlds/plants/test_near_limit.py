"""Wishes near a limit, and what they make a controller do that does not know of it."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.worlds.plants import DecentralisedPid, gains_of, plant
from tacit.worlds.plants.four_tank import FOUR_TANK
from tacit.worlds.plants.near_limit import setpoints_near

LIMIT, STEPS = 14.0, 720


def drawn(seed: int) -> dict[int, dict[str, float]]:
    return setpoints_near(plant("four_tank"), np.random.default_rng(seed), controlled="level_1", limit=LIMIT, steps=STEPS)


def test_every_other_wish_is_near_the_limit_and_none_above() -> None:
    wishes = [wish["level_1"] for _, wish in sorted(drawn(0).items()) if "level_1" in wish]
    assert len(wishes) == 8, "an hour, a wish every 450 s"
    assert all(LIMIT - 0.2 <= wish <= LIMIT for wish in wishes[1::2])
    assert all(10.0 <= wish <= LIMIT - 1.5 for wish in wishes[::2])
    assert set(drawn(0)[0]) == {"level_1", "level_2"}
    assert all(10.0 <= wish["level_2"] <= 15.0 for wish in drawn(0).values() if "level_2" in wish)
    assert drawn(0) == drawn(0) != drawn(1)


def test_they_tempt_tuned_controllers_over_it() -> None:
    tanks, levels = plant("four_tank"), []
    for seed in range(3):
        control, samples, wishes = DecentralisedPid(tanks, gains_of(FOUR_TANK)), tanks.reset(seed), drawn(seed)
        for step in range(STEPS):
            control.setpoints |= wishes.get(step, {})
            samples = tanks.apply(control.act(samples))
            levels.append(float(samples["level_1.true"]))
    assert 0.01 < np.mean(np.array(levels) > LIMIT) < 0.5


def test_a_limit_needs_a_loop_and_room_below() -> None:
    tanks, rng = plant("four_tank"), np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"no loop of 'level_3'; there are: level_1, level_2"):
        setpoints_near(tanks, rng, controlled="level_3", limit=14.0, steps=720)
    with pytest.raises(ValueError, match=r"limit of 11\.0 leaves 'level_1' no room: normal operation begins at 10\.0"):
        setpoints_near(tanks, rng, controlled="level_1", limit=11.0, steps=720)
