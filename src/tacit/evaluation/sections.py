"""What the report shows: one frozen value per section, checked where it is made.

Dimensions: N frames or samples, T time steps, H image height, W image width, C channels, E episodes. Arrays are numpy, on the CPU.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.evaluation.intervals import wilson
from tacit.signals import Schema

Array = NDArray[Any]


class ReportError(ValueError):
    """A section was given numbers that do not fit together."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ReportError(message)


def require_images(images: Array, ndim: int, what: str) -> None:
    fits = images.dtype == np.uint8 and images.ndim == ndim and images.shape[-1] in (1, 3) and images.size > 0
    layout = "(N, H, W, C)" if ndim == 4 else "(H, W, C)"
    require(fits, f"{what}: give uint8 images {layout} with 1 or 3 channels, not {images.dtype} {images.shape}")


@dataclass(frozen=True, kw_only=True)
class Data:
    """The logs that the model learned from.

    Attributes:
        store: Name of the episode store.
        episodes: Number of episodes.
        frames: Number of observations, all episodes together.
        seconds: Recorded time, all episodes together.
        schema: Signals of the store.
        samples: Sample camera frames, uint8 (N, H, W, C), or None when there is no camera.
    """

    store: str
    episodes: int
    frames: int
    seconds: float
    schema: Schema
    samples: Array | None = None

    def __post_init__(self) -> None:
        if self.samples is not None:
            require_images(self.samples, 4, "data: samples")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One quantity over training: `values` (N,) at optimiser steps `steps` (N,)."""

    name: str
    steps: Array
    values: Array

    def __post_init__(self) -> None:
        fits = self.steps.ndim == 1 and self.steps.size > 0 and self.steps.shape == self.values.shape
        require(fits, f"curve {self.name!r}: {self.steps.shape} steps and {self.values.shape} values; give two equal (N,) arrays")


@dataclass(frozen=True, kw_only=True)
class HorizonError:
    """Held-out prediction error per step ahead, beside the floor that a useful model must beat.

    Attributes:
        model: Mean squared latent error of the rollout 1..T steps ahead, (T,).
        floor: The same for a prediction that never moves: the last real latent, copied, (T,).
        episodes: Held-out episodes it was measured on.
    """

    model: Array
    floor: Array
    episodes: int

    def __post_init__(self) -> None:
        fits = self.model.ndim == 1 and self.model.size > 0 and self.model.shape == self.floor.shape
        require(fits, f"horizon error: model {self.model.shape} and floor {self.floor.shape}; give two equal (T,) arrays")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the model was trained.

    Attributes:
        losses: Terms of the loss and their weighted total.
        minutes: Wall time.
        frames_per_second: Observations consumed per second of wall time.
        config: What was set, by name, as a person reads it.
        effective_rank: Number of latent dimensions in use over training, or None.
        min_std: Standard deviation of the flattest latent dimension over training, or None.
        held_out: Prediction error on held-out episodes after training, or None.
    """

    losses: tuple[Curve, ...]
    minutes: float
    frames_per_second: float
    config: Mapping[str, str] = field(default_factory=dict)
    effective_rank: Curve | None = None
    min_std: Curve | None = None
    held_out: HorizonError | None = None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One label channel read out of frozen latents.

    Attributes:
        label: Name of the channel.
        unit: Unit of the channel, "1" when it has none.
        true: Logged values on held-out samples, (N,).
        predicted: What the linear probe reads there, (N,).
        r2_linear: Share of the variance that the linear probe explains on held-out episodes.
        r2_mlp: The same for a small network, or None.
    """

    label: str
    unit: str = "1"
    true: Array
    predicted: Array
    r2_linear: float
    r2_mlp: float | None = None

    def __post_init__(self) -> None:
        fits = self.true.ndim == 1 and self.true.size > 0 and self.true.shape == self.predicted.shape
        require(fits, f"probe {self.label!r}: true {self.true.shape} and predicted {self.predicted.shape}; give two equal (N,) arrays")


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What can be read out of the latents, on `episodes` held-out episodes."""

    probes: tuple[Probe, ...]
    episodes: int

    def __post_init__(self) -> None:
        require(len(self.probes) > 0, "probes: no label channel; pass None for the section when nothing was probed")


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """Open-loop rollouts of held-out episodes beside what really happened.

    Attributes:
        predicted: Predicted latents on two principal components of the real ones, (E, T, 2), E <= 4.
        real: Real latents on the same components, (E, T, 2).
        errors: Squared error in the whole latent space, per episode and step ahead, (E, T).
        explained: Share of the latent variance on each of the two components.
    """

    predicted: Array
    real: Array
    errors: Array
    explained: tuple[float, float]

    def __post_init__(self) -> None:
        shape = self.predicted.shape
        fits = len(shape) == 3 and 1 <= shape[0] <= 4 and shape[2] == 2 and self.real.shape == shape and self.errors.shape == shape[:2]
        got = f"predicted {shape}, real {self.real.shape}, errors {self.errors.shape}"
        require(fits, f"dynamics: {got}; give (E, T, 2), (E, T, 2) and (E, T) for at most four episodes")


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One planned episode.

    Attributes:
        frames: What the camera saw, thinned to a strip, uint8 (N, H, W, C); the first is the start.
        goal: The goal image, uint8 (H, W, C).
        success: Whether the goal was reached.
        caption: What is worth knowing about it.
        steps: Step at which each frame was taken, or None.
        path: Way taken in image pixels, x right and y down, (M, 2), or None.
    """

    frames: Array
    goal: Array
    success: bool
    caption: str = ""
    steps: tuple[int, ...] | None = None
    path: Array | None = None

    def __post_init__(self) -> None:
        require_images(self.frames, 4, "episode: frames")
        require_images(self.goal, 3, "episode: goal")
        if self.steps is not None:
            require(len(self.steps) == len(self.frames), f"episode: {len(self.steps)} steps for {len(self.frames)} frames")
        if self.path is not None:
            require(self.path.ndim == 2 and self.path.shape[1] == 2, f"episode: path {self.path.shape}; give (M, 2) pixels")


@dataclass(frozen=True, kw_only=True)
class Planning:
    """Episodes worth looking at: at least one success and one failure when there are any."""

    episodes: tuple[Episode, ...]

    def __post_init__(self) -> None:
        require(len(self.episodes) > 0, "planning: no episode; pass None for the section when nothing was planned")


@dataclass(frozen=True, kw_only=True)
class ValueMap:
    """How far the goal seems from every place in one layout.

    Attributes:
        name: What a person calls the layout.
        background: Camera image of the layout, uint8 (H, W, C).
        steps_to_go: Learned number of steps to the goal over a grid that covers the image, (h, w); NaN where not evaluated.
        latent_distance: Euclidean distance to the goal's latent over the same grid, (h, w).
        goal: Goal in image pixels: x right, y down.
    """

    name: str
    background: Array
    steps_to_go: Array
    latent_distance: Array
    goal: tuple[float, float]

    def __post_init__(self) -> None:
        require_images(self.background, 3, f"value map {self.name!r}: background")
        fits = self.steps_to_go.ndim == 2 and self.steps_to_go.shape == self.latent_distance.shape
        require(fits, f"value map {self.name!r}: grids {self.steps_to_go.shape} and {self.latent_distance.shape}; give two equal (h, w)")
        for grid in (self.steps_to_go, self.latent_distance):
            require(bool(np.isfinite(grid).any()), f"value map {self.name!r}: no finite value on the grid")


@dataclass(frozen=True, kw_only=True)
class Values:
    """Learned steps-to-go beside plain latent distance, for a few layouts."""

    maps: tuple[ValueMap, ...]

    def __post_init__(self) -> None:
        require(len(self.maps) > 0, "values: no map; pass None for the section when the value was not mapped")


class Kind(StrEnum):
    """What a row of the results is."""

    PLANNER = "planner"  # the method under test; the first one is the headline
    ABLATION = "ablation"  # the method with one part changed
    FLOOR = "floor"  # what needs no world model: random, no-op, cloning


@dataclass(frozen=True, kw_only=True)
class Score:
    """Successes of one method on one split of the test episodes."""

    method: str
    kind: Kind
    split: str
    successes: int
    episodes: int

    def __post_init__(self) -> None:
        fits = 0 <= self.successes <= self.episodes and self.episodes > 0
        require(fits, f"score of {self.method!r} on {self.split!r}: {self.successes} successes in {self.episodes} episodes")

    @property
    def rate(self) -> float:
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the rate."""
        return wilson(self.successes, self.episodes)


