"""A run, loaded: the model at its seam, and a controller that decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tacit
from point_world import recipe, record, sensed
from tacit import Goal, Run, Task, Verdict
from tacit.contracts import Cost, WorldModel
from tacit.planning import PlanSettings, TaskError
from tacit.training.fit import fit
from tacit.training.folder import RunError

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


def test_decisions_follow_from_the_seed(run: Run, task: Task) -> None:
    def actions(seed: int) -> np.ndarray:
        controller = run.controller(task, seed=seed)
        return np.stack([controller.act({"sensors": sensed(HERE)}).action for _ in range(3)])

    np.testing.assert_array_equal(actions(1), actions(1))
    assert not np.array_equal(actions(1), actions(2))


@pytest.mark.parametrize("cost", ["temporal_cost", "reaching_cost", "latent_cost"])
def test_costs_are_lower_nearer_to_the_goal(run: Run, cost: str) -> None:
    goal, far, near = (run.model.encode({"sensors": torch.tensor(sensed(p))[None, None]})[0] for p in (THERE, HERE, THERE + 0.2))
    scored: Cost = getattr(run, cost)(goal)
    assert isinstance(scored, Cost)
    trajectories = torch.stack((far, near)).expand(2, 3, -1)[None]
    values = scored(trajectories, torch.zeros(1, 2, 3, 2))
    assert values.shape == (1, 2)
    assert values[0, 1] < values[0, 0]


@pytest.mark.parametrize("cost", ["temporal_cost", "reaching_cost", "latent_cost"])
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
    torch.testing.assert_close(actions[:, 0, 0], run.policy(history, goal[:, 0]))
    first = run.model.rollout(history, actions[:, :1])
    window = torch.cat((history[:, 1:], first[:, 0, :1]), dim=1)
    torch.testing.assert_close(actions[:, 0, 1], run.policy(window, goal[:, 0]))


def test_a_task_can_ask_for_proposals(run: Run, task: Task) -> None:
    plan = PlanSettings(planner="propose-verify", horizon=4, candidates=8, iterations=1, proposals=4)
    controller, pose = run.controller(replace(task, plan=plan)), HERE.copy()
    for _ in range(10):
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


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run"):
        tacit.load(tmp_path / "none")
