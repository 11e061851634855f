"""A joint-embedding predictive architecture that plans: the method on one screen.

    [z_t, c_t] = f(o_t, d_t)                       encode: a state that moves, and a context that stays
    ẑ_{t+1} = z_t + p(z_{t-h+1..t}, c_t, a_t)      predict, in latent space, never in pixels

    loss =     |ẑ - z|² over rollouts              the future must be predictable
           + λ SIGReg(z) + κ |cov(z) - I|²         ... and must not collapse
           + μ |a - inverse(z, z')|²               ... and must keep what actions move
           + μ |a - inverse(z⁻, z, z')|²           ... and what they push
           + ν InfoNCE(c, c')                      ... in a scene that must be recognised at another moment
           + ω InfoNCE(w z, w z')                  ... and so must a thing by its shape, wherever it is

d are measured disturbances, where there are some. A model of sensors has no context and sees the action before as well,
z_t = f(o_t, d_t, a_{t-1}): its history is a memory of what was done, for as long as an effect takes to arrive.

ν joins late: a scene is recognised within a few hundred steps, and an encoder that has spent its features on that is slow to find what
moves. ω, for worlds in which the pose of things matters, comes first and alone: which way a thing is turned is the hardest to find.

LeJEPA (arXiv 2511.08544), LeWM (arXiv 2603.19312), PLDM (arXiv 2502.14819), VICReg (arXiv 2105.04906), CPC (arXiv 1807.03748).
No decoder, no teacher, no stop-gradient. Dimensions: B batch, L frames of a window, h history, K candidates, H horizon, A action,
D latent = S state + C context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tacit.models.encoders import EncoderConfig, ObservationEncoder
from tacit.models.predictor import PredictorConfig, ResidualPredictor
from tacit.nn.blocks import Standardizer, mlp
from tacit.objectives.contrast import contrast_loss
from tacit.objectives.covariance import covariance_loss
from tacit.objectives.inverse import inverse_loss
from tacit.objectives.prediction import rollout_loss
from tacit.objectives.sigreg import AllReduce, SIGRegConfig, sigreg
from tacit.signals import Schema, SchemaError

CONTRAST_RISE = 0.1  # of the training
SHAPE = 16  # dimensions of what a thing is recognised by


@dataclass(frozen=True, kw_only=True)
class JEPAConfig:
    """Settings of a `JEPA`.

    Attributes:
        state: S, predicted.
        context: C, held; 0 for none.
        encoder: Perception.
        predictor: World model.
        sigreg: Anti-collapse statistic.
        rollout: Steps of the prediction loss.
        sigreg_weight: λ.
        covariance_weight: κ.
        inverse_weight: μ, of either inverse model.
        contrast_weight: ν, once it has joined.
        contrast_from: Share of the training after which ν rises from 0; it is there after another `CONTRAST_RISE`.
        inverse_spans: Steps between the two latents that the inverse model of what moves sees; that of what pushes sees three in a row.
        sees_action: Encode the action that was applied before a moment as well.
        shape_weight: ω; 0 for no such loss. It asks for images in which things are turned (`tacit.training.views`).
        shape_alone: Share of the training, at its begin, in which this loss is alone.
    """

    state: int = 16
    context: int = 8
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    sigreg: SIGRegConfig = field(default_factory=SIGRegConfig)
    rollout: int = 3
    sigreg_weight: float = 0.3
    covariance_weight: float = 1.0
    inverse_weight: float = 5.0
    inverse_spans: tuple[int, ...] = (1, 3)
    contrast_weight: float = 1.0
    contrast_from: float = 0.2
    sees_action: bool = False
    shape_weight: float = 0.0
    shape_alone: float = 0.25

    @property
    def latent(self) -> int:
        """D."""
        return self.state + self.context

    def is_alone(self, share: float) -> bool:
        """Whether the loss of shapes is alone, with this share of the training done, 0 to 1."""
        return self.shape_weight > 0 and share < self.shape_alone

    def joined(self, share: float) -> float:
        """How much of ν has joined, 0 to 1."""
        return min(1.0, max(0.0, (share - self.contrast_from) / CONTRAST_RISE))


class Losses(NamedTuple):
    """The weighted sum that is minimised, and its unweighted parts; scalars."""

    total: Tensor
    prediction: Tensor
    sigreg: Tensor
    covariance: Tensor
    inverse: Tensor
    contrast: Tensor
    shape: Tensor


class JEPA(nn.Module):
    """Encoder, predictor and inverse model of one machine. Satisfies `tacit.contracts.WorldModel`.

    Args:
        schema: Signals of the machine; labels are dropped here, so nothing behind this line can know one.
        config: Settings.

    Raises:
        SchemaError: There is no observation or no action.
    """

    def __init__(self, schema: Schema, config: JEPAConfig) -> None:
        super().__init__()
        self.schema = schema.without_labels()
        if not self.schema.actions:
            raise SchemaError("the schema has no action signal: without one there is nothing to plan")
        self.config = config
        self.latent_size, self.history = config.latent, config.predictor.history
        self.encoder = ObservationEncoder(self.schema, config.latent, config.encoder, sees_action=config.sees_action)
        self.predictor = ResidualPredictor(config.state, config.context, self.schema.action_size, config.predictor)
        self.inverse_of_moves = mlp((2 * config.state, 256, self.schema.action_size))
        self.inverse_of_pushes = mlp((3 * config.state, 256, self.schema.action_size))
        self.recognised_by = nn.Linear(config.state, SHAPE, bias=False) if config.shape_weight else None
        self.actions = Standardizer((self.schema.action_size,))

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        """Observations and disturbances by signal name, each (B, T, *shape) as logged -> latents (B, T, D), float32.

        Args:
            observations: What is seen.
            before: Physical actions that were applied before each moment, (B, T, A); not finite where unknown, None where all are. A
                model that does not see the action pays no heed to it.
        """
        batch, frames = next(iter(observations.values())).shape[:2]
        applied = None if before is None else before.flatten(0, 1)
        latents: Tensor = self.encoder({name: value.flatten(0, 1) for name, value in observations.items()}, applied)
        return latents.float().view(batch, frames, -1)

    def predicted_part(self, latents: Tensor) -> Tensor:
        """What of latents (..., D) is predicted, and not held: the state, (..., S)."""
        return latents[..., : self.config.state]

    def as_measured(self, latents: Tensor, observations: Mapping[str, Tensor]) -> Tensor:
        """See `tacit.contracts.TellsDisturbances`; a model that sees pictures alone, or all through a network, cannot tell."""
        return self.encoder.as_measured(latents, observations)

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        """Latents (B, h, D), oldest first, and physical action (B, A) -> next latent (B, D)."""
        return self.rollout(history, action[:, None, None])[:, 0, 0]

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        """Latents (B, h, D) and physical candidate actions (B, K, H, A) -> predicted latents (B, K, H, D)."""
        return self.predictor.unroll(history, self.actions(actions))

    def forward(
        self,
        observations: Mapping[str, Tensor],
        actions: Tensor,
        directions: Tensor,
        all_reduce: AllReduce | None = None,
        rank: int = 0,
        world_size: int = 1,
        joined: float | Tensor = 1.0,
        views: Mapping[str, Tensor] | None = None,
        alone: bool = False,
    ) -> Losses:
        """The training losses of a batch of windows, in pairs: window i and window B / 2 + i are of the same episode.

        Args:
            observations: What is seen, by signal name, (B, L, *shape) as logged; B is even.
            actions: Physical, (B, L - 1, A).
            directions: Unit columns for SIGReg, (S, M).
            all_reduce: Differentiable sum over processes; None for one process.
            rank: This process.
            world_size: Number of processes.
            joined: How much of ν has joined, `JEPAConfig.joined`.
            views: By signal name, (2 V, *shape): moved pictures, i and V + i of two moments of one episode. Needed for ω.
            alone: Whether the loss of shapes is alone, `JEPAConfig.is_alone`; that takes all of the views, and beside others it takes half.
        """
        config = self.config
        shape = actions.new_zeros(())
        if self.recognised_by is not None and views is not None:
            seen = views if alone else {name: value[::2] for name, value in views.items()}
            state = self.encode({name: value[None] for name, value in seen.items()})[0, :, : config.state]
            one, other = self.recognised_by(state).chunk(2)
            shape = contrast_loss(one, other, all_reduce=all_reduce, rank=rank, world_size=world_size)
            if alone:
                nothing = torch.zeros_like(shape)
                return Losses(config.shape_weight * shape, nothing, nothing, nothing, nothing, nothing, shape)
        latents, standard = self.encode(observations, before_each(actions)), self.actions(actions)
        state, (here, there) = latents[..., : config.state], latents[..., config.state :].chunk(2)
        prediction = rollout_loss(self.predictor, latents, standard, history=self.history, steps=config.rollout, state=config.state)
        gaussian = sigreg(state.transpose(0, 1), directions, config.sigreg, all_reduce=all_reduce, world_size=world_size)
        spread = covariance_loss(state.flatten(0, 1), all_reduce=all_reduce, world_size=world_size)
        inverse = inverse_loss(self.inverse_of_moves, state, standard, config.inverse_spans, all_reduce=all_reduce, world_size=world_size)
        inverse = inverse + inverse_loss(
            self.inverse_of_pushes, state, standard, (1,), before=True, all_reduce=all_reduce, world_size=world_size
        )
        contrast = prediction.new_zeros(())
        if config.context:
            contrast = contrast_loss(here[:, 0], there[:, -1], all_reduce=all_reduce, rank=rank, world_size=world_size)
        total = prediction + config.sigreg_weight * gaussian + config.covariance_weight * spread
        total = total + config.inverse_weight * inverse + joined * config.contrast_weight * contrast + config.shape_weight * shape
        return Losses(total, prediction, gaussian, spread, inverse, contrast, shape)

    @torch.no_grad()
    def standardize(self, observations: Mapping[str, Tensor], actions: Tensor) -> None:
        """Take the statistics of a sample of the training logs: what is seen (N, *shape), physical actions (M, A)."""
        self.encoder.standardize(observations, actions)
        self.actions.set(actions.mean(0), actions.std(0))


def before_each(actions: Tensor) -> Tensor:
    """Actions (B, T, A) between moments -> the action before each of the T + 1 moments, (B, T + 1, A); the first one stands for the one
    before it."""
    return torch.cat((actions[:, :1], actions), dim=1)
