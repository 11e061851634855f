"""A run, loaded: the model at its seam, and a controller that decides."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import tacit
from point_world import DIRECTIONS, recipe, record, sensed
from tacit import Goal, Run, Task, Verdict
from tacit.assurance import CalibrationError, Interval, MarginWatch, Session
from tacit.contracts import Cost, WorldModel
from tacit.data import EpisodeStore
from tacit.models.readout import ReadoutConfig
from tacit.nn import native
from tacit.nn.precision import products_dtype
from tacit.planning import Fallback, PlanSettings, RampSettings, RegionLimit, TaskError
from tacit.training.fit import fit
from tacit.training.folder import RunError
from tacit.training.latents import encode_log
from tacit.training.readouts import fit_readout, measured, readings, write_readouts
from tacit.training.settings import HeadTraining

HERE, THERE = np.array([-0.8, 0.3]), np.array([0.8, -0.5])
PLAN = PlanSettings(horizon=4, candidates=32, iterations=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("run")
    made = recipe(steps=200, head_steps=1200)
    made = replace(made, policy=replace(made.policy, steps=50))
    fit(record(base / "store", episodes=24, steps=30), base / "run", made, seed=0, held_out=0.2)
    return base / "run"


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return tacit.load(folder)


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(goal=Goal(observations={"sensors": sensed(THERE)}), plan=PLAN)


def test_load_gives_the_model_and_what_it_is_worth(run: Run, folder: Path) -> None:
    assert isinstance(run.model, WorldModel)
    assert run.path == folder
    assert run.schema == run.model.schema
    assert not run.schema.labels
    assert run.calibration.prediction[0] < run.calibration.stay[0]
    assert tacit.load(str(folder)).config == run.config
    assert run.planning == native.name(products_dtype()) == run.session(Task()).build["planning"]


def test_a_controller_decides_inside_the_limits_with_evidence(run: Run, task: Task) -> None:
    controller = run.controller(task)
    first = controller.act({"sensors": sensed(HERE)})
    assert first.verdict is Verdict.ACT
    assert first.action.shape == (2,)
    assert np.abs(first.action).max() <= 0.5
    assert first.evidence.surprise is None, "there is nothing to compare the first observation with"
    second = controller.act({"sensors": sensed(HERE + first.action)})
    assert second.evidence.surprise is not None
    assert 0 < second.evidence.surprise_p <= 1


def test_a_supervisor_has_the_fallback_of_the_task_and_needs_no_monitor(run: Run, task: Task) -> None:
    halt = RampSettings(action={signal.name: 0.0 for signal in run.schema.actions}, seconds=2 * run.schema.period)
    supervisor = run.supervisor(run.session(replace(task, fallback=halt)))
    supervisor.reset()
    assert supervisor.act({"sensors": sensed(HERE)}).verdict is Verdict.ACT
    lost = supervisor.act({"sensors": np.full_like(sensed(HERE), np.nan)})
    assert lost.verdict is Verdict.FALLBACK
    assert lost.reason.endswith("going to the safe action")
    assert supervisor.judgement is None


def test_decisions_follow_from_the_seed(run: Run, task: Task) -> None:
    def actions(seed: int) -> np.ndarray:
        controller = run.controller(task, seed=seed)
        return np.stack([controller.act({"sensors": sensed(HERE)}).action for _ in range(3)])

    np.testing.assert_array_equal(actions(1), actions(1))
    assert not np.array_equal(actions(1), actions(2))


@pytest.mark.parametrize("cost", ["touching_cost", "temporal_cost", "reaching_cost", "latent_cost"])
def test_costs_are_lower_nearer_to_the_goal(run: Run, cost: str) -> None:
    goal, far, near = (run.model.encode({"sensors": torch.tensor(sensed(p))[None, None]})[0] for p in (THERE, HERE, THERE + 0.2))
    scored: Cost = getattr(run, cost)(goal)
    assert isinstance(scored, Cost)
    trajectories = torch.stack((far, near)).expand(2, 3, -1)[None]
    values = scored(trajectories, torch.zeros(1, 2, 3, 2))
    assert values.shape == (1, 2)
    assert values[0, 1] < values[0, 0]


@pytest.mark.parametrize("cost", ["touching_cost", "temporal_cost", "reaching_cost", "latent_cost"])
def test_the_controller_brings_the_point_to_its_goal(run: Run, task: Task, cost: str) -> None:
    controller, pose = run.controller(task, cost_for=getattr(run, cost)), HERE.copy()
    for _ in range(8):
        pose = np.clip(pose + controller.act({"sensors": sensed(pose)}).action, -2, 2)
    assert np.linalg.norm(HERE - THERE) > 1.5
    assert np.linalg.norm(pose - THERE) < 0.5


def test_proposals_are_what_the_policy_would_do_in_imagination(run: Run) -> None:
    here, goal = (run.model.encode({"sensors": torch.tensor(sensed(p))[None, None]}) for p in (HERE, THERE))
    history = here.expand(-1, run.model.history, -1)
    actions = run.proposals(goal[:, 0])(history, 5, 4, torch.Generator().manual_seed(0))
    assert actions.shape == (1, 4, 5, 2)
    rough = {"rtol": 0.02, "atol": 0.02}  # products may be in bfloat16
    torch.testing.assert_close(actions[:, 0, 0], run.policy(history, goal[:, 0]), **rough)
    first = run.model.rollout(history, actions[:, :1])
    window = torch.cat((history[:, 1:], first[:, 0, :1]), dim=1)
    torch.testing.assert_close(actions[:, 0, 1], run.policy(window, goal[:, 0]), **rough)
    with native.without():
        in_turns = run.proposals(goal[:, 0])(history, 5, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(actions, in_turns, **rough)


@pytest.mark.parametrize(("planner", "candidates", "proposals", "steps"), [("propose-verify", 8, 4, 10), ("policy-rollout", 64, 64, 20)])
def test_a_task_can_ask_for_proposals(run: Run, task: Task, planner: str, candidates: int, proposals: int, steps: int) -> None:
    plan = PlanSettings(planner=planner, horizon=4, candidates=candidates, iterations=1, proposals=proposals)
    controller, pose = run.controller(replace(task, plan=plan)), HERE.copy()
    for _ in range(steps):
        pose = np.clip(pose + controller.act({"sensors": sensed(pose)}).action, -2, 2)
    assert np.linalg.norm(pose - THERE) < 0.5


def test_the_cost_can_be_chosen(run: Run, task: Task) -> None:
    asked: list[tuple[int, ...]] = []

    def cost_for(goal: torch.Tensor) -> Cost:
        asked.append(tuple(goal.shape))
        return run.latent_cost(goal)

    run.controller(task, cost_for=cost_for).act({"sensors": sensed(HERE)})
    assert asked == [(1, run.model.latent_size)]


def test_a_task_may_be_a_file_and_must_fit(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_text("[plan]\nhorizon = 3\nspeed = 2\n")
    with pytest.raises(TaskError, match=r"task\.toml:3: plan\.speed"):
        run.controller(path)
    with pytest.raises(TaskError, match="pose"):
        run.controller(Task(goal=Goal(observations={"pose": THERE.astype(np.float32)}), plan=PLAN))


def seen_pose(observations: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    """The pose that the sensors speak of, (..., 2): a measure that a person gives, made of observations."""
    return np.arctanh(np.clip((observations["sensors"].astype(np.float64) - 5) / 2, -0.999, 0.999)) @ DIRECTIONS.T / 3


@pytest.fixture
def reading(folder: Path, tmp_path: Path) -> Run:
    """The run with a readout of the pose."""
    copied = shutil.copytree(folder, tmp_path / "run")
    bare, store = tacit.load(copied), EpisodeStore(folder.parent / "store")
    log = encode_log(store, range(20), bare.model, device=torch.device("cpu"))
    values = readings(store, range(20), seen_pose, 2)
    config = ReadoutConfig(name="pose", channels=("x", "y"), unit="m")
    readout = fit_readout(log, values, config, HeadTraining(steps=400, batch=128, learning_rate=5e-3), seed=0)
    write_readouts(copied, [measured(bare.model, readout, log, values, horizon=4)])
    return tacit.load(copied)


REGION = RegionLimit(name="post", channels=("pose.x", "pose.y"), centre=(0.0, -0.1), radius=0.3, confidence=0.8)


def test_a_readout_changes_the_digest_of_a_run(run: Run, reading: Run) -> None:
    assert reading.readouts.keys() == {"pose"}
    assert not run.readouts
    assert reading.digest != run.digest


def test_a_limit_on_a_state_is_settled_on_episodes_of_its_own_planner(reading: Run, task: Task) -> None:
    limited = replace(task, regions=(REGION,), fallback=Fallback.ZERO)
    with pytest.raises(TaskError, match=r"limits\.region\.1\.confidence: has no interval for this task"):
        reading.controller(limited)
    [free] = reading.limits(replace(task, regions=(replace(REGION, confidence=None),)), {})
    rng, in_place = np.random.default_rng(0), []

    def record(intervals: Mapping[str, Interval]) -> dict[str, NDArray[np.float64]]:
        """Twenty points at once from here to there, for eight steps."""
        in_place.append(intervals["post"].factor)
        watch, pose = MarginWatch(intervals["post"]), HERE + rng.normal(0, 0.2, (20, 2))
        controller = reading.controller(limited, intervals=intervals, seed=len(in_place))
        for _ in range(8):
            seen = {"sensors": sensed(pose)}
            watch.found(free.inside(torch.tensor(seen_pose(seen))).numpy())
            decided = controller.act_batch(seen)
            acts = [verdict is Verdict.ACT for verdict in decided.verdicts]
            watch.decided(None if decided.plan is None else free.predicted(decided.plan.trajectory).numpy(), acts)
            pose = np.clip(pose + decided.actions, -2, 2)
        return {"post": watch.scores}

    first = reading.first_intervals(limited, {"post": 2.0}, factor=0.1)
    assert first["post"].scale[0] == max(reading.readouts["pose"].spread[:1])
    settled = reading.settle(limited, record, first, slack=0.3)
    assert settled["post"].holds(0.8)
    assert settled["post"].rounds == len(in_place)
    assert in_place == sorted(in_place)

    decision = reading.controller(limited).act({"sensors": sensed(HERE)})
    assert [(limit.name, limit.confidence, limit.unit) for limit in decision.limits] == [("post", 0.8, "m")]
    session = reading.session(limited)
    assert session.limits == ("post",)
    again = reading.controller_of(Session.from_json(json.loads(json.dumps(session.to_json())))).act({"sensors": sensed(HERE)})
    np.testing.assert_array_equal(again.action, decision.action)
    assert again.limits == decision.limits

    other = replace(limited, plan=replace(PLAN, candidates=320))
    with pytest.raises(TaskError, match="has no interval for this task"):
        reading.controller(other)
    with pytest.raises(TaskError, match="has no interval for this task"):
        reading.controller(replace(limited, regions=(replace(REGION, confidence=0.9),)))
    write_readouts(reading.path, [replace(reading.readouts["pose"], now=1.0)])
    with pytest.raises(TaskError, match="has no interval for this task"):
        tacit.load(reading.path).controller(limited)  # its readout is another one now
    (reading.path / "intervals.json").write_text("{")
    with pytest.raises(CalibrationError, match=r"intervals\.json is damaged"):
        reading.controller(limited)


def test_a_limit_on_a_state_needs_a_readout(run: Run, task: Task) -> None:
    with pytest.raises(TaskError, match=r"limits\.region\.1: there is no readout 'pose\.x'; this run has no readouts"):
        run.controller(replace(task, regions=(REGION,)))
    with pytest.raises(TaskError, match=r"limits\.region\.1: no readout of this run reads 'pose\.x'"):
        run.first_intervals(replace(task, regions=(REGION,)), {"post": 1.0})


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run"):
        tacit.load(tmp_path / "none")