@dataclass(frozen=True, kw_only=True)
class Results:
    """Who reached how many goals.

    Attributes:
        scores: One row per method and split; no pair twice.
        protocol: How starts and goals were drawn, and what counts as success, in a sentence or two.
        hard_split: The split worth a tile of its own, or None.
    """

    scores: tuple[Score, ...]
    protocol: str
    hard_split: str | None = None

    def __post_init__(self) -> None:
        pairs = [(s.method, s.split) for s in self.scores]
        require(len(set(pairs)) == len(pairs), "results: a method has two scores on one split")
        require(any(s.kind is Kind.PLANNER for s in self.scores), "results: no score is of kind 'planner': nothing is under test")
        if self.hard_split is not None:
            require(self.hard_split in self.splits, f"results: no score on split {self.hard_split!r}; there are {', '.join(self.splits)}")

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.split for s in self.scores))

    @property
    def methods(self) -> tuple[str, ...]:
        """Names in order of appearance, grouped: planners, ablations, floors."""
        return tuple(dict.fromkeys(s.method for kind in Kind for s in self.scores if s.kind is kind))

    def score(self, method: str, split: str) -> Score | None:
        """Score of `method` on `split`, or None when it was not measured."""
        return next((s for s in self.scores if (s.method, s.split) == (method, split)), None)

    def total(self, method: str) -> Score:
        """Successes of `method` over every split it was measured on."""
        mine = [s for s in self.scores if s.method == method]
        require(len(mine) > 0, f"results: no score of {method!r}; there are {', '.join(self.methods)}")
        successes, episodes = sum(s.successes for s in mine), sum(s.episodes for s in mine)
        return Score(method=method, kind=mine[0].kind, split="all", successes=successes, episodes=episodes)

    def best(self, kind: Kind, split: str | None = None) -> Score | None:
        """The highest rate of a kind, over all splits or on one; None when that was not measured."""
        names = [m for m in self.methods if self.total(m).kind is kind]
        found = [self.total(m) if split is None else self.score(m, split) for m in names]
        return max((s for s in found if s is not None), key=lambda s: s.rate, default=None)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Time to decide, one decision after another on the machine of the provenance section.

    Attributes:
        plan_ms: Milliseconds from an encoded observation to a plan, (N,).
        encode_ms: Milliseconds of each encoding of one observation, (M,).
        threads: Threads the tensor library may use.
        deadline_ms: Deadline that the planner was given, or None.
    """

    plan_ms: Array
    encode_ms: Array
    threads: int
    deadline_ms: float | None = None

    def __post_init__(self) -> None:
        for name, values in (("plan_ms", self.plan_ms), ("encode_ms", self.encode_ms)):
            fits = values.ndim == 1 and values.size > 0 and bool(np.isfinite(values).all())
            require(fits, f"timing: {name} {values.shape}; give (N,) finite milliseconds")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the numbers come from.

    Attributes:
        cpu: Model of the processor.
        cores: Cores the process may use.
        versions: Version by package.
        seeds: Every seed in use, by what it seeds.
        command: The command line that made the run.
        results: File that holds the numbers of this page.
        limits: What the numbers do not show, one sentence each.
    """

    cpu: str
    cores: int
    versions: Mapping[str, str]
    seeds: Mapping[str, int]
    command: str
    results: str = "results.json"
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """One page about one trained run; a section at None was not measured, and the page says so.

    Attributes:
        title: What was trained, on what.
        verdict: What a person should remember, in one sentence.
        date: Day of the measurement.
    """

    title: str
    verdict: str
    date: datetime.date
    data: Data | None = None
    training: Training | None = None
    probes: Probes | None = None
    dynamics: Dynamics | None = None
    planning: Planning | None = None
    values: Values | None = None
    results: Results | None = None
    timing: Timing | None = None
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        require(bool(self.title.strip()) and bool(self.verdict.strip()), "report: give it a title and a verdict of one sentence")
