"""What a monitor looks at: numbers that grow when a machine or its sensors are not what the model knows.

Each score has a state of its own for every machine, is cheap, and says nothing of how large is too large; `tacit.assurance.monitor`
calibrates that. All are numpy: B machines, D latent, A action, S senses.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tacit.signals import Schema

Floats = NDArray[np.float32]
Samples = Mapping[str, NDArray[Any]]

CELLS = 16  # blocks of a picture along each side
NEIGHBOURS = 4  # of a latent in the logs
WINDOW = 8  # steps that drift is looked at over
ARRIVAL = 32  # steps within which a machine that has come near its goal counts as near
REFERENCE = 1024  # latents of the logs that are kept
COMPONENTS = 48  # of what the senses usually do
MEMBERS, FEATURES = 5, 192  # of the ensemble, and of each member
SCORES = ("novelty", "appearance", "surprise", "response", "disagreement", "frozen", "progress")

WORDS: Mapping[str, str] = {
    "novelty": "this situation is unlike anything in the logs",
    "appearance": "the sensors show something that the logs never show",
    "surprise": "what happens is not what was predicted",
    "response": "the machine does not answer to actions as it did in the logs",
    "disagreement": "models made of the same logs disagree about what comes next",
    "frozen": "a sensor shows the same although something should have moved",
    "progress": "the goal does not come nearer as it should have by now",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """What a monitor is told at one step.

    Attributes:
        latent: Newest latents (B, D).
        expected: What the model expected in their place, (B, D); not finite where it expected nothing.
        action: Actions decided now, (B, A), physical units.
        steps_to_go: Learned number of steps to the goal, (B,); NaN where there is no goal.
        distance: Euclidean distance of the newest latent from the goal's, (B,); NaN likewise.
        senses: What the sensors show, coarsely: see `senses`; (B, S).
        is_same: Whether all sensors show bit for bit what they showed before, (B,) bool.
    """

    latent: Floats
    expected: Floats
    action: Floats
    steps_to_go: Floats
    distance: Floats
    senses: Floats
    is_same: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Whole episodes of moments side by side: N episodes of T moments, the fields of `Moment` as (N, T, ...)."""

    latent: Floats
    expected: Floats
    action: Floats
    steps_to_go: Floats
    distance: Floats
    senses: Floats
    is_same: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.latent)

    @property
    def steps(self) -> int:
        """T."""
        return int(self.latent.shape[1])

    def at(self, step: int) -> Moment:
        return Moment(
            latent=self.latent[:, step],
            expected=self.expected[:, step],
            action=self.action[:, step],
            steps_to_go=self.steps_to_go[:, step],
            distance=self.distance[:, step],
            senses=self.senses[:, step],
            is_same=self.is_same[:, step],
        )

    def among(self, rows: NDArray[Any]) -> Moments:
        """Some of the episodes."""
        return Moments(
            latent=self.latent[rows],
            expected=self.expected[rows],
            action=self.action[rows],
            steps_to_go=self.steps_to_go[rows],
            distance=self.distance[rows],
            senses=self.senses[rows],
            is_same=self.is_same[rows],
        )


def senses(schema: Schema, samples: Samples) -> Floats:
    """Block means of every picture and all other numbers, side by side: (B, *shape) by observation signal -> (B, S)."""
    parts = []
    for signal in schema.observations:
        value = np.asarray(samples[signal.name])
        if signal.is_image and min(value.shape[1:3]) >= CELLS:
            batch, height, width, channels = value.shape
            down, across = height // CELLS, width // CELLS
            whole = value[:, : down * CELLS, : across * CELLS].astype(np.float32).reshape(batch, CELLS, down, CELLS * across * channels)
            value = whole.mean(2) @ _means(across, channels)
        parts.append(value.reshape(len(value), -1).astype(np.float32))
    return np.concatenate(parts, axis=1)


