"""Do held-out episodes repeat those that are trained on? Then a test is no test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.data.auditing.finding import Finding, Severity, percent
from tacit.data.auditing.sampling import MOST_ELEMENTS, is_mask
from tacit.data.sampler import split
from tacit.data.store import DamagedEpisode, EpisodeStore
from tacit.signals import Role

Floats = NDArray[np.float64]

MOST = 2_000  # episodes that are compared
POINTS = 16  # of the sketch of one channel
NEAR = 0.05  # of the typical distance between two episodes


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Held-out episodes against those for training.

    Attributes:
        held_out: Held-out episodes that were compared.
        training: Episodes for training that were compared.
        copies: Held-out episodes that equal one for training to the last bit.
        near: Others whose distance to the nearest one for training is below `NEAR` of the typical distance.
        typical: Median distance between two episodes for training, root mean square over the numbers of the sketch, in spreads.
        finding: What to make of it.
    """

    held_out: int
    training: int
    copies: int
    near: int
    typical: float
    finding: Finding


def likeness(store: EpisodeStore, *, held_out: float, split_seed: int, seed: int) -> Likeness:
    """Compare actions and observations of whole episodes across the split that training will use.

    Args:
        store: Any store.
        held_out: Share that is held out.
        split_seed: Of the split.
        seed: Of the choice of episodes when there are more than `MOST`.
    """
    schema = store.schema
    small = [s for s in schema.having(Role.ACTION, Role.OBSERVATION) if not is_mask(s, schema)]
    view = store.view([s.name for s in small])
    try:
        train, test = split(view, held_out=held_out, seed=split_seed)
    except ValueError:
        sentence = (
            f"{len(view.healthy())} episodes are too few to hold any out: no result can be checked. Record more, or "
            "cut long ones into episodes."
        )
        return _nothing(Finding(theme="likeness", subject="episodes", severity=Severity.CAREFUL, sentence=sentence, weight=0.45))
    rng = np.random.default_rng(seed)
    test = np.sort(rng.permutation(test)[: MOST // 4])
    train = np.sort(rng.permutation(train)[: MOST - len(test)])
    ours, theirs = _read(view, train), _read(view, test)
    if not ours or not theirs:
        return _nothing(Finding(theme="likeness", subject="episodes", severity=Severity.FINE, sentence="Nothing to compare."))
    known = {digest for digest, _ in ours}
    copied = np.array([digest in known for digest, _ in theirs])
    every = np.stack([sketch for _, sketch in (*ours, *theirs)])
    spread = every.std(axis=0)
    every = (every - every.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    mine, other = every[: len(ours)], every[len(ours) :]
    pairs = rng.integers(len(mine), size=(2, 4000))
    distances = np.sqrt(((mine[pairs[0]] - mine[pairs[1]]) ** 2).mean(axis=1)) if every.shape[1] else np.zeros(1)
    typical = float(np.median(distances))
    near = (_nearest(other, mine) < NEAR * typical) & ~copied if typical > 0 else np.zeros(len(copied), bool)
    return _judged(len(theirs), len(ours), int(copied.sum()), int(near.sum()), typical)


def _nothing(finding: Finding) -> Likeness:
    return Likeness(held_out=0, training=0, copies=0, near=0, typical=0.0, finding=finding)


def _judged(held_out: int, training: int, copies: int, near: int, typical: float) -> Likeness:
    severity, weight = Severity.FINE, 0.0
    sentence = f"None of {held_out} held-out episodes repeats one of {training} for training."
    if copies + near:
        share = (copies + near) / held_out
        severity, weight = (Severity.CAREFUL, 0.5) if share > 0.02 else (Severity.FINE, 0.0)
        sentence = (
            f"{copies + near} of {held_out} held-out episodes ({percent(share)}) repeat one for training, {copies} of "
            "them to the last bit: a test on them flatters. Remove the copies before you split."
        )
    finding = Finding(theme="likeness", subject="episodes", severity=severity, sentence=sentence, weight=weight)
    return Likeness(held_out=held_out, training=training, copies=copies, near=near, typical=typical, finding=finding)


def _read(store: EpisodeStore, episodes: NDArray[np.int64]) -> list[tuple[bytes, Floats]]:
    """Digest and sketch of each readable episode."""
    found = []
    for number in episodes.tolist():
        try:
            episode = store[number]
        except DamagedEpisode:
            continue
        digest = hashlib.blake2b(str(episode.steps).encode(), digest_size=16)
        sketch = [np.array([np.log(episode.steps)])]
        for signal in store.schema.signals:
            samples = episode.signals[signal.name]
            if signal.is_image or signal.size > MOST_ELEMENTS:
                samples = samples[[0, -1]]  # two frames tell episodes apart, and are read quickly
                digest.update(samples.tobytes())
                continue
            digest.update(samples.tobytes())
            place = np.linspace(0, len(samples) - 1, POINTS).round().astype(int)
            sketch.append(samples[place].reshape(-1).astype(np.float64))
        found.append((digest.digest(), np.concatenate(sketch)))
    return found


def _nearest(some: Floats, others: Floats) -> Floats:
    """Root mean square distance per number to the nearest of `others`."""
    out = np.empty(len(some))
    squares = (others**2).sum(axis=1)
    for start in range(0, len(some), 256):
        part = some[start : start + 256]
        out[start : start + 256] = ((part**2).sum(axis=1)[:, None] + squares - 2 * part @ others.T).min(axis=1)
    result: Floats = np.sqrt(np.maximum(out, 0) / some.shape[1])
    return result
