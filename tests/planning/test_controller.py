"""The controller, closed around worlds whose every step can be written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from linear_worlds import POINT_SCHEMA, Altered, Below, LinearWorld
from numpy.typing import NDArray
from torch import Tensor

from tacit.contracts import Plan, Planner, Problem, WorldModel
from tacit.planning import (
    ActionLimit,
    Controller,
    Fallback,
    Goal,
    LatentDistance,
    LinearLimit,
    PlanSettings,
    Task,
    TaskError,
    Verdict,
    one_step_error,
    planner_for,
)
from tacit.planning.plan_settings import PLANNERS
from tacit.planning.planner_kinds import KINDS
from tacit.signals import Role, Schema, Signal, mask_of

MakePlanner = Callable[..., Planner]
NAN = float("nan")


def reach(*goal: float, **fields: object) -> Task:
    settings = fields.pop("plan", PlanSettings(horizon=6))
    return Task(goal=Goal(observations={"state": np.array(goal)}), plan=settings, **fields)  # type: ignore[arg-type]


def controller(world: WorldModel, task: Task, planner: Planner | None = None, **fields: object) -> Controller:
    planner = planner or planner_for(world, task.plan)
    return Controller(model=world, planner=planner, cost_for=lambda goal: LatentDistance(goal=goal), task=task, **fields)  # type: ignore[arg-type]


def seen(*state: float) -> dict[str, NDArray[np.float64]]:
    return {"state": np.array(state)}


@dataclass
class Scripted:
    """A planner that returns a ramp of actions, and remembers what it was asked."""

    model: WorldModel
    feasible: Callable[[int], list[bool]] = lambda call: [True]
    change: Callable[[Plan], Plan] = lambda plan: plan
    problems: list[Problem] = field(default_factory=list)
    warm_starts: list[Tensor | None] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)

    def plan(self, problem: Problem, warm_start: Tensor | None = None, deadline: float | None = None) -> Plan:
        batch, horizon = len(problem.history), problem.horizon
        ramp = (len(self.problems) + torch.arange(1.0, horizon + 1) / 10) / 10
        self.problems.append(problem)
        self.warm_starts.append(warm_start)
        self.deadlines.append(deadline)
        plan = planner_for(self.model, PlanSettings(horizon=horizon, iterations=1)).plan(problem)
        feasible = torch.tensor(self.feasible(len(self.problems) - 1)).expand(batch)
        return self.change(replace(plan, actions=ramp[None, :, None].repeat(batch, 1, 2), feasible=feasible & plan.feasible))


def test_drives_to_the_goal(make_planner: MakePlanner) -> None:
    world, state = LinearWorld(), np.zeros(2)
    driver = controller(world, reach(0.5, -0.3), make_planner(world))
    for _ in range(12):
        decision = driver.act({"state": state})
        assert decision.verdict is Verdict.ACT
        assert decision.action.dtype == np.float32
        assert (abs(decision.action) <= 1).all()
        state = state + 0.1 * decision.action
    np.testing.assert_allclose(state, [0.5, -0.3], atol=0.05)


def test_batch_and_single_agree() -> None:
    """Three machines with goals of their own, in one batch, and each alone."""
    goals = np.array([[0.2, 0.1], [-0.3, 0.0], [0.1, -0.4]])
    task = Task(plan=PlanSettings(horizon=4, iterations=12))
    together = controller(LinearWorld(), task)
    together.reset(goal={"state": goals})
    states = np.zeros((3, 2))
    for _ in range(10):
        batch = together.act_batch({"state": states})
        assert len(batch) == 3
        states = states + 0.1 * batch.actions
    np.testing.assert_allclose(states, goals, atol=0.03)
    one = batch[1]
    assert one.plan is not None
    assert batch.plan is not None
    assert torch.equal(one.plan.actions, batch.plan.actions[1:2])
    np.testing.assert_array_equal(one.action, batch.actions[1])
    np.testing.assert_array_equal(one.action, one.plan.actions[0, 0].numpy())
    assert one.evidence.cost == pytest.approx(float(batch.plan.cost[1]))


def test_a_missing_number_is_the_last_good_one() -> None:
    """As logs have it: a model of slow sensors is trained on that."""
    signal = Signal(name="state", role=Role.OBSERVATION, shape=(2,), unit="m")
    schema = Schema(signals=(signal, mask_of(signal), *POINT_SCHEMA.actions))
    world = LinearWorld(schema=schema)
    driver = controller(world, Task(goal=Goal(observations={"state": np.zeros(2), "state.valid": np.ones(2, bool)})))
    for told in ([1.0, NAN], [2.0, 3.0], [NAN, 4.0], None, [NAN, NAN]):
        decision = driver.act({"state": told})
        assert decision.action.shape == (2,)
    found = torch.cat([moment[0] for moment in world.encoded[1:]])
    torch.testing.assert_close(found, torch.tensor([[1.0, NAN], [2, 3], [2, 4], [2, 4], [2, 4]]).to(found), equal_nan=True)
    driver.reset()
    driver.act({"state": [NAN, 1.0]})
    assert world.encoded[-1][0, 0].isnan().tolist() == [True, False], "nothing is kept from one episode to the next"


def test_a_mirrored_view_is_a_sample_like_any_other() -> None:
    """As of a picture whose colours were put in another order."""
    world = LinearWorld()
    driver = controller(world, reach(1.0, 1.0))
    driver.act({"state": np.array([2.0, 5.0])[::-1]})
    assert world.encoded[-1].flatten().tolist() == [5.0, 2.0]


def test_a_call_that_is_refused_leaves_everything_as_it_was() -> None:
    """No ledger has it, so later decisions must be those without it."""
    signal = Signal(name="state", role=Role.OBSERVATION, shape=(2,), unit="m")
    schema = Schema(signals=(signal, mask_of(signal), *POINT_SCHEMA.actions))
    world = LinearWorld(schema=schema)
    goal = Goal(observations={"state": np.zeros(2), "state.valid": np.ones(2, bool)})
    driver = controller(world, Task(goal=goal, limits={"velocity": ActionLimit(rate=0.5)}))
    with pytest.raises(ValueError, match="count from what was applied last"):
        driver.act({"state": [7.0, 8.0]})
    with pytest.raises(ValueError, match="applied has shape"):
        driver.act({"state": [7.0, 8.0]}, applied=np.zeros(3))
    with pytest.raises(ValueError, match="'state' has shape"):
        driver.reset({"state": [[1.0]]}, applied=np.ones((1, 1, 2)))
    with pytest.raises(ValueError, match="count from what was applied last"):
        driver.act({"state": [7.0, 8.0]})
    driver.act({"state": [1.0, NAN]}, applied=np.zeros(2))
    with pytest.raises(ValueError, match="applied has shape"):
        driver.act({"state": [7.0, 8.0]}, applied=np.zeros(3))
    driver.act({"state": [NAN, NAN]})
    found = torch.cat([moment[0] for moment in world.encoded[1:]])
    torch.testing.assert_close(found, torch.tensor([[1.0, NAN], [1.0, NAN]]).to(found), equal_nan=True)


def test_each_observation_is_encoded_once() -> None:
    world = LinearWorld(history=3)
    driver = controller(world, reach(1.0, 1.0))
    for step in range(4):
        driver.act(seen(step, 0))
    assert [e.shape for e in world.encoded] == [(1, 1, 2)] * 5
    assert [float(e[0, 0, 0]) for e in world.encoded] == [1, 0, 1, 2, 3], "the goal, then each observation"


def test_the_history_holds_the_latest_latents_and_begins_with_the_first_repeated() -> None:
    world = LinearWorld(history=3)
    driver = controller(world, reach(1.0, 1.0), planner_for(world, PlanSettings(iterations=1)))
    histories = []
    for state in (5, 6, 7, 8):
        driver.act(seen(state, 0))
        histories.append(world.histories[-1][0, :, 0].tolist())
    assert histories == [[5, 5, 5], [5, 5, 6], [5, 6, 7], [6, 7, 8]]
    driver.reset()
    driver.act(seen(1, 0))
    assert world.histories[-1][0, :, 0].tolist() == [1, 1, 1]


def test_the_warm_start_is_the_last_plan_shifted_by_what_was_applied() -> None:
    world = LinearWorld()
    planner = Scripted(world)
    driver = controller(world, reach(1.0, 1.0, plan=PlanSettings(horizon=4, replan_every=2)), planner)
    actions = [float(driver.act(seen(0, 0)).action[0]) for _ in range(5)]
    assert actions == pytest.approx([0.01, 0.02, 0.11, 0.12, 0.21])
    assert planner.warm_starts[0] is None
    for warm_start, expected in zip(planner.warm_starts[1:], ([0.03, 0.04, 0.04, 0.04], [0.13, 0.14, 0.14, 0.14]), strict=True):
        assert warm_start is not None
        assert warm_start[0, :, 0].tolist() == pytest.approx(expected)
    driver.reset()
    driver.act(seen(0, 0))
    assert planner.warm_starts[-1] is None


def test_a_plan_is_shown_in_the_step_it_was_made() -> None:
    world = LinearWorld()
    driver = controller(world, reach(1.0, 1.0, plan=PlanSettings(horizon=4, replan_every=2)))
    first, second = driver.act(seen(0, 0)), driver.act(seen(0, 0))
    assert first.plan is not None
    assert first.evidence.cost == pytest.approx(float(first.plan.cost))
    assert second.plan is None
    assert second.evidence.cost is None
    np.testing.assert_array_equal(second.action, first.plan.actions[0, 1].numpy())


def test_the_planner_is_told_the_last_action_and_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 10.0)
    world = LinearWorld()
    planner = Scripted(world)
    driver = controller(world, reach(1.0, 1.0, plan=PlanSettings(horizon=4, deadline_ms=50)), planner)
    driver.act(seen(0, 0))
    driver.act(seen(0, 0))
    driver.act(seen(0, 0), applied=[0.5, -3.0])
    told = [p.previous[0].tolist() for p in planner.problems]
    assert told == [[0, 0], pytest.approx([0.01, 0.01]), [0.5, -3.0]]
    assert planner.deadlines == [pytest.approx(10.05)] * 3


def test_surprise_is_the_error_of_the_last_prediction() -> None:
    world = LinearWorld()
    driver = controller(world, reach(1.0, 0.0), calibration=[0.3, 0.1, 0.2, 0.4])
    first = driver.act(seen(0, 0))
    assert first.evidence.surprise is None
    assert first.evidence.surprise_p is None
    seen_at = 0.1 * first.action + np.array([0.15, 0.2])
    second = driver.act({"state": seen_at})
    assert second.evidence.surprise == pytest.approx(0.25, rel=1e-4)
    assert second.evidence.surprise_p == pytest.approx((1 + 2) / 5)
    third = driver.act({"state": seen_at + np.array([0.1, 0.0])}, applied=[1.0, 0.0])
    assert third.evidence.surprise == pytest.approx(0, abs=1e-6), "the action that was really applied explains it"
    assert third.evidence.surprise_p == 1.0
    assert driver.act(seen(50, 50)).evidence.surprise_p == pytest.approx(1 / 5)
    assert third.evidence.encode_ms > 0
    assert third.evidence.plan_ms > 0


def test_an_error_as_large_as_a_held_out_one_counts_with_it() -> None:
    driver = controller(LinearWorld(), reach(1.0, 0.0), calibration=[0.0, 0.0, 1.0])
    driver.act(seen(0.5, 0.5), applied=[0.0, 0.0])
    assert driver.act(seen(0.5, 0.5), applied=[0.0, 0.0]).evidence.surprise_p == 1.0


def test_one_step_error_is_euclidean() -> None:
    assert one_step_error(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])).tolist() == [5.0]


@pytest.mark.parametrize("fallback", Fallback)
def test_an_infeasible_plan_is_never_applied(fallback: Fallback, make_planner: MakePlanner) -> None:
    world = LinearWorld()
    driver = controller(world, reach(1.0, 0.0, fallback=fallback), make_planner(world), limits=(Below(bound=0.5),))
    before = driver.act(seen(0, 0)).action
    decision = driver.act(seen(9, 0))
    assert decision.verdict is Verdict.FALLBACK
    assert decision.plan is not None
    assert not decision.plan.feasible.any()
    np.testing.assert_array_equal(decision.action, before if fallback is Fallback.HOLD else np.zeros(2))
    assert "breaks a hard limit" in decision.reason
    assert "ceiling" in decision.reason
    assert ("holding the last action" if fallback is Fallback.HOLD else "applying zero") in decision.reason
    assert driver.act(seen(0, 0)).verdict is Verdict.ACT


def test_a_machine_without_a_plan_is_replanned_in_the_next_step() -> None:
    world = LinearWorld()
    planner = Scripted(world, feasible=lambda call: [call != 1])
    driver = controller(world, reach(1.0, 0.0, plan=PlanSettings(horizon=6, replan_every=3)), planner)
    verdicts = [driver.act(seen(0, 0)).verdict for _ in range(7)]
    assert verdicts == [Verdict.ACT] * 3 + [Verdict.FALLBACK] + [Verdict.ACT] * 3
    assert len(planner.problems) == 3


@pytest.mark.parametrize("bad", [NAN, float("inf"), 1e300])
def test_an_observation_that_is_not_finite_falls_back_and_the_others_go_on(bad: float, make_planner: MakePlanner) -> None:
    world = LinearWorld(history=2)
    driver = controller(world, reach(0.5, 0.0), make_planner(world))
    driver.act_batch({"state": np.zeros((2, 2))})
    before = driver.act_batch({"state": np.zeros((2, 2))})
    broken = driver.act_batch({"state": np.array([[bad, 0.0], [0.0, 0.0]])})
    assert broken.verdicts == (Verdict.FALLBACK, Verdict.ACT)
    assert broken.reasons[0] == "the observation is not finite: holding the last action"
    np.testing.assert_array_equal(broken.actions[0], before.actions[0])
    assert broken.evidence[0].surprise is None
    assert broken.evidence[1].surprise is not None
    after = driver.act_batch({"state": np.zeros((2, 2))})
    assert after.verdicts == (Verdict.ACT, Verdict.ACT)
    assert after.evidence[0].surprise is None, "nothing was observed that it could be predicted from"
    bridged = world.histories[-1][0, 0]
    np.testing.assert_allclose(bridged, 0.1 * before.actions[0], rtol=1e-6, err_msg="the prediction stands in for what was not seen")


def test_a_first_observation_that_is_not_finite_is_forgotten() -> None:
    world = LinearWorld(history=3)
    driver = controller(world, reach(0.5, 0.0))
    for _ in range(2):
        decision = driver.act(seen(NAN, 0.0))
        assert decision.verdict is Verdict.FALLBACK
        np.testing.assert_array_equal(decision.action, np.zeros(2))
    assert driver.act(seen(0.25, 0.0)).verdict is Verdict.ACT
    assert world.histories[-1][0, :, 0].tolist() == [0.25] * 3


def test_a_broken_model_falls_back(make_planner: MakePlanner) -> None:
    world = Altered(change=lambda trajectory, actions: trajectory * torch.nan)
    decision = controller(world, reach(0.5, 0.0), make_planner(world)).act(seen(0, 0))
    assert decision.verdict is Verdict.FALLBACK
    assert decision.reason == "no plan has a finite prediction: holding the last action"
    assert decision.evidence.cost == float("inf")


def test_a_plan_that_is_not_finite_is_never_applied() -> None:
    world = LinearWorld()
    broken = Scripted(world, change=lambda plan: replace(plan, actions=plan.actions * torch.nan))
    decision = controller(world, reach(0.5, 0.0), broken).act(seen(0, 0))
    assert decision.verdict is Verdict.FALLBACK
    np.testing.assert_array_equal(decision.action, np.zeros(2))


def test_a_plan_worth_nothing_is_no_warm_start() -> None:
    world = LinearWorld()
    planner = Scripted(world, feasible=lambda call: [False], change=lambda plan: replace(plan, cost=plan.cost + torch.inf))
    driver = controller(world, reach(0.5, 0.0), planner)
    driver.act(seen(0, 0))
    driver.act(seen(0, 0), applied=[0.5, 0.25])
    assert planner.warm_starts[1] is not None
    assert planner.warm_starts[1][0].tolist() == [[0.5, 0.25]] * 6


def test_an_applied_action_that_is_not_finite_falls_back() -> None:
    world = LinearWorld()
    driver = controller(world, reach(0.5, 0.0))
    before = driver.act(seen(0, 0)).action
    decision = driver.act(seen(0, 0), applied=[NAN, 0.0])
    assert decision.verdict is Verdict.FALLBACK
    assert decision.reason.startswith("the action that was applied is not finite")
    np.testing.assert_array_equal(decision.action, before)


def test_a_planner_that_breaks_its_word_is_held_to_the_limits() -> None:
    world = LinearWorld()
    task = reach(0.5, 0.0, limits={"velocity": ActionLimit(low=-0.005, high=0.005)})
    assert controller(world, task, Scripted(world)).act(seen(0, 0)).action.tolist() == pytest.approx([0.005, 0.005])


def test_holding_an_applied_action_outside_the_limits_moves_inside() -> None:
    world = LinearWorld()
    driver = controller(world, reach(1.0, 0.0), limits=(Below(bound=-5.0),))
    assert driver.act(seen(0, 0), applied=[7.0, 0.5]).action.tolist() == [1.0, 0.5]


class Forgiving(LinearWorld):
    """Encodes whatever it is shown."""

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        return observations["state"].nan_to_num(0.0)


def test_a_model_that_hides_a_broken_observation_is_not_asked() -> None:
    decision = controller(Forgiving(), reach(0.5, 0.0)).act(seen(NAN, 0.0))
    assert decision.verdict is Verdict.FALLBACK
    assert decision.reason.startswith("the observation is not finite")


@dataclass
class TwoSensors(LinearWorld):
    """Sees an image's mean and a level."""

    schema: Schema = field(
        default_factory=lambda: Schema(
            signals=(
                Signal(name="image", role=Role.OBSERVATION, shape=(4, 4, 3), dtype="uint8"),
                Signal(name="level", role=Role.OBSERVATION),
                *POINT_SCHEMA.actions,
            )
        )
    )

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        assert observations["image"].dtype == torch.uint8
        assert observations["level"].dtype == torch.float32
        return torch.stack([observations["image"].float().mean((2, 3, 4)) / 255, observations["level"]], -1)


