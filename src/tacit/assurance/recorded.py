"""What decides for a machine, with a ledger of all that it decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, final

from numpy.typing import ArrayLike

from tacit.assurance.ledger import Ledger
from tacit.planning.decision import Decision


class Actor(Protocol):
    """What decides for one machine: a controller, or a supervisor around one."""

    def reset(self, goal: Mapping[str, ArrayLike] | None = None, applied: ArrayLike | None = None) -> None:
        """Begin a new episode; both have a batch dimension of 1, as in `Controller.reset`."""

    def retarget(self, setpoints: Mapping[str, ArrayLike]) -> None:
        """Change setpoints while the machine runs; see `Controller.retarget`."""

    def act(self, observation: Mapping[str, ArrayLike | None], applied: ArrayLike | None = None) -> Decision:
        """Decide what to do now."""


@final
class Recorded:
    """An actor whose every decision goes into a ledger. Give it away in the place of the actor, and let nobody else call that one.

    A `Supervisor` is given the ledger itself: it notes more than this, without which its decisions could not be made again.
    """

    def __init__(self, actor: Actor, ledger: Ledger) -> None:
        """Args:
        actor: Decides; it is new, or was only ever called by another `Recorded` with this ledger.
        ledger: Open.
        """
        self._actor = actor
        self._ledger = ledger

    def reset(self, goal: Mapping[str, ArrayLike] | None = None, applied: ArrayLike | None = None) -> None:
        """Begin a new episode; see `Controller.reset`."""
        self._actor.reset(goal, applied)
        self._ledger.begin(goal, applied)

    def retarget(self, setpoints: Mapping[str, ArrayLike]) -> None:
        """Change setpoints, and note it; see `Controller.retarget`."""
        self._actor.retarget(setpoints)
        self._ledger.retarget(setpoints)

    def act(self, observation: Mapping[str, ArrayLike | None], applied: ArrayLike | None = None) -> Decision:
        """Decide, and note it; see `Controller.act`. A disk that does not keep up or is broken never keeps a decision from being made."""
        decision = self._actor.act(observation, applied)
        self._ledger.add(observation, decision, applied=applied)
        return decision
