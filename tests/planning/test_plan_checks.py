"""Whether a plan can be followed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from linear_worlds import Below

from tacit.contracts import Plan, Spent
from tacit.planning.plan_checks import limit_margins, objections, require_shapes

LIMIT = Below(bound=1.0)
PLAN = Plan(
    actions=torch.zeros(5, 3, 2),
    trajectory=torch.zeros(5, 3, 2),
    cost=torch.tensor([1.0, 1.0, 1.0, torch.inf, 1.0]),
    feasible=torch.tensor([True, True, True, False, False]),
    margins=torch.tensor([[0.5], [0.5], [0.5], [-0.5], [-0.5]]),
    spent=Spent(iterations=1, candidates=1, seconds=0.0, cut_by_deadline=False),
)


def test_the_first_thing_that_speaks_against_a_plan_is_told() -> None:
    observed, is_told = torch.tensor([True, False, True, True, True]), torch.tensor([True, False, False, True, True])
    step = PLAN.actions[:, 0]
    found = objections(PLAN, (LIMIT,), step, observed, is_told)
    assert found[:4] == [
        None,
        "the observation is not finite",
        "the action that was applied is not finite",
        "no plan has a finite prediction",
    ]
    (margin,) = limit_margins((LIMIT,), [-0.5])
    assert found[4] == f"every plan breaks a hard limit (the best one: {margin})"
    assert LIMIT.name in str(margin)
    unnumbered = step.clone()
    unnumbered[0, 1] = torch.nan
    assert objections(PLAN, (LIMIT,), unnumbered, observed, is_told)[0] == "no plan has a finite prediction"


@pytest.mark.parametrize("name", ["actions", "cost", "feasible", "margins"])
def test_what_is_no_plan_of_the_problem_is_refused(name: str) -> None:
    require_shapes(PLAN, (5, 3, 2), 1)
    with pytest.raises(ValueError, match=f"the planner's {name} have shape"):
        require_shapes(replace(PLAN, **{name: getattr(PLAN, name)[:4]}), (5, 3, 2), 1)
