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
    drift = np.arange(1.0, 7.0)[None]  # one stretch: no other order
    assert left_out(drift)[0, :-1] == pytest.approx(np.zeros(5))
    rng = np.random.default_rng(0)
    assert left_out(rng.normal(size=(400, 30)))[:, 1:-1].std() == pytest.approx(1.5**0.5, rel=0.05)


def test_the_mean_over_a_horizon_has_the_spread_that_noise_has() -> None:
    noise = np.random.default_rng(1).normal(size=(400, 6))
    assert left_out(noise).mean(1).std() == pytest.approx((1.5 / 6) ** 0.5, rel=0.1), "neighbours of one stretch would cancel"


def test_what_was_not_measured_is_not_left_out() -> None:
    assert left_out(np.array([[NAN, 2.0, NAN, 6.0]]))[0] == pytest.approx([NAN, 2.0 - 3.0, NAN, 6.0 - 2.0], nan_ok=True)
    assert left_out(np.array([[NAN, NAN, NAN, 1.0]]))[0] == pytest.approx([NAN, NAN, NAN, 1.0], nan_ok=True), "against none now"
    assert np.isnan(left_out(np.full((3, 4), NAN))).all()