def test_images_and_scalars_are_seen_as_logged() -> None:
    world = TwoSensors()
    task = Task(goal=Goal(observations={"image": np.full((4, 4, 3), 51, np.uint8), "level": np.float64(0.5)}))
    frozen = np.zeros((4, 4, 3), np.uint8)
    frozen.flags.writeable = False
    assert controller(world, task).act({"image": frozen, "level": 0.25}).verdict is Verdict.ACT
    torch.testing.assert_close(world.histories[-1], torch.tensor([[[0.0, 0.25]]]))


class MayBeMissing(TwoSensors):
    """The same machine, with a mask beside each sensor; its latents are what it was told is there."""

    def __init__(self) -> None:
        super().__init__()
        image, level, *rest = self.schema.signals
        self.schema = Schema(signals=(image, mask_of(image), level, mask_of(level), *rest))
        self.masks: list[tuple[list[bool], list[bool]]] = []

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        self.masks.append((observations["image.valid"].flatten().tolist(), observations["level.valid"].flatten().tolist()))
        return super().encode({name: observations[name] for name in ("image", "level")})


def test_what_is_missing_is_masked_and_no_reason_to_fall_back() -> None:
    world, image = MayBeMissing(), np.full((4, 4, 3), 51, np.uint8)
    control = controller(world, Task(goal=Goal(observations={"image": image, "level": np.float64(0.5)})))
    for seen_now, masks in (
        ({"image": image, "level": 0.25}, ([True], [True])),
        ({"image": image, "level": np.nan}, ([True], [False])),
        ({"image": None, "level": 0.25}, ([False], [True])),
        ({"image": image, "image.valid": False, "level": 0.25}, ([False], [True])),
        ({"image": image, "level": np.nan, "level.valid": False}, ([True], [False])),
        ({"image": None, "image.valid": True, "level": 0.25}, ([False], [True])),
        ({"image": None, "level": None}, ([False], [False])),
    ):
        assert control.act(seen_now).verdict is Verdict.ACT
        assert world.masks[-1] == masks


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ({"position": np.zeros(2)}, "label 'position' is never given to a model"),
        ({"state": np.zeros(2), "position": np.zeros(2)}, "label 'position' is never given to a model"),
        ({"speed": np.zeros(2)}, "'speed' is not an observation of this model, which takes state and never a label"),
        ({"velocity": np.zeros(2)}, "'velocity' is not an observation"),
        ({}, "observations are missing: state"),
        ({"state": np.zeros(3)}, r"'state' has shape \(3,\) per machine .* instead of \(2,\)"),
        ({"state": np.zeros((1, 2))}, "'state' has shape"),
        ({"state": np.array(["a", "b"])}, "'state' has dtype <U1 instead of float32"),
        ({"state": np.zeros(2, complex)}, "'state' has dtype complex128 instead of float32"),
    ],
)
def test_wrong_observations_are_refused_by_name(observation: dict[str, NDArray[np.generic]], message: str) -> None:
    driver = controller(LinearWorld(), reach(1.0, 1.0))
    with pytest.raises(ValueError, match=message):
        driver.act(observation)
    assert driver.act(seen(0, 0)).verdict is Verdict.ACT, "a refused observation leaves no trace"


