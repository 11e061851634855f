"""What a section of the report refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class ReportError(ValueError):
    """A section was given numbers that do not fit together."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ReportError(message)


def require_images(images: Array, ndim: int, what: str) -> None:
    fits = images.dtype == np.uint8 and images.ndim == ndim and images.shape[-1] in (1, 3) and images.size > 0
    layout = "(N, H, W, C)" if ndim == 4 else "(H, W, C)"
    require(fits, f"{what}: give uint8 images {layout} with 1 or 3 channels, not {images.dtype} {images.shape}")
