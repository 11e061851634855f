"""Heads fitted on frozen latents: temporal distance (what planning minimises) and goal policy (behaviour cloning).

Goals are frames of the same episode, drawn in hindsight; nothing here has seen a task. Dimensions: B batch, D latent, A action.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tacit.models.heads import GoalPolicy, HeadConfig, TemporalDistance
from tacit.nn.precision import fast_products
from tacit.objectives.distance import expectile_loss, steps_to_go_target
from tacit.training.latents import LatentLog
from tacit.training.seed import generator

Progress = Callable[[float, float], None]


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pairs:
    """Frames with goals of the same episode, (B,) each: episode, time of the frame, time of the goal."""

    episode: Tensor
    t: Tensor
    goal: Tensor


def _drawn(log: LatentLog, config: HeadTraining, rng: torch.Generator) -> _Pairs:
    """Any frame but the last of an episode, with a goal anywhere in it or a few steps ahead."""
    batch = config.batch
    weights = log.steps.double()
    episode = torch.multinomial(weights, batch, replacement=True, generator=rng)
    steps = log.steps[episode]
    t = (torch.rand(batch, generator=rng) * steps).long().clamp(max=steps - 1)
    anywhere = (torch.rand(batch, generator=rng) * (steps + 1)).long().clamp(max=steps)
    ahead = torch.minimum(t + torch.randint(0, config.near_steps + 1, (batch,), generator=rng), steps)
    near = torch.rand(batch, generator=rng) < config.near
    return _Pairs(episode=episode, t=t, goal=torch.where(near, ahead, anywhere))


def optimized(module: nn.Module, config: HeadTraining, loss: Callable[[int, float], Tensor], progress: Progress | None) -> int:
    """Minimise `loss(step, share done)` for as long as the settings say; returns the number of steps."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    begun, step = time.perf_counter(), 0
    while True:
        done = step / config.steps if config.steps is not None else (time.perf_counter() - begun) / (60 * (config.minutes or 1e-9))
        if done >= 1.0:
            return step
        for parameters in optimizer.param_groups:
            parameters["lr"] = config.learning_rate * min(1.0, (step + 1) / 100) * (0.51 + 0.49 * math.cos(math.pi * done))
        value = loss(step, done)
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        step += 1
        if progress and step % 20 == 0:
            progress(done, float(value.detach()))


def fit_distance(
    log: LatentLog, head: HeadConfig, config: HeadTraining, *, seed: int, bfloat16: bool = True, progress: Progress | None = None
) -> TemporalDistance:
    """Learn the steps to go between latents of the same episode.

    Args:
        log: Encoded training episodes; the head is fitted where its latents are.
        head: Size.
        config: Settings.
        seed: Of initialisation and draws.
        bfloat16: Products in bfloat16 where the processor has instructions for it; targets and losses are float32 either way.
        progress: Told the share done and the loss.

    Returns:
        The slow copy, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        online = TemporalDistance(log.latents.shape[1], head).to(log.device)
    slow = copy.deepcopy(online).requires_grad_(False)

    def loss(step: int, done: float) -> Tensor:
        pairs = _drawn(log, config, generator(seed, "distance", step))
        span = config.spans[step % len(config.spans)]
        taken = torch.minimum(torch.full_like(pairs.t, span), log.steps[pairs.episode] - pairs.t)
        row = log.first[pairs.episode] + pairs.t
        rows = torch.stack((row, row + taken, log.first[pairs.episode] + pairs.goal)).to(log.device)
        here, later, goal = log.latents[rows]
        ahead = torch.where(pairs.goal >= pairs.t, (pairs.goal - pairs.t).float(), math.inf).to(log.device)
        with fast_products(log.device.type, bfloat16=bfloat16):
            with torch.no_grad():
                target = steps_to_go_target(ahead, taken.float().to(log.device), slow(later, goal))
                for copied, parameter in zip(slow.parameters(), online.parameters(), strict=True):
                    copied.lerp_(parameter, config.follow)
            predicted = online(here, goal)
        return expectile_loss(predicted, target, config.expectile)

    optimized(online, config, loss, progress)
    return slow.cpu()


def fit_policy(
    log: LatentLog,
    head: HeadConfig,
    config: HeadTraining,
    *,
    frames: int = 2,
    seed: int,
    bfloat16: bool = True,
    progress: Progress | None = None,
) -> GoalPolicy:
    """Clone what the logs did on the way to what they reached: `(z_t, z_g) -> a_t`, with its spread, for goals after t.

    Args:
        log: Encoded training episodes; the policy is fitted where its latents are.
        head: Size.
        config: Settings; distance-only ones are not used.
        frames: h, latents of history that the policy sees.
        seed: Of initialisation and draws.
        bfloat16: Products in bfloat16 where the processor has instructions for it.
        progress: Told the share done and the loss.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = GoalPolicy(log.latents.shape[1], log.actions.shape[1], frames, head).to(log.device)
    applied = log.actions[log.inside()]
    policy.actions.set(applied.mean(0), applied.std(0))

    def loss(step: int, done: float) -> Tensor:
        rng = generator(seed, "policy", step)
        pairs = _drawn(log, config, rng)
        row = log.first[pairs.episode] + pairs.t
        # Squaring a uniform number prefers near goals, where the action still tells.
        span = 1 + (torch.rand(len(row), generator=rng).square() * (log.steps[pairs.episode] - pairs.t)).long()
        later = torch.minimum(row + span, log.first[pairs.episode] + log.steps[pairs.episode])
        goal = log.latents[later.to(log.device)]
        history = log.history(pairs.episode, pairs.t, frames)
        with fast_products(log.device.type, bfloat16=bfloat16):
            mean, log_std = policy.standardized(history, goal)
        error = mean - (log.actions[row.to(log.device)] - policy.actions.mean) / policy.actions.std
        # The weight keeps the likelihood from giving up where it is hard to be right (beta-NLL, arXiv 2203.09168, beta = 0.5).
        likelihood = log_std + 0.5 * (error / log_std.exp()).square()
        return (log_std.detach().exp() * likelihood).mean()

    optimized(policy, config, loss, progress)
    return policy.cpu()
