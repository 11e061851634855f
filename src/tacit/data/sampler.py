"""Which episodes are held out, and which windows make up a batch: pure functions of the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tacit.data.store import EpisodeStore


def split(
    episodes: EpisodeStore | Iterable[int], *, held_out: float = 0.1, seed: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Divide episodes into those to train on and those to evaluate on.

    Each episode is decided by a hash of its number alone, so adding episodes to a store moves no other episode across.

    Args:
        episodes: A store, of which the healthy episodes are divided, or numbers of episodes.
        held_out: Share to hold out on average, 0 to 1.
        seed: Another seed gives another division.

    Returns:
        Numbers for training and held-out numbers, int64, each in the given order.

    Raises:
        ValueError: `held_out` is not a share, or one side came out empty although both were asked for.
    """
    if not 0 <= held_out <= 1:
        raise ValueError(f"held_out {held_out} must be a share between 0 and 1")
    numbers = episodes.healthy() if isinstance(episodes, EpisodeStore) else np.array(list(episodes), np.int64)
    held = np.array([_share(number, seed) < held_out for number in numbers.tolist()], bool)
    if 0 < held_out < 1 and (held.all() or not held.any()):
        raise ValueError(
            f"holding out {held_out:.0%} of {len(numbers)} episodes leaves nothing to {'train' if held.any() else 'evaluate'} on; "
            "record more episodes, or choose another share or seed"
        )
    return numbers[~held], numbers[held]


def split_by_time(episodes: EpisodeStore | Iterable[int], *, held_out: float = 0.2) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Divide episodes into the first ones, to train on, and the last ones, to evaluate on.

    Episodes of one plant that follow each other are alike; what is asked of a forecast is what comes after the logs.

    Args:
        episodes: A store, of which the healthy episodes are divided, or numbers of episodes, in the order of time.
        held_out: Share to hold out, 0 to 1; at least one episode where it is not 0.

    Returns:
        Numbers for training and held-out numbers, int64, each in the given order.

    Raises:
        ValueError: `held_out` is not a share, or one side came out empty although both were asked for.
    """
    if not 0 <= held_out <= 1:
        raise ValueError(f"held_out {held_out} must be a share between 0 and 1")
    numbers = episodes.healthy() if isinstance(episodes, EpisodeStore) else np.array(list(episodes), np.int64)
    last = max(1, round(held_out * len(numbers))) if held_out else 0
    if 0 < held_out < 1 and last >= len(numbers):
        raise ValueError(
            f"holding out the last {held_out:.0%} of {len(numbers)} episodes leaves nothing to train on; record more episodes, or cut the "
            "logs into shorter ones"
        )
    return numbers[: len(numbers) - last], numbers[len(numbers) - last :]


def _share(number: int, seed: int) -> float:
    """A number from 0 to 1 that depends on the episode and the seed alone."""
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class WindowSampler:
    """Draws batches of windows without state: every epoch is a fresh permutation of all windows.

    A window of `window` frames needs `window - 1` actions, so an episode of T actions has T + 2 - window of them, none crossing into
    another episode. Each epoch visits every window once, but for the remainder that does not fill a batch; the permutation
    of epoch e is drawn by a Philox generator keyed with (seed, e). Resuming at a step, or splitting the batch over ranks, changes
    nothing: concatenated in order of rank, the ranks' parts are the batch of a single process.

    Args:
        lengths: T of each episode, (episodes,); episodes are numbered by their place in it. `WindowReader.lengths` goes here.
        window: Frames per window, at least 1.
        batch: Windows per step over all ranks.
        seed: Key of the draw, 0 to 2**64 - 1.
        rank: This process in data-parallel training.
        world_size: Number of processes; divides `batch`.

    Raises:
        ValueError: An argument is out of its domain, or there are fewer windows than one batch holds.
    """

    def __init__(self, lengths: npt.ArrayLike, *, window: int, batch: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        actions = np.asarray(lengths, np.int64)
        if window < 1 or batch < 1:
            raise ValueError(f"window {window} and batch {batch} must be at least 1")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed {seed} must be between 0 and 2**64 - 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not one of the {world_size} processes, numbered from 0")
        if batch % world_size:
            raise ValueError(f"a batch of {batch} does not divide over {world_size} processes; take a multiple of {world_size}")
        per_episode = np.maximum(actions + 2 - window, 0)
        self.windows = int(per_episode.sum())
        if self.windows < batch:
            raise ValueError(f"{self.windows} windows of {window} frames do not fill one batch of {batch}; shorten one of the two")
        self.steps_per_epoch = self.windows // batch
        self._first = np.concatenate([[0], np.cumsum(per_episode)])
        self._batch = batch
        self._seed = seed
        self._part = slice(rank * batch // world_size, (rank + 1) * batch // world_size)
        self._drawn: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def batch_at(self, step: int) -> npt.NDArray[np.int64]:
        """Windows of one step.

        Args:
            step: Training step, counted from 0 over all epochs.

        Returns:
            Rows (episode, first frame), int64 (batch / world_size, 2).
        """
        if step < 0:
            raise ValueError(f"step {step} is negative; steps are counted from 0")
        epoch, within = divmod(step, self.steps_per_epoch)
        chosen = self._order(epoch)[within * self._batch : (within + 1) * self._batch][self._part]
        episode = np.searchsorted(self._first, chosen, side="right") - 1
        return np.stack([episode, chosen - self._first[episode]], axis=1)

    def pairs_at(self, step: int) -> npt.NDArray[np.int64]:
        """The windows of one step, and after them as many partners: for each, some window of the same episode.

        Args:
            step: Training step, counted from 0 over all epochs.

        Returns:
            Rows (episode, first frame), int64 (2 batch / world_size, 2); row i and row batch / world_size + i belong together.
        """
        windows = self.batch_at(step)
        key = np.array([self._seed, 2**63 + step], np.uint64)
        share = np.random.Generator(np.random.Philox(key=key)).random(self._batch)[self._part]
        partners = windows.copy()
        partners[:, 1] = share * np.diff(self._first)[windows[:, 0]]
        return np.concatenate([windows, partners])

    def near_at(self, step: int, gap: int) -> npt.NDArray[np.int64]:
        """The windows of one step, and after them as many partners: for each, one 1 to `gap` frames before or after it.

        At the ends of an episode the partner is its first or last window, and may be the window itself.

        Args:
            step: Training step, counted from 0 over all epochs.
            gap: Largest distance, in frames.

        Returns:
            Rows (episode, first frame), int64 (2 batch / world_size, 2); row i and row batch / world_size + i belong together.
        """
        windows = self.batch_at(step)
        key = np.array([self._seed, 2**62 + step], np.uint64)
        away = np.random.Generator(np.random.Philox(key=key)).integers(-gap, gap, self._batch)[self._part]
        partners = windows.copy()
        partners[:, 1] += away + (away >= 0)  # never 0
        partners[:, 1] = np.clip(partners[:, 1], 0, np.diff(self._first)[windows[:, 0]] - 1)
        return np.concatenate([windows, partners])

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """All windows in the order of an epoch; the latest one is kept, which saves time and decides nothing."""
        drawn, order = self._drawn
        if drawn != epoch:
            key = np.array([self._seed, epoch], np.uint64)
            order = np.random.Generator(np.random.Philox(key=key)).permutation(self.windows)
            self._drawn = (epoch, order)
        return order
