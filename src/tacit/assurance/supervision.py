"""The settings of a supervisor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """When the supervisor takes over, and when it gives back.

    Attributes:
        release: Share of the alarm level that the monitor's statistic must stay below before the plan is followed again, 0 to 1.
        dwell: Steps that it must stay there without a break, and the least number of steps of a fallback.
        blend: Steps in which the action goes from the fallback's to the plan's.
        oldest: Seconds after which an observation is too old to act on; None when its age is not known.
        deadline: Seconds after which a decision comes too late to be sent; None for no such thing.

    Raises:
        ValueError: A number is out of its domain.
    """

    release: float = 0.8
    dwell: int = 10
    blend: int = 5
    oldest: float | None = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.release <= 1 or self.dwell < 1 or self.blend < 0:
            raise ValueError(f"supervision: release {self.release} must be a share, dwell {self.dwell} >= 1 and blend {self.blend} >= 0")
        for name, value in (("oldest", self.oldest), ("deadline", self.deadline)):
            if value is not None and not value > 0:
                raise ValueError(f"supervision: {name} must be a positive number of seconds, not {value}")
