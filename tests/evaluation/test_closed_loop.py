"""A plant in closed loop: what happens in a scenario, what it is scored, and the page about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tacit.cli.evaluate_plant import plant_task
from tacit.evaluation.closed_loop import Constant, Fan, Floats, PidControl, Samples, Scenario, Trace, drive, scenarios
from tacit.evaluation.plant_page import Result, headline, numbers, render_plant
from tacit.evaluation.plant_score import score
from tacit.planning import ActionLimit, Goal, Indicator, SignalGoal, SignalLimit, Task, Verdict
from tacit.worlds.plants import Gains, Plant, plant

GAINS = {"level_1": Gains(gain=1.2, integral_seconds=40.0), "level_2": Gains(gain=1.5, integral_seconds=40.0)}
TANKS = plant("four_tank")
TASK = plant_task(TANKS)
STILL = Scenario(
    name="setpoint",
    seed=3,
    steps=60,
    setpoints={0: {"level_1": 12.4, "level_2": 12.7}, 5: {"level_1": 13.0}},
    disturbances={0: {name: value for name, value in TANKS.operating_point.items() if not name.startswith(("level", "pump"))}},
)


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    return [drive(plant("four_tank"), policy, STILL) for policy in (PidControl(GAINS), Constant())]


def test_scenarios_are_the_same_for_a_seed_and_stay_in_normal_operation() -> None:
    found, again, other = (scenarios(TANKS, episodes=4, steps=200, seed=seed) for seed in (0, 0, 1))
    assert found == again != other
    assert [scenario.name.split(":")[0] for scenario in found] == ["setpoints 1", "disturbance 1", "setpoints 2", "disturbance 2"]
    for scenario in found:
        assert set(scenario.setpoints[0]) == {"level_1", "level_2"}
        assert all(9 <= value <= 16 for moved in scenario.setpoints.values() for value in moved.values())
    begins = sorted(found[1].disturbances)
    assert begins == [0, 40]
    (hidden,) = found[1].disturbances[40]
    assert hidden in {s.name for s in TANKS.schema.labels}
    assert "inflow_2" in found[1].disturbances[0], "all others stay as they are"


def test_what_is_logged_is_what_happened(traces: list[Trace]) -> None:
    control, constant = traces
    assert control.signals["level_1.true"].shape == (61,)
    assert np.isnan(control.signals["level_3"][1:12]).all(), "the dipped level has a sample a minute"
    assert control.setpoints["level_1"].tolist() == [12.4] * 5 + [13.0] * 55
    np.testing.assert_array_equal(constant.actions, np.full((60, 2), 3.0))
    assert (control.actions[5:] != 3.0).any()


def test_a_lead_is_the_operators_and_none_of_it_counts() -> None:
    """As on site, where what is taken over runs already: the policy has seen all of it, and knows what was sent."""
    led = replace(STILL, lead=20)
    alone, after = (drive(plant("four_tank"), PidControl(GAINS), scenario) for scenario in (STILL, led))
    smooth, constant = (drive(plant("four_tank"), policy, led, operator=PidControl(GAINS)) for policy in (PidControl(GAINS), Constant()))
    assert len(smooth.actions) == len(alone.actions) == 60
    np.testing.assert_array_equal(after.before, [3.0, 3.0], "nobody operates: it stays at its operating point")
    np.testing.assert_array_equal(smooth.before, constant.before)
    assert (smooth.before != 3.0).any()
    whole = drive(
        plant("four_tank"), PidControl(GAINS), replace(STILL, steps=80, setpoints={0: STILL.setpoints[0], 25: STILL.setpoints[5]})
    )
    np.testing.assert_allclose(smooth.actions, whole.actions[20:], err_msg="PI control goes on as if it had been in charge all along")
    assert smooth.setpoints["level_1"].tolist() == alone.setpoints["level_1"].tolist()


def test_a_policy_watches_what_the_operator_does() -> None:
    seen: list[tuple[float, float]] = []

    class Watching:
        name = "watching"

        def begin(self, plant: Plant) -> None:
            seen.clear()

        def watch(self, samples: Samples, setpoints: Mapping[str, float], commands: Floats) -> None:
            seen.append((setpoints["level_1"], commands[0]))

        def act(self, samples: Samples, setpoints: Mapping[str, float]) -> tuple[Floats, None]:
            return np.array([3.0, 3.0]), None

    drive(plant("four_tank"), Watching(), replace(STILL, lead=15), operator=PidControl(GAINS))
    assert len(seen) == 15
    assert {wanted for wanted, _ in seen} == {12.4}
    assert len({sent for _, sent in seen}) > 1


def test_scores_are_errors_of_the_truth(traces: list[Trace]) -> None:
    control, constant = (score(trace, TANKS, TASK) for trace in traces)
    truth = traces[1].signals["level_1.true"][1:]
    missed = truth - traces[1].setpoints["level_1"]
    assert constant.error["level_1"] == pytest.approx(float(np.sqrt((missed**2).mean())))
    assert constant.offset["level_1"] == pytest.approx(missed[-6:].mean())
    spans = {loop.controlled: loop.high - loop.low for loop in TANKS.loops}
    both = [(traces[1].signals[name + ".true"][1:] - traces[1].setpoints[name]) / spans[name] for name in spans]
    assert constant.tracking == pytest.approx(np.square(both).mean() * 60 * 5.0)
    assert control.tracking < constant.tracking
    assert constant.moves == {"pump_1": 0.0, "pump_2": 0.0}
    assert (constant.broken, constant.fallbacks, control.broken) == (0, 0, 0)


def test_broken_limits_are_counted(traces: list[Trace]) -> None:
    trace = traces[1]
    fast = replace(trace, actions=np.where(np.arange(60)[:, None] == 7, 6.5, trace.actions), verdicts=(Verdict.ACT, Verdict.FALLBACK))
    found = score(fast, TANKS, TASK)
    assert found.broken == 2, "out of its range and too fast, and too fast on the way back"
    assert found.fallbacks == 1
    high = replace(TASK, signals={"level_1": SignalLimit(high=12.0)})
    assert score(trace, TANKS, high).broken == int((trace.signals["level_1.true"][1:] > 12.0).sum()) > 0
    soft = replace(TASK, signals={"level_1": SignalLimit(high=12.0, hard=False)})
    assert score(trace, TANKS, soft).broken == 0
    narrow = replace(TASK, limits={"pump_1": ActionLimit(high=2.0)})
    assert score(trace, TANKS, narrow).broken == 60


def test_indicators_are_means(traces: list[Trace]) -> None:
    goal = Goal(signals={"level_1": SignalGoal(value=1.0)}, indicators=(Indicator(name="volts", terms={"pump_1": 1.0, "pump_2": 2.0}),))
    assert score(traces[1], TANKS, Task(goal=goal)).indicators == {"volts": 9.0}


def test_the_page_stands_alone_and_says_what_came_out(traces: list[Trace], tmp_path: Path) -> None:
    fan = Fan(step=10, channels={"level_1": np.linspace(12.4, 13.0, 20, dtype=np.float32)})
    named = replace(traces[0], policy="Tacit <1>", fans=(fan,))
    task = replace(TASK, signals={"level_1": SignalLimit(high=13.5)})
    results = [Result(trace=trace, score=score(trace, TANKS, task)) for trace in (named, *traces)]
    render_plant(tmp_path / "plant.html", results, TANKS, task, run="tanks", spread={"level_1": (0.1, 0.2)})
    page = (tmp_path / "plant.html").read_text()
    assert not re.search(r"<script|src=\"(?!data:)|href=\"(?!#)", page)
    assert "Tacit &lt;1&gt; broke no hard limit and left 0 % less integrated squared error than PI control." in page
    for words in ("level_1 ≤ 13.5, hard", "A decision every 5 seconds", "setpoint", "constant", "held-out logs shaded"):
        assert words in page
    assert "watched" not in page
    led = [replace(result, trace=replace(result.trace, scenario=replace(STILL, lead=90))) for result in results]
    render_plant(tmp_path / "led.html", led, TANKS, task, run="tanks")
    assert "the same disturbances, after it had watched 7.5 minutes of normal operation." in (tmp_path / "led.html").read_text()
    assert headline(results[1:], ("PI control", "constant")).endswith("less integrated squared error than constant.")
    assert set(numbers(results)) == {"Tacit <1>", "PI control", "constant"}


def test_a_score_without_number_is_null_and_says_why(traces: list[Trace]) -> None:
    whole = score(traces[0], TANKS, TASK)
    broken = replace(whole, tracking=float("nan"), error=dict(whole.error) | {"level_1": float("inf")})
    found = numbers([Result(trace=traces[0], score=broken), Result(trace=traces[1], score=whole)])
    text = json.loads(json.dumps(found, allow_nan=False))
    (one,), (other,) = (list(each.values()) for each in text.values())
    assert one["tracking"] is None
    assert one["error"] == {**whole.error, "level_1": None}
    assert one["null"] == "nothing finite was measured that tells error, tracking"
    assert "null" not in other
