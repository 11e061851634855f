"""What the report shows: one frozen value per section, checked where it is made.

Dimensions: N frames or samples, T time steps, H image height, W image width, C channels, E episodes. Arrays are numpy, on the CPU.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.evaluation.checks import require, require_images
from tacit.evaluation.scores import Results
from tacit.signals import Schema

Array = NDArray[Any]


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
