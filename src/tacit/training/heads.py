"""Heads fitted on frozen latents: temporal distance (what planning minimises) and goal policy (behaviour cloning).

Goals are frames of the same episode, drawn in hindsight; nothing here has seen a task. Dimensions: B batch, D latent, A action.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tacit.models.heads import GoalPolicy, HeadConfig, TemporalDistance
from tacit.nn.precision import fast_products
from tacit.objectives.distance import expectile_loss, steps_to_go_target
from tacit.training.descent import Progress, optimized
from tacit.training.latents import LatentLog
from tacit.training.seed import generator
from tacit.training.settings import HeadTraining


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

    def draw(step: int, done: float) -> tuple[Tensor, ...]:
        pairs = _drawn(log, config, generator(seed, "distance", step))
        span = config.spans[step % len(config.spans)]
        taken = torch.minimum(torch.full_like(pairs.t, span), log.steps[pairs.episode] - pairs.t)
        row = log.first[pairs.episode] + pairs.t
        rows = torch.stack((row, row + taken, log.first[pairs.episode] + pairs.goal)).to(log.device)
        here, later, goal = log.latents[rows]
        ahead = torch.where(pairs.goal >= pairs.t, (pairs.goal - pairs.t).float(), math.inf)
        return here, later, goal, ahead.to(log.device), taken.float().to(log.device)

    def loss(here: Tensor, later: Tensor, goal: Tensor, ahead: Tensor, taken: Tensor) -> Tensor:
        with fast_products(log.device.type, bfloat16=bfloat16):
            with torch.no_grad():
                target = steps_to_go_target(ahead, taken, slow(later, goal))
                for copied, parameter in zip(slow.parameters(), online.parameters(), strict=True):
                    copied.lerp_(parameter, config.follow)
            predicted = online(here, goal)
        return expectile_loss(predicted, target, config.expectile)

    optimized(online, config, draw, loss, progress)
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

    def draw(step: int, done: float) -> tuple[Tensor, ...]:
        rng = generator(seed, "policy", step)
        pairs = _drawn(log, config, rng)
        row = log.first[pairs.episode] + pairs.t
        # Squaring a uniform number prefers near goals, where the action still tells.
        span = 1 + (torch.rand(len(row), generator=rng).square() * (log.steps[pairs.episode] - pairs.t)).long()
        later = torch.minimum(row + span, log.first[pairs.episode] + log.steps[pairs.episode])
        return log.history(pairs.episode, pairs.t, frames), log.latents[later.to(log.device)], log.actions[row.to(log.device)]

    def loss(history: Tensor, goal: Tensor, action: Tensor) -> Tensor:
        with fast_products(log.device.type, bfloat16=bfloat16):
            mean, log_std = policy.standardized(history, goal)
        error = mean - (action - policy.actions.mean) / policy.actions.std
        # The weight keeps the likelihood from giving up where it is hard to be right (beta-NLL, arXiv 2203.09168, beta = 0.5).
        likelihood = log_std + 0.5 * (error / log_std.exp()).square()
        return (log_std.detach().exp() * likelihood).mean()

    optimized(policy, config, draw, loss, progress)
    return policy.cpu()
