"""Planners as tasks ask for them."""

from __future__ import annotations

from dataclasses import fields

from tacit.contracts import Planner, WorldModel
from tacit.planning.plan_settings import PlanSettings
from tacit.planning.search import EliteConfig


def planner_for(model: WorldModel, settings: PlanSettings, *, seed: int = 0) -> Planner:
    """The planner that a task names, with its settings and, where it has elites, about a tenth of the candidates as such."""
    kind = settings.kind
    known = {f.name for f in fields(kind.config)}  # of a planner that is given all candidates, not their number
    given = {name: getattr(settings, name) for name in kind.takes if name in known}
    if issubclass(kind.config, EliteConfig):
        given["elites"] = max(1, settings.candidates // 10)
    return kind.make(model, kind.config(**given), seed=seed)
