"""What a monitor looks at: numbers that grow when a machine or its sensors are not what the model knows.

Each score has a state of its own for every machine, is cheap, and says nothing of how large is too large; `tacit.assurance.monitor`
calibrates that. All are numpy: B machines, D latent, A action, S senses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray

from tacit.assurance.moments import Floats, Moment, Moments

NEIGHBOURS = 4  # of a latent in the logs
WINDOW = 8  # steps that drift is looked at over
NEAR = 32  # steps within which a machine that has come near its goal counts as near
REFERENCE = 1024  # latents of the logs that are kept
COMPONENTS = 48  # of what the senses usually do
MEMBERS, FEATURES = 5, 192  # of the ensemble, and of each member
SCORES = ("novelty", "appearance", "surprise", "response", "disagreement", "frozen", "jitter", "goal", "progress", "arrival")
READINGS = 4  # of how far the goal is
ENORMOUS = 1e15  # more counts as this, so that its square is a number, and not taken for what cannot be told

WORDS: Mapping[str, str] = {
    "novelty": "this situation is unlike anything in the logs",
    "appearance": "the sensors show something that the logs never show",
    "surprise": "what happens is not what was predicted",
    "response": "the machine does not answer to actions as it did in the logs",
    "disagreement": "models made of the same logs disagree about what comes next",
    "frozen": "a sensor shows the same although something should have moved",
    "jitter": "the sensors are restless as they never were",
    "goal": "the goal shows something that the logs never show",
    "progress": "the goal does not come nearer as it should have by now",
    "arrival": "it is not sure that the goal is reached",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What the logs look like to the scores: a few hundred kilobytes that replace them.

    Attributes:
        latents: Some latents of the logs, (R, D).
        usual: Mean of the senses, (S,).
        components: Orthonormal directions in which the senses usually differ from it, (C, S).
        rest: Root mean square of what the directions leave over, per sense, (S,).
        features: Random directions of the ensemble, (D + A + 1, F): of latent and action, standardised, and a constant.
        centre: Mean of latent and action, (D + A,).
        spread: Their standard deviation, (D + A,).
        heads: What the ensemble makes of the features, (F, M, D): the change of the latent.
        error: Root mean square of one-step errors, per element of the latent.
        nearing: How far from the goal one in twenty episodes that go well still is by each step, as arrival has it, (T',); the last one
            counts from then on.
        near: How far from the goal one in twenty episodes that go well still is in the end by each reading, (4,); see `Readings`.
    """

    latents: Floats
    usual: Floats
    components: Floats
    rest: Floats
    features: Floats
    centre: Floats
    spread: Floats
    heads: Floats
    error: float
    nearing: Floats = field(default_factory=lambda: np.ones(1, np.float32))
    near: Floats = field(default_factory=lambda: np.ones(READINGS, np.float32))

    def appearance(self, senses: Floats) -> Floats:
        """Root mean square of what the usual directions leave over of senses (B, S), each in units of what they usually do, (B,)."""
        off = _bounded(senses) - self.usual
        off -= (off @ self.components.T) @ self.components
        off = _bounded(off / self.rest)
        appearance: Floats = np.sqrt(np.square(off).sum(-1) / off.shape[1])
        return appearance