def test_images_are_refused_in_another_dtype() -> None:
    goal = Goal(observations={"image": np.zeros((4, 4, 3), np.uint8), "level": np.zeros(())})
    driver = controller(TwoSensors(), Task(goal=goal))
    with pytest.raises(ValueError, match="'image' has dtype float64 instead of uint8"):
        driver.act({"image": np.zeros((4, 4, 3)), "level": 0.0})
    with pytest.raises(ValueError, match="different numbers of machines"):
        driver.act_batch({"image": np.zeros((2, 4, 4, 3), np.uint8), "level": np.zeros(3)})


def test_what_does_not_fit_is_refused_when_the_controller_is_built() -> None:
    world = LinearWorld()
    with pytest.raises(TaskError, match=r"goal\.position: label 'position' is never given to a model"):
        controller(world, Task(goal=Goal(observations={"position": np.zeros(2)})))
    with pytest.raises(TaskError, match="'velocity' has no known range"):
        controller(
            replace(world, schema=Schema(signals=(POINT_SCHEMA.signals[0], replace(POINT_SCHEMA.signals[1], high=None)))), reach(0, 0)
        )
    with pytest.raises(ValueError, match="observations are missing: level"):
        controller(TwoSensors(), Task(goal=Goal(observations={"image": np.zeros((4, 4, 3), np.uint8)})))
    for calibration in ([], [0.1, NAN]):
        with pytest.raises(ValueError, match="calibration needs at least one error"):
            controller(world, reach(0, 0), calibration=calibration)


