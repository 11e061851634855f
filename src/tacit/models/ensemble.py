"""Several models of one machine, trained apart and asked together.

A search finds what a model is wrong about, and each model is wrong about something else: of models with weights of their own, encoders
too, a plan has to convince all. Their latents lie side by side, each shrunk so that a squared distance between two joint latents is the
mean of the members' squared distances; costs and surprise then mean what they mean for one model. (PETS, arXiv 1805.12114, has several
predictors of one state; here each sees for itself.)

Dimensions: M members, B batch, h history, K candidates, H horizon, A action, d latent of a member, D = M d joint latent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from tacit.models.heads import GoalPolicy, TemporalDistance
from tacit.models.jepa import JEPA
from tacit.signals import Schema


def beside(latents: Sequence[Tensor]) -> Tensor:
    """Latents of the members, (..., d) each -> joint latents (..., D)."""
    return torch.cat(tuple(latents), dim=-1) / math.sqrt(len(latents))


def apart(latents: Tensor, members: int) -> tuple[Tensor, ...]:
    """Joint latents (..., D) -> latents of the members, (..., d) each."""
    return (latents * math.sqrt(members)).chunk(members, dim=-1)


class Ensemble(nn.Module):
    """World models of one machine, asked together. Satisfies `tacit.contracts.WorldModel`.

    Args:
        members: Models of the same signals, with the same settings.

    Raises:
        ValueError: There are fewer than two, or they are of different machines or settings.
    """

    def __init__(self, members: Sequence[JEPA]) -> None:
        super().__init__()
        if len(members) < 2:
            raise ValueError(f"an ensemble has at least two members, not {len(members)}")
        first = members[0]
        if any(member.schema != first.schema or member.config != first.config for member in members):
            raise ValueError("the members of an ensemble must be models of the same signals, with the same settings")
        self.members = nn.ModuleList(members)
        self.schema: Schema = first.schema
        self.latent_size, self.history = len(members) * first.latent_size, first.history

    def models(self) -> Iterator[JEPA]:
        """The members, one after another."""
        for member in self.members:
            assert isinstance(member, JEPA)
            yield member

    def predicted_part(self, latents: Tensor) -> Tensor:
        """What of joint latents (..., D) is predicted, and not held: the states of the members, (..., M S)."""
        parts = latents.chunk(len(self.members), dim=-1)
        return torch.cat([member.predicted_part(part) for member, part in zip(self.models(), parts, strict=True)], dim=-1)

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        """See `tacit.models.jepa.JEPA.encode`; (B, T, D)."""
        return beside([member.encode(observations, before) for member in self.models()])

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        """Joint latents (B, h, D), oldest first, and physical action (B, A) -> next joint latent (B, D)."""
        return beside([member.step(part, action) for member, part in self._each(history)])

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        """Joint latents (B, h, D) and physical candidate actions (B, K, H, A) -> predicted joint latents (B, K, H, D)."""
        return beside([member.rollout(part, actions) for member, part in self._each(history)])

    def _each(self, latents: Tensor) -> Iterator[tuple[JEPA, Tensor]]:
        return zip(self.models(), apart(latents, len(self.members)), strict=True)


def members_of(model: Model) -> tuple[JEPA, ...]:
    """The models of an ensemble; of one model, itself."""
    return (model,) if isinstance(model, JEPA) else tuple(model.models())


def dynamics_size(model: Model) -> int:
    """Weights of encoder and predictor, of all members."""
    parts = [part for member in members_of(model) for part in (member.encoder, member.predictor)]
    return sum(weight.numel() for part in parts for weight in part.parameters())


Head = TypeVar("Head", TemporalDistance, GoalPolicy)


class _Heads(nn.Module, Generic[Head]):
    """Heads of the members of an ensemble, one for each model."""

    def __init__(self, members: Sequence[Head]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def heads(self) -> Iterator[Head]:
        """The members, one after another."""
        return iter(cast("Iterable[Head]", self.members))

    def pack(self, dtype: torch.dtype) -> None:
        """From now on, answer with the present weights in C, with products of this dtype, where this machine can."""
        for head in self.heads():
            head.pack(dtype)


class MeanDistance(_Heads[TemporalDistance]):
    """The mean of what the members of an ensemble have learned of the steps to go; a `TemporalDistance` of joint latents.

    Args:
        members: One for each model.
    """

    def embed(self, latent: Tensor) -> Tensor:
        """Joint latents (..., D) -> embeddings of all members, (M, ..., 2, groups, features), float32."""
        return torch.stack([head.embed(part) for head, part in zip(self.heads(), apart(latent, len(self.members)), strict=True)])

    def between(self, here: Tensor, there: Tensor) -> Tensor:
        """Embeddings of joint latents and of goals, broadcast against each other, -> steps (...)."""
        return torch.stack([head.between(*pair) for head, *pair in zip(self.heads(), here, there, strict=True)]).mean(0)

    def forward(self, latent: Tensor, goal: Tensor) -> Tensor:
        """Joint latents (..., D) and goals (..., D), broadcast against each other, -> steps (...), float32."""
        parts = (apart(each, len(self.members)) for each in (latent, goal))
        return torch.stack([head(*pair) for head, *pair in zip(self.heads(), *parts, strict=True)]).mean(0)


class MeanPolicy(_Heads[GoalPolicy]):
    """The goal policies of the members of an ensemble as one: a mixture, by its mean and spread.

    Args:
        members: One for each model.
    """

    def distribution(self, history: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Joint latents (..., h, D) and goals (..., D) -> mean and standard deviation of physical actions, (..., A) each."""
        parts = (apart(each, len(self.members)) for each in (history, goal))
        found = [head.distribution(*pair) for head, *pair in zip(self.heads(), *parts, strict=True)]
        means, spreads = (torch.stack(each) for each in zip(*found, strict=True))
        return means.mean(0), (spreads.square().mean(0) + means.var(0, correction=0)).sqrt()

    def forward(self, history: Tensor, goal: Tensor) -> Tensor:
        """Joint latents (..., h, D) and goals (..., D) -> mean physical actions (..., A)."""
        return self.distribution(history, goal)[0]


Model = JEPA | Ensemble
Distance = TemporalDistance | MeanDistance
Policy = GoalPolicy | MeanPolicy
"""What a run has one of: of one model, or of several."""
