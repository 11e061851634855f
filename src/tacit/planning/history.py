"""What the model has seen lately: the latest latents of every machine, each observation encoded once.

Dimensions: B machines, h history, A action, D latent.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from tacit.contracts import WorldModel


def one_step_error(predicted: Tensor, observed: Tensor) -> Tensor:
    """Euclidean distance of predicted from observed latents, both (..., D) -> (...), float32: the measure of surprise."""
    return (predicted.float() - observed.float()).square().sum(-1).sqrt()


@final
class LatentHistory:
    """The last h latents of B machines, oldest first.

    An observation that is missing is bridged by the model's own prediction; a machine that has shown nothing yet is not `known`. The
    first latent stands for the ones before it.

    Attributes:
        latents: (B, h, D); not finite where a machine is not known.
        known: (B,) bool.
        observed: Whether the newest latent is that of an observation, (B,) bool.
        predicted: What was expected in the place of the newest latent, (B, D); not finite where nothing was.
    """

    def __init__(self, model: WorldModel, latent: Tensor) -> None:
        """Begin with nothing seen, for as many machines as there are rows in `latent` (B, D), with its dtype and device."""
        self._model = model
        self.observed = torch.zeros(len(latent), dtype=torch.bool, device=latent.device)
        self.latents = latent.new_full((len(latent), model.history, model.latent_size), torch.nan)
        self.known = self.observed
        self.predicted = torch.full_like(latent, torch.nan)

    def advance(self, action: Tensor, latent: Tensor, is_valid: Tensor) -> Tensor:
        """Take in what came after an action.

        Args:
            action: Action applied since the last call, (B, A).
            latent: Latent observed now, (B, D).
            is_valid: Whether the observation may be used, (B,) bool; a latent that is not finite is never used.

        Returns:
            One-step prediction error (B,); NaN where this observation or the one before is missing.
        """
        predicted = self._model.step(self.latents, action)
        is_valid = is_valid & latent.isfinite().all(-1)
        error = torch.where(is_valid & self.observed, one_step_error(predicted, latent), torch.nan)
        newest = torch.where(is_valid[:, None], latent, predicted)
        moved = torch.cat([self.latents[:, 1:], newest[:, None]], dim=1)
        is_first = is_valid & ~self.known
        self.latents = torch.where(is_first[:, None, None], latent[:, None], moved)
        self.known = is_valid | (self.known & predicted.isfinite().all(-1))
        self.observed = is_valid
        self.predicted = predicted
        return error
