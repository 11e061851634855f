"""Probes: can a label be read out of frozen latents, on episodes that the probe has not seen?

A probe scores a representation. It never becomes part of a model, and its labels never reach one.
Dimensions: N moments, D latent, C label channels.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from tacit.nn.blocks import Standardizer, mlp

Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Latents:
    """Frozen latents with the labels of the same moments.

    Attributes:
        latents: (N, D).
        labels: (N, C), physical units.
        episodes: Number of the episode of each moment, (N,).

    Raises:
        ValueError: The shapes do not fit together, there is no moment, or a number is not finite.
    """

    latents: NDArray[np.floating]
    labels: NDArray[np.floating]
    episodes: NDArray[np.integer]

    def __post_init__(self) -> None:
        n = len(self.latents)
        if self.latents.ndim != 2 or self.labels.ndim != 2 or self.episodes.shape != (n,) or len(self.labels) != n or not n:
            raise ValueError(
                f"probe: latents {self.latents.shape}, labels {self.labels.shape} and episodes {self.episodes.shape}; "
                "give (N, D), (N, C) and (N,), with at least one moment"
            )
        for name, values in (("latents", self.latents), ("labels", self.labels)):
            if len(bad := np.flatnonzero(~np.isfinite(values).all(axis=1))):
                raise ValueError(f"probe: the {name} of moment {bad[0]}, in episode {self.episodes[bad[0]]}, are not finite")

    def among(self, episodes: NDArray[np.integer]) -> Latents:
        """The moments of some episodes."""
        chosen = np.isin(self.episodes, episodes)
        return Latents(latents=self.latents[chosen], labels=self.labels[chosen], episodes=self.episodes[chosen])


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """What a probe reads on held-out episodes.

    Attributes:
        true: Logged values, (N, C), physical units.
        predicted: What the probe reads, (N, C).
        r2: Share of the variance of each channel that is explained, (C,); below 0 it is worse than the mean.
        mean_abs_error: Per channel, (C,), physical units.
        episodes: Number of held-out episodes.
    """

    true: Matrix
    predicted: Matrix
    r2: Matrix
    mean_abs_error: Matrix
    episodes: int

    @property
    def r2_overall(self) -> float:
        """Mean of `r2` over the channels, so that no channel weighs more for its unit."""
        return float(self.r2.mean())


def linear_probe(train: Latents, held_out: Latents, *, ridge: float = 1e-6) -> Probe:
    """Ridge regression with an intercept on standardised latents, in closed form and float64.

    Minimises `|y - b - x w|² / N + ridge |w|²` with each latent dimension scaled to unit variance on the training episodes
    (Hoerl and Kennard, Technometrics 12, 1970).

    Args:
        train: Moments to fit.
        held_out: Moments of other episodes to score.
        ridge: Weight of the penalty; the intercept is free.

    Raises:
        ValueError: The two share an episode or differ in D or C, a channel is constant on the held-out episodes, or `ridge` is not
            positive.
    """
    _require_apart(train, held_out)
    if not ridge > 0:
        raise ValueError(f"probe: ridge {ridge} must be positive, or latents that depend on each other have no solution")
    x, y = train.latents.astype(np.float64), train.labels.astype(np.float64)
    centre, scale, intercept = x.mean(axis=0), _spread(x), y.mean(axis=0)
    x = (x - centre) / scale
    weights = np.linalg.solve(x.T @ x / len(x) + ridge * np.eye(x.shape[1]), x.T @ (y - intercept) / len(x))
    return _scored((held_out.latents - centre) / scale @ weights + intercept, held_out)


@dataclass(frozen=True, kw_only=True)
class MLPProbeConfig:
    """Settings of `mlp_probe`.

    Attributes:
        width: Of the one hidden layer.
        batch: Moments per step.
        steps: Most optimiser steps.
        check_every: Steps between two looks at the validation episodes.
        patience: Looks without an improvement after which training stops.
        validation: Share of the training episodes that is used for looking only.
        learning_rate: Of Adam.
    """

    width: int = 256
    batch: int = 512
    steps: int = 4000
    check_every: int = 100
    patience: int = 5
    validation: float = 0.2
    learning_rate: float = 2e-3


def mlp_probe(train: Latents, held_out: Latents, *, seed: int = 0, config: MLPProbeConfig | None = None) -> Probe:
    """A network with one hidden layer, stopped where it is best on training episodes set apart.

    The same arguments give the same probe on the same machine.

    Args:
        train: Moments to fit, of at least two episodes.
        held_out: Moments of other episodes to score; they play no part in when training stops.
        seed: Of the first weights, the batches and the choice of validation episodes.
        config: Settings.

    Raises:
        ValueError: The two share an episode or differ in D or C, a channel is constant on the held-out episodes, or there is only one
            training episode.
    """
    _require_apart(train, held_out)
    config = config or MLPProbeConfig()
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(np.unique(train.episodes))
    if len(numbers) < 2:
        raise ValueError("probe: one training episode leaves none to validate on; give more")
    apart = min(max(1, round(config.validation * len(numbers))), len(numbers) - 1)
    x, y = _tensors(train.among(numbers[apart:]))
    validation_x, validation_y = _tensors(train.among(numbers[:apart]))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = mlp((x.shape[1], config.width, y.shape[1]))
    inputs, outputs = Standardizer((x.shape[1],)), Standardizer((y.shape[1],))
    inputs.set(x.mean(0), x.std(0, unbiased=False))
    outputs.set(y.mean(0), y.std(0, unbiased=False))
    x, y, validation_x, validation_y = inputs(x), outputs(y), inputs(validation_x), outputs(validation_y)
    _fit(network, (x, y), (validation_x, validation_y), rng, config)

    with torch.no_grad():
        predicted = outputs.undo(network(inputs(_tensors(held_out)[0])))
    return _scored(predicted.numpy(), held_out)


Pair = tuple[torch.Tensor, torch.Tensor]


def _fit(network: nn.Sequential, data: Pair, validation: Pair, rng: np.random.Generator, config: MLPProbeConfig) -> None:
    """Train with Adam; leave the weights that were best on the validation moments."""
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    x, y = data
    best, best_weights, looks = float("inf"), deepcopy(network.state_dict()), 0
    for step in range(1, config.steps + 1):
        rows = torch.from_numpy(rng.integers(len(x), size=config.batch))
        loss = F.mse_loss(network(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % config.check_every and step != config.steps:
            continue
        with torch.no_grad():
            error = float(F.mse_loss(network(validation[0]), validation[1]))
        looks = 0 if error < best else looks + 1
        if error < best:
            best, best_weights = error, deepcopy(network.state_dict())
        if looks == config.patience:
            break
    network.load_state_dict(best_weights)


def _tensors(data: Latents) -> Pair:
    return torch.tensor(data.latents, dtype=torch.float32), torch.tensor(data.labels, dtype=torch.float32)


def _spread(values: Matrix) -> Matrix:
    """Standard deviation of each column; 1 where a column is constant, which is then only centred."""
    std = values.std(axis=0)
    return np.where(std > 1e-12 * (1 + np.abs(values).max(axis=0)), std, 1.0)


def _require_apart(train: Latents, held_out: Latents) -> None:
    if train.latents.shape[1] != held_out.latents.shape[1] or train.labels.shape[1] != held_out.labels.shape[1]:
        raise ValueError("probe: training and held-out moments have another number of latent dimensions or label channels")
    if len(shared := np.intersect1d(train.episodes, held_out.episodes)):
        raise ValueError(f"probe: episode {shared[0]} is both trained on and held out; divide by episode (tacit.data.split)")
    if len(constant := np.flatnonzero(np.ptp(held_out.labels, axis=0) == 0)):
        raise ValueError(f"probe: label channel {constant[0]} is constant on the held-out episodes: leave it out")


def _scored(predicted: NDArray[np.floating], held_out: Latents) -> Probe:
    true, read = held_out.labels.astype(np.float64), predicted.astype(np.float64)
    unexplained = np.square(true - read).sum(axis=0)
    return Probe(
        true=true,
        predicted=read,
        r2=1.0 - unexplained / np.square(true - true.mean(axis=0)).sum(axis=0),
        mean_abs_error=np.abs(true - read).mean(axis=0),
        episodes=len(np.unique(held_out.episodes)),
    )
