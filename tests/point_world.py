"""A point on a floor, seen by six sensors that bend its position: learnable in a second, and told apart from its floors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.models.encoders import EncoderConfig
from tacit.models.heads import HeadConfig
from tacit.models.jepa import JEPAConfig
from tacit.models.predictor import PredictorConfig
from tacit.objectives.sigreg import SIGRegConfig
from tacit.signals import Role, Schema, Signal
from tacit.training.recipes import Recipe
from tacit.training.settings import HeadTraining, TrainConfig

SENSORS = Signal(name="sensors", role=Role.OBSERVATION, shape=(6,), unit="V")
MOVE = Signal(name="move", role=Role.ACTION, shape=(2,), unit="m", low=-0.5, high=0.5)
POSE = Signal(name="pose", role=Role.LABEL, shape=(2,), unit="m")
SCHEMA = Schema(signals=(SENSORS, MOVE, POSE))

DIRECTIONS = np.stack([np.cos(np.arange(6) * np.pi / 6), np.sin(np.arange(6) * np.pi / 6)])


def sensed(pose: np.ndarray) -> np.ndarray:
    """What the sensors read at poses (..., 2) in metres, (..., 6) in volts."""
    return (5.0 + 2.0 * np.tanh(pose @ DIRECTIONS)).astype(np.float32)


def walk(rng: np.random.Generator, steps: int) -> Episode:
    """A random walk between walls at two metres."""
    pose = np.empty((steps + 1, 2), np.float32)
    pose[0] = rng.uniform(-1.5, 1.5, 2)
    move = rng.uniform(-0.5, 0.5, (steps, 2)).astype(np.float32)
    for t in range(steps):
        pose[t + 1] = np.clip(pose[t] + move[t], -2.0, 2.0)
    return Episode(signals={"sensors": sensed(pose), "move": move, "pose": pose}, time=np.arange(steps + 1.0))


def record(folder: Path, *, episodes: int = 12, steps: int = 20, seed: int = 0) -> EpisodeStore:
    """A store of random walks, of `steps` and one more action in turns."""
    rng = np.random.default_rng(seed)
    return store_of(folder, [walk(rng, steps + i % 2) for i in range(episodes)])


def store_of(folder: Path, episodes: list[Episode], schema: Schema = SCHEMA) -> EpisodeStore:
    """A store of given episodes."""
    with EpisodeWriter.create(folder, schema) as writer:
        for episode in episodes:
            writer.add(episode)
    return EpisodeStore(folder)


def model_config(
    *, latent: int = 8, sigreg: float = 0.03, covariance: float = 0.1, inverse: float = 0.25, contrast: float = 0.1
) -> JEPAConfig:
    """A model of a few thousand weights; every setting that matters is given, so no default decides a test."""
    return JEPAConfig(
        state=latent - 2,
        context=2,
        encoder=EncoderConfig(channels=(8, 16), features=32),
        predictor=PredictorConfig(history=2, width=32, depth=2),
        sigreg=SIGRegConfig(directions=32, knots=8, reach=3.0),
        rollout=2,
        sigreg_weight=sigreg,
        covariance_weight=covariance,
        inverse_weight=inverse,
        inverse_spans=(1, 2),
        contrast_weight=contrast,
    )


def loop_config(*, steps: int, batch: int = 16, watch_every: int = 1000, learning_rate: float = 3e-3) -> TrainConfig:
    """A loop in float32 that never writes a checkpoint by the clock."""
    return TrainConfig(
        batch=batch,
        window=5,
        steps=steps,
        learning_rate=learning_rate,
        weight_decay=1e-4,
        warmup=5,
        clip=1.0,
        watch_every=watch_every,
        checkpoint_seconds=1e9,
        bfloat16=False,
    )


def recipe(*, steps: int, head_steps: int) -> Recipe:
    """A whole run of the tiny model."""
    training = HeadTraining(
        steps=head_steps, batch=64, learning_rate=3e-3, weight_decay=1e-4, expectile=0.9, spans=(1, 2), near=0.3, near_steps=5, follow=0.05
    )
    return Recipe(
        size="xs",
        jepa=model_config(),
        train=loop_config(steps=steps),
        head=HeadConfig(width=32, depth=2),
        dynamics=training,
        distance=training,
        policy=training,
    )


LABELLED_MACHINE = Schema(
    signals=(
        Signal(name="camera", role=Role.OBSERVATION, shape=(8, 12, 3), dtype="uint8"),
        Signal(name="gauge", role=Role.OBSERVATION, unit="K"),
        Signal(name="motor", role=Role.ACTION, unit="V"),
        Signal(name="heater", role=Role.ACTION, unit="K"),
        Signal(name="valve", role=Role.ACTION, dtype="bool"),
        Signal(name="pose", role=Role.LABEL, shape=(2,)),
    )
)
"""A machine with a camera, scalars in large units, scalar actions and a label."""
