"""Recipes: the settings of a whole run, behind one dial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tacit.models.encoders import EncoderConfig, numbers_of_image
from tacit.models.heads import HeadConfig
from tacit.models.jepa import JEPAConfig
from tacit.models.predictor import PredictorConfig
from tacit.signals import Schema, Signal
from tacit.training.settings import HeadTraining, TrainConfig

Size = Literal["xs", "s", "m", "l"]

JEPA_SHARE, DYNAMICS_SHARE, DISTANCE_SHARE, POLICY_SHARE = 0.60, 0.20, 0.14, 0.06  # of the minutes that a run may take
SHAPE_WEIGHT = 10.0
DYNAMICS_BATCH, DYNAMICS_RATE = 192, 2e-3  # rollouts per step, and the learning rate
PUSH_ROLLOUTS, PUSH_ROLLOUT, PUSH_SINGLES = 96, 12, 0.4  # where things are pushed: rollouts per step, their steps, single steps before
PUSH_HEAD = 512  # least width of the heads there: what a hand does next is told by little
NARROWEST = 128  # heads do not get narrower than this where several models are asked together
RESIDUAL_SHARES = (0.45, 0.35, 0.14, 0.06)  # of the minutes, with a predictor of residual blocks, which goes on getting better
RESIDUAL_BLOCKS = 3

PLANT_SHARES = (0.2, 0.5, 0.2, 0.1)  # of the minutes: JEPA, predictor, distance, policy
PLANT_HISTORY = 16  # moments
PLANT_BATCH, PLANT_WINDOW = 64, 8  # windows per step, and their frames
PLANT_ROLLOUTS, PLANT_DECAY = 64, 1e-2  # rollouts per step of the predictor's networks, and their weight decay: logs of hours are few
LINEAR_READOUT = HeadConfig(width=1, depth=0)  # where the latent holds what sensors show, number by number

ACCELERATED = 8  # times as much per step on an accelerator: a step of a small model does not fill it

SLOW = 1.0  # s: a machine with a camera and a longer control period is a process
WATCHED_REGIONS = 4  # per side of its pictures


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
        readout: Size of the readouts of all sensors that training fits; None for none.
        by_time: Hold the last episodes out rather than some of all; for the logs of one process.
        members: M, models that are trained apart and asked together (`tacit.training.ensemble`); 1 for one model.
    """

    size: Size
    jepa: JEPAConfig
    train: TrainConfig
    head: HeadConfig
    dynamics: HeadTraining
    distance: HeadTraining
    policy: HeadTraining
    readout: HeadConfig | None = None
    by_time: bool = False
    members: int = 1

    @property
    def pushes(self) -> bool:
        """Whether things are pushed; see `for_minutes`."""
        return self.dynamics.singles > 0


