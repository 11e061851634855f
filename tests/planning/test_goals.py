"""Goals on signals in a task file: what they come to, and that each mistake is found on its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from linear_plants import READOUTS, SCHEMA, SPREADS

from tacit.planning import Goal, Indicator, PlanSettings, SignalGoal, Task, TaskError, for_signals, signal_objective
from tacit.signals import Role, Schema, Signal

TASK = """\
[goal.signals]
level_1 = 12.4
level_2 = { low = -5, high = 5.0, weight = 2.0, unit = "cm" }

[goal.minimise.energy]
terms = { pump_1 = 0.3, level_2 = 0.1 }
weight = 0.5
unit = "kW"

[goal.moves]
pump_1 = 2.0
"""


def test_a_task_file_says_where_signals_should_be() -> None:
    task = Task.from_text(TASK, ".")
    assert task.goal is not None
    assert task.goal.signals == {"level_1": SignalGoal(value=12.4), "level_2": SignalGoal(low=-5.0, high=5.0, weight=2.0, unit="cm")}
    assert task.goal.indicators == (Indicator(name="energy", terms={"pump_1": 0.3, "level_2": 0.1}, weight=0.5, unit="kW"),)
    assert task.goal.moves == {"pump_1": 2.0}
    assert not task.goal.observations
    assert task.plan == for_signals(), "a process is planned for otherwise than a picture"
    task.check(SCHEMA)
    assert signal_objective(task, SCHEMA, READOUTS, SPREADS) is not None


def test_an_element_of_a_vector_has_the_range_of_its_sensor() -> None:
    arm = Schema(
        signals=(
            Signal(name="tip", role=Role.OBSERVATION, shape=(2,), unit="m", low=-1.0, high=1.0),
            Signal(name="torque", role=Role.ACTION, low=-1.0, high=1.0),
        )
    )
    Task(goal=Goal(signals={"tip.1": SignalGoal(value=0.5)})).check(arm)
    with pytest.raises(TaskError, match=r"goal.signals.tip.1.value: 5 is outside the range of 'tip.1', -1 to 1 m"):
        Task(goal=Goal(signals={"tip.1": SignalGoal(value=5.0)})).check(arm)


def test_one_channel_or_action_needs_no_table() -> None:
    goal = Task.from_text('goal.signals = { level_1 = 1 }\ngoal.maximise = "level_2"', ".").goal
    assert goal is not None
    assert goal.indicators == (Indicator(name="level_2", terms={"level_2": 1.0}, maximise=True),)


def test_what_the_plan_says_counts() -> None:
    plan = Task.from_text(TASK + '[plan]\nplanner = "icem"\nhorizon = 7', ".").plan
    assert (plan.planner, plan.horizon, plan.iterations) == ("icem", 7, 1)
    assert Task(goal=Goal(signals={"level_1": SignalGoal(value=1.0)})).plan == PlanSettings(), "Python says what it means"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("level_1 = 12.4", "level_1 = '12'", "task.toml:2: goal.signals.level_1: must be a number, not '12'"),
        ("level_1 = 12.4", "level_1 = true", "task.toml:2: goal.signals.level_1: must be a number, not True"),
        ("level_1 = 12.4", "level_1 = nan", "task.toml:2: goal.signals.level_1: must be finite"),
        ("level_1 = 12.4", "level_1 = 51", "task.toml:2: goal.signals.level_1.value: 51 is outside the range of 'level_1', -50 to 50 cm"),
        ("level_1 = 12.4", "pump_1 = 1", "task.toml:2: goal.signals.pump_1: 'pump_1' is a signal of role action, not observation"),
        ("level_1 = 12.4", "weather = 1", "task.toml:2: goal.signals.weather: label 'weather' is never given to a model"),
        ("level_1 = 12.4", "level_9 = 1", "task.toml:2: goal.signals.level_9: there is no readout 'level_9'; the readouts of this run are"),
        ("low = -5, high = 5.0", "low = 6, high = 5.0", "task.toml:3: goal.signals.level_2.low: low 6.0 is not below high 5.0"),
        ("low = -5, high = 5.0", "low = -99, high = 5.0", "task.toml:3: goal.signals.level_2.low: -99 is outside the range"),
        ("low = -5, high = 5.0,", "", "task.toml:3: goal.signals.level_2: needs either a value or a range"),
        ("low = -5", "value = -5", "task.toml:3: goal.signals.level_2: needs either a value or a range"),
        ("low = -5", "lower = -5", "task.toml:3: goal.signals.level_2.lower: unknown key; use one of: value, low"),
        ("weight = 2.0", "weight = 0", "task.toml:3: goal.signals.level_2.weight: must be positive"),
        ('unit = "cm"', 'unit = "mm"', "task.toml:3: goal.signals.level_2.unit: is 'mm', but 'level_2' is in 'cm'"),
        ("terms = { pump_1 = 0.3, level_2 = 0.1 }", "", "task.toml:5: goal.minimise.energy: lacks terms"),
        ("pump_1 = 0.3, ", "pump_9 = 0.3, ", "task.toml:6: goal.minimise.energy.terms.pump_9: there is no readout 'pump_9'"),
        ("pump_1 = 0.3, ", "weather = 0.3, ", "task.toml:6: goal.minimise.energy.terms.weather: label 'weather' is never given"),
        ("pump_1 = 0.3, ", "pump_1 = [1, 2], ", "task.toml:6: goal.minimise.energy.terms.pump_1: has 2 elements, but 'pump_1' has 1"),
        ("pump_1 = 0.3, level_2 = 0.1", "pump_1 = 0", "task.toml:6: goal.minimise.energy.terms: are all 0"),
        ("weight = 0.5", "wait = 0.5", "task.toml:7: goal.minimise.energy.wait: unknown key; use one of: terms, weight"),
        ("pump_1 = 2.0", "pump_1 = -2.0", "task.toml:11: goal.moves.pump_1: must not be negative"),
        ("pump_1 = 2.0", "level_1 = 2.0", "task.toml:11: goal.moves.level_1: 'level_1' is a signal of role observation, not action"),
        ("pump_1 = 2.0", "pump_1 = 2.0\n[plan]\nhold_for = 0", "task.toml:13: plan.hold_for: must be a whole number of at least 1"),
        ("pump_1 = 2.0", "pump_1 = 2.0\n[plan]\ndisturbance_filter = 2", "task.toml:13: plan.disturbance_filter: must be at least 0"),
    ],
)
def test_each_mistake_is_found_on_its_line(old: str, new: str, message: str) -> None:
    assert old in TASK
    with pytest.raises(TaskError) as error:
        _made(TASK.replace(old, new))
    assert str(error.value).startswith(message)


def _made(text: str) -> None:
    task = Task.from_text(text, ".")
    task.check(SCHEMA)
    signal_objective(task, SCHEMA, READOUTS, SPREADS)


def test_moves_alone_are_no_goal(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"goal: is empty"):
        Task.from_text("[goal.moves]\npump_1 = 1.0", tmp_path)
