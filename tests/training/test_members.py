"""Members trained side by side, and joined to one run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from point_world import recipe, record, sensed
from tacit import Goal, Task, load
from tacit.data import EpisodeStore
from tacit.evaluation.held_out import predicted_paths, read_logs
from tacit.models.ensemble import Ensemble, members_of
from tacit.planning import PlanSettings
from tacit.training import ensemble
from tacit.training.checkpoint import CheckpointError
from tacit.training.ensemble import LATENTS, Workers, fit_ensemble, folder_of, has_checkpoint
from tacit.training.fit import Silent, fit
from tacit.training.folder import CONFIG, RunError, read_results
from tacit.training.loop import TrainingStopped
from tacit.training.progress import CHECKPOINT
from tacit.training.recipes import Recipe

PLAN = PlanSettings(horizon=4, candidates=32, iterations=2, proposals=8)


def of_two(steps: int = 40) -> Recipe:
    return replace(recipe(steps=steps, head_steps=30), members=2)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A display that remembers, and is interrupted at a phase."""

    until: int = 1000
    phases: list[str] = field(default_factory=list)

    def phase(self, name: str) -> Callable[[float, str], None]:
        self.phases.append(name)

        def shown(share: float, words: str) -> None:
            if len(self.phases) >= self.until and share > 0:
                raise KeyboardInterrupt

        return shown


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    return record(tmp_path_factory.mktemp("logs") / "store", episodes=16, steps=20)


@pytest.fixture(scope="module")
def out(store: EpisodeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble") / "run"
    fit_ensemble(store, folder, of_two(), seed=3, held_out=0.25)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder).model.state_dict()


def test_an_ensemble_is_a_run_of_models_that_differ(out: Path, store: EpisodeStore) -> None:
    run = load(out)
    assert isinstance(run.model, Ensemble)
    first, second = members_of(run.model)
    differing = [
        name
        for name, value in first.state_dict().items()
        if value.is_floating_point() and not torch.equal(value, second.state_dict()[name])
    ]
    assert len(differing) > len(first.state_dict()) / 2
    assert run.calibration.episodes == len(run.config.division(store)[1])
    assert np.isfinite(run.calibration.prediction).all()
    numbers = read_results(out)["train"]
    each = [read_results(folder_of(out, member))["train"] for member in (0, 1)]
    assert numbers["frames"] == sum(one["frames"] for one in each)
    assert numbers["steps"] == 40


def test_the_first_member_is_the_model_that_one_alone_would_be(out: Path, store: EpisodeStore, tmp_path: Path) -> None:
    fit(store, tmp_path / "alone", replace(of_two(), members=1), seed=3, held_out=0.25)
    alone, members = weights(tmp_path / "alone"), [load(folder_of(out, member)) for member in (0, 1)]
    assert all(torch.equal(value, alone[name]) for name, value in members[0].model.state_dict().items())
    assert not all(torch.equal(value, alone[name]) for name, value in members[1].model.state_dict().items())
    divided = [run.config.division(store)[1].tolist() for run in members]
    assert divided[0] == divided[1], "all members hold the same episodes out"
    joint = weights(out)
    assert all(torch.equal(value, joint[f"members.0.{name}"]) for name, value in members[0].model.state_dict().items())


def test_what_only_the_making_needs_is_gone(out: Path) -> None:
    assert not list(out.rglob(LATENTS))
    assert not list(out.rglob("checkpoints"))
    assert not has_checkpoint(out)


def test_it_plans_as_any_run_does(out: Path) -> None:
    run, goal = load(out), np.array([0.8, -0.5])
    task = Task(goal=Goal(observations={"sensors": sensed(goal)}), plan=PLAN)
    for cost in (run.arrival_cost, run.touching_cost, run.latent_cost):
        decision = run.controller(task, cost_for=cost).act({"sensors": sensed(np.array([-0.8, 0.3]))})
        assert np.isfinite(decision.action).all()
        assert decision.evidence.cost is not None
    again = run.controller_of(run.session(task))
    assert (
        again.act({"sensors": sensed(goal)}).action.tolist()
        == run.controller_of(run.session(task)).act({"sensors": sensed(goal)}).action.tolist()
    )


def test_its_suggestions_are_those_of_all_members(out: Path) -> None:
    run = load(out)
    assert isinstance(run.model, Ensemble)
    seen = torch.tensor(sensed(np.array([[-0.8, 0.3], [0.8, -0.5]])))
    here, goal = run.model.encode({"sensors": seen[:, None]})[:, 0].split(1)
    history = here[:, None].expand(-1, run.model.history, -1)
    found = run.proposals(goal)(history, 4, 5, torch.Generator().manual_seed(0))
    assert found.shape == (1, 5, 4, 2)
    means = []
    for member in (0, 1):
        alone = load(folder_of(out, member))
        at, to = alone.model.encode({"sensors": seen[:, None]})[:, 0].split(1)
        means.append(alone.proposals(to)(at[:, None].expand(-1, alone.model.history, -1), 4, 1, torch.Generator())[0, 0])
    torch.testing.assert_close(found[0, :2], torch.stack(means), rtol=1e-3, atol=1e-3)
    assert run.detours(goal)(history, 4, 8, torch.Generator()).isfinite().all()


