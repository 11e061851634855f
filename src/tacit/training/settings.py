"""Settings of the training loop and of what is fitted after it, and the learning rate of the loop."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of the loop.

    Attributes:
        batch: Windows per step over all processes, an even number: half of them are drawn, and the others are their partners from the
            same episodes.
        window: L, frames per window.
        steps: Optimizer steps; None when the clock decides.
        minutes: Wall minutes; None when the steps decide.
        learning_rate: Peak of the cosine schedule.
        weight_decay: AdamW's.
        warmup: Steps of linear warm-up.
        clip: Largest gradient norm.
        channel_dropout: Share of the windows in which an element of a signal that may be missing is hidden.
        views: Pairs of moved pictures per step over all processes, an even number; only read where the model asks for them. While other
            losses are there, too, half of them are used.
        watch_every: Steps between looks at the held-out latents.
        checkpoint_seconds: Wall seconds between checkpoints.
        bfloat16: Run encoder, predictor and inverse model in bfloat16 where the processor has instructions for it; losses and SIGReg stay
            in float32.

    Raises:
        ValueError: Not exactly one of steps and minutes is given, it is not positive, the batch is not an even number, or the channel
            dropout is not a share below 1.
    """

    batch: int = 128
    window: int = 4
    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup: int = 100
    clip: float = 1.0
    channel_dropout: float = 0.1
    views: int = 256
    watch_every: int = 250
    checkpoint_seconds: float = 60.0
    bfloat16: bool = True

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")
        if (self.steps or 0) < 0 or (self.minutes or 0) < 0:
            raise ValueError("steps and minutes must be positive")
        if not 0 <= self.channel_dropout < 1:
            raise ValueError(f"a channel dropout of {self.channel_dropout} is not a share of the windows; give 0 to below 1")
        if self.batch < 2 or self.batch % 2:
            raise ValueError(f"a batch of {self.batch} windows does not come in pairs; give an even number")
        if self.views < 4 or self.views % 4:
            raise ValueError(f"{self.views} pairs of views cannot be halved over their two moments; give a multiple of 4")


@dataclass(frozen=True, kw_only=True)
class HeadTraining:
    """Settings of head fitting.

    Attributes:
        steps: Optimizer steps; None when the clock decides.
        minutes: Wall minutes; None when the steps decide.
        batch: Pairs per step.
        learning_rate: Peak of the cosine schedule.
        weight_decay: AdamW's.
        expectile: Of the distance; towards 1 the shortest way in the logs wins.
        spans: Logged steps that a backup looks over; each batch uses one of them.
        near: Share of goals within `near_steps` after the latent; the others are anywhere in the episode.
        near_steps: See `near`.
        follow: Share of the way that the slow copy of the distance goes towards it at each step.
        rollout: Steps that the predictor is rolled out over; of the predictor alone.
        singles: Share of the training, at its begin, in which the predictor learns single steps, eight in the place of each rollout.

    Raises:
        ValueError: Not exactly one of steps and minutes is given.
    """

    steps: int | None = None
    minutes: float | None = None
    batch: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    expectile: float = 0.9
    spans: tuple[int, ...] = (1, 2, 4, 8)
    near: float = 0.3
    near_steps: int = 12
    follow: float = 0.05
    rollout: int = 24
    singles: float = 0.0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")


def learning_rate(config: TrainConfig, step: int, share: float) -> float:
    """Linear warm-up by steps, then half a cosine down to 2 % by the share of the training that is done."""
    return config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup)) * (0.51 + 0.49 * math.cos(math.pi * min(share, 1.0)))