def fit_reference(logs: Moments, *, seed: int = 0) -> Reference:
    """Sum up episodes in which all was well.

    Args:
        logs: Episodes of at least two moments; those that the model was trained on, or as it was used.
        seed: Of what is drawn.

    Raises:
        ValueError: There are fewer than 64 finite moments.
    """
    rng = np.random.default_rng(seed)
    flat = logs.latent.reshape(-1, logs.latent.shape[-1])
    seen = np.flatnonzero(np.isfinite(flat).all(-1))
    if len(seen) < 64:
        raise ValueError(f"a monitor needs at least 64 moments in which all was well, not {len(seen)}")
    chosen = rng.permutation(seen)
    sensed = logs.senses.reshape(len(flat), -1)[chosen[: 4 * REFERENCE]].astype(np.float64)
    usual = sensed.mean(0)
    half = len(sensed) // 2
    count = min(COMPONENTS, half - 1, sensed.shape[1] // 4)  # some must be left over
    components = np.linalg.svd(sensed[:half] - usual, full_matrices=False)[2][:count]
    off = sensed[half:] - usual
    rest = np.sqrt(np.square(off - off @ components.T @ components).mean(0)) + 0.01 * (sensed.std() + 1e-6)
    before, after, action = logs.latent[:, :-1], logs.latent[:, 1:], logs.action[:, :-1]
    inputs = np.concatenate((before, action), axis=-1).reshape(-1, before.shape[-1] + action.shape[-1]).astype(np.float64)
    change = (after - before).reshape(-1, before.shape[-1]).astype(np.float64)
    sound = rng.permutation(np.flatnonzero(np.isfinite(inputs).all(-1) & np.isfinite(change).all(-1)))[:20_000]
    inputs, change = inputs[sound], change[sound]
    centre, spread = inputs.mean(0), inputs.std(0) + 1e-6
    features = rng.normal(0.0, 1.0, (inputs.shape[1] + 1, FEATURES)) / np.sqrt(inputs.shape[1] / 2)
    seen_by = np.tanh(np.concatenate(((inputs - centre) / spread, np.ones((len(inputs), 1))), axis=1) @ features)
    heads = []
    for _ in range(MEMBERS):
        part = rng.integers(0, len(inputs), len(inputs))
        gram = seen_by[part].T @ seen_by[part] + 1e-3 * len(inputs) * np.eye(FEATURES)
        heads.append(np.linalg.solve(gram, seen_by[part].T @ change[part]))
    error = (logs.latent - logs.expected)[np.isfinite(logs.expected).all(-1)]
    return Reference(
        latents=flat[chosen[:REFERENCE]].astype(np.float32),
        usual=usual.astype(np.float32),
        components=components.astype(np.float32),
        rest=rest.astype(np.float32),
        features=features.astype(np.float32),
        centre=centre.astype(np.float32),
        spread=spread.astype(np.float32),
        heads=np.stack(heads, axis=1).astype(np.float32),
        error=float(np.sqrt(np.square(error).mean())) if error.size else 1.0,
    )


@final
class Scorer:
    """Scores of B machines, step by step. What cannot be told at a step, such as surprise at the first, is 0: no reason to worry. Only an
    arrival that cannot be told is infinitely far.

    A latent that is not finite leaves the state of its machine as it was; a controller falls back there by itself.
    """

    def __init__(self, reference: Reference, machines: int) -> None:
        self._reference = reference
        self._squares = np.square(reference.latents).sum(-1)
        self._transposed = np.ascontiguousarray(reference.latents.T)
        self._heads = reference.heads.reshape(len(reference.heads), -1)
        size = reference.latents.shape[1]
        self._noise = reference.error * np.sqrt(size)  # length of a usual error
        self._steps = 0
        self._before = np.full((machines, size), np.nan, np.float32)
        self._windows = np.full((WINDOW, 2, machines), np.nan, np.float32)  # of novelty and surprise
        self._answers = np.zeros((2 * WINDOW, 2, machines), np.float32)
        self._still = np.zeros((2, machines), np.float32)
        self._readings = Readings(reference, machines)
        self._nearest = Nearest(machines)
        self._senses = np.full((machines, len(reference.usual)), np.nan, np.float32)  # of the step before
        self._goal: Floats | None = None  # how the goals of the episode look, (B,)

    def __call__(self, moment: Moment) -> Floats:
        """The scores of a step, in the order of `SCORES`: (B, 10), float32."""
        reference = self._reference
        scores = np.empty((len(moment.latent), len(SCORES)), np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            observed, predicted = moment.latent - self._before, moment.expected - self._before
            error = np.sqrt(np.square(_bounded(moment.latent - moment.expected)).sum(-1))
            latent = _bounded(moment.latent)
            squares = np.square(latent).sum(-1)[:, None] + self._squares - 2 * latent @ self._transposed
            nearest = np.partition(squares, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
            scores[:, 0], scores[:, 2] = self._means(np.sqrt(np.maximum(nearest, 0.0)).sum(1) / NEIGHBOURS, error)
            if self._goal is None:
                self._goal = reference.appearance(moment.goal_senses)
            still, unseen = self._ways(predicted, moment.is_same)
            far = arrival(self._readings(moment), reference.near) + unseen / reference.near[0]
            far[~np.isfinite(moment.senses).any(-1)] = np.inf  # nothing was seen: the latent is only what was expected
            scores[:, 1] = reference.appearance(moment.senses)
            scores[:, 3] = self._response(observed, predicted)
            scores[:, 4] = self._disagreement(moment)
            scores[:, 5] = still
            scores[:, 6] = self._jitter(moment.senses)
            scores[:, 7] = self._goal
            scores[:, 8] = self._nearest(far) / reference.nearing[min(self._steps, len(reference.nearing) - 1)]
            scores[:, 9] = far
        is_seen = np.isfinite(moment.latent).all(axis=-1, keepdims=True)
        self._before = np.where(is_seen, moment.latent, self._before)
        self._steps += 1
        is_told = np.isfinite(scores)
        if not is_told.all():
            scores[~is_told] = 0.0
            scores[~is_told[:, -1], -1] = np.inf
        return scores

    def _means(self, *values: Floats) -> Floats:
        """Means of the last steps, (2, B); those before the first are left out."""
        self._windows[self._steps % WINDOW] = values
        known = np.isfinite(self._windows)
        mean: Floats = np.where(known, self._windows, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        return mean

    def _response(self, observed: Floats, predicted: Floats) -> Floats:
        """How surely the changes that were observed are not those that were predicted, along the latter: a gain that is not 1."""
        here = self._answers[self._steps % len(self._answers)]
        here[0], here[1] = ((observed - predicted) * predicted).sum(-1), np.square(predicted).sum(-1)
        here[~np.isfinite(here)] = 0.0
        lacking, moved = self._answers.sum(0)
        deviation: Floats = np.abs(lacking) / (self._reference.error * np.sqrt(moved) + 0.05 * moved + 1e-6)
        return deviation

    def _disagreement(self, moment: Moment) -> Floats:
        """Root mean square deviation of the ensemble's members from their mean."""
        reference = self._reference
        inputs = np.ones((len(moment.latent), len(reference.centre) + 1), np.float32)
        inputs[:, :-1] = (np.concatenate((moment.latent, moment.action), 1) - reference.centre) / reference.spread
        guesses = (np.tanh(inputs @ reference.features) @ self._heads).reshape(len(inputs), reference.heads.shape[1], -1)
        guesses -= guesses.sum(1, keepdims=True) / guesses.shape[1]
        disagreement: Floats = np.sqrt(np.square(guesses).sum((1, 2)) / (guesses.shape[1] * guesses.shape[2]))
        return disagreement

    def _jitter(self, senses: Floats) -> Floats:
        """1 and the change of the senses in a step, the median of all, in the unit of appearance, (B,): what moves in a picture changes few
        of them, and noise changes each. Without the 1 the least noise would be endlessly more than none."""
        bounded = _bounded(senses)
        changes, self._senses = _bounded(np.abs(bounded - self._senses) / self._reference.rest), bounded
        middle = changes.shape[1] // 2
        median: Floats = np.partition(changes, middle, axis=1)[:, middle]
        return median + np.float32(1)

    def _ways(self, predicted: Floats, is_same: NDArray[np.bool_]) -> Floats:
        """Length of the way that the model expected while all sensors showed the same, in latent units, and of what of it no usual error
        explains: (2, B). Where the machine is has not been seen any better than that."""
        way = np.sqrt(np.square(predicted).sum(-1))
        way[~np.isfinite(way)] = 0.0
        self._still += np.stack((way, np.maximum(way - self._noise, 0.0)))
        self._still[:, ~is_same] = 0.0
        return self._still


def _bounded(values: Floats) -> Floats:
    """Nothing further from 0 than `ENORMOUS`; what is no number stays so."""
    bounded: Floats = np.clip(values, -ENORMOUS, ENORMOUS)
    return bounded


@final
class Readings:
    """Four readings of how far the goal is: the learned steps and the latent distance, which the encoder has to get right, and two that do
    without it, the root mean square difference of the senses from those of the goal and the length of that difference along the
    directions in which the senses usually differ; of less than four senses, which have no such directions, the length of the whole.

    Each is the median of three in a row: a single glimpse of the goal is no arrival.

    Args:
        reference: What the logs look like.
        machines: B.
    """

    def __init__(self, reference: Reference, machines: int) -> None:
        components = reference.components
        self._along = np.ascontiguousarray(components.T) if len(components) else np.eye(components.shape[1], dtype=np.float32)
        self._latest = np.full((3, READINGS, machines), np.nan, np.float32)
        self._steps = 0

    def __call__(self, moment: Moment) -> Floats:
        """Readings of this step, (4, B)."""
        off = moment.senses - moment.goal_senses
        now = self._latest[self._steps % 3]
        now[0], now[1] = moment.distance, moment.steps_to_go
        now[2], now[3] = np.sqrt(np.square(off).sum(-1) / off.shape[1]), np.sqrt(np.square(off @ self._along).sum(-1))
        if self._steps == 0:
            self._latest[:] = now
        self._steps += 1
        first, second, third = self._latest
        # The median of three without sorting; not finite where one of them is not.
        median: Floats = np.maximum(np.minimum(first, second), np.minimum(np.maximum(first, second), third))
        return median


def arrival(readings: Floats, near: Floats) -> Floats:
    """How many times as far from the goal as one in twenty episodes in the end: the geometric mean of the two smaller of the four readings.

    A shift spoils some readings, and almost always makes them larger; the two that say least are those that it spoiled least.

    Args:
        readings: (4, ...).
        near: Of the reference.

    Returns:
        (...).
    """
    ratio = np.sort(np.maximum(readings, 0.0) / near.reshape(-1, *[1] * (readings.ndim - 1)), axis=0)
    far: Floats = np.sqrt(ratio[0] * ratio[1])
    return far


@final
class Nearest:
    """The least of the last `NEAR` values.

    Args:
        machines: B.
    """

    def __init__(self, machines: int) -> None:
        self._values = np.full((NEAR, machines), np.inf, np.float32)
        self._steps = 0

    def __call__(self, values: Floats) -> Floats:
        """Values of this step, (B,) -> the least of the last ones, (B,); inf where there is none."""
        self._values[self._steps % NEAR] = np.where(np.isfinite(values), values, np.inf)
        self._steps += 1
        nearest: Floats = self._values.min(0)
        return nearest


def read(reference: Reference, episodes: Moments) -> Floats:
    """Readings of whole episodes, (N, T, 4)."""
    readings = Readings(reference, len(episodes))
    return np.stack([readings(episodes.at(step)) for step in range(episodes.steps)]).transpose(2, 0, 1)


def usual_nearing(arrivals: Floats, share: float = 0.95) -> Floats:
    """How far from the goal a share of the episodes is at most by each step, (T,): never growing, and never 0.

    Args:
        arrivals: The score of episodes with a goal, (N, T); one is returned for others.
        share: See above.
    """
    nearest = Nearest(len(arrivals))
    far = np.stack([nearest(now) for now in arrivals.T])
    if not np.isfinite(far).all():
        return np.ones(1, np.float32)
    falling: Floats = np.minimum.accumulate(np.quantile(far, share, axis=-1)).astype(np.float32)
    return np.maximum(falling, 1e-3)


def usual_end(readings: Floats, *, passing: bool, share: float = 0.95) -> Floats:
    """How far from the goal a share of the episodes is at most in the end by each reading, (4,), never 0.

    Args:
        readings: Of episodes with a goal, (N, T, 4); ones is returned for others.
        passing: Whether the end is when the goal was nearest, not the last moment.
        share: See above.
    """
    ends = readings.min(1) if passing else readings[:, -1]
    if not np.isfinite(ends).all():
        return np.ones(READINGS, np.float32)
    return np.maximum(np.quantile(ends, share, axis=0), 1e-3).astype(np.float32)
