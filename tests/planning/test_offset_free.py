"""A controller whose model is wrong ends on its setpoints, changes them without a jump, and keeps its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from linear_plants import GAIN, Site, Tanks, controller, hold
from torch import Tensor

from tacit.planning import ActionLimit, Controller, Goal, Indicator, SignalGoal, SignalLimit, Task, TaskError, Verdict, for_signals
from tacit.planning.disturbance import OutputDisturbance
from tacit.signals import Role, Schema, Signal

RESERVOIR = Schema(
    signals=(
        Signal(name="level", role=Role.OBSERVATION, unit="cm", low=-50.0, high=50.0),
        Signal(name="inflow", role=Role.DISTURBANCE, unit="cm", low=-5.0, high=5.0),
        Signal(name="pump", role=Role.ACTION, unit="V", low=-10.0, high=10.0),
    ),
    period=2.0,
)
WRONG = Tanks(gain=0.6 * GAIN)


def run(driver: Controller, site: Site, steps: int) -> np.ndarray:
    """The true levels after each step, (steps, 2)."""
    seen = []
    for _ in range(steps):
        decision = driver.act(site.seen())
        assert decision.verdict is Verdict.ACT
        site.apply(decision.action)
        seen.append(site.state)
    return np.array(seen)


def test_a_wrong_model_and_a_constant_disturbance_leave_no_offset() -> None:
    site = Site(inflow=np.array([0.7, -0.4]))
    seen = run(controller(hold(5.0, -3.0), WRONG), site, 120)
    np.testing.assert_allclose(seen[-1], [5.0, -3.0], atol=0.01)


def test_without_the_estimate_there_is_one() -> None:
    task = hold(5.0, -3.0, plan=for_signals(horizon=10, disturbance_filter=1))
    seen = run(controller(task, WRONG), Site(inflow=np.array([0.7, -0.4])), 120)
    assert abs(seen[-1] - [5.0, -3.0]).min() > 0.1


def test_the_forecast_at_rest_is_what_is_measured() -> None:
    """At every step ahead, however wrong the model; the estimate is in the evidence."""
    driver, site = controller(hold(5.0, -3.0), WRONG), Site(inflow=np.array([0.7, -0.4]))
    run(driver, site, 150)
    decision = driver.act(site.seen())
    assert set(decision.forecast) == {"level_1", "level_2"}
    np.testing.assert_allclose(decision.forecast["level_1"], np.full((1, 10), 5.0), atol=0.01)
    assert set(decision.evidence.disturbance) == {"level_1", "level_2"}
    assert decision.evidence.disturbance["level_1"] > 1


@dataclass(kw_only=True)
class Reservoir:
    """A level z' = 0.9 z + 0.5 a + d, and the inflow d that is measured: both are the latent. Nobody foresees the inflow."""

    schema: Schema = RESERVOIR
    latent_size: int = 2
    history: int = 1

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        return torch.stack((observations["level"], observations["inflow"]), -1).float()

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        return self.rollout(history, action[:, None, None])[:, 0, 0]

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        level, inflow = history[:, None, -1].expand(-1, actions.shape[1], -1).unbind(-1)
        found = []
        for action in actions[..., 0].unbind(2):
            level = 0.9 * level + 0.5 * action + inflow
            found.append(torch.stack((level, inflow), -1))
        return torch.stack(found, 2)


class Teller(Reservoir):
    """The same, which knows where the inflow is in a latent."""

    def as_measured(self, latents: Tensor, observations: Mapping[str, Tensor]) -> Tensor:
        return torch.stack((latents[..., 0], observations["inflow"].float()[:, None].expand(latents.shape[:-1])), -1)


