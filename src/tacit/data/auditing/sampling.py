"""The sample of a store that all checks share: stretches of episodes, with every camera and long vector brought to a few numbers.

All stretches lie one after another in two arrays on the same rows, so that "the action two steps before" is an index away.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.data.auditing.cameras import CameraTally, Pictures, principal, whereabouts
from tacit.data.store import DamagedEpisode, EpisodeStore
from tacit.signals import Role, Schema, Signal

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_MOMENTS, LEAST_MOMENTS = 60_000, 15_000  # of low-dimensional logs with few and with many channels
MOST_WORK = 8_000_000  # moments times pairs of an action and a sensor
MOST_PICTURED = 24_000  # of logs with cameras
MOST_BYTES = 4 * 2**30  # of camera frames that are read
BLOCK = 400  # steps of one stretch at most
MOST_ELEMENTS = 32  # a longer vector is brought to its principal components
COMPONENTS = 16  # kept of a camera or a long vector
SHORT = 40  # steps: shorter episodes say little, and are never divided
FEW_EPISODES = 8  # longer ones; with fewer, stretches of one episode stand in for episodes
MEMORIES = (8.0, 32.0)  # steps, of the running means of the observations


@dataclass(frozen=True, kw_only=True, eq=False)
class Logs:
    """A sample of a store.

    Attributes:
        schema: Of the store.
        episodes: Numbers of the sampled episodes, ascending.
        of_episodes: Readable episodes in the store.
        of_moments: Moments in all readable episodes.
        seed: Of the sample.
        actions: Names of the action elements, A.
        sensors: Names of the sensor elements, D: observations and disturbances, then the components of cameras and long vectors.
        plain: How many of the first sensors are samples as they were stored.
        is_target: Sensors that an action may move (not disturbances), bool (D,).
        a: Actions, (M, A) in physical units; NaN on the last row of a stretch, which has no action.
        o: Sensors, (M, D); components of cameras are in units of their own.
        memory: Running means of the sensors over `MEMORIES` steps, (M, D * len(MEMORIES)).
        bounds: First row of each stretch, and M at the end, (S+1,).
        group: What must not be divided between fitting and scoring, per stretch: its episode, (S,).
        intervals: Time between moments in seconds, of all rows but the last of each stretch, (M - S,).
        cameras: What was counted while frames were read.
        missing: Share of samples that a mask calls missing, of those that were to come at the signal's rate, by element, or by camera.
    """

    schema: Schema
    episodes: Ints
    of_episodes: int
    of_moments: int
    seed: int
    actions: tuple[str, ...]
    sensors: tuple[str, ...]
    plain: int
    is_target: NDArray[np.bool_]
    a: Floats
    o: Floats
    memory: Floats
    bounds: Ints
    group: Ints
    intervals: Floats
    cameras: tuple[CameraTally, ...]
    missing: tuple[tuple[str, float], ...]

    def rows(self, before: int, after: int) -> Ints:
        """Rows that have `before` rows of their stretch in front of them and `after` behind."""
        place = np.arange(self.bounds[-1])
        stretch = self.stretch_of_rows()
        return place[(place - self.bounds[stretch] >= before) & (self.bounds[stretch + 1] - 1 - place >= after)]

    def stretch_of_rows(self) -> Ints:
        """Number of the stretch of each row, (M,)."""
        return np.repeat(np.arange(len(self.group)), np.diff(self.bounds))

    def groups_of(self, rows: Ints) -> Ints:
        """Group of each of some rows."""
        return self.group[self.stretch_of_rows()[rows]]

    @property
    def steps(self) -> int:
        """Sampled actions."""
        return int(self.bounds[-1]) - len(self.group)

    def shortest(self, share: float) -> int:
        """Steps that the stretches have which hold all but `share` of the steps: a few short ones beside them decide nothing."""
        steps = np.sort(np.diff(self.bounds) - 1)
        return int(steps[np.searchsorted(np.cumsum(steps), share * steps.sum(), side="right").clip(max=len(steps) - 1)])

    def range_of(self, action: int) -> tuple[float, float, bool]:
        """Lowest and highest value of an action element, and whether the schema declares them; else those that were seen."""
        signal = self.action_signals()[action]
        seen = self.a[:, action]
        low = signal.low if signal.low is not None else None
        high = signal.high if signal.high is not None else None
        if low is None and high is None and signal.max_norm is not None:
            low, high = -signal.max_norm, signal.max_norm
        if low is None or high is None:
            return float(np.nanmin(seen)), float(np.nanmax(seen)), False
        return low, high, True

    def action_signals(self) -> tuple[Signal, ...]:
        """Signal of each action element, A."""
        return tuple(s for s in self.schema.actions for _ in range(s.size))


def names(signal: Signal) -> list[str]:
    """Name of each element of a signal: `pump`, or `move[0]`, `move[1]`."""
    return [signal.name] if not signal.shape else [f"{signal.name}[{','.join(map(str, i))}]" for i in np.ndindex(signal.shape)]


def is_mask(signal: Signal, schema: Schema) -> bool:
    """True for the mask of another signal of the schema."""
    return signal in schema.masks.values()


def sample(store: EpisodeStore, *, seed: int, progress: Callable[[float, str], None]) -> Logs:
    """Read stretches of episodes until the budget of moments is used.

    Args:
        store: Any store with at least one action and one observation.
        seed: Of the choice of stretches; the same seed reads the same stretches.
        progress: Called with the share that has been read and a few words.

    Raises:
        ValueError: There is no action or observation in the schema, or no readable episode.
    """
    schema = store.schema
    seen = [s for s in schema.having(Role.OBSERVATION, Role.DISTURBANCE) if not is_mask(s, schema)]
    if not schema.actions or not any(s.role is Role.OBSERVATION for s in seen):
        lacking = "observation" if schema.actions else "action"
        raise ValueError(f"{store.path} has no {lacking}: an audit asks what actions do to observations")
    plain = [s for s in seen if not s.is_image and s.size <= MOST_ELEMENTS]
    pictured = [s for s in seen if s.is_image or s.size > MOST_ELEMENTS]
    view = store.view([s.name for s in (*schema.actions, *seen, *schema.masks.values())])
    healthy, lengths = view.healthy(), view.lengths
    if not len(healthy):
        raise ValueError(f"{store.path} has no readable episode; import or record one first")
    moments = int(lengths[healthy].sum()) + len(healthy)
    budget = _budget(schema.action_size, sum(s.size for s in plain), sum(s.nbytes for s in pictured))
    blocks = _blocks(healthy, lengths, seed)

    parts: list[tuple[int, int, Floats, Floats, Floats]] = []
    cameras = [Pictures(signal) for signal in pictured]
    good = {name: np.zeros(mask.size) for name, mask in schema.masks.items()}
    used = 0
    for episode, start, stop in blocks:
        if used >= budget:
            break
        try:
            signals, time = view[episode].signals, view[episode].time[start : stop + 1]
        except DamagedEpisode:
            continue
        a = np.concatenate([_flat(signals[s.name][start:stop]) for s in schema.actions], axis=1)
        o = np.concatenate([np.empty((stop + 1 - start, 0))] + [_flat(signals[s.name][start : stop + 1]) for s in plain], axis=1)
        for camera in cameras:
            camera.add(signals[camera.signal.name][start : stop + 1], a)
        for name, mask in schema.masks.items():
            good[name] += _flat(signals[mask.name][start : stop + 1]).sum(axis=0)
        parts.append((episode, start, a, o, np.diff(time)))
        used += stop + 1 - start
        progress(min(used / min(budget, moments), 1.0), f"{used:,} of {moments:,} moments")
    if not parts:
        raise ValueError(f"{store.path} has no readable episode; `tacit info --verify` names the damage")
    bounds = np.concatenate([[0], np.cumsum([len(p[3]) for p in parts])]).astype(np.int64)
    shown = [_shown(camera, bounds) for camera in cameras]
    o = np.concatenate([np.concatenate([p[3] for p in parts]), *(values for _, values in shown)], axis=1)
    gap = np.full((1, parts[0][2].shape[1]), np.nan)
    few = _are_few(lengths[np.unique([p[0] for p in parts])])
    return Logs(
        schema=schema,
        episodes=np.unique([p[0] for p in parts]).astype(np.int64),
        of_episodes=len(healthy),
        of_moments=moments,
        seed=seed,
        actions=tuple(n for s in schema.actions for n in names(s)),
        sensors=(*(n for s in plain for n in names(s)), *(n for found, _ in shown for n in found)),
        plain=sum(s.size for s in plain),
        is_target=np.array(
            [s.role is Role.OBSERVATION for s in plain for _ in range(s.size)]
            + [c.signal.role is Role.OBSERVATION for c, (found, _) in zip(cameras, shown, strict=True) for _ in found],
            bool,
        ),
        a=np.concatenate([np.concatenate([p[2], gap]) for p in parts]),
        o=o,
        memory=_memory(o, bounds),
        bounds=bounds,
        group=np.arange(len(parts)) if few else np.array([p[0] for p in parts], np.int64),
        intervals=np.concatenate([p[4] for p in parts]),
        cameras=tuple(camera.tally() for camera in cameras if camera.signal.is_image),
        missing=tuple(
            (element, max(0.0, float(1 - count / (_expected(schema.by_name[name], schema) * bounds[-1]))))
            for name, counts in good.items()
            for element, count in zip([name] if schema.by_name[name].is_image else names(schema.by_name[name]), counts, strict=True)
        ),
    )


def _expected(signal: Signal, schema: Schema) -> float:
    """Share of the moments at which a signal that keeps its rate has a new sample."""
    return 1.0 if signal.rate is None else min(1.0, signal.rate * schema.period)


def _budget(actions: int, sensors: int, picture_bytes: int) -> int:
    """Moments to read, so that time and memory stay bounded."""
    if picture_bytes:
        return min(MOST_PICTURED, max(MOST_BYTES // picture_bytes, 500))
    return int(np.clip(MOST_WORK // max(actions * sensors, 1), LEAST_MOMENTS, MOST_MOMENTS))


def _shown(camera: Pictures, bounds: Ints) -> tuple[list[str], Floats]:
    """Names and values of what stands for a camera or a long vector."""
    samples, name = np.concatenate(camera.pooled), camera.signal.name
    centre = whereabouts(samples, bounds) if camera.signal.is_image else np.empty((len(samples), 0))
    parts = principal(samples, bounds, COMPONENTS)
    places = [f"{name}~column", f"{name}~row"][: centre.shape[1]]
    return [*places, *(f"{name}~{i}" for i in range(parts.shape[1]))], np.concatenate([centre, parts], axis=1)


def _blocks(healthy: Ints, lengths: Ints, seed: int) -> list[tuple[int, int, int]]:
    """Episode, first and last moment of every stretch, in the order in which they are read."""
    most = int(np.clip(lengths[healthy].sum() / 20, SHORT, BLOCK)) if _are_few(lengths[healthy]) else BLOCK
    blocks = []
    for episode in healthy.tolist():
        steps = int(lengths[episode])
        edges = np.linspace(0, steps, -(-steps // most) + 1).astype(int).tolist()
        blocks += [(episode, start, stop) for start, stop in itertools.pairwise(edges)]
    order = np.random.default_rng(seed).permutation(len(blocks))
    return [blocks[i] for i in order.tolist()]


def _are_few(lengths: Ints) -> bool:
    return int((lengths >= SHORT).sum()) < FEW_EPISODES


def _flat(samples: NDArray[np.generic]) -> Floats:
    return samples.reshape(len(samples), -1).astype(np.float64)


def _memory(o: Floats, bounds: Ints) -> Floats:
    """Running means of the sensors that forget over `MEMORIES` steps; each stretch begins with its first value."""
    out = np.empty((len(o), o.shape[1] * len(MEMORIES)))
    lengths = np.diff(bounds)
    keep = np.exp(-1 / np.repeat(MEMORIES, o.shape[1]))
    first = bounds[:-1]
    state = np.tile(o[first], (1, len(MEMORIES)))
    out[first] = state
    for t in range(1, int(lengths.max())):
        alive = lengths > t
        rows = first[alive] + t
        state[alive] = keep * state[alive] + (1 - keep) * np.tile(o[rows], (1, len(MEMORIES)))
        out[rows] = state[alive]
    return out