@functools.cache
def _means(across: int, channels: int) -> Floats:
    """What a row of pixels is multiplied with for the means of blocks: sums over an axis before a short last one take longer."""
    means: Floats = np.kron(np.eye(CELLS), np.kron(np.full((across, 1), 1 / across), np.eye(channels))).astype(np.float32)
    return means


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
        nearing: How far from the goal one in twenty episodes that go well still is by each step, in steps to go and in latent distance,
            (T', 2); the last row counts from then on.
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
    nearing: Floats = field(default_factory=lambda: np.ones((1, 2), np.float32))


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
    """Scores of B machines, step by step. What cannot be told at a step, such as surprise at the first, is 0: no reason to worry.

    A latent that is not finite leaves the state of its machine as it was; a controller falls back there by itself.
    """

    def __init__(self, reference: Reference, machines: int) -> None:
        self._reference = reference
        self._squares = np.square(reference.latents).sum(-1)
        size = reference.latents.shape[1]
        self._steps = 0
        self._before = np.full((machines, size), np.nan, np.float32)
        self._windows = {name: np.full((WINDOW, machines), np.nan, np.float32) for name in ("novelty", "surprise")}
        self._answers = np.zeros((2 * WINDOW, 2, machines), np.float32)
        self._still = np.zeros(machines, np.float32)
        self._nearest = Nearest((2, machines))

    def __call__(self, moment: Moment) -> Floats:
        """The scores of a step, in the order of `SCORES`: (B, 7), float32."""
        reference = self._reference
        with np.errstate(invalid="ignore", over="ignore"):
            observed, predicted = moment.latent - self._before, moment.expected - self._before
            error = np.sqrt(np.square(moment.latent - moment.expected).sum(-1))
            squares = np.square(moment.latent).sum(-1)[:, None] + self._squares - 2 * moment.latent @ reference.latents.T
            nearest = np.partition(squares, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
            off = moment.senses - reference.usual
            off = off - off @ reference.components.T @ reference.components
            inputs = np.concatenate(
                (
                    (np.concatenate((moment.latent, moment.action), 1) - reference.centre) / reference.spread,
                    np.ones((len(off), 1), np.float32),
                ),
                axis=1,
            )
            guesses = np.tanh(inputs @ reference.features) @ reference.heads.reshape(len(reference.heads), -1)
            guesses = guesses.reshape(len(off), reference.heads.shape[1], -1)
            scores = np.stack(
                (
                    self._mean("novelty", np.sqrt(np.maximum(nearest, 0.0)).mean(1)),
                    np.sqrt(np.square(off / reference.rest).mean(-1)),
                    self._mean("surprise", error),
                    self._response(observed, predicted),
                    np.sqrt(guesses.var(1).mean(-1)),
                    self._frozen(predicted, moment.is_same),
                    self._progress(moment.steps_to_go, moment.distance),
                ),
                axis=1,
            )
        is_seen = np.isfinite(moment.latent).all(axis=-1, keepdims=True)
        self._before = np.where(is_seen, moment.latent, self._before)
        self._steps += 1
        told: Floats = np.nan_to_num(scores, nan=0.0, posinf=0.0).astype(np.float32)
        return told

    def _mean(self, name: str, value: Floats) -> Floats:
        """Mean of the last steps; those before the first are left out."""
        window = self._windows[name]
        window[self._steps % WINDOW] = value
        known = np.isfinite(window)
        mean: Floats = np.where(known, window, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        return mean

    def _response(self, observed: Floats, predicted: Floats) -> Floats:
        """How surely the changes that were observed are not those that were predicted, along the latter: a gain that is not 1."""
        here = self._answers[self._steps % len(self._answers)]
        here[0], here[1] = ((observed - predicted) * predicted).sum(-1), np.square(predicted).sum(-1)
        np.nan_to_num(here, copy=False, posinf=0.0)
        lacking, moved = self._answers.sum(0)
        deviation: Floats = np.abs(lacking) / (self._reference.error * np.sqrt(moved) + 0.05 * moved + 1e-6)
        return deviation

    def _frozen(self, predicted: Floats, is_same: NDArray[np.bool_]) -> Floats:
        """Length of the way that the model expected while all sensors showed the same, in latent units."""
        way = np.nan_to_num(np.sqrt(np.square(predicted).sum(-1)), posinf=0.0)
        self._still = np.where(is_same, self._still + way, 0.0).astype(np.float32)
        return self._still

    def _progress(self, steps_to_go: Floats, distance: Floats) -> Floats:
        """How many times as far from the goal as usual by now; the geometric mean of both measures of how far."""
        nearing = self._reference.nearing
        nearest = self._nearest(np.stack((steps_to_go, distance)))
        ratio = np.maximum(nearest, 0.0) / nearing[min(self._steps, len(nearing) - 1)][:, None]
        progress: Floats = np.sqrt(ratio[0] * ratio[1])
        return progress


@final
class Nearest:
    """The least of the last `ARRIVAL` values, each the median of three in a row: a single glimpse of the goal is no arrival.

    Args:
        shape: Of what is looked at in each step.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._latest = np.full((3, *shape), np.nan, np.float32)
        self._medians = np.full((ARRIVAL, *shape), np.inf, np.float32)
        self._steps = 0

    def __call__(self, values: Floats) -> Floats:
        """Values of this step -> the least of the last ones, of the same shape; inf where there is none."""
        first = self._steps == 0
        self._latest[self._steps % 3] = values
        if first:
            self._latest[:] = values
        median: Floats = np.sort(self._latest, axis=0)[1]
        self._medians[self._steps % ARRIVAL] = np.where(np.isfinite(median), median, np.inf)
        self._steps += 1
        nearest: Floats = self._medians.min(0)
        return nearest


def usual_nearing(episodes: Moments, share: float = 0.95) -> Floats:
    """How far from the goal a share of the episodes is at most by each step, (T, 2): never growing, and never 0.

    Args:
        episodes: With a goal; ones is returned for others.
        share: See above.
    """
    nearest = Nearest((2, len(episodes)))
    steps = [nearest(np.stack((episodes.steps_to_go[:, t], episodes.distance[:, t]))) for t in range(episodes.steps)]
    far = np.stack(steps)
    if not np.isfinite(far).all():
        return np.ones((1, 2), np.float32)
    falling: Floats = np.minimum.accumulate(np.quantile(far, share, axis=-1), axis=0).astype(np.float32)
    return np.maximum(falling, 1e-3)