def test_an_episode_keeps_its_machines_and_needs_a_goal() -> None:
    driver = controller(LinearWorld(), Task(plan=PlanSettings(horizon=3)))
    with pytest.raises(ValueError, match="there is no goal"):
        driver.act(seen(0, 0))
    with pytest.raises(ValueError, match="goal has a number that is not finite"):
        driver.reset(goal={"state": [[NAN, 0.0]]})
    driver.reset(goal={"state": np.zeros((3, 2))})
    with pytest.raises(ValueError, match="3 goals for 2 machines"):
        driver.act_batch({"state": np.zeros((2, 2))})
    driver.act_batch({"state": np.zeros((3, 2))})
    with pytest.raises(ValueError, match="there are 2 machines, but the episode began with 3"):
        driver.act_batch({"state": np.zeros((2, 2))})
    with pytest.raises(ValueError, match=r"applied has shape \(3, 1\) instead of \(3, 2\)"):
        driver.act_batch({"state": np.zeros((3, 2))}, applied=np.zeros((3, 1)))


def test_every_planner_of_a_task_can_be_built() -> None:
    for name in PLANNERS:
        candidates, proposals = (5, 0) if KINDS[name].ways is None else (8, 8)
        assert isinstance(planner_for(LinearWorld(), PlanSettings(planner=name, candidates=candidates, proposals=proposals)), Planner)


