"""The planners that tasks can name, and what each of them takes and needs. Nobody else tells planners apart by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import final

from tacit.contracts import Planner
from tacit.planning.cem import CEM, CEMConfig
from tacit.planning.gradient import GradientConfig, GradientPlanner
from tacit.planning.icem import ICEM, ICEMConfig
from tacit.planning.mppi import MPPI, MPPIConfig
from tacit.planning.newton import NewtonConfig, NewtonPlanner
from tacit.planning.policy_rollout import WAYS, PolicyRollout, PolicyRolloutConfig
from tacit.planning.propose_verify import ProposeVerify, ProposeVerifyConfig
from tacit.planning.search import SearchConfig

OF_SEARCHES = ("candidates", "iterations", "initial_std", "noise_correlation", "local_share")
"""Settings of `[plan]` that not every planner has."""


@final
@dataclass(frozen=True, kw_only=True)
class PlannerKind:
    """A planner that tasks can name.

    Attributes:
        make: Makes it of a model, its config, and the `seed` of what it draws.
        config: Class of its config.
        lacks: Those of `OF_SEARCHES` that it does not have, and why.
        ways: W, where it compares W ways of the goal policy (`ImaginedDetours`): all of its candidates are proposals, in W equal parts of
            two at least, and the goal has to be one that is observed. None where it has candidates of its own.
        needs_squares: Whether the cost has to be a sum of squares (`tacit.contracts.LeastSquares`).
    """

    make: Callable[..., Planner]
    config: type[SearchConfig | PolicyRolloutConfig]
    lacks: Mapping[str, str] = field(default_factory=dict)
    ways: int | None = None
    needs_squares: bool = False

    @property
    def takes(self) -> tuple[str, ...]:
        """Those of `OF_SEARCHES` that it has."""
        return tuple(name for name in OF_SEARCHES if name not in self.lacks)


_NOT_DRAWN = "nothing in it is drawn by chance"
_PROPOSED = "all of its candidates are proposals"
KINDS: Mapping[str, PlannerKind] = {
    "cem": PlannerKind(make=CEM, config=CEMConfig),
    "icem": PlannerKind(
        make=ICEM,
        config=ICEMConfig,
        lacks={
            "noise_correlation": "its noise is coloured, which is smooth by itself",
            "local_share": "it fits all of its candidates",
        },
    ),
    "mppi": PlannerKind(make=MPPI, config=MPPIConfig, lacks={"local_share": "it weighs all of its candidates"}),
    "gradient": PlannerKind(make=GradientPlanner, config=GradientConfig, lacks={"local_share": "it improves all of its candidates"}),
    "propose-verify": PlannerKind(
        make=ProposeVerify, config=ProposeVerifyConfig, lacks={"local_share": "half of its own samples come to rest"}
    ),
    "policy-rollout": PlannerKind(
        make=lambda model, config, seed: PolicyRollout(model, config),
        config=PolicyRolloutConfig,
        lacks={
            "iterations": "it compares once",
            "initial_std": _PROPOSED,
            "noise_correlation": _PROPOSED,
            "local_share": _PROPOSED,
        },
        ways=WAYS,
    ),
    "newton": PlannerKind(
        make=NewtonPlanner,
        config=NewtonConfig,
        lacks={
            "candidates": "it tries as many as it needs",
            "initial_std": _NOT_DRAWN,
            "noise_correlation": _NOT_DRAWN,
            "local_share": _NOT_DRAWN,
        },
        needs_squares=True,
    ),
}
"""Every planner, by the name that `[plan] planner` has for it; the first one is the default."""
