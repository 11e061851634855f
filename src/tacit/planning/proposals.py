"""Proposals (Mode 1): what to do, without a search. A planner verifies them in imagination (Mode 2).

Dimensions: B batch, P proposals, h history, H horizon, A action, D latent, N rows, F frames of the logs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from tacit.contracts import Proposal, WorldModel
from tacit.planning.policy_rollout import WAYS
from tacit.planning.search import smoothed

Policy = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Follow = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Imagined:
    """A goal policy, followed in the world model: what it would do step by step, if all came as the model says.

    Attributes:
        model: Predicts what actions do.
        policy: Latents (N, h, D), oldest first, and goals (N, D) -> mean and standard deviation of physical actions, (N, A) each.
        goal: Latent of the goal, (B, D).
        correlation: Of what a proposal strays by from one step to the next, in [0, 1).
        follow: Does what `policy` and `model` do in turns, in one call: histories (B, h, D), goals (B, D) and what to stray by, in units of
            the policy's spread, (B, P, H, A) -> actions (B, P, H, A). None where nobody can.
    """

    model: WorldModel
    policy: Policy
    goal: Tensor
    correlation: float = 0.9
    follow: Follow | None = None

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
        return smoothed(torch.randn(shape, generator=generator, device=device), self.correlation)

    def _followed(self, history: Tensor, strays: Tensor) -> Tensor:
        goal = self.goal.expand(len(history), -1)
        if self.follow is not None:
            return self.follow(history, goal, strays)
        batch, count, horizon, size = strays.shape
        rows = batch * count
        window = history[:, None].expand(-1, count, -1, -1).reshape(rows, *history.shape[1:])
        goal = goal[:, None].expand(-1, count, -1).reshape(rows, -1)
        actions = []
        for step, stray in enumerate(strays.reshape(rows, horizon, size).unbind(1)):
            mean, std = self.policy(window, goal)
            actions.append(mean + std * stray)
            if step + 1 < horizon:
                window = torch.cat((window[:, 1:], self.model.step(window, actions[-1])[:, None]), dim=1)
        return torch.stack(actions, dim=1).view(strays.shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ImaginedPolicy(_Imagined):
    """A goal policy, followed in the world model, the more freely the later a proposal comes.

    The first proposal follows the policy's mean (GC-IDM, arXiv 2605.08732, as a plan); the others stray from it, smoothly in time and
    within the spread that the policy itself states, the later ones more.

    Attributes:
        stray: Largest multiple of the policy's spread.
    """

    stray: float = 2.0

    def __call__(self, history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
        """See `tacit.contracts.Proposal`."""
        with torch.no_grad():
            shape = (len(history), count, horizon, self.model.schema.action_size)
            noise = self._noise(shape, generator, history.device)
            return self._followed(history, torch.linspace(0.0, self.stray, count, device=history.device)[:, None, None] * noise)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ImaginedDetours(_Imagined):
    """A goal policy's own way and short detours from it, each with variations: what `tacit.planning.PolicyRollout` compares.

    A detour strays from the policy for some steps, and follows it again from where that led to. Way by way, the policy's own first; of each
    way the first proposal is the way itself, and the others stray from it along the whole horizon.

    Attributes:
        ways: W, the policy's own way among them.
        steps: How long a detour is.
        detour: By how many times its spread a detour strays from the policy.
        variation: By how many times the spread a variation strays from its way.
    """

    ways: int = WAYS
    steps: int = 4
    detour: float = 1.0
    variation: float = 1.0

    def __call__(self, history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
        """See `tacit.contracts.Proposal`.

        Raises:
            ValueError: `count` is no multiple of the number of ways.
        """
        if count % self.ways:
            raise ValueError(f"{count} proposals cannot be shared out among {self.ways} ways")
        with torch.no_grad():
            batch, device, size = len(history), history.device, self.model.schema.action_size
            detours = self.detour * self._noise((batch, self.ways, 1, horizon, size), generator, device)
            detours[:, 0] = 0.0
            detours[:, :, :, self.steps :] = 0.0
            variations = self.variation * self._noise((batch, self.ways, count // self.ways, horizon, size), generator, device)
            variations[:, :, 0] = 0.0
            return self._followed(history, (detours + variations).flatten(1, 2))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SharedOut:
    """Suggestions of several who each see a part of a latent: a share of each, what each of them finds most likely first.

    Attributes:
        parts: Who suggests.
        apart: Latents (..., D) -> the part of each of them.
    """

    parts: tuple[Proposal, ...]
    apart: Callable[[Tensor], Sequence[Tensor]]

    def __call__(self, history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
        """See `tacit.contracts.Proposal`."""
        shares = [(count + place) // len(self.parts) for place in reversed(range(len(self.parts)))]
        each = zip(self.parts, self.apart(history), shares, strict=True)
        found = torch.cat([part(seen, horizon, share, generator) for part, seen, share in each if share], dim=1)
        rank = torch.cat([torch.arange(share) for share in shares])
        return found[:, rank.argsort(stable=True).to(found.device)]


@final
class Retrieval:
    """Suggests logged action sequences (as arXiv 2606.01626 does): nearest neighbours of the present latent and the goal's in the logs.

    A frame counts by the squared distance of its latent to the present one, plus the least one of a latent that followed within the
    horizon, in its own episode, to the goal. The suggestion is what was done from that frame until that nearest moment, and then the
    resting action. What depends on the goal alone is computed once per horizon and kept: two numbers per frame and goal.
    """

    def __init__(
        self, *, latents: Tensor, actions: Tensor, last: Tensor, goal: Tensor, rest: Tensor | None = None, spacing: int = 4
    ) -> None:
        """Args:
            latents: Of the logs' frames, episodes one after another, (F, D).
            actions: What was done at each frame, (F, A), physical units; those at the last frame of an episode are not looked at.
            last: Row of the last frame of each frame's episode, (F,) int64.
            goal: Latents of the goals, (B, D).
            rest: The action that keeps still, (A,), physical units; None for zeros. Action limits are up to the planner.
            spacing: Of so many neighbouring frames, which are nearly the same, at most one is suggested; one of them is compared first.

        Raises:
            ValueError: Shapes do not fit each other, `last` is not the end of an episode, no frame has an action, or a latent or
                an action is not finite.
        """
        frames, size = len(latents), latents.shape[-1]
        if latents.ndim != 2 or actions.ndim != 2 or len(actions) != frames or last.shape != (frames,) or goal.shape[1:] != (size,):
            raise ValueError(
                f"latents {tuple(latents.shape)}, actions {tuple(actions.shape)}, last {tuple(last.shape)} and goal {tuple(goal.shape)} "
                "must have shapes (F, D), (F, A), (F,) and (B, D)"
            )
        if rest is not None and rest.shape != actions.shape[1:]:
            raise ValueError(f"rest has shape {tuple(rest.shape)} instead of (A,) = {tuple(actions.shape[1:])}")
        if spacing < 1:
            raise ValueError(f"spacing must be at least 1, not {spacing}")
        row = torch.arange(frames, device=last.device)
        if not frames or (last < row).any() or (last >= frames).any() or (last[last.clamp(0, frames - 1)] != last).any():
            raise ValueError("last must hold, for every frame, the row of the last frame of its episode")
        self._moves = row < last
        if not self._moves.any():
            raise ValueError("no episode has an action: each has a single frame")
        if not (latents.isfinite().all() and actions[self._moves].isfinite().all()):
            raise ValueError("a latent or an action of the logs is not finite: leave such episodes out")
        self._latents, self._actions, self._last = latents.float(), actions.float(), last
        self._rest = self._actions.new_zeros(actions.shape[1]) if rest is None else rest.to(self._actions)
        self._spacing = spacing
        self._to_goal = torch.cdist(goal.to(self._latents), self._latents).square()
        self._apart: dict[int, Tensor] = {}
        # One frame stands for its group when groups are compared with the present latent: the most central one with an action.
        off_centre = (row % spacing - spacing // 2).abs().float()
        alone = F.pad(torch.where(self._moves, off_centre, torch.inf), (0, -frames % spacing), value=torch.inf).view(-1, spacing)
        self._shown = (alone.argmin(1) + torch.arange(len(alone), device=row.device) * spacing).clamp(max=frames - 1)
        self._shown_latents = self._latents[self._shown]

    def __call__(self, history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
        """Latest latents (B, h, D) -> `count` logged action sequences (B, P, H, A), physical units, the nearest first.

        Nothing is random. Where the logs have fewer different suggestions, the nearest is repeated.
        """
        here = history[:, -1].to(self._latents)
        if horizon not in self._apart:
            self._apart[horizon] = self._apart_from_here(horizon)
        return self._done_from(self._nearest(here, self._apart[horizon], count), horizon)

    def _apart_from_here(self, horizon: int) -> Tensor:
        """What a frame's score has no part of the present latent in, (B, F); +inf where no action follows."""
        least, frames = self._to_goal, len(self._last)
        row = torch.arange(frames, device=least.device)
        width = 1  # `least` looks at so many frames from its own on; two such looks, one shifted, make a wider one
        while width < horizon + 1:
            shift = min(width, horizon + 1 - width)
            later = F.pad(least[:, shift:], (0, min(shift, frames)), value=torch.inf)
            least = torch.where(row + shift <= self._last, least.minimum(later), least)
            width += shift
        return torch.where(self._moves, least + self._latents.square().sum(-1), torch.inf)

    def _nearest(self, here: Tensor, apart: Tensor, count: int) -> Tensor:
        """Rows of the `count` frames nearest to latents (B, D), given the other part of their scores (B, F), the nearest first, (B, P).

        Scores leave out the square of the present latent, which ranks nothing.
        """
        coarse = torch.addmm(apart[:, self._shown], here, self._shown_latents.T, alpha=-2.0)
        groups = coarse.topk(min(count, coarse.shape[1]), largest=False).indices
        rows = (groups[..., None] * self._spacing + torch.arange(self._spacing, device=here.device)).clamp(max=apart.shape[1] - 1)
        scores = apart.expand(len(here), -1).gather(1, rows.flatten(1)).view(rows.shape)
        scores = scores - 2 * (self._latents[rows] @ here[:, None, :, None])[..., 0]
        least, place = scores.min(-1)
        least, order = least.sort(stable=True)
        rows = rows.gather(2, place[..., None])[..., 0].gather(1, order)
        rows = torch.where(least.isfinite(), rows, rows[:, :1])
        return torch.cat((rows, rows[:, :1].expand(-1, count - rows.shape[1])), dim=1)

    def _done_from(self, frames: Tensor, horizon: int) -> Tensor:
        """What was done from frames (B, P) on until the goal was nearest, then rest, (B, P, H, A)."""
        rows = frames[..., None] + torch.arange(horizon + 1, device=frames.device)
        inside = rows.clamp(max=len(self._last) - 1)
        to_goal = self._to_goal.expand(len(frames), -1).gather(1, inside.flatten(1)).view(rows.shape)
        nearest = torch.where(rows <= self._last[frames][..., None], to_goal, torch.inf).argmin(-1, keepdim=True)
        is_done = torch.arange(horizon, device=frames.device) < nearest
        return torch.where(is_done[..., None], self._actions[inside[..., :-1]], self._rest)