def test_proposals_are_made_for_every_plan_and_tried() -> None:
    """A proposal that knows the way is followed by a search that could not find it."""
    asked: list[tuple[int, int]] = []

    def suggests(goal: Tensor) -> Callable[..., Tensor]:
        def proposal(history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
            asked.append((horizon, count))
            return (goal - history[:, -1])[:, None, None].mul(10).clamp(-1, 1).expand(-1, count, horizon, -1)

        return proposal

    task = replace(reach(0.7, -0.3), plan=PlanSettings(planner="propose-verify", horizon=1, candidates=4, iterations=1, proposals=2))
    world = LinearWorld()
    driver = Controller(
        model=world,
        planner=planner_for(world, task.plan),
        cost_for=lambda goal: LatentDistance(goal=goal),
        task=task,
        proposals_for=suggests,
    )
    state = np.zeros(2)
    for _ in range(9):
        state = state + 0.1 * driver.act({"state": state}).action
    assert np.abs(state - (0.7, -0.3)).max() < 1e-5
    assert asked == [(1, 2)] * 9


def test_proposals_that_are_not_finite_are_not_tried_and_of_another_shape_are_refused(make_planner: MakePlanner) -> None:
    task = replace(reach(0.7, -0.3), plan=PlanSettings(horizon=6, proposals=3))

    def drive(proposed: Tensor) -> Controller:
        world = LinearWorld()
        return controller(world, task, make_planner(world), proposals_for=lambda goal: lambda *asked: proposed)

    decision = drive(torch.full((1, 3, 6, 2), NAN)).act(seen(0, 0))
    assert decision.verdict is Verdict.ACT
    assert decision.action[0] > 0
    with pytest.raises(ValueError, match=r"proposals have shape \(1, 3, 5, 2\)"):
        drive(torch.zeros(1, 3, 5, 2)).act(seen(0, 0))


def test_the_noise_of_proposals_is_of_the_seed_and_goes_on() -> None:
    def drawn(seed: int) -> Tensor:
        draws: list[Tensor] = []

        def proposal(history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
            draws.append(torch.randn(1, count, horizon, 2, generator=generator))
            return draws[-1]

        task = replace(reach(0.7, -0.3), plan=PlanSettings(horizon=6, proposals=3))
        driver = controller(LinearWorld(), task, proposals_for=lambda goal: proposal, seed=seed)
        for _ in range(2):
            driver.act(seen(0, 0))
        return torch.cat(draws)

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))
    assert not torch.equal(*drawn(0).split(1))


