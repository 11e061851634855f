"""Recipes: the settings of a whole run, behind one dial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tacit.models.encoders import EncoderConfig
from tacit.models.heads import HeadConfig
from tacit.models.jepa import JEPAConfig
from tacit.models.predictor import PredictorConfig
from tacit.training.heads import HeadTraining
from tacit.training.loop import TrainConfig

Size = Literal["xs", "s", "m", "l"]

JEPA_SHARE, DISTANCE_SHARE, POLICY_SHARE = 0.72, 0.2, 0.08  # of the minutes that a run may take


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a run becomes, besides the logs and the seed.

    Attributes:
        size: The dial that the rest was derived from.
        jepa: Model and losses.
        train: Training loop.
        head: Size of the heads.
        distance: Fitting of the temporal distance.
        policy: Fitting of the goal policy.
    """

    size: Size
    jepa: JEPAConfig
    train: TrainConfig
    head: HeadConfig
    distance: HeadTraining
    policy: HeadTraining


def _models(size: Size) -> tuple[JEPAConfig, HeadConfig]:
    latent, channels, features, width, head = {
        "xs": (16, (16, 32, 64), 128, 256, 128),
        "s": (32, (32, 64, 128), 256, 256, 256),
        "m": (64, (64, 128, 256), 512, 1024, 512),
        "l": (128, (128, 256, 512), 1024, 2048, 1024),
    }[size]
    jepa = JEPAConfig(latent=latent, encoder=EncoderConfig(channels=channels, features=features), predictor=PredictorConfig(width=width))
    return jepa, HeadConfig(width=head)


def for_steps(size: Size, steps: int, head_steps: int | None = None) -> Recipe:
    """A recipe that ends after a number of optimizer steps: the same run again on every machine.

    Args:
        size: Size of the model.
        steps: Steps of the JEPA.
        head_steps: Steps of each head; None takes as many, and at most 6,000.
    """
    jepa, head = _models(size)
    count = min(steps, 6000) if head_steps is None else head_steps
    fit = HeadTraining(steps=count)
    return Recipe(size=size, jepa=jepa, train=TrainConfig(steps=steps), head=head, distance=fit, policy=replace(fit, steps=count // 2))


def for_minutes(size: Size, minutes: float) -> Recipe:
    """A recipe that ends after some wall minutes, encoding of the logs not counted.

    Args:
        size: Size of the model.
        minutes: For the JEPA and both heads together.
    """
    jepa, head = _models(size)
    return Recipe(
        size=size,
        jepa=jepa,
        train=TrainConfig(minutes=JEPA_SHARE * minutes),
        head=head,
        distance=HeadTraining(minutes=DISTANCE_SHARE * minutes),
        policy=HeadTraining(minutes=POLICY_SHARE * minutes),
    )