@pytest.mark.parametrize("model", [Reservoir(), Teller()])
def test_a_measured_disturbance_that_jumps_is_no_error_of_the_model(model: Reservoir) -> None:
    estimate = OutputDisturbance(model=model, channels=("level",), read=lambda latents: latents[..., :1], horizon=10, keep=0.8)
    level, largest = 0.0, 0.0
    for step in range(30):
        inflow = 0.0 if step < 10 else 2.0
        samples = {"level": np.array([level], np.float32), "inflow": np.array([inflow], np.float32)}
        latent = model.encode({name: torch.from_numpy(value) for name, value in samples.items()})
        estimate.advance(torch.zeros(1, 1), samples, latent[:, None])
        largest = max(largest, float(np.abs(estimate.far()).max()))
        level = 0.9 * level + inflow
    assert (largest < 1e-4) == isinstance(model, Teller), "without it, what was predicted before the jump counts for a horizon"


def test_a_missing_sample_keeps_the_estimate() -> None:
    driver, site = controller(hold(5.0, -3.0), WRONG), Site(inflow=np.array([0.7, -0.4]))
    run(driver, site, 100)
    before = driver.act(site.seen()).evidence.disturbance
    site.state = site.state + 0.5
    after = driver.act({**site.seen(), "level_1": None}).evidence.disturbance
    assert after["level_1"] == before["level_1"]
    assert after["level_2"] != before["level_2"]


def test_nothing_winds_up_while_an_actuator_stands_at_its_limit() -> None:
    """The setpoint is out of reach for a long time; back in reach, it is reached as fast as if it had never been away."""
    times = []
    for away in (0, 200):
        driver, site = controller(hold(4.0, 0.0), WRONG), Site()
        run(driver, site, 60)
        if away:
            driver.retarget({"level_1": 50.0})
            assert run(driver, site, away)[-1, 0] == pytest.approx(GAIN * 10 / 0.1, abs=1.0), "the most that the pump can"
        site.state = np.array([50.0, 0.0]) if not away else site.state
        driver.retarget({"level_1": 4.0})
        seen = run(driver, site, 80)
        times.append(int(np.flatnonzero(abs(seen[:, 0] - 4.0) > 0.2)[-1]))
    assert times[1] <= times[0] + 6


def test_a_hard_limit_is_kept_with_the_estimate_and_broken_without() -> None:
    """The setpoint lies beyond it, and the model thinks that the pump does less than it does."""
    found = []
    for keep in (0.9, 1.0):
        task = hold(5.0, 0.0, signals={"level_1": SignalLimit(high=4.0)}, plan=for_signals(horizon=10, disturbance_filter=keep))
        driver, site = controller(task, WRONG), Site(inflow=np.array([0.3, 0.0]))
        for _ in range(120):
            site.apply(driver.act(site.seen()).action)
        found.append(site.state[0])
    assert found[0] == pytest.approx(4.0, abs=0.01)
    assert found[1] > 4.2


def test_a_new_setpoint_keeps_the_plan_and_all_that_was_learned() -> None:
    driver, site = controller(hold(5.0, -3.0, plan=for_signals(horizon=10, replan_every=5)), WRONG), Site(inflow=np.array([0.7, -0.4]))
    run(driver, site, 101)
    at_rest = driver.act(site.seen())
    assert at_rest.plan is None, "the plan before goes on"
    driver.retarget({"level_1": 5.0})
    same = driver.act(site.seen())
    assert same.plan is not None, "a new setpoint is planned for at once"
    np.testing.assert_allclose(same.action, at_rest.action, atol=0.02)
    driver.retarget({"level_1": 2.0})
    seen = run(driver, site, 120)
    np.testing.assert_allclose(seen[-1], [2.0, -3.0], atol=0.01)
    driver.reset(applied=np.zeros((1, 1, 2)))
    np.testing.assert_allclose(run(driver, site, 150)[-1], [5.0, -3.0], atol=0.02), "a new episode has the task's setpoints again"


