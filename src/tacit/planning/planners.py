"""Planners by the names that tasks call them."""

from __future__ import annotations

from typing import TypedDict

from tacit.contracts import Planner, WorldModel
from tacit.planning.cem import CEM, CEMConfig
from tacit.planning.gradient import GradientConfig, GradientPlanner
from tacit.planning.icem import ICEM, ICEMConfig
from tacit.planning.mppi import MPPI, MPPIConfig
from tacit.planning.newton import NewtonConfig, NewtonPlanner
from tacit.planning.plan_settings import PlanSettings
from tacit.planning.policy_rollout import PolicyRollout, PolicyRolloutConfig
from tacit.planning.propose_verify import ProposeVerify, ProposeVerifyConfig


class _Shared(TypedDict):
    candidates: int
    iterations: int
    initial_std: float
    noise_correlation: float


def planner_for(model: WorldModel, settings: PlanSettings, *, seed: int = 0) -> Planner:
    """The planner that a task names, with its settings and, where it has elites, about a tenth of the candidates as such."""
    shared: _Shared = {
        "candidates": settings.candidates,
        "iterations": settings.iterations,
        "initial_std": settings.initial_std,
        "noise_correlation": settings.noise_correlation,
    }
    elites = max(1, settings.candidates // 10)
    match settings.planner:
        case "cem":
            return CEM(model, CEMConfig(**shared, elites=elites, local_share=settings.local_share), seed=seed)
        case "icem":
            return ICEM(model, ICEMConfig(**shared, elites=elites), seed=seed)
        case "mppi":
            return MPPI(model, MPPIConfig(**shared), seed=seed)
        case "gradient":
            return GradientPlanner(model, GradientConfig(**shared), seed=seed)
        case "newton":
            return NewtonPlanner(model, NewtonConfig(iterations=settings.iterations), seed=seed)
        case "propose-verify":
            return ProposeVerify(model, ProposeVerifyConfig(**shared, elites=elites), seed=seed)
        case "policy-rollout":
            return PolicyRollout(model, PolicyRolloutConfig())
    raise AssertionError(f"a task names {settings.planner!r}, which nobody makes")
