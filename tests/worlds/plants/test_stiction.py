"""A stem that sticks, against what its two parameters mean."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.worlds.plants.stiction import Stems


def followed(commands: np.ndarray, static: float, dynamic: float) -> np.ndarray:
    stems = Stems(commands[:1], np.array([static]), np.array([dynamic]))
    return np.array([stems.move(np.array([command]))[0] for command in commands])


def test_a_stem_without_friction_is_where_the_command_is() -> None:
    commands = np.random.default_rng(0).normal(size=50)
    assert followed(commands, 0.0, 0.0) == pytest.approx(commands)


def test_a_resting_stem_waits_for_the_static_friction_and_then_slips() -> None:
    rising = np.arange(0.0, 2.0, 0.1)
    at = followed(rising, 0.55, 0.25)
    assert (at[:6] == 0.0).all()
    assert at[6] == pytest.approx(0.6 - 0.25), "it slips to within the dynamic friction"
    assert (np.abs(at - rising) <= 0.55 + 1e-9).all()


def test_a_reversal_takes_deadband_and_stickband_before_the_stem_moves_again() -> None:
    rising = np.arange(0.0, 2.0001, 0.001)
    falling = np.arange(2.0, 0.0, -0.001)
    at = followed(np.concatenate([rising, falling]), 0.3, 0.2)
    back = at[len(rising) :]
    waited = 2.0 - falling[np.argmax(back < back[0] - 1e-12)]
    force = rising[-1] - at[len(rising) - 1]  # what is still to be followed when the command turns
    assert waited == pytest.approx(0.3 + force, abs=0.002)
    assert back[-1] == pytest.approx(falling[-1] + 0.25, abs=0.06), "a falling stem stays above its command"


def test_stems_do_not_touch_each_other() -> None:
    stems = Stems(np.zeros(2), np.array([1.0, 0.0]), np.array([0.5, 0.0]))
    assert stems.move(np.array([0.9, 0.9])).tolist() == [0.0, 0.9]
