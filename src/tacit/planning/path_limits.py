"""Limits on the way from one action to the next, and on several action elements together.

Dimensions: B batch, K candidates, H horizon, A action, C combinations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from tacit.nn import native
from tacit.planning import braking
from tacit.planning.grid import FAR, LARGEST, Applied, Bounds, quanta, representable, whole
from tacit.planning.limits import BoxLimits
from tacit.planning.nearest import nearest

_ROUNDS = 4  # of moving out of the worst combination and into every ball
_PARTS = (1.0, 0.9, 0.5)  # of the way that convexity allows, until roundings are no matter either
_SHAVED = 2.0**-40  # of a combination or a norm: far more than float64 loses in a sum, whatever its order
_LEAST_STEP = 1.0  # quanta
_LEAST_CHANGE = 4.0  # quanta; applied actions that are off the grid take up to 3 of them


@final
@dataclass(frozen=True, kw_only=True)
class Combination:
    """A linear combination of action elements that has an upper bound.

    Attributes:
        name: What a person calls it.
        weights: One per element, (A,) numbers, not all 0.
        at_most: The bound, in the unit of the weighted sum.
    """

    name: str
    weights: tuple[float, ...]
    at_most: float


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PathLimits:
    """Box, norm, rate, jerk and linear limits that hold exactly, in physical units and as float32.

    Actions are whole multiples of a quantum per element: what float32 tells apart at the far end of the element's range. On that grid
    differences are exact, so a limit that is met is met in whatever way it is computed from the float32 numbers in float64.

    An action is *allowed* when its step and its change of step are within the rate and the jerk, and the machine could still come to
    rest from it, braking as hard as the jerk lets it, without leaving the box, a norm or a combination. From an allowed action there is
    always a next one, the braking, so no limit can force the break of another one later (recursive feasibility). Braking is followed
    element by element; for norms and combinations every mixture of how far each has come is kept inside, a little more than needed.

    **Where the applied actions leave no allowed one** (a person has moved the valve out of the range; a link delivered half of a
    step), limits give way in this order, the last one first: **jerk, rate, box, then norms and combinations**. What moves a machine
    faster than it can move breaks it now, while a place that is wrong is left as fast as that allows. `broken` says so in words.

    Attributes:
        box: Bounds and norms.
        step: Largest change from one action to the next, (A,) float64, physical units; +inf where there is no limit.
        change: Largest change of that change, (A,) float64, physical units; +inf where there is no limit.
        combinations: Linear limits.
        rest: An action inside the box, the norms and the combinations, with room around it, (A,) float32: where the search for an
            allowed action ends.
        names: What a person calls each element, (A,) words.
        quantum: Size of the grid, (A,) float64, physical units.

    Raises:
        ValueError: Shapes do not fit, a limit is not positive or finer than float32 tells apart, or `rest` is not inside.
    """

    box: BoxLimits
    step: Tensor
    change: Tensor
    combinations: tuple[Combination, ...] = ()
    rest: Tensor
    names: tuple[str, ...]
    quantum: Tensor = field(init=False, repr=False)
    _scaled: _Scaled = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = len(self.names)
        if any(part.shape != (size,) for part in (self.box.low, self.step, self.change, self.rest)):
            raise ValueError(f"box, step, change and rest must each have one entry for every one of the {size} names")
        if any(len(combination.weights) != size or not any(combination.weights) for combination in self.combinations):
            raise ValueError(f"every combination must have {size} weights, not all 0")
        object.__setattr__(self, "quantum", quanta(self.box))
        object.__setattr__(self, "_scaled", _Scaled.of(self))
        if self._is_simple:
            native.is_ready(torch.float32)  # so that the first plan does not wait for a compiler
        for what, limit, least in (("step", self._scaled.step, _LEAST_STEP), ("change", self._scaled.change, _LEAST_CHANGE)):
            if not (limit >= least).all():
                raise ValueError(f"the largest {what} of {self._named(limit < least)} is finer than float32 tells actions apart")
        still = self._quantised(self.rest)
        if not ((still >= self._scaled.low) & (still <= self._scaled.high)).all() or self._excess(still, still) > 0:
            raise ValueError("rest must be inside the box, the norms and the combinations, with room around it")

    @property
    def low(self) -> Tensor:
        """Lower bounds (A,), float32."""
        return self.box.low

    @property
    def high(self) -> Tensor:
        """Upper bounds (A,), float32."""
        return self.box.high

    @property
    def counts_from_applied(self) -> bool:
        """Whether what is allowed depends on the actions before: there is a rate or a jerk limit."""
        return bool((self.step.isfinite() | self.change.isfinite()).any())

    @property
    def is_coupled(self) -> bool:
        """Whether what one element may do depends on another one."""
        return bool(self.combinations or self.box.norms)

    @property
    def _is_simple(self) -> bool:
        """Whether there are only ranges and rates, each element for itself."""
        return not (self.is_coupled or self._scaled.has_jerk) and self.counts_from_applied

    def to(self, device: torch.device) -> PathLimits:
        """The same limits for actions on another device."""
        return PathLimits(
            box=self.box.to(device),
            step=self.step.to(device),
            change=self.change.to(device),
            combinations=self.combinations,
            rest=self.rest.to(device),
            names=self.names,
        )

    def project(self, actions: Tensor, previous: Tensor, earlier: Tensor | None = None) -> Tensor:
        """Move candidate actions inside every limit, one step after the other.

        Each element is moved to its nearest allowed value. Where elements are coupled, the action is then moved towards the combinations
        and norms that it breaks, and from there, if need be, back towards braking until everything holds.

        Args:
            actions: Candidates (B, K, H, A), physical units. What is not finite becomes the previous action.
            previous: Action applied last, (B, A). What is not finite counts as 0.
            earlier: Action applied before that one, (B, A), likewise; None for the same one: the machine was at rest.

        Returns:
            Candidates (B, K, H, A), float32: every limit holds exactly, in the order that the class states where not all can. What is
            allowed and on the grid comes back unchanged: to project twice is to project once.
        """
        last = _finite(previous)
        before = last if earlier is None else _finite(earlier)
        wanted = torch.where(actions.isfinite(), actions.double(), last[:, None, None])
        if not self.counts_from_applied:  # every step is like the first one, next to rest
            rest = (self.rest.double() / self.quantum).expand_as(last)[:, None]
            path = self._path(self._quantised(wanted).flatten(1, 2)[:, :, None], Applied.of(rest, rest))
            return (path * self.quantum).float().view(actions.shape)
        state = Applied.of(last[:, None] / self.quantum, before[:, None] / self.quantum)
        path = self._path(self._quantised(wanted), state)
        if (path.abs() > LARGEST).any():  # outside the box and on the way back, where float32 is coarser than the grid
            path = self._path(self._quantised(wanted), state, is_far=True)
        return (path * self.quantum).float()

    def nearest(self, actions: Tensor, previous: Tensor, earlier: Tensor | None = None) -> Tensor:
        """The actions that are sent: as `project`, and where elements are coupled really the nearest ones, by a quadratic program.

        Distance is measured in quanta, which are about the same fraction of every element's range. With a jerk limit, combinations and
        norms hold for the action itself in the program, and for the braking after it as in `project`.

        Args:
            actions: (B, A), physical units. What is not finite becomes the previous action.
            previous: Action applied last, (B, A).
            earlier: Action applied before that one, (B, A), or None for the same one.

        Returns:
            Actions (B, A), float32, for which all holds that `project` promises.
        """
        projected = self.project(actions[:, None, None], previous, earlier)[:, 0, 0]
        last = _finite(previous)
        before = last if earlier is None else _finite(earlier)
        wish = self._quantised(torch.where(actions.isfinite(), actions.double(), last))
        is_moved = (self._quantised(projected) != wish).any(-1)
        if not (self.is_coupled and is_moved.any()):
            return projected
        wish, last, before = wish[is_moved], last[is_moved], before[is_moved]
        solved = self._solved(wish, self._bounds(Applied.of(last / self.quantum, before / self.quantum)))
        solved = self.project((solved * self.quantum)[:, None, None], last, before)[:, 0, 0]
        near, far = ((self._quantised(found) - wish).square().sum(-1) for found in (solved, projected[is_moved]))
        is_better = near < far
        is_better &= torch.tensor([reason is None for reason in self.broken(solved, last, before)], device=near.device)
        projected[is_moved] = torch.where(is_better[:, None], solved, projected[is_moved])
        return projected

    def broken(self, actions: Tensor, previous: Tensor, earlier: Tensor | None = None) -> list[str | None]:
        """What stands in the way where an action is not allowed, for a person.

        Args:
            actions: (B, A), as `project` returns them.
            previous: Action applied last, (B, A), finite.
            earlier: Action applied before that one, (B, A), or None for the same one.

        Returns:
            One per machine; None where the action is allowed.
        """
        state = Applied.of(previous.double() / self.quantum, (previous if earlier is None else earlier).double() / self.quantum)
        action = self._quantised(actions)
        nearest, farthest = self._swept(action, state)
        is_outside = (nearest < self._scaled.low) | (farthest > self._scaled.high)
        is_fast = (action - state.below > self._scaled.step) | (state.above - action > self._scaled.step)
        is_over = self._excess(nearest, farthest) > 0
        reasons: list[str | None] = [None] * len(actions)
        for machine in (is_outside.any(-1) | is_fast.any(-1) | is_over).nonzero()[:, 0].tolist():
            if (outside := is_outside[machine]).any():
                reasons[machine] = f"the applied actions leave no way to keep {self._named(outside)} inside its range"
            elif (fast := is_fast[machine]).any():
                reasons[machine] = f"the applied actions changed {self._named(fast)} faster than its rate allows"
            else:
                reasons[machine] = f"the applied actions leave no way to keep {self._coupling()}"
        return reasons

    def _named(self, chosen: Tensor) -> str:
        return ", ".join(name for name, is_chosen in zip(self.names, chosen.tolist(), strict=True) if is_chosen)

    def _coupling(self) -> str:
        return " or ".join([repr(c.name) for c in self.combinations] + ["the largest norm"] * bool(self.box.norms))

    def _quantised(self, actions: Tensor) -> Tensor:
        return (actions.double() / self.quantum).clamp(-FAR, FAR).round()

    def _path(self, wanted: Tensor, state: Applied, *, is_far: bool = False) -> Tensor:
        """The allowed actions nearest to wishes (B, K, H, A), one after the other, in quanta, as is all that follows."""
        scaled = self._scaled
        if self._is_simple and not is_far:
            found = native.in_reach(wanted, scaled.low, scaled.high, scaled.step, state.below[:, 0], state.above[:, 0])
            if found is not None:
                return found
        path = []
        for wish in wanted.unbind(2):
            bounds = self._bounds(state)
            action = bounds.held(wish)
            if self.is_coupled and (is_bad := self._excess(*self._swept(action, state), strict=True) > 0).any():
                at = [part.expand_as(action)[is_bad] for part in state]
                action[is_bad] = self._coupled(action[is_bad], Applied(*at))
            path.append(representable(action, bounds) if is_far else action)
            state = state.after(path[-1])
        return torch.stack(path, 2)

    def _solved(self, wish: Tensor, bounds: Bounds) -> Tensor:
        """The actions (N, A) nearest to wishes within bounds, combinations and norms; a wish itself where the solver finds none."""
        scaled, quantum = self._scaled, self.quantum.cpu().numpy()
        low, high = bounds.ends()
        weights, at_most = scaled.weights.cpu().numpy(), (scaled.at_most - scaled.slack - scaled.weights.abs().sum(-1)).cpu().numpy()
        balls = [(n.elements, quantum[n.elements], n.radius - float(np.linalg.norm(quantum[n.elements]))) for n in self.box.norms]
        rows = zip(*(part.cpu().numpy() for part in (wish, low, high)), strict=True)
        found = [(nearest(asked, least, most, weights, at_most, balls), asked) for asked, least, most in rows]
        return wish.new_tensor(np.array([asked if point is None else point for point, asked in found]))

    def _bounds(self, state: Applied) -> Bounds:
        """What each element alone may do next."""
        low, high, change = self._scaled.low, self._scaled.high, self._scaled.change
        slow, fast = state.above - self._scaled.step, state.below + self._scaled.step
        least = slow
        if self._scaled.has_jerk:
            back, on = braking.fastest(torch.stack((state.above - low, high - state.below)), change)
            lowest, high = state.above - back, state.below + on
            # Outside the range these two may cross: the far side of the range is what can still be kept.
            low = torch.where(state.below < low, lowest.minimum(high), lowest)
            least, most = state.above + state.quickest - change, state.below + state.slowest + change
            slow, fast = slow.maximum(least).minimum(most), fast.minimum(most).maximum(least)
        return Bounds(low, high, slow, fast, least)

    def _swept(self, action: Tensor, state: Applied) -> tuple[Tensor, Tensor]:
        """Least and largest value of each element from an action (..., A) until it rests, braking as hard as it can."""
        if not self._scaled.has_jerk:
            return action, action
        speeds = torch.stack((state.above - action, action - state.below)).clamp(min=0)
        down, up = braking.distance(speeds, self._scaled.change)
        return action - down, action + up

    def _excess(self, nearest: Tensor, farthest: Tensor, *, strict: bool = False) -> Tensor:
        """By how much the combinations and norms are broken somewhere between two corners (..., A), (...); 0 or less is inside.

        What is strictly inside stays inside after the roundings of float64 on the way to rest.
        """
        spare, scaled = (1.0 if strict else 0.5), self._scaled
        found = []
        if self.combinations:
            sums = farthest @ scaled.up + nearest @ scaled.down
            found.append(((sums - scaled.at_most + spare * scaled.slack) / scaled.length).amax(-1))
        for norm, quantum in zip(self.box.norms, scaled.norm_quanta, strict=True):
            furthest = torch.maximum(-nearest[..., norm.elements], farthest[..., norm.elements]) * quantum
            length = torch.linalg.vector_norm(furthest, dim=-1)
            found.append((length - norm.radius * (1 - spare * _SHAVED)) / quantum.amax())
        return torch.stack(found).amax(0) if found else nearest.new_full(nearest.shape[:-1], -torch.inf)

    def _coupled(self, action: Tensor, state: Applied) -> Tensor:
        """Actions (N, A) near the given ones that keep combinations and norms, too; where none is known, the least bad ones."""
        bounds = self._bounds(state)
        low, high = bounds.ends()
        home = braked = bounds.held(state.below)
        at_home = self._excess(*self._swept(home, state))
        if (is_lost := at_home > 0).any():
            # Straight towards rest: limits are convex, so what is broken is broken less there.
            way = self._quantised(self.rest) - braked
            share = torch.where(way == 0, 1.0, torch.where(way > 0, high - braked, low - braked) / way).clamp(0, 1).amin(-1, keepdim=True)
            home = torch.where(is_lost[:, None], braked + (share * way).trunc(), braked)
            at_home = self._excess(*self._swept(home, state))
        slid = self._slid(action, state, low, high)
        at_slid = self._excess(*self._swept(slid, state), strict=True)
        is_kept = at_slid <= 0
        found = torch.where(is_kept[:, None], slid, home)
        # On the straight line from home a convex limit is used up by no more than the share of the way.
        share = ((at_home + self._scaled.rounding) / (at_home - at_slid)).clamp(0, 1).nan_to_num(nan=0.0)[:, None]
        for part in _PARTS:
            if is_kept.all():
                break
            trial = home + (part * share * (slid - home)).trunc()
            is_new = ~is_kept & (self._excess(*self._swept(trial, state), strict=True) <= 0)
            found, is_kept = torch.where(is_new[:, None], trial, found), is_kept | is_new
        if (is_lost := (at_home > 0) & ~is_kept).any():
            choice = torch.stack((slid, braked, home))
            least = self._excess(*self._swept(choice, state)).argmin(0)
            found = torch.where(is_lost[:, None], choice[least, torch.arange(len(slid), device=slid.device)], found)
        return found

    def _slid(self, action: Tensor, state: Applied, low: Tensor, high: Tensor) -> Tensor:
        """Actions (N, A), moved straight out of the combination that they break most and into the balls, a few times in turn."""
        scaled, slid = self._scaled, action
        for _ in range(_ROUNDS):
            if self.combinations:
                nearest, farthest = self._swept(slid, state)
                over = (farthest @ scaled.up + nearest @ scaled.down - scaled.at_most + scaled.slack) / scaled.length + scaled.rounding
                over, worst = over.max(-1, keepdim=True)
                slope = scaled.weights[worst[:, 0]] / scaled.length[worst]
                if scaled.has_jerk:
                    ahead = torch.where(slope > 0, slid - state.below, state.above - slid).clamp(min=0)
                    slope = slope * (1 + (ahead / scaled.change).floor())
                    over = over / slope.square().sum(-1, keepdim=True)
                slid = slid - over.clamp(min=0) * slope
            for norm, quantum in zip(self.box.norms, scaled.norm_quanta, strict=True):
                nearest, farthest = self._swept(slid, state)
                furthest = torch.maximum(-nearest[:, norm.elements], farthest[:, norm.elements]) * quantum
                inner = norm.radius * (1 - _SHAVED) - scaled.rounding * quantum.amax()
                scale = (inner / torch.linalg.vector_norm(furthest, dim=-1, keepdim=True)).clamp(0, 1).nan_to_num(nan=0.0)
                slid = slid.index_copy(1, torch.arange(slid.shape[1], device=slid.device)[norm.elements], slid[:, norm.elements] * scale)
            slid = slid.minimum(high).maximum(low)
        return slid.round()


class _Scaled(NamedTuple):
    """Limits in quanta, float64."""

    step: Tensor  # (A,)
    change: Tensor  # (A,)
    low: Tensor  # (A,)
    high: Tensor  # (A,)
    weights: Tensor  # (C, A), quanta to the unit of the sum
    up: Tensor  # (A, C), the positive ones
    down: Tensor  # (A, C), the negative ones
    at_most: Tensor  # (C,), the unit of the sum
    slack: Tensor  # (C,), how much of that is not used
    length: Tensor  # (C,), norms of the weights
    norm_quanta: tuple[Tensor, ...]  # of the elements of each norm limit, physical units
    rounding: float  # how far an action moves when its elements are rounded, at most
    has_jerk: bool

    @classmethod
    def of(cls, limits: PathLimits) -> _Scaled:
        low, high = limits.low.double(), limits.high.double()
        weights = low.new_tensor([c.weights for c in limits.combinations]).reshape(-1, len(low))
        at_most = low.new_tensor([c.at_most for c in limits.combinations])
        largest = (weights * torch.maximum(low.abs(), high.abs())).abs().sum(-1)
        in_quanta = weights * limits.quantum
        return cls(
            step=whole(limits.step / limits.quantum),
            change=whole(limits.change / limits.quantum),
            low=(low / limits.quantum).ceil(),
            high=(high / limits.quantum).floor(),
            weights=in_quanta,
            up=in_quanta.clamp(min=0).T.contiguous(),
            down=in_quanta.clamp(max=0).T.contiguous(),
            at_most=at_most,
            slack=_SHAVED * (largest + at_most.abs()),
            length=torch.linalg.vector_norm(in_quanta, dim=-1),
            norm_quanta=tuple(limits.quantum[norm.elements] for norm in limits.box.norms),
            rounding=len(low) ** 0.5,
            has_jerk=bool(limits.change.isfinite().any()),
        )


def _finite(actions: Tensor) -> Tensor:
    return actions.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
