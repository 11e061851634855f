"""From a store to a finished run, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from point_world import recipe, record, store_of
from tacit.data import EpisodeStore, EpisodeWriter, StoreError, split
from tacit.training import recipes
from tacit.training.distributed import Group
from tacit.training.fit import fit
from tacit.training.folder import RunError, read_config, read_results, read_run
from tacit.training.metrics import METRICS
from tacit.training.resident import Resident


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A display that remembers."""

    phases: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    def phase(self, name: str) -> Callable[[float, str], None]:
        said = self.phases.setdefault(name, [])
        return lambda share, words: said.append((share, words))


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A run, its logs and what was told on the way."""

    store: EpisodeStore
    out: Path
    display: Heard
    scalars: list[tuple[int, Mapping[str, float]]]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fitted]:
    folder = tmp_path_factory.mktemp("fit")
    made = Fitted(store=record(folder / "store", episodes=24, steps=30), out=folder / "run", display=Heard(), scalars=[])
    plan = recipe(steps=250, head_steps=100)
    fit(
        made.store,
        made.out,
        replace(plan, train=replace(plan.train, batch=32, watch_every=100)),
        seed=1,
        held_out=0.2,
        display=made.display,
        on_scalars=lambda step, values: made.scalars.append((step, values)),
    )
    return made


def test_the_run_is_complete_and_better_than_its_floors(fitted: Fitted) -> None:
    config, model, _, policy, calibration = read_run(fitted.out)
    training, held_out = split(fitted.store, held_out=0.2, seed=1)
    assert (config.seed, config.train_episodes, config.held_out_episodes) == (1, len(training), len(held_out))
    assert calibration.episodes == len(held_out)
    assert len(calibration.prediction) == 24
    assert np.mean(np.divide(calibration.prediction, calibration.stay)[:5]) < 0.5
    assert np.mean(np.divide(calibration.prediction, calibration.shuffled)[:5]) < 0.5
    assert list(calibration.one_step) == sorted(calibration.one_step)
    moves = np.concatenate([fitted.store[i].signals["move"] for i in training.tolist()])
    torch.testing.assert_close(policy.actions.mean, torch.from_numpy(moves.mean(0)), rtol=1e-3, atol=1e-4)
    assert not model.training


def test_what_it_took_is_written_down(fitted: Fitted) -> None:
    results = read_results(fitted.out)
    assert results["seed"] == 1
    assert results["train"]["steps"] == 250
    assert results["train"]["frames"] == 250 * 32 * 5
    assert results["train"]["effective_rank"] > 1
    assert results["versions"]["torch"] == read_config(fitted.out).versions["torch"]
    assert (fitted.out / METRICS).is_file()


def test_progress_is_told_by_phase(fitted: Fitted) -> None:
    assert list(fitted.display.phases) == ["train", "encode", "dynamics", "distance", "policy"]
    for name, said in fitted.display.phases.items():
        shares = [share for share, _ in said]
        assert shares == sorted(shares), name
        assert 0 <= shares[0] <= shares[-1] <= 1.0, name
    assert fitted.display.phases["train"][-1][0] == fitted.display.phases["encode"][-1][0] == 1.0
    assert "step 250, loss" in fitted.display.phases["train"][-1][1]
    assert [step for step, values in fitted.scalars if "loss/total" in values] == [0, 50, 100, 150, 200]
    assert [step for step, values in fitted.scalars if "watch/action_r2" in values] == [100, 200]


def test_logs_that_are_copied_to_an_accelerator_are_told_of_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Resident, "fits", lambda *_: True)
    store, display = record(tmp_path / "store", episodes=5, steps=30), Heard()
    fit(store, tmp_path / "run", recipe(steps=1, head_steps=1), held_out=0.2, display=display)
    there = np.cumsum(store.lengths[split(store, held_out=0.2, seed=0)[0]] + 1)
    *copied, step = display.phases["train"]
    assert copied == [(0.0, f"{frames} of {there[-1]} frames copied to the accelerator") for frames in there]
    assert step[1].startswith("step 1, loss")


def test_the_same_seed_makes_the_same_run(store: EpisodeStore, tmp_path: Path) -> None:
    for name, seed in (("a", 2), ("b", 2)):
        torch.manual_seed(len(name) + seed)  # what was drawn before does not matter
        torch.rand(seed)
        fit(store, tmp_path / name, recipe(steps=5, head_steps=5), seed=seed, held_out=0.3)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert (tmp_path / "a" / "calibration.json").read_bytes() == (tmp_path / "b" / "calibration.json").read_bytes()


def test_a_finished_training_is_resumed_for_its_heads(store: EpisodeStore, tmp_path: Path) -> None:
    """Killed between training and writing: the checkpoint is there, the run is not."""
    fit(store, tmp_path / "whole", recipe(steps=5, head_steps=5), held_out=0.3)
    fit(store, tmp_path / "cut", recipe(steps=5, head_steps=5), held_out=0.3)
    (tmp_path / "cut" / "config.json").unlink()
    with pytest.raises(RunError, match="training has not finished"):
        read_run(tmp_path / "cut")
    fit(store, tmp_path / "cut", recipe(steps=5, head_steps=5), held_out=0.3, resume=True)
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_damaged_episodes_are_left_out(tmp_path: Path) -> None:
    whole = record(tmp_path / "whole", episodes=14)
    broken = store_of(tmp_path / "broken", list(whole))
    shard = next((tmp_path / "broken").glob("*.arrow"))
    data = bytearray(shard.read_bytes())
    place = data.index(whole[5].signals["sensors"].tobytes())
    data[place] ^= 1
    shard.write_bytes(data)
    broken = EpisodeStore(tmp_path / "broken")
    assert [damage.episode for damage in broken.verify()] == [5]
    fit(broken, tmp_path / "run", recipe(steps=2, head_steps=2), held_out=0.3)
    config = read_config(tmp_path / "run")
    assert config.train_episodes + config.held_out_episodes == 13


def test_too_few_episodes_are_refused(tmp_path: Path) -> None:
    with EpisodeWriter.create(tmp_path / "empty", record(tmp_path / "some", episodes=1).schema):
        pass
    with pytest.raises(StoreError, match="has no episode"):
        fit(EpisodeStore(tmp_path / "empty"), tmp_path / "run", recipe(steps=1, head_steps=1))
    with pytest.raises(ValueError, match="leaves nothing to"):
        fit(EpisodeStore(tmp_path / "some"), tmp_path / "run", recipe(steps=1, head_steps=1))


@pytest.mark.parametrize("size", ["xs", "s", "m", "l"])
def test_recipes_of_every_size(size: recipes.Size) -> None:
    by_steps, by_minutes = recipes.for_steps(size, 100), recipes.for_minutes(size, 10.0)
    assert (by_steps.size, by_steps.train.steps, by_steps.dynamics.steps, by_steps.distance.steps, by_steps.policy.steps) == (
        size,
        100,
        100,
        100,
        50,
    )
    minutes = [part.minutes for part in (by_minutes.train, by_minutes.dynamics, by_minutes.distance, by_minutes.policy)]
    assert sum(minutes) == pytest.approx(10.0)
    assert by_steps.jepa == by_minutes.jepa
    assert recipes.for_steps(size, 100, head_steps=8).distance.steps == 8


def test_where_things_are_pushed_sensors_go_straight_into_the_latent_and_single_steps_come_first() -> None:
    usual, pushes = recipes.for_minutes("s", 20.0, shapes=True), recipes.for_minutes("s", 20.0, shapes=True, pushes=True)
    assert pushes.jepa.encoder == replace(usual.jepa.encoder, linear=True)
    assert pushes.jepa.predictor.depth > usual.jepa.predictor.depth
    assert pushes.dynamics.singles > usual.dynamics.singles == 0
    assert pushes.dynamics.minutes == usual.dynamics.minutes
    assert pushes.head.width >= recipes.PUSH_HEAD > usual.head.width
    assert (pushes.train, pushes.distance, pushes.policy) == (usual.train, usual.distance, usual.policy)


def test_models_that_are_asked_together_have_narrower_heads() -> None:
    one = recipes.for_minutes("s", 20.0, pushes=True)
    both = recipes.of_members(one, 2)
    assert (both.members, both.head.width) == (2, one.head.width // 2)
    assert replace(both, members=1, head=one.head) == one == recipes.of_members(one, 1)
    small = recipes.for_minutes("xs", 20.0)
    assert recipes.of_members(small, 2).head == small.head, "no narrower than they can be"


def test_a_predictor_of_residual_blocks_takes_more_of_the_minutes_for_itself() -> None:
    plain, residual = (recipes.for_minutes("s", 20.0, shapes=True, pushes=True, residual=is_asked) for is_asked in (False, True))
    assert residual.jepa.predictor.residual
    assert residual.jepa.encoder == plain.jepa.encoder
    minutes = [part.minutes for part in (residual.train, residual.dynamics, residual.distance, residual.policy)]
    assert sum(part for part in minutes if part is not None) == pytest.approx(20.0)
    assert (residual.dynamics.minutes or 0) > (plain.dynamics.minutes or 0)
    assert residual.dynamics.singles == plain.dynamics.singles
    assert recipes.for_steps("s", 10, residual=True).jepa.predictor == residual.jepa.predictor


@pytest.mark.parametrize(("frames", "times"), [(10**6, recipes.ACCELERATED), (1500, 2), (100, 1)])
def test_batches_are_larger_on_an_accelerator_as_far_as_the_logs_fill_them(frames: int, times: int) -> None:
    usual = recipes.for_minutes("m", 20.0, shapes=True, pushes=True)
    larger = recipes.on_device(usual, "cuda", frames)
    assert (larger.train.batch, larger.train.views) == (times * usual.train.batch, times * usual.train.views)
    assert [part.batch for part in (larger.dynamics, larger.distance, larger.policy)] == [
        times * part.batch for part in (usual.dynamics, usual.distance, usual.policy)
    ]
    assert larger.jepa == usual.jepa
    assert recipes.on_device(usual, "cpu", frames) == usual
    process = replace(usual, by_time=True)
    assert recipes.on_device(process, "cuda", frames) == process, "its logs are few"
    assert larger.distance.minutes == usual.distance.minutes


def test_sizes_grow() -> None:
    latents = [recipes.for_steps(size, 1).jepa.latent for size in ("xs", "s", "m", "l")]
    assert latents == sorted(set(latents))


def test_only_the_first_process_goes_on_after_training(store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.training.fit.train", lambda *args, **words: None)
    fit(store, tmp_path / "run", recipe(steps=1, head_steps=1), held_out=0.3, group=Group(rank=1, world_size=2))
    assert not (tmp_path / "run").exists()
