"""Camera frames as a few numbers, and what can be counted while they are read."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.signals import Signal

Floats = NDArray[np.float64]
MOST_CELLS = 256  # that a long vector is brought to, by means of neighbours
GRID = 8  # cells along each side of a pooled frame
CHUNK = 32 * 2**20  # bytes of frames looked at together


@dataclass(frozen=True, kw_only=True)
class CameraTally:
    """Counts over the sampled frames of one camera.

    Attributes:
        camera: Name of the signal.
        frames: Frames that were read.
        blank: Frames of one even colour.
        pairs: Neighbouring frames between which the action was large: its distance from the usual one in the upper half.
        frozen: Those of `pairs` that are the same to the last bit.
        catch_up: Change of the picture right after a frozen pair over its usual change: 1.4 to 2 after a frame that was lost and
            repeated, 1 or less where the machine really stood still; 0 when there is no frozen pair.
    """

    camera: str
    frames: int
    blank: int
    pairs: int
    frozen: int
    catch_up: float


class Pictures:
    """Collects one camera, or one long vector, while stretches are read.

    Args:
        signal: A camera, or a vector that is too long to keep as it is.

    Attributes:
        pooled: Grey means over a grid of cells, or the vector as it is, (T+1, P) of each stretch.
    """

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.pooled: list[Floats] = []
        self._blank = 0
        self._same: list[NDArray[np.bool_]] = []
        self._actions: list[Floats] = []

    def add(self, samples: NDArray[np.generic], actions: Floats) -> None:
        """Add a stretch.

        Args:
            samples: (T+1, *shape).
            actions: (T, A).
        """
        if not self.signal.is_image:
            edges = np.linspace(0, self.signal.size, min(self.signal.size, MOST_CELLS) + 1).astype(int)
            flat = samples.reshape(len(samples), -1)
            self.pooled.append(np.add.reduceat(flat, edges[:-1], axis=1, dtype=np.float64) / np.diff(edges))
            return
        together = max(CHUNK // self.signal.nbytes, 1)
        self.pooled.append(np.concatenate([pooled(samples[i : i + together]) for i in range(0, len(samples), together)]))
        flat = samples.reshape(len(samples), -1)
        # A pooled frame that is not even cannot come from an even one, which spares the look at every pixel.
        even = np.flatnonzero(np.ptp(self.pooled[-1], axis=1) < 1e-9)
        self._blank += sum(bool((flat[i] == flat[i, 0]).all()) for i in even.tolist())
        like = np.flatnonzero(np.abs(np.diff(self.pooled[-1], axis=0)).max(axis=1) == 0)
        same = np.zeros(len(samples) - 1, bool)
        same[like] = [np.array_equal(flat[i], flat[i + 1]) for i in like.tolist()]
        self._same.append(same)
        self._actions.append(actions)

    def tally(self) -> CameraTally:
        """What was counted."""
        same, actions = np.concatenate(self._same), np.concatenate(self._actions)
        spread = actions.std(axis=0)
        distance = (np.abs(actions - np.median(actions, axis=0)) / np.where(spread > 0, spread, 1.0)).max(axis=1)
        large = (distance >= np.median(distance)) & (distance > 0)
        frames = sum(len(p) for p in self.pooled)
        change = np.concatenate([np.abs(np.diff(p, axis=0)).mean(axis=1) for p in self.pooled])
        first = np.concatenate([np.arange(len(p) - 1) == 0 for p in self.pooled])
        after = np.concatenate([[False], same[:-1]]) & ~same & ~first
        usual = change[~same & ~after]
        return CameraTally(
            camera=self.signal.name,
            frames=frames,
            blank=self._blank,
            pairs=int(large.sum()),
            frozen=int((same & large).sum()),
            catch_up=float(change[after].mean() / usual.mean()) if after.any() and usual.any() else 0.0,
        )


def pooled(frames: NDArray[np.generic]) -> Floats:
    """Grey means of frames over a grid of cells.

    Args:
        frames: (N, height, width, channels) uint8.

    Returns:
        (N, GRID * GRID), fewer where a side has fewer pixels than the grid has cells.
    """
    for axis in (1, 2):
        size = frames.shape[axis]
        edges = np.unique(np.linspace(0, size, min(GRID, size) + 1).astype(int))
        frames = np.add.reduceat(frames, edges[:-1], axis=axis, dtype=np.float64 if axis == 2 else np.uint32)
        shape = [1] * frames.ndim
        shape[axis] = -1
        frames = frames / np.diff(edges).reshape(shape)
    grey: Floats = frames.mean(axis=3)
    return grey.reshape(len(grey), -1)


def whereabouts(samples: Floats, bounds: NDArray[np.int64]) -> Floats:
    """Where in the picture something moves: the centre of what differs from the still scene.

    Args:
        samples: Pooled frames, (M, GRID * GRID).
        bounds: First row of each stretch, and M at the end; the still scene is the median of a stretch.

    Returns:
        Column and row of the centre in shares of the picture, 0 to 1, (M, 2); empty (M, 0) when the picture has fewer pixels than the grid.
    """
    if samples.shape[1] != GRID * GRID:
        return np.empty((len(samples), 0))
    still = np.concatenate([np.repeat(np.median(samples[a:b], axis=0)[None], b - a, axis=0) for a, b in itertools.pairwise(bounds)])
    differs = np.abs(samples - still)
    differs = np.maximum(differs - 2 * np.median(differs, axis=1, keepdims=True), 0.0) + 1e-6  # less the noise of the camera
    centre = (np.arange(GRID) + 0.5) / GRID
    shares = (differs / differs.sum(axis=1, keepdims=True)).reshape(-1, GRID, GRID)
    return np.stack([shares.sum(axis=1) @ centre, shares.sum(axis=2) @ centre], axis=1)


def principal(samples: Floats, bounds: NDArray[np.int64], most: int) -> Floats:
    """The principal components of what moves within episodes, so that scenery that differs between them does not fill them.

    Args:
        samples: (M, P).
        bounds: First row of each stretch, and M at the end.
        most: Components to keep at most.

    Returns:
        (M, K), K up to `most`: components that carry at least a thousandth of the variance.
    """
    lengths = np.diff(bounds)
    means = np.add.reduceat(samples, bounds[:-1], axis=0) / lengths[:, None]
    moving = samples - np.repeat(means, lengths, axis=0)
    values, vectors = np.linalg.eigh(moving.T @ moving / len(moving))
    kept = np.flatnonzero(values > 1e-3 * max(values.sum(), 1e-300))[::-1][:most]
    return (samples - samples.mean(axis=0)) @ vectors[:, kept] if len(kept) else np.empty((len(samples), 0))
