"""The planners of the house. Each goes through every test that asks for `make_planner`: add a new one here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from tacit.contracts import Planner, WorldModel
from tacit.planning import (
    CEM,
    ICEM,
    MPPI,
    CEMConfig,
    GradientConfig,
    GradientPlanner,
    ICEMConfig,
    MPPIConfig,
    NewtonConfig,
    NewtonPlanner,
    ProposeVerify,
    ProposeVerifyConfig,
)

MakePlanner: TypeAlias = Callable[..., Planner]


def make_cem(model: WorldModel, *, effort: int = 3, candidates: int = 128, seed: int = 0) -> Planner:
    return CEM(model, CEMConfig(candidates=candidates, elites=candidates // 10, iterations=effort, min_std=0.0), seed=seed)


def make_icem(model: WorldModel, *, effort: int = 3, candidates: int = 128, seed: int = 0) -> Planner:
    config = ICEMConfig(candidates=candidates, elites=candidates // 20, iterations=effort, min_std=0.0, noise_exponent=0.5, decay=1.02)
    return ICEM(model, config, seed=seed)


def make_mppi(model: WorldModel, *, effort: int = 3, candidates: int = 128, seed: int = 0) -> Planner:
    return MPPI(model, MPPIConfig(candidates=candidates, iterations=effort), seed=seed)


def make_gradient(model: WorldModel, *, effort: int = 3, candidates: int = 128, seed: int = 0) -> Planner:
    return GradientPlanner(model, GradientConfig(candidates=candidates, iterations=effort), seed=seed)


def make_propose_verify(model: WorldModel, *, effort: int = 3, candidates: int = 128, seed: int = 0) -> Planner:
    config = ProposeVerifyConfig(candidates=candidates, elites=4, iterations=effort, refine_std=0.3, shrink=0.85, noise_correlation=0.0)
    return ProposeVerify(model, config, seed=seed)


def make_newton(model: WorldModel, *, effort: int = 3, candidates: int = 128, seed: int = 0) -> Planner:
    return NewtonPlanner(model, NewtonConfig(iterations=effort), seed=seed)


PLANNERS: dict[str, MakePlanner] = {
    "cem": make_cem,
    "icem": make_icem,
    "mppi": make_mppi,
    "gradient": make_gradient,
    "propose-verify": make_propose_verify,
}


@pytest.fixture(params=[*PLANNERS.values(), make_newton], ids=[*PLANNERS, "newton"])
def make_planner(request: pytest.FixtureRequest) -> MakePlanner:
    """`make_planner(model, effort=iterations, candidates=candidates, seed=seed)`."""
    make: MakePlanner = request.param
    return make


@pytest.fixture(params=PLANNERS.values(), ids=PLANNERS.keys())
def make_search(request: pytest.FixtureRequest) -> MakePlanner:
    """The same, of planners that draw as many candidates as they are told; a Newton step tries what it needs."""
    make: MakePlanner = request.param
    return make
