"""Recipes: the settings of a whole run, behind one dial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tacit.models.encoders import EncoderConfig
from tacit.models.heads import HeadConfig
from tacit.models.jepa import JEPAConfig
from tacit.models.predictor import PredictorConfig
from tacit.training.heads import HeadTraining
from tacit.training.settings import TrainConfig

Size = Literal["xs", "s", "m", "l"]

JEPA_SHARE, DYNAMICS_SHARE, DISTANCE_SHARE, POLICY_SHARE = 0.60, 0.20, 0.14, 0.06  # of the minutes that a run may take
SHAPE_WEIGHT = 10.0
DYNAMICS_BATCH, DYNAMICS_RATE = 192, 2e-3  # rollouts per step, and the learning rate


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a run becomes, besides the logs and the seed.

    Attributes:
        size: The dial that the rest was derived from.
        jepa: Model and losses.
        train: Training loop.
        head: Size of the heads.
        dynamics: Further training of the predictor on frozen latents.
        distance: Fitting of the temporal distance.
        policy: Fitting of the goal policy.
    """

    size: Size
    jepa: JEPAConfig
    train: TrainConfig
    head: HeadConfig
    dynamics: HeadTraining
    distance: HeadTraining
    policy: HeadTraining


def _models(size: Size, shapes: bool) -> tuple[JEPAConfig, HeadConfig]:
    state, context, channels, features, width, head = {
        "xs": (12, 4, (8, 16, 32), 128, 128, 128),
        "s": (16, 8, (16, 32, 64), 256, 192, 128),
        "m": (32, 16, (32, 64, 128), 512, 512, 512),
        "l": (64, 32, (64, 128, 256), 1024, 1024, 1024),
    }[size]
    encoder, predictor = EncoderConfig(channels=channels, features=features), PredictorConfig(width=width)
    jepa = JEPAConfig(state=state, context=context, encoder=encoder, predictor=predictor)
    if shapes:
        jepa = replace(jepa, state=2 * state, shape_weight=SHAPE_WEIGHT)
    return jepa, HeadConfig(width=head)


def for_steps(size: Size, steps: int, head_steps: int | None = None, *, shapes: bool = False) -> Recipe:
    """A recipe that ends after a number of optimizer steps: the same run again on every machine.

    Args:
        size: Size of the model.
        steps: Steps of the JEPA.
        head_steps: Steps of each head; None takes as many, and at most 6,000.
        shapes: Whether it matters which way things are turned; see `for_minutes`.
    """
    jepa, head = _models(size, shapes)
    count = min(steps, 6000) if head_steps is None else head_steps
    fit = HeadTraining(steps=count)
    return Recipe(
        size=size,
        jepa=jepa,
        train=TrainConfig(steps=steps),
        head=head,
        dynamics=replace(fit, batch=DYNAMICS_BATCH, learning_rate=DYNAMICS_RATE),
        distance=fit,
        policy=replace(fit, steps=count // 2),
    )


def for_minutes(size: Size, minutes: float, *, shapes: bool = False) -> Recipe:
    """A recipe that ends after some wall minutes, encoding of the logs not counted.

    Args:
        size: Size of the model.
        minutes: For the JEPA, its predictor alone and both heads together.
        shapes: Whether it matters which way things are turned: the encoder must then recognise things by their shape
            (`tacit.training.views`), before anything else and beside it, in a state of twice the size. A step takes half as long again.
    """
    jepa, head = _models(size, shapes)
    return Recipe(
        size=size,
        jepa=jepa,
        train=TrainConfig(minutes=JEPA_SHARE * minutes),
        head=head,
        dynamics=HeadTraining(minutes=DYNAMICS_SHARE * minutes, batch=DYNAMICS_BATCH, learning_rate=DYNAMICS_RATE),
        distance=HeadTraining(minutes=DISTANCE_SHARE * minutes),
        policy=HeadTraining(minutes=POLICY_SHARE * minutes),
    )
