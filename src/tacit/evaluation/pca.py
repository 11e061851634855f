"""Principal component analysis as a monitor of a process: the field's usual floor for detecting that something is wrong.

Chiang, Russell, Braatz, Fault detection and diagnosis in industrial systems, Springer 2001, chapter 4: Hotelling's T² inside the components
and the squared prediction error Q outside them, on single standardised samples. The number of components is that of parallel analysis
(Horn 1965), as there; the limits are the theoretical ones, which hold for independent Gaussian samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PcaMonitor:
    """What normal operation looks like. N samples, S sensors, C components.

    Attributes:
        mean: Of each sensor, (S,).
        std: Of each sensor, (S,).
        components: Orthonormal directions, (C, S).
        variances: Along each of them, (C,).
        rest: Variances along the directions left out, (S - C,), falling.
        samples: N that it was made of.
    """

    mean: Floats
    std: Floats
    components: Floats
    variances: Floats
    rest: Floats
    samples: int

    def scores(self, sensors: Floats) -> tuple[Floats, Floats]:
        """T² and Q of samples (..., S), each (...,)."""
        off = (sensors - self.mean) / self.std
        along = off @ self.components.T
        t2: Floats = (np.square(along) / self.variances).sum(-1)
        q: Floats = np.square(off - along @ self.components).sum(-1)
        return t2, q

    def limits(self, confidence: float = 0.99) -> tuple[float, float]:
        """Limits of T² and Q that independent Gaussian samples pass with this probability.

        T²: the F distribution (the book's equation 4.13). Q: Jackson and Mudholkar (1979), the book's equation 4.16.
        """
        a, n = len(self.variances), self.samples
        t2 = a * (n - 1) * (n + 1) / (n * (n - a)) * float(stats.f.ppf(confidence, a, n - a))
        theta1, theta2, theta3 = (float(np.power(self.rest, power).sum()) for power in (1, 2, 3))
        h0 = 1 - 2 * theta1 * theta3 / (3 * theta2**2)
        c = float(stats.norm.ppf(confidence))
        q = theta1 * (h0 * c * np.sqrt(2 * theta2) / theta1 + 1 + theta2 * h0 * (h0 - 1) / theta1**2) ** (1 / h0)
        return float(t2), float(q)


def fit_pca(sensors: Floats, *, components: int | None = None, seed: int = 0) -> PcaMonitor:
    """Make a monitor of normal operation.

    Args:
        sensors: Samples of normal operation, (N, S); a sensor that never changes gets a standard deviation of 1.
        components: C, or None for parallel analysis: as many as vary more than those of independent samples of the same number.
        seed: Of parallel analysis.

    Raises:
        ValueError: There are not more samples than sensors, one is not finite, or the components are none or all.
    """
    n, size = sensors.shape
    if n <= size:
        raise ValueError(f"PCA of {size} sensors needs more than {size} samples of normal operation, not {n}")
    if not np.isfinite(sensors).all():
        raise ValueError("PCA needs finite samples; leave moments out where a sensor has none")
    mean, std = sensors.mean(0), sensors.std(0, ddof=1)
    std = np.where(std > 0.0, std, 1.0)
    variances, directions = _principal((sensors - mean) / std)
    if components is None:
        by_chance, _ = _principal(np.random.default_rng(seed).standard_normal((n, size)))
        components = int(np.argmin(np.append(variances > by_chance, False)))
    if not 0 < components < size:
        raise ValueError(f"{components} components of {size} sensors leave nothing to watch; choose another number")
    return PcaMonitor(
        mean=mean,
        std=std,
        components=directions[:components],
        variances=variances[:components],
        rest=variances[components:],
        samples=n,
    )


def _principal(standard: Floats) -> tuple[Floats, Floats]:
    """Variances, falling, and directions (S, S) of samples (N, S) around 0."""
    _, singular, directions = np.linalg.svd(standard, full_matrices=False)
    return np.square(singular) / (len(standard) - 1), directions
