"""What a training step is given: windows, and pictures to tell things by.

On the CPU both are read ahead by a thread each; on an accelerator they are gathered from logs that lie there, where there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor

from tacit.data import EpisodeStore, Prefetcher, WindowReader, WindowSampler
from tacit.models.jepa import JEPA
from tacit.training.batches import observed, tensors
from tacit.training.distributed import Group
from tacit.training.resident import OnLoad, Resident
from tacit.training.seed import random_numbers
from tacit.training.settings import TrainConfig
from tacit.training.views import GAP, moved, moved_there

Supplied = tuple[dict[str, Tensor], Tensor, dict[str, Tensor] | None]


class Supply:
    """Batches of a training, which are functions of seed and step.

    Args:
        store: The logs.
        episodes: Episodes to train on.
        model: Says which signals it sees, and whether it asks for pictures.
        config: Settings.
        seed: Of the draws.
        group: Processes that train together.

    Raises:
        StoreError: No episode holds a window.
        ValueError: The windows do not fill one batch, or a batch does not divide over the processes.
    """

    def __init__(self, store: EpisodeStore, episodes: Sequence[int], model: JEPA, config: TrainConfig, seed: int, group: Group) -> None:
        self._store, self._schema, self._seed, self._group = store, model.schema, seed, group
        self._reader = WindowReader(store, length=config.window, episodes=episodes)
        rank, size, lengths = group.rank, group.world_size, self._reader.lengths
        pairs = config.batch // 2
        self._sampler = WindowSampler(lengths, window=config.window, batch=pairs, seed=seed, rank=rank, world_size=size)
        self._whole = WindowSampler(lengths, window=config.window, batch=pairs, seed=seed)
        self._pictures: WindowReader | None = None
        if model.recognised_by is not None:
            self._pictures = WindowReader(store, length=1, episodes=episodes, names=[s.name for s in model.schema.seen])
            lengths = self._pictures.lengths
            self._near = WindowSampler(lengths, window=1, batch=config.views, seed=seed, rank=rank, world_size=size)

    def sample(self) -> tuple[dict[str, Tensor], Tensor]:
        """The first batch of all processes together, the same in every process: what statistics are taken of."""
        return tensors(self._reader.read(self._whole.pairs_at(0)), self._schema, self._group.device)

    @contextmanager
    def batches(self, steps: range, on_load: OnLoad | None = None) -> Iterator[Iterator[Supplied]]:
        """For each step: what is seen in the windows (B, L, *shape) by name, actions (B, L - 1, A), and views of pictures by name, each
        (N, *shape), or None where the model asks for none; on the group's device. Tells while logs are copied there, if they are."""
        everything = (self._reader if self._pictures is None else self._pictures).episodes.tolist()
        if Resident.fits(self._store, self._schema, everything, self._group.device, self._group.sharing):
            yield self._gathered(Resident(self._store, self._schema, everything, self._group.device, on_load), steps)
            return
        with ExitStack() as threads:
            yield self._read(steps, threads)

    def _read(self, steps: range, threads: ExitStack) -> Iterator[Supplied]:
        windows = threads.enter_context(Prefetcher(self._reader, self._sampler.pairs_at, steps))
        pictures = None
        if self._pictures is not None:
            pictures = iter(threads.enter_context(Prefetcher(self._pictures, lambda step: self._near.near_at(step, GAP), steps)))
        for step, batch in zip(steps, windows, strict=True):
            views = None
            if pictures is not None:
                views = observed(moved(next(pictures), self._schema, self._random(step)), self._group.device)
            yield *tensors(batch, self._schema, self._group.device), views

    def _gathered(self, logs: Resident, steps: range) -> Iterator[Supplied]:
        for step in steps:
            batch = logs.windows(self._reader, self._sampler.pairs_at(step))
            actions = torch.cat([batch[s.name].flatten(2).float() for s in self._schema.actions], dim=-1)
            views = None
            if self._pictures is not None:
                moments = logs.windows(self._pictures, self._near.near_at(step, GAP))
                views = moved_there(moments, self._schema, self._random(step))
            yield {s.name: batch[s.name] for s in self._schema.seen}, actions, views

    def _random(self, step: int) -> np.random.Generator:
        return random_numbers(self._seed, f"views {self._group.rank}", step)
