"""One recorded episode as a value, and the checks at the store's door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tacit.signals import Role, Schema, Signal

Array = npt.NDArray[np.generic]


class EpisodeError(ValueError):
    """An episode does not fit the schema of its store; the message names the signal, the row and the remedy."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """T actions and the T+1 moments around them.

    Attributes:
        signals: Samples by signal name in physical units. Actions are (T, *shape): row t is what was applied between moments t and
            t+1. Every other signal is (T+1, *shape).
        time: Timestamps of the moments in seconds, float64 (T+1,), strictly increasing.
    """

    signals: Mapping[str, Array]
    time: npt.NDArray[np.float64]

    @property
    def steps(self) -> int:
        """T, the number of actions."""
        return len(self.time) - 1


def rows_of(signal: Signal, steps: int) -> int:
    """Number of samples of `signal` in an episode of `steps` actions: T for an action, T+1 for everything else."""
    return steps if signal.role is Role.ACTION else steps + 1


def require_fitting(episode: Episode, schema: Schema) -> None:
    """Refuse an episode that a store with `schema` cannot hold.

    Args:
        episode: What a recorder or importer offers.
        schema: The store's schema.

    Raises:
        EpisodeError: A signal is missing, unknown, of another shape or dtype, or not finite; the timestamps do not increase; or
            the episode has no action.
    """
    _require_time(episode.time)
    if missing := [name for name in schema.by_name if name not in episode.signals]:
        raise EpisodeError(f"signal {missing[0]!r} is missing; an episode brings every signal of the schema: {', '.join(schema.by_name)}")
    if unknown := [name for name in episode.signals if name not in schema.by_name]:
        raise EpisodeError(f"signal {unknown[0]!r} is not in the schema; leave it out, or create a store whose schema declares it")
    for signal in schema.signals:
        _require_samples(signal, episode.signals[signal.name], episode.steps)


def _require_time(time: Array) -> None:
    if not isinstance(time, np.ndarray) or time.dtype != np.float64 or time.ndim != 1:
        found = f"{time.dtype} {time.shape}" if isinstance(time, np.ndarray) else type(time).__name__
        raise EpisodeError(f"time is {found}; give seconds as a float64 array of shape (T+1,)")
    if len(time) < 2:
        raise EpisodeError(f"the episode has {len(time)} moments; it takes two moments and the action between them: leave it out")
    if len(bad := np.flatnonzero(~np.isfinite(time))):
        raise EpisodeError(f"time row {bad[0]} is {time[bad[0]]}; every timestamp must be a finite number of seconds")
    if len(bad := np.flatnonzero(np.diff(time) <= 0)):
        row = int(bad[0]) + 1
        raise EpisodeError(
            f"time row {row} is {float(time[row])} s, not after row {row - 1} at {float(time[row - 1])} s; sort the log, "
            "drop doubled rows, or cut the episode where its clock was set back"
        )


def _require_samples(signal: Signal, samples: Array, steps: int) -> None:
    if not isinstance(samples, np.ndarray):
        raise EpisodeError(f"signal {signal.name!r} is a {type(samples).__name__}; give a numpy array")
    if samples.dtype != np.dtype(signal.dtype):
        raise EpisodeError(f"signal {signal.name!r} has dtype {samples.dtype}, the schema says {signal.dtype}; convert it with .astype()")
    rows = rows_of(signal, steps)
    if samples.shape != (rows, *signal.shape):
        why = "one row per action" if signal.role is Role.ACTION else "one row per timestamp"
        raise EpisodeError(
            f"signal {signal.name!r} has shape {samples.shape}; with {steps + 1} timestamps it must be {(rows, *signal.shape)}: {why}"
        )
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        place = np.argwhere(~np.isfinite(samples))[0]
        value = samples[tuple(place)]
        raise EpisodeError(
            f"signal {signal.name!r} row {place[0]} is {value}; fill the gap from its neighbours or cut the episode there: "
            "the store takes finite numbers only"
        )
