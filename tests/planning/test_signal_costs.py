"""Costs of goals on signals against what they come to on paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from linear_plants import READOUTS, SCHEMA, SPREADS

from tacit.contracts import LeastSquares
from tacit.planning import Goal, Indicator, SignalCost, SignalGoal, Task, TaskError, for_signals, signal_objective

HORIZON = 3
TRAJECTORY = torch.tensor([[[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]], [[0.0, 0.0]] * 3]])  # one machine, two candidates
ACTIONS = torch.tensor([[[[0.0, 0.0], [2.0, 0.0], [2.0, -4.0]], [[1.0, 1.0]] * 3]])
PREVIOUS = torch.tensor([[1.0, 1.0]])


def cost(goal: Goal, offset: float = 0.0) -> SignalCost:
    objective = signal_objective(Task(goal=goal, plan=for_signals(horizon=HORIZON)), SCHEMA, READOUTS, SPREADS)
    assert objective is not None
    low, high = (part.expand(1, HORIZON, -1) for part in (objective.low, objective.high))
    return objective.cost(low=low, high=high, offset=torch.full_like(low, offset), previous=PREVIOUS)


def scored(goal: Goal, offset: float = 0.0) -> list[float]:
    made = cost(goal, offset)
    assert isinstance(made, LeastSquares)
    return made(TRAJECTORY, ACTIONS)[0].tolist()


STILL = {"pump_1": 0.0, "pump_2": 0.0}


def test_an_error_of_one_spread_costs_its_weight_at_each_step() -> None:
    goal = Goal(signals={"level_1": SignalGoal(value=2.0, weight=3.0)}, moves=STILL)
    assert scored(goal) == [3 * (1 + 0 + 1) / 4, 3 * (4 + 4 + 4) / 4]


def test_the_estimated_disturbance_is_added_to_what_is_predicted() -> None:
    goal = Goal(signals={"level_1": SignalGoal(value=2.0, scale=1.0)}, moves=STILL)
    assert scored(goal, offset=1.0) == [0 + 1 + 4, 3.0]


def test_inside_a_range_nothing_costs() -> None:
    goal = Goal(signals={"level_2": SignalGoal(low=10.0, high=25.0, scale=1.0)}, moves=STILL)
    assert scored(goal) == [25.0, 300.0]
    assert scored(Goal(signals={"level_2": SignalGoal(high=25.0, scale=1.0)}, moves=STILL)) == [25.0, 0.0]


def test_changes_of_actions_are_counted_from_the_last_applied_one_in_units_of_the_range() -> None:
    goal = Goal(signals={"level_1": SignalGoal(low=-50.0, high=50.0)}, moves={"pump_1": 400.0, "pump_2": 0.0})
    assert scored(goal) == [1 + 4 + 0, 0.0]


def test_indicators_are_sums_of_channels_and_actions() -> None:
    energy = Indicator(name="energy", terms={"pump_1": 0.5, "level_2": 1.0}, weight=2.0, scale=10.0)
    assert scored(Goal(indicators=(energy,), moves=STILL)) == pytest.approx([0.2 * (60 + 2), 0.2 * 1.5])
    yields = Indicator(name="yield", terms={"level_2": 1.0}, maximise=True)
    assert scored(Goal(indicators=(yields,), moves=STILL)) == pytest.approx([-60 / 4, 0.0]), "its scale is the spread"


def test_what_cannot_be_foreseen_is_not_tracked() -> None:
    task = Task(goal=Goal(signals={"level_1": SignalGoal(value=2.0, scale=1.0)}, moves=STILL), plan=for_signals(horizon=HORIZON))
    objective = signal_objective(task, SCHEMA, READOUTS, SPREADS, {"level_1": 1})
    assert objective is not None
    low, high = (part.expand(1, HORIZON, -1) for part in (objective.low, objective.high))
    made = objective.cost(low=low, high=high, offset=torch.zeros_like(low), previous=PREVIOUS)
    assert made(TRAJECTORY, ACTIONS)[0].tolist() == [1.0, 4.0], "of three steps, the first"
    torch.testing.assert_close(made.residuals(TRAJECTORY, ACTIONS).square().sum(-1), made(TRAJECTORY, ACTIONS))


def test_what_is_not_in_the_residuals_is_linear() -> None:
    """A Newton step believes so."""
    goal = Goal(signals={"level_1": SignalGoal(value=2.0)}, indicators=(Indicator(name="energy", terms={"pump_1": 1.0, "level_2": 0.1}),))
    made = cost(goal)
    rest = made(TRAJECTORY, ACTIONS) - made.residuals(TRAJECTORY, ACTIONS).square().sum(-1)
    doubled = made(2 * TRAJECTORY, 2 * ACTIONS) - made.residuals(2 * TRAJECTORY, 2 * ACTIONS).square().sum(-1)
    torch.testing.assert_close(doubled, 2 * rest)
    assert (rest != 0).any()


def test_a_prediction_that_is_not_finite_never_looks_good() -> None:
    made = cost(Goal(signals={"level_1": SignalGoal(low=0.0)}))
    assert made(torch.full_like(TRAJECTORY, torch.nan), ACTIONS).isnan().all()


def test_without_a_spread_the_range_counts_and_without_a_range_a_scale_is_asked_for() -> None:
    objective = signal_objective(Task(goal=Goal(signals={"level_1": SignalGoal(value=2.0)})), SCHEMA, READOUTS)
    assert objective is not None
    np.testing.assert_allclose(objective.weight.numpy(), [1e-4])

    class Hidden:
        names, unit = ("quality",), "%"

    with pytest.raises(TaskError, match=r"^goal\.signals\.quality: nothing says how large an error of 'quality' is: give a scale"):
        signal_objective(Task(goal=Goal(signals={"quality": SignalGoal(value=2.0)})), SCHEMA, {"quality": Hidden()})  # type: ignore[dict-item]