def test_proposals_that_nobody_makes_are_refused() -> None:
    with pytest.raises(TaskError, match="nobody to make proposals"):
        controller(LinearWorld(), replace(reach(1.0, 1.0), plan=PlanSettings(proposals=3)))


SLOW = {"velocity": ActionLimit(rate=0.1)}  # of a machine that is asked once a second


def pushing(*wish: float, **fields: object) -> Controller:
    """A controller whose planner always wants the same."""
    world = LinearWorld()
    planner = Scripted(world, change=lambda plan: replace(plan, actions=torch.tensor(wish).expand_as(plan.actions)))
    return controller(world, reach(0.0, 0.0, **fields), planner)


def test_the_rate_counts_from_what_was_applied_last() -> None:
    driver = pushing(9.0, 9.0, limits=SLOW)
    driver.reset(applied=[[[0.5, -0.5]]])
    first = driver.act(seen(0, 0))
    assert first.verdict is Verdict.ACT
    np.testing.assert_allclose(first.action, [0.6, -0.4], atol=1e-6)
    np.testing.assert_allclose(driver.act(seen(0, 0)).action, [0.7, -0.3], atol=1e-6)
    np.testing.assert_allclose(driver.act(seen(0, 0), applied=[0.1, 0.2]).action, [0.2, 0.3], atol=1e-6, err_msg="the link lost one")
    driver.reset()
    np.testing.assert_allclose(driver.act(seen(0, 0), applied=[0.9, -0.9]).action, [1.0, -0.8], atol=1e-6)


