"""Euclidean projections that can be written down."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.planning.nearest import nearest

BOX = (-np.full(2, 1e7), np.full(2, 1e7))
NO_PLANES = (np.zeros((0, 2)), np.zeros(0))


def test_into_a_box() -> None:
    found = nearest(np.array([3e7, -5.0]), *BOX, *NO_PLANES)
    assert found is not None
    np.testing.assert_allclose(found, [1e7, -5.0], atol=0.1)


def test_under_a_plane() -> None:
    found = nearest(np.array([9e6, 5e6]), *BOX, np.array([[2.0, 1.0]]), np.array([3e6]))
    assert found is not None
    np.testing.assert_allclose(found, np.array([9e6, 5e6]) - (23e6 - 3e6) / 5 * np.array([2.0, 1.0]), atol=0.1)


def test_into_a_corner_of_plane_and_box() -> None:
    found = nearest(np.array([2e7, 2e7]), *BOX, np.array([[1.0, 0.0]]), np.array([4e6]))
    assert found is not None
    np.testing.assert_allclose(found, [4e6, 1e7], atol=0.1)


def test_into_a_ball() -> None:
    """Of elements with different units: the nearest point is where the normal of the ellipse leads to the wish."""
    unit, radius = np.array([1e-6, 2e-6]), 4.0
    found = nearest(np.array([8e6, 6e6]), *BOX, *NO_PLANES, [(slice(0, 2), unit, radius)])
    assert found is not None
    assert np.linalg.norm(found * unit) == pytest.approx(radius, rel=1e-4)
    normal = found * unit**2
    way = np.array([8e6, 6e6]) - found
    assert normal @ way / np.linalg.norm(normal) / np.linalg.norm(way) == pytest.approx(1, abs=1e-3)


def test_where_there_is_no_point_there_is_none() -> None:
    assert nearest(np.zeros(2), *BOX, np.array([[1.0, 0.0]]), np.array([-2e7])) is None
