"""Temporal distance: how many steps it takes from one latent to another, learned from logs that had no goal.

Goals are relabelled in hindsight (any frame of the same episode, before or after), and the steps to go are learned by
temporal-difference backups with an expectile loss (IQL, arXiv 2110.06169; goal-conditioned: OGBench, arXiv 2410.20092), so that
the best continuation found anywhere in the logs counts, not the average one. Dimensions: B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def steps_to_go_target(ahead: Tensor, taken: Tensor, remaining: Tensor) -> Tensor:
    """Target of a backup over `taken` logged steps, in steps.

    Args:
        ahead: Steps after which the log itself reached the goal, (B,); +inf where it did not.
        taken: Logged steps that the backup looks over, (B,).
        remaining: Estimated steps to go from where they led, (B,).

    Returns:
        `min(ahead, taken + remaining)`, (B,): what the log did is an upper bound of the distance.
    """
    return torch.minimum(ahead, taken + remaining)


def expectile_loss(predicted: Tensor, target: Tensor, expectile: float, beta: float = 2.0) -> Tensor:
    """Asymmetric Huber loss that leans towards the shorter of the distances that were seen.

    Args:
        predicted: Steps, (B,).
        target: Steps, (B,).
        expectile: Weight of targets below the prediction; 0.5 is symmetric, towards 1 the shortest wins.
        beta: Steps within which the loss is quadratic.

    Returns:
        Scalar.
    """
    weight = torch.where(target < predicted, expectile, 1.0 - expectile)
    return (weight * F.smooth_l1_loss(predicted, target, reduction="none", beta=beta)).mean()
