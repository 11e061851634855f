"""Logs that lie on an accelerator as a whole.

A small model learns faster there than one thread of the host can copy windows to it. Where all frames fit into the memory of the
accelerator, they are copied once, and a window is then gathered where it is used. Dimensions: B windows, L frames of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.data import EpisodeStore, WindowReader
from tacit.signals import Role, Schema

OnLoad = Callable[[int, int], None]
"""Told how many frames lie on the accelerator by now, of how many."""
SHARE = 0.5  # of the free memory that logs may take
MOST = 0.8  # of all memory that the logs of several trainings may take together, each as much


class Resident:
    """Every frame of some episodes, on one device.

    Args:
        store: The logs.
        schema: Its signals are copied; give one without labels.
        episodes: Numbers of episodes in the store.
        device: Where to.
        on_load: Told after each episode; None for nobody.
    """

    def __init__(
        self, store: EpisodeStore, schema: Schema, episodes: Sequence[int], device: torch.device, on_load: OnLoad | None = None
    ) -> None:
        self.schema, self.device = schema, device
        frames = store.lengths[np.asarray(episodes, np.int64)] + 1
        self._first = np.zeros(len(store), np.int64)
        self._first[list(episodes)] = np.cumsum(frames) - frames
        total = int(frames.sum())
        self._signals = {s.name: torch.zeros((total, *s.shape), dtype=_dtype(s.dtype), device=device) for s in schema.signals}
        view = store.view(list(self._signals))
        for number in episodes:
            start = int(self._first[number])
            for name, values in view[int(number)].signals.items():
                self._signals[name][start : start + len(values)] = torch.tensor(np.asarray(values))
            if on_load is not None:
                on_load(start + int(store.lengths[number]) + 1, total)

    @staticmethod
    def fits(store: EpisodeStore, schema: Schema, episodes: Sequence[int], device: torch.device, sharing: int = 1) -> bool:
        """Whether an accelerator that so many trainings share has room for them; no for the CPU, which reads the store itself."""
        if device.type != "cuda":
            return False
        frames = int(store.lengths[np.asarray(episodes, np.int64)].sum()) + len(episodes)
        size = sum(s.size * np.dtype(s.dtype).itemsize for s in schema.signals)
        free, whole = torch.cuda.mem_get_info(device)
        return frames * size < min(SHARE * free, MOST / sharing * whole)

    def windows(self, reader: WindowReader, starts: NDArray[np.int64]) -> dict[str, Tensor]:
        """What `reader.read(starts)` gives, as tensors on the device: (B, L, *shape) by signal name, for actions (B, L - 1, *shape).

        Args:
            reader: Numbers the episodes that `starts` speaks of, and says how long a window is.
            starts: Rows (episode as numbered in the reader, first frame), (B, 2).
        """
        first = self._first[reader.episodes[starts[:, 0]]] + starts[:, 1]
        rows = torch.from_numpy(first[:, None] + np.arange(reader.length)).to(self.device, non_blocking=True)
        names = {s.name: rows[:, :-1] if s.role is Role.ACTION else rows for s in reader.schema.signals}
        return {name: self._signals[name][at] for name, at in names.items()}


def _dtype(name: str) -> torch.dtype:
    return torch.from_numpy(np.empty(0, name)).dtype
