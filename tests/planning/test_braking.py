"""Braking: closed forms against step by step."""

from __future__ import annotations

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tacit.planning import braking


def walked(speed: int, change: int) -> int:
    """How far one goes on, step by step."""
    gone = 0
    while (speed := max(speed - change, 0)) > 0:
        gone += speed
    return gone


def as_tensor(number: float) -> torch.Tensor:
    return torch.tensor(float(number), dtype=torch.float64)


@settings(deadline=None)
@given(speed=st.integers(0, 3000), change=st.integers(1, 400))
def test_the_distance_is_that_of_braking_step_by_step(speed: int, change: int) -> None:
    assert braking.distance(as_tensor(speed), as_tensor(change)) == walked(speed, change)


@settings(deadline=None)
@given(room=st.integers(0, 2000), change=st.integers(1, 400))
@example(room=6, change=1)
def test_the_fastest_speed_fits_and_the_next_one_does_not(room: int, change: int) -> None:
    speed = int(braking.fastest(as_tensor(room), as_tensor(change)))
    assert speed + walked(speed, change) <= room
    assert speed + 1 + walked(speed + 1, change) > room


@settings(deadline=None)
@given(speed=st.integers(1, 2**25), change=st.integers(4, 2**25))
def test_a_room_that_just_fits_is_used_to_the_last_quantum(speed: int, change: int) -> None:
    """Where straight pieces meet, and with numbers as large as they come."""
    change_ = as_tensor(change)
    needed = as_tensor(speed) + braking.distance(as_tensor(speed), change_)
    if needed < 2**40:
        assert braking.fastest(needed, change_) == speed
        assert braking.fastest(needed - 1, change_) == speed - 1


def test_no_limit_and_no_room() -> None:
    unlimited = as_tensor(braking.UNLIMITED)
    assert braking.distance(as_tensor(1e6), unlimited) == 0
    assert braking.fastest(as_tensor(1e6), unlimited) == 1e6
    assert braking.fastest(as_tensor(-7), as_tensor(4)) == -7, "straight back"
