"""Actions that were really applied, as a caller tells them: the first of an episode, and each after that.

Dimensions: B machines, A action.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def told_before(applied: ArrayLike, size: int) -> NDArray[np.float32]:
    """What was applied before an episode, (B, 1 or 2, A), oldest first.

    Args:
        applied: The same, as somebody tells it.
        size: A.

    Raises:
        ValueError: It has a wrong shape, or a number that is not finite.
    """
    told = np.asarray(applied, dtype=np.float32)
    if told.ndim != 3 or told.shape[1:] not in ((1, size), (2, size)):
        raise ValueError(f"applied has shape {told.shape} instead of (B, 1 or 2, {size})")
    if not np.isfinite(told).all():
        raise ValueError("an action that was applied is not finite")
    return told


def told_first(before: NDArray[np.float32] | None, applied: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """What was applied before the first observations, (B, 1 or 2, A), oldest first; None where nobody says.

    Args:
        before: What `told_before` gave; None for nothing.
        applied: What came with the first observations, (B, A), which counts where it is finite; None for nothing.
    """
    if applied is None:
        return before
    last = applied[:, None]
    is_finite = np.isfinite(last).all(-1, keepdims=True)
    if before is None:
        return last if is_finite.all() else None
    return np.concatenate((before[:, :-1], np.where(is_finite, last, before[:, -1:])), axis=1)


def told_since(applied: NDArray[np.float32] | None, decided: Tensor) -> tuple[Tensor, Tensor]:
    """What was applied of what was decided (B, A), and whether it was told as finite numbers, (B,); where not, what was decided counts.

    Args:
        applied: What came with the observations after it, (B, A); None where it was what was decided.
        decided: The last actions.
    """
    if applied is None:
        return decided, torch.ones(len(decided), dtype=torch.bool)
    told = torch.tensor(applied, device=decided.device)
    is_told = told.isfinite().all(-1)
    return torch.where(is_told[:, None], told, decided), is_told
