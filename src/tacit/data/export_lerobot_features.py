"""What a signal becomes in a LeRobotDataset: the name and entry of its feature, its column in the Parquet files, and its statistics."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from tacit.signals import Role, Signal

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
MOST_DIMENSIONS = 5  # LeRobot has no type for more
PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
LARGE_SIDE = 300  # pixels from which on pictures are thinned out for their statistics,
SMALL_SIDE = 150  # to about this many

Statistics = Mapping[str, NDArray[np.float64]]


class ExportError(ValueError):
    """A store cannot be written in another format; the message says which signal or folder is at fault, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A signal on its way into a dataset.

    Attributes:
        feature: Key of the feature.
        signal: What it is made of.
    """

    feature: str
    signal: Signal

    @property
    def is_video(self) -> bool:
        """Three colours make a video; a video of grey or transparent pictures would lose more than the codec takes."""
        return self.signal.is_image and self.signal.role is not Role.ACTION and self.signal.shape[2] == 3

    @property
    def is_picture(self) -> bool:
        """Grey and transparent pictures stand as PNG in the rows."""
        return self.signal.is_image and self.signal.role is not Role.ACTION and self.signal.shape[2] in (1, 4)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.signal.shape or (1,)

    def entry(self) -> dict[str, Any]:
        """What `info.json` says of the feature."""
        if self.is_video or self.is_picture:
            return {"dtype": "video" if self.is_video else "image", "shape": list(self.shape), "names": ["height", "width", "channels"]}
        name, count = self.signal.name, self.signal.size
        names = [name] if count == 1 else [f"{name}_{i}" for i in range(count)] if len(self.shape) == 1 else None
        return {"dtype": self.signal.dtype, "shape": list(self.shape), "names": names}

    def arrow_type(self) -> pa.DataType:
        """Type of the column in the Parquet files."""
        if self.is_picture:
            return PICTURE
        values = pa.from_numpy_dtype(self.signal.dtype)
        if len(self.shape) == 1:
            return values if self.shape == (1,) else pa.list_(values, self.shape[0])
        for _ in self.shape:
            values = pa.list_(values)
        return values

    def datasets_type(self) -> dict[str, Any]:
        """The type as the package `datasets` writes it down."""
        if self.is_picture:
            return {"_type": "Image"}
        value = {"dtype": self.signal.dtype, "_type": "Value"}
        if len(self.shape) == 1:
            return value if self.shape == (1,) else {"feature": value, "length": self.shape[0], "_type": "Sequence"}
        return {"shape": list(self.shape), "dtype": self.signal.dtype, "_type": f"Array{len(self.shape)}D"}

    def array(self, values: NDArray[np.generic]) -> pa.Array:
        """Samples (N, *shape) as a column."""
        kind = self.arrow_type()
        if self.is_picture:
            files = [{"bytes": _png(image), "path": f"frame-{i:06d}.png"} for i, image in enumerate(values)]
            return pa.array(files, kind)
        built = pa.array(np.ascontiguousarray(values).reshape(-1))
        if self.shape == (1,):
            return built
        if len(self.shape) == 1:
            return pa.FixedSizeListArray.from_arrays(built, self.shape[0])
        for size in reversed(self.shape):
            built = pa.ListArray.from_arrays(np.arange(0, len(built) + 1, size, dtype=np.int32), built)
        return built

    def statistics(self, values: NDArray[np.generic]) -> Statistics:
        """Statistics of samples (N, *shape), as LeRobot has them: of pictures per channel, (channels, 1, 1), of values from 0 to 1."""
        return of_pictures(np.asarray(values, np.uint8)) if self.is_video or self.is_picture else of_numbers(values)


def columns_of(signals: Iterable[Signal]) -> tuple[Column, ...]:
    """One column per signal.

    Names follow LeRobot: `observation.images.NAME` for a camera, `observation.NAME` for other observations and for disturbances, `action`
    for the only action and `action.NAME` for several, `label.NAME` for a label. A name that begins so already is kept. Policies of LeRobot
    look for a vector `observation.state`: that is what a signal of the name `state` becomes.

    Raises:
        ExportError: Two signals would have one name, or one has too many dimensions.
    """
    listed = tuple(signals)
    actions = sum(s.role is Role.ACTION for s in listed)
    columns = tuple(Column(feature=_feature_name(s, actions), signal=s) for s in listed)
    taken: dict[str, Signal] = {}
    for column in columns:
        if other := taken.get(column.feature):
            raise ExportError(
                f"signals {other.name!r} and {column.signal.name!r} would both be the feature {column.feature!r}; "
                "export a view of the store without one of them: EpisodeStore.view"
            )
        if len(column.shape) > MOST_DIMENSIONS:
            raise ExportError(f"signal {column.signal.name!r} has shape {column.shape}; LeRobot has at most {MOST_DIMENSIONS} dimensions")
        taken[column.feature] = column.signal
    return columns


def _feature_name(signal: Signal, actions: int) -> str:
    if signal.role is Role.ACTION:
        family, prefix = "action.", "action."
        if actions == 1:
            return "action"
    elif signal.role is Role.LABEL:
        family, prefix = "label.", "label."
    else:
        family, prefix = "observation.", "observation.images." if signal.is_image else "observation."
    return signal.name if signal.name.startswith(family) else prefix + signal.name


def _png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, format="PNG")
    return buffer.getvalue()


def datasets_metadata(types: Mapping[str, dict[str, Any]]) -> dict[bytes, bytes]:
    """Schema metadata by which the package `datasets` knows its own types."""
    return {b"huggingface": json.dumps({"info": {"features": dict(types)}}).encode()}


def of_numbers(values: NDArray[np.generic]) -> Statistics:
    """Statistics over the rows of (N, *shape); of plain numbers (N,) they have shape (1,)."""
    rows = np.asarray(values, np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    quantiles = np.quantile(rows, list(QUANTILES.values()), axis=0)
    return {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "count": np.array([len(rows)], np.float64),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def of_pictures(images: NDArray[np.uint8]) -> Statistics:
    """Statistics of pictures (N, height, width, channels), from as many of them and of their pixels as LeRobot takes."""
    count = len(images)
    taken = np.round(np.linspace(0, count - 1, max(min(count, 100), min(int(count**0.75), 10_000)))).astype(np.int64)
    side = max(images.shape[1:3])
    step = side // SMALL_SIDE if side >= LARGE_SIDE else 1
    counts = np.zeros((images.shape[3], 256), np.int64)
    for row in taken:
        for channel in range(len(counts)):
            counts[channel] += np.bincount(images[row, ::step, ::step, channel].reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ levels
    found = {
        "min": np.array([levels[np.flatnonzero(c)[0]] for c in counts]),
        "max": np.array([levels[np.flatnonzero(c)[-1]] for c in counts]),
        "mean": mean,
        "std": np.sqrt(np.maximum(share @ levels**2 - mean**2, 0)),
        **{name: levels[(share.cumsum(axis=1) < q - 1e-12).sum(axis=1)] for name, q in QUANTILES.items()},
    }
    return {**{name: value[:, None, None] for name, value in found.items()}, "count": np.array([len(taken)], np.float64)}


def merged(first: Statistics, second: Statistics) -> Statistics:
    """Statistics of two sets of samples together; quantiles are their weighted means, which is how LeRobot merges them."""
    n, m = float(first["count"][0]), float(second["count"][0])
    weights = n / (n + m), m / (n + m)
    mean = weights[0] * first["mean"] + weights[1] * second["mean"]
    spread = sum(w * (s["std"] ** 2 + (s["mean"] - mean) ** 2) for w, s in zip(weights, (first, second), strict=True))
    return {
        "min": np.minimum(first["min"], second["min"]),
        "max": np.maximum(first["max"], second["max"]),
        "mean": mean,
        "std": np.sqrt(spread),
        "count": first["count"] + second["count"],
        **{q: weights[0] * first[q] + weights[1] * second[q] for q in QUANTILES},
    }


def listed(found: Statistics) -> dict[str, Any]:
    """Statistics as JSON values; the count is a whole number."""
    return {name: [int(value[0])] if name == "count" else value.tolist() for name, value in found.items()}


def frame_rate(fps: float) -> int | float:
    """Frames per second as LeRobot writes them, a whole number where that is what was meant.

    Raises:
        ExportError: It is not a positive number.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ExportError(f"fps must be a positive number of frames per second, not {fps}")
    return round(fps) if round(fps) and abs(fps - round(fps)) <= 1e-6 * fps else fps
