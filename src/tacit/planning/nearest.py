"""The nearest point of a convex set (Euclidean projection), by a quadratic program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import osqp
from numpy.typing import NDArray
from scipy import sparse

_CUTS = 8  # rounds of cutting balls out
_TOLERANCE = 1e-7  # of half a range: about a quantum

# What was not solved to the last digit is near: the caller moves it inside, and compares.
_ENDED = (
    osqp.SolverStatus.OSQP_SOLVED,
    osqp.SolverStatus.OSQP_SOLVED_INACCURATE,
    osqp.SolverStatus.OSQP_MAX_ITER_REACHED,
)

Vector = NDArray[np.float64]


def nearest(
    wish: Vector, low: Vector, high: Vector, weights: Vector, at_most: Vector, balls: Sequence[tuple[slice, Vector, float]] = ()
) -> Vector | None:
    """The point nearest to a wish inside a box, under planes and inside balls, by OSQP (Stellato et al., 2020).

    A ball is replaced by the planes that touch it where the solution leaves it, found one after the other.

    Args:
        wish: (A,).
        low: Lower bounds (A,).
        high: Upper bounds (A,), not below.
        weights: Of planes, (C, A).
        at_most: `weights @ point` is at most so much, (C,).
        balls: Elements, what they are multiplied by, and the largest norm of the product.

    Returns:
        The point (A,), as exact as the solver; None where it finds none.
    """
    size = len(wish)
    scale = np.maximum((high - low) / 2, 1.0)
    planes, bounds = list(weights), list(at_most)
    for _ in range(_CUTS):
        rows = np.array([np.eye(size)[n] for n in range(size)] + [plane * scale / _length(plane * scale) for plane in planes])
        over = [(bound - plane @ wish) / _length(plane * scale) for plane, bound in zip(planes, bounds, strict=True)]
        lower = np.append((low - wish) / scale, np.full(len(planes), -np.inf))
        upper = np.append((high - wish) / scale, over)
        solver = osqp.OSQP(algebra="builtin")
        solver.setup(
            sparse.csc_matrix(np.diag(scale**2 / scale.max() ** 2)), np.zeros(size), sparse.csc_matrix(rows), lower, upper,
            verbose=False, eps_abs=_TOLERANCE, eps_rel=_TOLERANCE,
        )  # fmt: skip
        result = solver.solve(raise_error=False)
        if result.info.status_val not in _ENDED or not np.isfinite(result.x).all():
            return None
        found: Vector = wish + result.x * scale
        cuts = 0
        for elements, unit, radius in balls:
            part = found[elements] * unit
            if (length := _length(part)) > radius * (1 + 1e-5):
                plane = np.zeros(size)
                plane[elements] = part * unit / length
                planes.append(plane)
                bounds.append(radius)
                cuts += 1
        if not cuts:
            return found
    return found


def _length(vector: Vector) -> float:
    return float(np.linalg.norm(vector)) or 1.0