def _models(size: Size, shapes: bool, pushes: bool, residual: bool) -> tuple[JEPAConfig, HeadConfig]:
    state, context, channels, features, width, head = {
        "xs": (12, 4, (8, 16, 32), 128, 128, 128),
        "s": (16, 8, (16, 32, 64), 256, 192, 128),
        "m": (32, 16, (32, 64, 128), 512, 512, 512),
        "l": (64, 32, (64, 128, 256), 1024, 1024, 1024),
    }[size]
    encoder, predictor = EncoderConfig(channels=channels, features=features), PredictorConfig(width=width)
    jepa = JEPAConfig(state=state, context=context, encoder=encoder, predictor=predictor)
    if shapes:
        jepa = replace(jepa, state=2 * state, shape_weight=SHAPE_WEIGHT, encoder=replace(encoder, keypoints=True))
    if pushes:
        jepa = replace(jepa, encoder=replace(jepa.encoder, linear=True), predictor=PredictorConfig(width=4 * width // 3, depth=3))
        head = max(head, PUSH_HEAD)
    if residual:
        jepa = replace(jepa, predictor=PredictorConfig(width=width, depth=RESIDUAL_BLOCKS, residual=True))
    return jepa, HeadConfig(width=head)


def is_plant(schema: Schema | None) -> bool:
    """Whether all that is seen of a machine are numbers: sensors and disturbances, and no camera."""
    return schema is not None and not any(s.is_image for s in schema.seen)


def sensors_of(schema: Schema) -> tuple[Signal, ...]:
    """Observation signals that are numbers: no cameras, no masks."""
    masks = {mask.name for mask in schema.masks.values()}
    return tuple(s for s in schema.observations if not s.is_image and s.name not in masks and s.dtype != "bool")


def _plant(size: Size, schema: Schema) -> JEPAConfig:
    """A model of sensors: one state for each number that it sees, and a history that holds dead times."""
    masks = {mask.name for mask in schema.masks.values()}
    state = sum(s.size for s in schema.seen if s.name not in masks) + schema.action_size
    return JEPAConfig(
        state=state,
        context=0,
        encoder=EncoderConfig(linear=True, held=True),
        predictor=_of_process(size, state),
        rollout=4,
        sigreg_weight=0.1,
        inverse_weight=1.0,
        contrast_weight=0.0,
        sees_action=True,
    )


def _of_process(size: Size, state: int) -> PredictorConfig:
    """A predictor that is linear first, with a history that holds dead times."""
    width = {"xs": 120, "s": 240, "m": 480, "l": 960}[size]
    return PredictorConfig(history=PLANT_HISTORY, width=width, depth=1, leading=max(16, 2 * state))


def is_watched(schema: Schema | None) -> bool:
    """Whether a process is seen by a camera: one that is slow."""
    return schema is not None and schema.period > SLOW and any(s.is_image for s in schema.seen)


def _watched(jepa: JEPAConfig, size: Size, schema: Schema) -> JEPAConfig:
    """A model of camera and sensors of a process: that of images, with a state more for each number that it sees.

    Where there are sensors, they are forecast as those of a plant are: the numbers stay as they are, and the predictor is linear first.

    A context would tell scenes apart, of which a process has one; and actions that change slowly say little of what a picture must keep.
    The numbers hold most of the latent up by themselves: to make it as white as that of images would blow up the noise they differ in.
    """
    has_sensors = bool(sensors_of(schema))
    encoder = replace(jepa.encoder, linear=True, exact=has_sensors, held=True, peaks=WATCHED_REGIONS)
    masks = {mask.name for mask in schema.masks.values()}
    numbers = (numbers_of_image(encoder) if s.is_image else s.size for s in schema.seen if s.name not in masks)
    state = jepa.state + sum(numbers) + schema.action_size
    return replace(
        jepa,
        state=state,
        context=0,
        encoder=encoder,
        predictor=_of_process(size, state) if has_sensors else jepa.predictor,
        sigreg_weight=0.02,
        covariance_weight=0.1,
        inverse_weight=1.0,
        contrast_weight=0.0,
        sees_action=True,
    )


def for_steps(
    size: Size,
    steps: int,
    head_steps: int | None = None,
    *,
    shapes: bool = False,
    pushes: bool = False,
    residual: bool = False,
    schema: Schema | None = None,
) -> Recipe:
    """A recipe that ends after a number of optimizer steps: the same run again on every machine.

    Args:
        size: Size of the model.
        steps: Steps of the JEPA.
        head_steps: Steps of each head; None takes as many, and at most 6,000.
        shapes: Whether it matters which way things are turned; see `for_minutes`.
        pushes: Whether things are pushed; see `for_minutes`.
        residual: Whether the predictor is made of residual blocks; see `for_minutes`.
        schema: Of the machine, which decides what kind of model it gets; None for one with a camera.
    """
    count = min(steps, 6000) if head_steps is None else head_steps
    fit, policy = HeadTraining(steps=count), HeadTraining(steps=count // 2)
    models = _models(size, shapes, pushes, residual)
    return _recipe(models, size, schema, TrainConfig(steps=steps), _predictor_alone(fit, pushes), fit, policy)


def for_minutes(
    size: Size,
    minutes: float,
    *,
    shapes: bool = False,
    pushes: bool = False,
    residual: bool = False,
    schema: Schema | None = None,
) -> Recipe:
    """A recipe that ends after some wall minutes, encoding of the logs not counted.

    Args:
        size: Size of the model.
        minutes: For the JEPA, its predictor alone and both heads together.
        shapes: Whether it matters which way things are turned: the encoder must then recognise things by their shape
            (`tacit.training.views`), before anything else and beside it, in a state of twice the size. A step takes half as long again.
        pushes: Whether things are pushed, so that a single step decides what touches what, and where: what sensors show goes straight into
            the latent, a deeper predictor learns single steps before it learns rollouts, and the heads are wider.
        residual: Whether the predictor is made of residual blocks of normalised features: it tells better what touch does, has half as
            many products again, and takes more of the minutes for itself. Models of sensors alone have a predictor of their own.
        schema: Of the machine, which decides what kind of model it gets; None for one with a camera.
    """
    shares = RESIDUAL_SHARES if residual else (JEPA_SHARE, DYNAMICS_SHARE, DISTANCE_SHARE, POLICY_SHARE)
    shares = PLANT_SHARES if is_plant(schema) else shares
    jepa, *others = (share * minutes for share in shares)
    dynamics, distance, policy = (HeadTraining(minutes=share) for share in others)
    models = _models(size, shapes, pushes, residual)
    return _recipe(models, size, schema, TrainConfig(minutes=jepa), _predictor_alone(dynamics, pushes), distance, policy)


def of_members(recipe: Recipe, members: int) -> Recipe:
    """The same recipe for several models that are asked together: narrower heads, so that a plan takes hardly longer than with one model.

    Args:
        recipe: For one model.
        members: How many; 1 leaves it as it is.
    """
    if members == 1:
        return recipe
    width = min(recipe.head.width, max(NARROWEST, recipe.head.width // 2))
    return replace(recipe, members=members, head=replace(recipe.head, width=width))


def on_device(recipe: Recipe, kind: str, frames: int) -> Recipe:
    """The same recipe with larger batches where they cost hardly more, on an accelerator: of windows, of views, of rollouts and of pairs.

    Args:
        recipe: For a CPU; that of a process stays as it is, since its logs are few.
        kind: "cpu", "cuda" ...
        frames: In the logs; few of them do not fill large batches.
    """
    if kind == "cpu" or recipe.by_time:
        return recipe
    times = max(1, min(ACCELERATED, frames // (2 * recipe.train.views)))

    def larger(training: HeadTraining) -> HeadTraining:
        return replace(training, batch=times * training.batch)

    return replace(
        recipe,
        train=replace(recipe.train, batch=times * recipe.train.batch, views=times * recipe.train.views),
        dynamics=larger(recipe.dynamics),
        distance=larger(recipe.distance),
        policy=larger(recipe.policy),
    )


def _predictor_alone(training: HeadTraining, pushes: bool) -> HeadTraining:
    """How the predictor is trained with the encoder at rest."""
    training = replace(training, batch=DYNAMICS_BATCH, learning_rate=DYNAMICS_RATE)
    return replace(training, batch=PUSH_ROLLOUTS, rollout=PUSH_ROLLOUT, singles=PUSH_SINGLES) if pushes else training


def _recipe(
    models: tuple[JEPAConfig, HeadConfig],
    size: Size,
    schema: Schema | None,
    train: TrainConfig,
    dynamics: HeadTraining,
    distance: HeadTraining,
    policy: HeadTraining,
) -> Recipe:
    """A recipe by what the machine shows of itself; `models` are those of a machine with a camera."""
    jepa, head = models
    readout = HeadConfig(width=64, depth=1) if schema is not None and sensors_of(schema) else None
    if schema is not None and is_plant(schema):
        jepa, readout = _plant(size, schema), LINEAR_READOUT
        train = replace(train, batch=PLANT_BATCH, window=PLANT_WINDOW, bfloat16=False)
        dynamics = replace(dynamics, batch=PLANT_ROLLOUTS, weight_decay=PLANT_DECAY)
    elif schema is not None and is_watched(schema):
        jepa = _watched(jepa, size, schema)
        if readout is not None:
            readout, dynamics = LINEAR_READOUT, replace(dynamics, batch=PLANT_ROLLOUTS, weight_decay=PLANT_DECAY)
    return Recipe(
        size=size,
        jepa=jepa,
        train=train,
        head=head,
        dynamics=dynamics,
        distance=distance,
        policy=policy,
        readout=readout,
        by_time=is_plant(schema) or is_watched(schema),
    )
