"""Ridge regression that is scored on episodes it did not see: the one tool behind the checks of feedback, timing and predictability."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 5
BENT = 160  # random features at most
RIDGE = 1e-5  # of the number of rows, on standardised features
BINS = 64  # of a bent line
LEVELS = 4  # of a command that switches, at most
NEWTON_STEPS = 12
LOGISTIC_RIDGE = 1e-3


def folds(groups: Ints, seed: int = 0) -> Ints:
    """The fold of each row: whole groups go to one of `FOLDS` folds, or of as many as there are groups."""
    unique, inverse = np.unique(groups, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(unique)) % FOLDS)[inverse]


def standardised(x: Floats) -> Floats:
    """Columns with mean 0 and standard deviation 1; columns that do not vary become 0."""
    centred = x - x.mean(axis=0)
    spread = centred.std(axis=0)
    floor = 1e-12 * (1 + np.abs(x).max(axis=0, initial=0.0))
    result: Floats = np.where(spread > floor, centred / np.where(spread > floor, spread, 1.0), 0.0)
    return result


def bent(x: Floats, seed: int = 0) -> Floats:
    """Standardised columns, and random rectified sums of them.

    Args:
        x: Features, (N, F).
        seed: Of the random directions.

    Returns:
        (N, F + up to `BENT`); fewer random ones when N is small.
    """
    x = standardised(x)
    count = min(BENT, len(x) // 25)
    rng = np.random.default_rng(seed)
    # A few columns per direction: a law of one sensor is found among many.
    weights = rng.normal(size=(x.shape[1], count)) * (rng.random((x.shape[1], count)) < min(1.0, 4 / max(x.shape[1], 1)))
    sums = np.clip(x, -8, 8) @ (weights / np.maximum(np.sqrt((weights**2).sum(axis=0)), 1.0))
    # Each bends where there are samples on both sides: one that bends at the rim fits a handful and fails on others.
    ranked = np.sort(sums[:: max(len(sums) // 1000, 1)], axis=0)
    bends = ranked[(rng.uniform(0.05, 0.9, count) * len(ranked)).astype(int), np.arange(count)]
    return np.concatenate([x, np.maximum(sums - bends, 0.0)], axis=1)


def predicted(x: Floats, y: Floats, fold: Ints) -> Floats:
    """Predictions for each fold by a ridge regression on the others.

    Args:
        x: Features, (N, F).
        y: Targets, (N, K).
        fold: (N,).

    Returns:
        (N, K).
    """
    x = np.concatenate([standardised(x), np.ones((len(x), 1))], axis=1)
    centre = y.mean(axis=0)
    y = y - centre
    parts = np.unique(fold)
    if len(parts) < 2:
        return np.tile(centre, (len(y), 1))
    squares = {f: x[fold == f].T @ x[fold == f] for f in parts}
    products = {f: x[fold == f].T @ y[fold == f] for f in parts}
    square, product = sum(squares.values()), sum(products.values())
    out = np.empty_like(y)
    for f in parts:
        rows = fold == f
        penalty = RIDGE * (len(x) - rows.sum()) * np.eye(x.shape[1])
        out[rows] = x[rows] @ np.linalg.solve(square - squares[f] + penalty, product - products[f])
    result: Floats = out + centre
    return result


def through_a_link(line: Floats, y: Floats, fold: Ints) -> Floats:
    """Predictions by any curve of one number: a law that is a line with limits, a dead band or a relay.

    Args:
        line: Held-out predictions of a line, (N,).
        y: Targets, (N,).
        fold: (N,).

    Returns:
        (N,): for each fold, the curve of bin means of the others.
    """
    out = np.empty_like(y)
    for f in np.unique(fold):
        here = fold == f
        x, target = line[~here], y[~here]
        edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)))
        place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, max(len(edges) - 2, 0))
        count = np.bincount(place)
        used = count > 0
        centres, heights = np.bincount(place, x)[used] / count[used], np.bincount(place, target)[used] / count[used]
        out[here] = np.interp(line[here], centres, heights)
    return out


def of_few_levels(x: Floats, y: Floats, fold: Ints) -> Floats | None:
    """Predictions of a command that switches: the mean of its levels under cumulative logistic regressions.

    Args:
        x: Features, (N, F).
        y: Target, (N,).
        fold: (N,).

    Returns:
        (N,); None when `y` has one level, or more than `LEVELS`.
    """
    levels = np.unique(y)
    if not 2 <= len(levels) <= LEVELS or len(np.unique(fold)) < 2:
        return None
    x = np.concatenate([standardised(x), np.ones((len(x), 1))], axis=1)
    out = np.full(len(y), levels[0])
    for below, level in itertools.pairwise(levels):
        for f in np.unique(fold):
            rows = fold == f
            weights = _logistic(x[~rows], (y[~rows] >= level).astype(float))
            out[rows] += (level - below) * _sigmoid(x[rows] @ weights)
    return out


def _logistic(x: Floats, y: Floats) -> Floats:
    """Weights of a logistic regression by Newton's method; the small ridge keeps a perfect law finite."""
    weights = np.zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        p = _sigmoid(x @ weights)
        ridge = LOGISTIC_RIDGE * np.ones(x.shape[1])
        slope = x.T @ (y - p) - ridge * weights
        curvature = (x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(curvature, slope)
        weights = weights + step * min(1.0, 30.0 / max(float(np.abs(step).max()), 1e-300))
    return weights


def _sigmoid(z: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(z, -40, 40)))
    return result


class Clearing:
    """Takes out of targets what features say about them, by a ridge regression on all rows.

    Args:
        x: Features, (N, F), far fewer than rows.
    """

    def __init__(self, x: Floats) -> None:
        self._x = np.concatenate([standardised(x), np.ones((len(x), 1))], axis=1)
        square = self._x.T @ self._x + RIDGE * len(x) * np.eye(self._x.shape[1])
        self._fit = np.linalg.solve(square, self._x.T)

    def __call__(self, y: Floats) -> Floats:
        """What is left of `y`, (N, K)."""
        centred = y - y.mean(axis=0)
        left: Floats = centred - self._x @ (self._fit @ centred)
        return left
