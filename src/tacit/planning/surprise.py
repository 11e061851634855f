"""How surprising an observation is, by how wrong predictions were on logs that the model never saw."""

from __future__ import annotations

import math
from typing import final

import numpy as np
from numpy.typing import ArrayLike


@final
class Surprise:
    """Conformal p-values of one-step errors.

    Args:
        calibration: Errors on held-out logs (`one_step_error`), in any order; None where nobody knows any.

    Raises:
        ValueError: The calibration is empty or not finite.
    """

    def __init__(self, calibration: ArrayLike | None) -> None:
        self._errors = None if calibration is None else np.sort(np.asarray(calibration, dtype=np.float64), axis=None)
        if self._errors is not None and not (self._errors.size and np.isfinite(self._errors).all()):
            raise ValueError("the calibration needs at least one error, and finite ones only")

    def p_value(self, error: float) -> float | None:
        """The share of the errors that are at least as large, this one among them; None without errors, or of one that is not finite."""
        if self._errors is None or not math.isfinite(error):
            return None
        n = len(self._errors)
        return (1 + n - int(np.searchsorted(self._errors, error, side="left"))) / (1 + n)