def test_a_cost_that_newton_steps_cannot_use_is_refused_before_the_first_decision() -> None:
    world, task = LinearWorld(), reach(0.5, 0.0, plan=PlanSettings(planner="newton", horizon=6))
    controller(world, task)
    with pytest.raises(TaskError, match=r"plan\.planner: a Newton step needs a cost that is a sum of squares, not function"):
        Controller(model=world, planner=planner_for(world, task.plan), cost_for=lambda goal: lambda trajectory, actions: goal, task=task)


def test_what_the_first_decision_is_told_counts_before_what_reset_was_told() -> None:
    """For the latent of the first observation, too."""
    told: list[list[float]] = []

    class Noted(LinearWorld):
        def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
            told.append([] if before is None else before[0, 0].tolist())
            return super().encode(observations, before)

    driver = controller(Noted(), reach(0.0, 0.0))
    driver.reset(applied=[[[0.5, -0.5]]])
    driver.act(seen(0, 0), applied=[0.25, 0.0])
    assert told[-1] == [0.25, 0.0]


def test_the_jerk_counts_from_the_last_two_applied_actions() -> None:
    driver = pushing(-9.0, -9.0, limits={"velocity": ActionLimit(jerk=0.1)})
    driver.reset(applied=[[[0.0, 0.0], [0.25, 0.0]]])
    path = np.array([driver.act(seen(0, 0)).action for _ in range(3)])
    np.testing.assert_allclose(path[:, 0], [0.4, 0.45, 0.4], atol=1e-6)
    np.testing.assert_allclose(path[:, 1], [-0.1, -0.3, -0.6], atol=1e-6)


def test_a_restart_goes_on_as_if_there_was_none() -> None:
    actions = []
    for restarts in (False, True):
        driver = pushing(9.0, -9.0, limits={"velocity": ActionLimit(rate=0.3, jerk=0.05)})
        driver.reset(applied=np.zeros((1, 2, 2)))
        path = [np.zeros(2, np.float32)] * 2
        for step in range(12):
            if restarts and step % 3 == 1:
                driver.reset(applied=[path[-2:]])
            path.append(driver.act(seen(0, 0)).action)
        actions.append(np.array(path))
        assert abs(np.diff(path, n=2, axis=0)).max() <= 0.05 + 1e-6
    np.testing.assert_array_equal(actions[0], actions[1])


