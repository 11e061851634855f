"""PCA as a monitor: components that are there, limits that hold, and deviations that show where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.evaluation.pca import Floats, fit_pca


def normal(count: int, seed: int = 0) -> Floats:
    """Twelve sensors in units of their own that show three factors."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((count, 3)) @ np.random.default_rng(9).normal(0.0, 1.0, (3, 12))
    return (mixed + 0.3 * rng.standard_normal((count, 12))) * np.geomspace(0.01, 100.0, 12) + 7.0


def test_parallel_analysis_finds_the_factors() -> None:
    made = fit_pca(normal(2000))
    assert len(made.variances) == 3
    assert made.components @ made.components.T == pytest.approx(np.eye(3), abs=1e-9)
    assert made.variances.sum() + made.rest.sum() == pytest.approx(12.0)


@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_as_many_normal_samples_are_above_the_limits_as_they_say(confidence: float) -> None:
    made = fit_pca(normal(4000))
    for score, limit in zip(made.scores(normal(20_000, seed=1)), made.limits(confidence), strict=True):
        assert (score > limit).mean() == pytest.approx(1 - confidence, rel=0.25)


def test_t2_is_the_mahalanobis_distance_when_all_but_one_component_is_kept() -> None:
    sensors = normal(500)
    made = fit_pca(sensors, components=11)
    off = (sensors - made.mean) / made.std
    t2, q = made.scores(sensors)
    whole = np.einsum("ns,st,nt->n", off, np.linalg.inv(np.cov(off.T)), off)
    assert t2 + q / made.rest[0] == pytest.approx(whole, rel=1e-6)


def test_a_deviation_against_the_correlation_shows_in_q_and_one_along_it_in_t2() -> None:
    made = fit_pca(normal(2000))
    limits = made.limits()
    along = made.mean + made.std * (8.0 * np.sqrt(made.variances[0]) * made.components[0])
    against = np.random.default_rng(3).standard_normal(12)
    against -= against @ made.components.T @ made.components
    t2, q = made.scores(np.stack((along, made.mean + made.std * 3.0 * against / np.linalg.norm(against))))
    assert t2[0] > limits[0]
    assert q[0] < limits[1]
    assert t2[1] < limits[0]
    assert q[1] > limits[1]


def test_what_cannot_be_watched_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 12 samples"):
        fit_pca(normal(12))
    with pytest.raises(ValueError, match="finite"):
        fit_pca(np.where(np.arange(12) == 3, np.nan, normal(100)))
    with pytest.raises(ValueError, match="12 components of 12 sensors"):
        fit_pca(normal(100), components=12)


def test_a_sensor_that_stands_still_does_no_harm() -> None:
    sensors = normal(500)
    sensors[:, 4] = 2.0
    assert all(np.isfinite(score).all() for score in fit_pca(sensors).scores(sensors))