def test_evaluation_reads_it(out: Path, store: EpisodeStore) -> None:
    run = load(out)
    paths = predicted_paths(run, read_logs(run, store, Silent()))
    assert np.isfinite(paths.errors).all()
    latent = run.model.encode({"sensors": torch.tensor(sensed(np.zeros((1, 1, 2))))})[0, 0]
    assert run.steps_to(latent)(latent).shape == ()
    assert run.watch() is not None


def test_side_by_side_is_the_same_as_one_after_another(out: Path, store: EpisodeStore, tmp_path: Path) -> None:
    display = Heard()
    fit_ensemble(store, tmp_path / "run", of_two(), seed=3, held_out=0.25, workers=Workers(processes=2, threads=1), display=display)
    assert all(torch.equal(value, weights(out)[name]) for name, value in weights(tmp_path / "run").items())
    assert display.phases[-1] == "join"


def test_stopped_between_members_it_goes_on_with_the_next(out: Path, store: EpisodeStore, tmp_path: Path) -> None:
    folder, seen = tmp_path / "run", Heard(until=6)  # the first phase of the second member
    with pytest.raises(KeyboardInterrupt):
        fit_ensemble(store, folder, of_two(), seed=3, held_out=0.25, display=seen)
    assert not (folder / CONFIG).exists()
    assert has_checkpoint(folder)
    with pytest.raises(RunError, match="training has not finished"):
        load(folder)
    first = folder_of(folder, 0) / CONFIG
    before = first.stat().st_mtime_ns
    with pytest.raises(CheckpointError, match="other settings"):
        fit_ensemble(store, folder, of_two(steps=41), seed=3, held_out=0.25, resume=True)
    fit_ensemble(store, folder, of_two(), seed=3, held_out=0.25, resume=True)
    assert first.stat().st_mtime_ns == before, "the first member was done"
    assert all(torch.equal(value, weights(out)[name]) for name, value in weights(folder).items())


def test_stopped_side_by_side_every_member_keeps_a_checkpoint(store: EpisodeStore, tmp_path: Path) -> None:
    long = of_two(steps=100_000)
    with pytest.raises(KeyboardInterrupt):
        fit_ensemble(store, tmp_path / "run", long, workers=Workers(processes=2, threads=1), display=Heard(until=1))
    assert not (tmp_path / "run" / CONFIG).exists()
    assert any((folder_of(tmp_path / "run", member) / CHECKPOINT).is_file() for member in (0, 1))


def test_a_member_that_fails_ends_the_training_with_its_reason(store: EpisodeStore, tmp_path: Path) -> None:
    broken = of_two()
    broken = replace(broken, train=replace(broken.train, learning_rate=float("inf")))
    with pytest.raises(TrainingStopped, match="stopped at step"):
        fit_ensemble(store, tmp_path / "run", broken, workers=Workers(processes=2, threads=1))


def test_a_process_that_is_killed_is_named(store: EpisodeStore, tmp_path: Path) -> None:
    class Killing(Heard):
        def phase(self, name: str) -> Callable[[float, str], None]:
            return lambda share, words: multiprocessing.active_children()[0].kill()

    with pytest.raises(TrainingStopped, match="ended without a word"):
        fit_ensemble(store, tmp_path / "run", of_two(steps=100_000), workers=Workers(processes=2, threads=1), display=Killing())


def test_one_member_and_processes_are_refused(store: EpisodeStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least two members, not 1"):
        fit_ensemble(store, tmp_path / "run", recipe(steps=10, head_steps=10))
    with pytest.raises(ValueError, match="mean of several small networks already"):
        fit_ensemble(store, tmp_path / "run", replace(of_two(), by_time=True))


def test_minutes_are_those_of_all_members_together(monkeypatch: pytest.MonkeyPatch, store: EpisodeStore, tmp_path: Path) -> None:
    given: list[Recipe] = []
    monkeypatch.setattr(ensemble._Work, "train", lambda work, display: given.append(work.recipe))
    monkeypatch.setattr(ensemble, "_join", lambda *parts: None)
    made = of_two()
    timed = replace(made, train=replace(made.train, steps=None, minutes=6.0), policy=replace(made.policy, steps=None, minutes=1.0))
    fit_ensemble(store, tmp_path / "run", timed)
    assert [(one.train.minutes, one.policy.minutes, one.members) for one in given] == [(3.0, 0.5, 1)] * 2
