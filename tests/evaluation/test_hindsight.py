"""What is known afterwards: errors between measurements, and how far a measurement is from the others."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.evaluation.hindsight import aftermath, left_out

NAN = np.nan


def test_the_aftermath_is_the_error_where_there_is_a_measurement_and_a_line_between() -> None:
    happened = np.array([[1.0, NAN, 5.0], [NAN, NAN, NAN], [NAN, 4.0, NAN], [4.0, NAN, NAN]], np.float32)
    predicted = np.ones((4, 3), np.float32)
    found = aftermath(happened, predicted)
    assert found[:, 0] == pytest.approx([0, 1, 2, 3])
    assert found[:, 1] == pytest.approx([1, 2, 3, 3]), "from none now, and after the last one as there"
    assert found[:, 2] == pytest.approx([4, 4, 4, 4])
    assert not aftermath(np.full((3, 1), NAN, np.float32), np.ones((3, 1), np.float32)).any()


def test_a_straight_drift_leaves_nothing_out_and_noise_stays() -> None:
    drift = np.arange(1.0, 7.0)[None]
    assert left_out(drift)[0, :-1] == pytest.approx(np.zeros(5))
    rng = np.random.default_rng(0)
    assert left_out(rng.normal(size=(400, 30)))[:, 1:-1].std() == pytest.approx(1.5**0.5, rel=0.05)


def test_what_was_not_measured_is_not_left_out() -> None:
    found = left_out(np.array([[NAN, 2.0, NAN, 6.0], [NAN, NAN, NAN, 1.0], [NAN] * 4]))
    assert np.isfinite(found).tolist() == [[False, True, False, True], [False, False, False, True], [False] * 4]
    assert found[0, [1, 3]] == pytest.approx([2.0 - 3.0, 6.0 - 2.0])
    assert found[1, 3] == pytest.approx(1.0), "against none now"
