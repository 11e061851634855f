"""Actions counted in whole quanta, where differences are exact: what was applied, and how far the next action may go.

Everything here is float64 that holds whole numbers. Dimensions: (..., A) action elements.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tacit.planning import braking
from tacit.planning.limits import BoxLimits

LARGEST = 2.0**24  # up to here float32 holds every whole number
FAR = 2.0**40  # quanta; an applied action further out counts as this far


class Applied(NamedTuple):
    """The last two applied actions (..., A) in quanta; each between two whole numbers, which are the same when it is on the grid."""

    below: Tensor
    above: Tensor
    earlier_below: Tensor
    earlier_above: Tensor

    @classmethod
    def of(cls, last: Tensor, before: Tensor) -> Applied:
        last, before = last.clamp(-FAR, FAR), before.clamp(-FAR, FAR)
        return cls(last.floor(), last.ceil(), before.floor(), before.ceil())

    @property
    def slowest(self) -> Tensor:
        """Least last step."""
        return self.below - self.earlier_above

    @property
    def quickest(self) -> Tensor:
        """Largest last step."""
        return self.above - self.earlier_below

    def after(self, action: Tensor) -> Applied:
        """The same, one action later."""
        return Applied(action, action, self.below, self.above)


class Bounds(NamedTuple):
    """What elements (..., A) may do next."""

    low: Tensor  # from where they can stop inside the range
    high: Tensor
    slow: Tensor  # how far they get
    fast: Tensor
    least: Tensor  # how far they get if the rate does not count

    def ends(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value that may come next."""
        return self.low.minimum(self.fast).maximum(self.slow), self.high.maximum(self.low).minimum(self.fast).maximum(self.slow)

    def held(self, wish: Tensor) -> Tensor:
        """The nearest value to a wish; rate and jerk decide where not both can hold."""
        return wish.minimum(self.high).maximum(self.low).minimum(self.fast).maximum(self.slow)


def quanta(box: BoxLimits) -> Tensor:
    """What float32 tells apart at the far end of each element's range, (A,) float64: powers of two."""
    exponent = torch.frexp(torch.maximum(box.low.abs(), box.high.abs()).double()).exponent
    return torch.ldexp(torch.ones_like(box.low, dtype=torch.float64), (exponent - 24).clamp(min=-149))


def whole(limit: Tensor) -> Tensor:
    return limit.floor().clamp(max=braking.UNLIMITED)


def representable(action: Tensor, bounds: Bounds) -> Tensor:
    """Actions that float32 holds, still within reach, near those that are too large for it to hold every one."""
    spacing = torch.exp2((action.abs().clamp(min=1).log2().floor() - 23).clamp(min=0))
    lower = (action / spacing).floor() * spacing
    upper = lower + spacing
    is_upper = (lower < bounds.slow) & ((upper <= bounds.fast) | (lower < bounds.least))
    return torch.where(is_upper, upper, lower)
