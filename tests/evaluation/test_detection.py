"""Alarms and their delays."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.evaluation.detection import alarm, detection


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_an_alarm_is_at_the_last_of_enough_scores_in_a_row() -> None:
    run = scores(0, 0, 2, 2, 0, 2, 2, 2, 2)
    assert alarm(run, 1.0, onset=0, in_a_row=2) == 4
    assert alarm(run, 1.0, onset=0, in_a_row=3) == 8
    assert alarm(run, 1.0, onset=3, in_a_row=3) == 5, "counted from the onset"
    assert alarm(run, 1.0, onset=0, in_a_row=5) is None
    assert alarm(run, 2.0, onset=0, in_a_row=1) is None, "above, not at"
    assert alarm(run, 1.0, onset=7, in_a_row=6) is None, "a run that ended before there were enough"


def test_an_alarm_at_once_takes_as_many_steps_as_scores_are_asked_for() -> None:
    assert alarm(scores(0, 0, 2, 2, 2), 1.0, onset=2, in_a_row=3) == 3, "the first score is one step after the onset"


def test_what_was_above_the_limit_before_the_onset_does_not_count() -> None:
    assert alarm(scores(9, 9, 9, 9, 0, 0), 1.0, onset=3, in_a_row=2) is None


def test_delays_are_in_minutes_and_shares_are_of_what_comes_after_the_onset() -> None:
    runs = [scores(0, 0, 2, 2, 2, 2), scores(0, 0, 0, 2, 2, 2), scores(0, 5, 0, 0, 0, 0)]
    found = detection([np.repeat(run, 6) for run in runs], 1.0, onset=12, step_minutes=3.0)
    assert found.detected == 2
    assert found.delays == (18.0, 36.0)
    assert found.above == (1.0, 0.75, 0.0)
    numbers = found.numbers()
    assert (numbers["delay"], numbers["delay_least"], numbers["delay_most"]) == (27.0, 18.0, 36.0)
    assert numbers["above"] == pytest.approx(1.75 / 3, abs=1e-4)
    assert numbers["rate_low"] < 2 / 3 < numbers["rate_high"]


def test_without_an_alarm_there_is_no_delay() -> None:
    numbers = detection([np.zeros(20)] * 2, 1.0, onset=0, step_minutes=3.0).numbers()
    assert numbers["detected"] == 0
    assert "delay" not in numbers
