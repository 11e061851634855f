"""Planners by the names that tasks call them."""

from __future__ import annotations

from tacit.contracts import Planner, WorldModel
from tacit.planning.cem import CEM, CEMConfig
from tacit.planning.gradient import GradientConfig, GradientPlanner
from tacit.planning.icem import ICEM, ICEMConfig
from tacit.planning.mppi import MPPI, MPPIConfig
from tacit.planning.propose_verify import ProposeVerify, ProposeVerifyConfig
from tacit.planning.task import PlanSettings


def planner_for(model: WorldModel, settings: PlanSettings, *, seed: int = 0) -> Planner:
    """The planner that a task names, with its settings and, where it has elites, about a tenth of the candidates as such."""
    return _MAKERS[settings.planner](model, settings, seed)


def _cem(model: WorldModel, settings: PlanSettings, seed: int) -> Planner:
    config = CEMConfig(
        candidates=settings.candidates,
        elites=_elites(settings),
        iterations=settings.iterations,
        initial_std=settings.initial_std,
        noise_correlation=settings.noise_correlation,
        local_share=settings.local_share,
    )
    return CEM(model, config, seed=seed)


def _icem(model: WorldModel, settings: PlanSettings, seed: int) -> Planner:
    config = ICEMConfig(
        candidates=settings.candidates,
        elites=_elites(settings),
        iterations=settings.iterations,
        initial_std=settings.initial_std,
    )
    return ICEM(model, config, seed=seed)


def _mppi(model: WorldModel, settings: PlanSettings, seed: int) -> Planner:
    config = MPPIConfig(
        candidates=settings.candidates,
        iterations=settings.iterations,
        initial_std=settings.initial_std,
        noise_correlation=settings.noise_correlation,
    )
    return MPPI(model, config, seed=seed)


def _gradient(model: WorldModel, settings: PlanSettings, seed: int) -> Planner:
    config = GradientConfig(
        candidates=settings.candidates,
        iterations=settings.iterations,
        initial_std=settings.initial_std,
        noise_correlation=settings.noise_correlation,
    )
    return GradientPlanner(model, config, seed=seed)


def _propose_verify(model: WorldModel, settings: PlanSettings, seed: int) -> Planner:
    config = ProposeVerifyConfig(
        candidates=settings.candidates,
        elites=_elites(settings),
        iterations=settings.iterations,
        initial_std=settings.initial_std,
        noise_correlation=settings.noise_correlation,
    )
    return ProposeVerify(model, config, seed=seed)


def _elites(settings: PlanSettings) -> int:
    return max(1, settings.candidates // 10)


_MAKERS = {"cem": _cem, "icem": _icem, "mppi": _mppi, "gradient": _gradient, "propose-verify": _propose_verify}