def test_a_setpoint_that_is_told_for_steps_to_come_is_met_in_time() -> None:
    """With a view of it, the level moves before the setpoint does."""
    driver, site = controller(hold(0.0, 0.0, limits={"pump_1": ActionLimit(rate=0.25)}), Tanks()), Site()
    driver.reset(applied=np.zeros((1, 1, 2)))
    run(driver, site, 5)
    driver.retarget({"level_1": np.array([[0.0] * 6 + [4.0]])})
    assert run(driver, site, 6)[-1, 0] > 0.5
    np.testing.assert_allclose(run(driver, site, 40)[-1], [4.0, 0.0], atol=0.01)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"level_3": 1.0}, "'level_3' has no setpoint in this task; these have one: level_1, level_2"),
        ({"level_1": 90.0}, "the setpoint of level_1: 90 is outside the range of 'level_1', -50 to 50 cm"),
        ({"level_2": 1.0, "level_1": float("nan")}, "the setpoint of level_1: must be finite"),
        ({"level_1": [1.0, 2.0]}, r"has shape \(2,\) instead of"),
    ],
)
def test_setpoints_that_make_no_sense_are_refused_and_change_nothing(told: dict[str, float], message: str) -> None:
    driver, site = controller(hold(3.0, 0.0), Tanks()), Site()
    with pytest.raises(ValueError, match=message):
        driver.retarget(told)
    np.testing.assert_allclose(run(driver, site, 60)[-1], [3.0, 0.0], atol=0.01)


def test_machines_of_a_batch_have_setpoints_of_their_own() -> None:
    driver, states = controller(hold(0.0, 0.0), Tanks()), np.zeros((2, 2))
    driver.retarget({"level_1": [[2.0], [-2.0]]})
    for _ in range(60):
        decided = driver.act_batch({"level_1": states[:, 0], "level_2": states[:, 1]})
        states = 0.9 * states + GAIN * decided.actions
    np.testing.assert_allclose(states, [[2.0, 0.0], [-2.0, 0.0]], atol=0.01)


def test_setpoints_of_another_number_of_machines_are_refused_before_they_stop_a_decision() -> None:
    driver = controller(hold(0.0, 0.0), Tanks())
    seen = {"level_1": np.zeros(2), "level_2": np.zeros(2)}
    driver.act_batch(seen)
    with pytest.raises(ValueError, match="the setpoint of 'level_1' was told for 3 machines, but there are 2"):
        driver.retarget({"level_1": np.ones((3, 1))})
    driver.act_batch(seen)


def test_an_indicator_pulls_a_signal_to_the_edge_of_its_range() -> None:
    goal = Goal(
        signals={"level_1": SignalGoal(low=2.0, high=6.0, weight=100.0), "level_2": SignalGoal(value=1.0)},
        indicators=(Indicator(name="energy", terms={"pump_1": 1.0}, weight=0.5),),
    )
    seen = run(controller(Task(goal=goal, plan=for_signals(horizon=10)), WRONG), Site(state=np.array([4.0, 0.0])), 120)
    np.testing.assert_allclose(seen[-1], [2.0, 1.0], atol=0.05)


def test_held_actions_stay_the_same_for_so_many_steps() -> None:
    task = hold(5.0, -3.0, plan=for_signals(horizon=10, hold_for=4, planner="cem", candidates=32))
    plan = controller(task, Tanks()).act(Site().seen()).plan
    assert plan is not None
    blocks = plan.actions[0].split(4)
    assert all(torch.equal(block, block[:1].expand_as(block)) for block in blocks)
    assert not torch.equal(blocks[0][0], blocks[1][0])


def test_goals_on_signals_need_somebody_who_reads_them() -> None:
    task = hold(1.0, 1.0)
    model = Tanks()
    with pytest.raises(TaskError, match=r"^goal: nobody reads signals: use a controller of a run that has readouts"):
        Controller(model=model, planner=None, cost_for=lambda goal: None, task=task)  # type: ignore[arg-type,return-value]
    images = Controller(model=model, planner=None, cost_for=lambda goal: None, task=replace(task, goal=None))  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match="the task has no goal on signals"):
        images.retarget({"level_1": 1.0})