def test_nobody_guesses_what_was_applied() -> None:
    driver = controller(LinearWorld(), reach(1.0, 1.0, limits=SLOW))
    with pytest.raises(ValueError, match="limits on rate and jerk count from what was applied last: tell it"):
        driver.act(seen(0, 0))
    with pytest.raises(ValueError, match="limits on rate and jerk count from what was applied last: tell it"):
        driver.act(seen(0, 0), applied=[NAN, 0.0])
    for applied, message in (
        ([0.0, 0.0], r"applied has shape \(2,\) instead of \(B, 1 or 2, 2\)"),
        (np.zeros((1, 3, 2)), "applied has shape"),
        ([[[NAN, 0.0]]], "not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            driver.reset(applied=applied)
    driver.reset(applied=np.zeros((2, 1, 2)))
    with pytest.raises(ValueError, match="told of 2 machines, but there are 1"):
        driver.act(seen(0, 0))
    driver.reset(applied=np.zeros((1, 1, 2)))
    assert driver.act(seen(0, 0)).verdict is Verdict.ACT


@pytest.mark.parametrize("fallback", Fallback)
def test_out_of_its_range_a_machine_comes_back_at_its_rate_and_the_verdict_says_why(fallback: Fallback) -> None:
    driver = controller(LinearWorld(), reach(9.0, 0.0, limits=SLOW, fallback=fallback))
    driver.reset(goal={"state": np.tile([9.0, 0.0], (2, 1))}, applied=[[[1.25, 0.0]], [[0.95, 0.0]]])
    states = {"state": np.zeros((2, 2))}
    first, second, third = (driver.act_batch(states) for _ in range(3))
    assert first.verdicts == second.verdicts == (Verdict.FALLBACK, Verdict.ACT)
    assert first.reasons[0].startswith("the applied actions leave no way to keep velocity[0] inside its range: ")
    np.testing.assert_allclose([d.actions[0, 0] for d in (first, second)], [1.15, 1.05], atol=1e-6)
    assert third.verdicts == (Verdict.ACT, Verdict.ACT)
    assert third.actions[0, 0] <= 1


def test_a_combination_holds_whatever_the_planner_says() -> None:
    world = LinearWorld()
    both = LinearLimit(name="both", weights={"velocity": [1.0, 1.0]}, at_most=0.01)
    decision = controller(world, reach(0.5, 0.0, linear=(both,)), Scripted(world)).act(seen(0, 0))
    np.testing.assert_allclose(decision.action, [0.005, 0.005], atol=1e-6)
    assert np.sum(decision.action.astype(np.float64)) <= 0.01
    assert decision.verdict is Verdict.ACT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: replace(plan, actions=plan.actions[:, :, :1]), r"planner's actions have shape \(1, 6, 1\) instead of \(1, 6, 2\)"),
        (lambda plan: replace(plan, actions=plan.actions[:, :3]), "planner's actions have shape"),
        (lambda plan: replace(plan, cost=plan.cost[:, None]), "planner's cost have shape"),
        (lambda plan: replace(plan, feasible=plan.feasible.expand(2)), "planner's feasible have shape"),
        (lambda plan: replace(plan, margins=plan.margins.new_zeros(1, 3)), "planner's margins have shape"),
    ],
)
def test_a_plan_of_another_shape_is_refused(change: Callable[[Plan], Plan], message: str) -> None:
    world = LinearWorld()
    with pytest.raises(ValueError, match=message):
        controller(world, reach(0.5, 0.0), Scripted(world, change=change)).act(seen(0, 0))


@pytest.mark.parametrize("shape", [(1, 128, 6), (1, 128, 1, 2), (1, 1, 6, 2)])
def test_a_prediction_of_another_shape_is_refused(shape: tuple[int, ...], make_planner: MakePlanner) -> None:
    world = Altered(change=lambda trajectory, actions: torch.zeros(shape))
    with pytest.raises(ValueError, match="the model's rollout has shape"):
        controller(world, reach(0.5, 0.0), make_planner(world)).act(seen(0, 0))


class Outdoors(LinearWorld):
    """The point with a measured wind; it remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.schema = Schema(signals=(*POINT_SCHEMA.signals, Signal(name="wind", role=Role.DISTURBANCE)))
        self.told: list[tuple[float, Tensor | None]] = []

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        self.told.append((float(observations["wind"][0, 0]), None if before is None else before[0, 0]))
        return super().encode(observations, before)


def test_the_model_is_told_disturbances_and_the_action_before() -> None:
    world = Outdoors()
    control = controller(world, Task(goal=Goal(observations={"state": np.zeros(2, np.float32)})))
    [(wind, before)] = world.told
    assert np.isnan(wind), "nobody knows what disturbs the machine at its goal"
    assert before is None
    here = {"state": np.ones(2, np.float32), "wind": np.float32(3.0)}
    first = control.act(here)
    control.act(here)
    control.act(here, applied=np.array([0.25, -0.25], np.float32))
    assert [wind for wind, _ in world.told[1:]] == [3.0] * 3
    assert world.told[1][1] is None, "nobody said what was applied before the first observation"
    torch.testing.assert_close(world.told[2][1], torch.from_numpy(first.action))
    torch.testing.assert_close(world.told[3][1], torch.tensor([0.25, -0.25]))
    control.reset(applied=np.full((1, 1, 2), 0.5, np.float32))
    control.act(here)
    torch.testing.assert_close(world.told[4][1], torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match="observations are missing: wind"):
        control.act({"state": np.ones(2, np.float32)})
