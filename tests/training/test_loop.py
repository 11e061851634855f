"""The training loop: the same numbers as ever, only what it may see, and a stop that says why."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from trained import assert_same_training, checkpoint_in, fresh, interrupt_at, metrics_in, train_in

from point_world import LABELLED_MACHINE, SCHEMA, loop_config, model_config, store_of, walk
from tacit.data import Episode, EpisodeStore, StoreError
from tacit.data.episode import rows_of
from tacit.models import jepa
from tacit.training import loop
from tacit.training.loop import TrainingStopped, train
from tacit.training.progress import CHECKPOINT
from tacit.training.settings import TrainConfig, learning_rate

GOLDEN = [0.6936128, 0.7546529, 0.579402, 0.8204476, 0.7749317, 0.7370075, 0.7095262, 0.6267365, 0.6567959, 0.6665653]


def test_ten_steps_give_the_losses_they_always_gave(store: EpisodeStore, tmp_path: Path) -> None:
    """A refactoring must not change them; whoever changes the method on purpose writes the new ones down here."""
    losses: list[float] = []
    train_in(store, tmp_path, loop_config(steps=10), on_step=lambda moment: losses.append(moment.loss))
    assert losses == pytest.approx(GOLDEN, rel=1e-4)


def test_same_seed_same_weights_another_seed_others(store: EpisodeStore, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_in(store, tmp_path / name, loop_config(steps=5, watch_every=2), seed=seed)
    assert_same_training(tmp_path / "a", tmp_path / "b")
    weights = [checkpoint_in(tmp_path / name)[0]["model.encoder.fuse.weight"] for name in ("a", "c")]
    assert not torch.equal(*weights)


def test_labels_change_nothing(store: EpisodeStore, tmp_path: Path) -> None:
    """The proof by construction: the same logs with other labels give the same weights, bit by bit."""
    rng = np.random.default_rng(9)
    garbage = [
        Episode(
            signals={**episode.signals, "pose": rng.normal(0, 1e6, episode.signals["pose"].shape).astype(np.float32)}, time=episode.time
        )
        for episode in store
    ]
    other = store_of(tmp_path / "garbage", garbage)
    assert not np.array_equal(other[0].signals["pose"], store[0].signals["pose"])
    train_in(store, tmp_path / "right", loop_config(steps=5, watch_every=2))
    train_in(other, tmp_path / "wrong", loop_config(steps=5, watch_every=2))
    assert_same_training(tmp_path / "right", tmp_path / "wrong")


def test_a_machine_with_images_scalars_and_switches_trains(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(12):
        signals = {s.name: rng.integers(0, 2 if s.dtype == "bool" else 250, (rows_of(s, 9), *s.shape)) for s in LABELLED_MACHINE.signals}
        typed = {name: values.astype(LABELLED_MACHINE.by_name[name].dtype) for name, values in signals.items()}
        episodes.append(Episode(signals=typed, time=np.arange(10.0)))
    store = store_of(tmp_path / "store", episodes, LABELLED_MACHINE)
    model, trained = train_in(store, tmp_path / "out", replace(loop_config(steps=3), bfloat16=True))
    assert trained.steps == 3
    assert trained.frames == 3 * 16 * 5
    assert math.isfinite(trained.health.action_r2)
    actions = torch.from_numpy(np.concatenate([np.stack([e.signals["motor"], e.signals["heater"]], -1) for e in episodes[:10]]))
    torch.testing.assert_close(model.actions.mean[:2], actions.float().mean(0), rtol=0.3, atol=10.0)
    assert (model.actions.std[:2] > 30).all()


def test_the_learning_rate_warms_up_and_falls_to_two_percent() -> None:
    config = replace(loop_config(steps=100), learning_rate=1.0, warmup=10)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(config, 50, 0.5) == pytest.approx(0.51)
    assert learning_rate(config, 100, 1.0) == pytest.approx(0.02)
    assert learning_rate(config, 200, 7.0) == pytest.approx(0.02)
    assert learning_rate(replace(config, warmup=0), 0, 0.0) == pytest.approx(1.0)


def test_zero_steps_and_zero_minutes_train_nothing(store: EpisodeStore, tmp_path: Path) -> None:
    for name, config in (("steps", loop_config(steps=0)), ("minutes", replace(loop_config(steps=0), steps=None, minutes=0.0))):
        model, trained = train_in(store, tmp_path / name, config)
        assert trained.steps == 0
        assert torch.equal(model.encoder.fuse.weight, fresh(store.schema).encoder.fuse.weight)


def test_minutes_end_by_the_clock(store: EpisodeStore, tmp_path: Path) -> None:
    shares: list[float] = []
    config = replace(loop_config(steps=0), steps=None, minutes=0.3 / 60)
    _, trained = train_in(store, tmp_path, config, on_step=lambda moment: shares.append(moment.share))
    assert 0.3 <= trained.seconds < 5
    assert shares == sorted(shares)
    assert shares[-1] >= 1.0 > shares[-2]


@pytest.mark.parametrize("lengths", [{}, {"steps": 3, "minutes": 1.0}, {"steps": -1}, {"minutes": -1.0}])
def test_the_length_of_training_is_given_once(lengths: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="steps"):
        TrainConfig(**lengths)


def test_a_window_too_short_for_the_losses_is_refused(store: EpisodeStore, tmp_path: Path) -> None:
    long_rollout = fresh(SCHEMA, replace(model_config(), rollout=5))
    with pytest.raises(ValueError, match="5 frames has no room for 5 steps"):
        train_in(store, tmp_path, loop_config(steps=1), model=long_rollout)
    long_span = fresh(SCHEMA, replace(model_config(), inverse_spans=(1, 7)))
    with pytest.raises(ValueError, match="no room for 7 steps; take 8 frames"):
        train_in(store, tmp_path, loop_config(steps=1), model=long_span)


def test_one_held_out_window_is_too_few_to_watch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    store = store_of(tmp_path / "store", [walk(rng, 20), walk(rng, 20), walk(rng, 4)])
    with pytest.raises(StoreError, match="only one window of 5 frames"):
        train(store, [0, 1], [2], fresh(SCHEMA), loop_config(steps=1), tmp_path / "out", seed=0)


PARTS = {
    "prediction": "rollout_loss",
    "sigreg": "sigreg",
    "covariance": "covariance_loss",
    "inverse": "inverse_loss",
    "contrast": "contrast_loss",
}


def broken_at(monkeypatch: pytest.MonkeyPatch, part: str, step: int, value: float) -> None:
    """Make one part of the loss a given number from the (step + 1)-th step on."""
    original = getattr(jepa, PARTS[part])
    calls_per_step = 2 if part == "inverse" else 1
    calls = []

    def loss(*args: object, **words: object) -> torch.Tensor:
        calls.append(1)
        return original(*args, **words) * (value if len(calls) > step * calls_per_step else 1.0)

    monkeypatch.setattr(jepa, PARTS[part], loss)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_by_name(
    store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, value: float
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_in(store, tmp_path, loop_config(steps=10), on_step=interrupt_at(3))
    good = (tmp_path / CHECKPOINT).read_bytes()
    broken_at(monkeypatch, part, 2, value)
    model = fresh(store.schema)
    with pytest.raises(TrainingStopped, match=rf"stopped at step 5: the {part} loss is {value}.*checkpoints.*is good"):
        train_in(store, tmp_path, loop_config(steps=10), model=model, resume=True)
    assert (tmp_path / CHECKPOINT).read_bytes() == good
    assert all(p.isfinite().all() for p in model.parameters()), "the broken gradient was not applied"


def test_a_gradient_that_is_not_finite_stops_by_name(store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jepa, "covariance_loss", lambda latents, **_: (latents - latents.detach()).sum().sqrt())
    with pytest.raises(TrainingStopped, match="stopped at step 0: the gradient norm is nan"):
        train_in(store, tmp_path, loop_config(steps=10))
    assert not (tmp_path / CHECKPOINT).exists()


def test_an_extreme_value_in_the_logs_stops_by_name(store: EpisodeStore, tmp_path: Path) -> None:
    episodes = list(store)
    sensors = episodes[3].signals["sensors"].copy()
    sensors[7, 2] = 3e38
    episodes[3] = Episode(signals={**episodes[3].signals, "sensors": sensors}, time=episodes[3].time)
    extreme = store_of(tmp_path / "store", episodes)
    with pytest.raises(TrainingStopped, match=r"stopped at step \d+: the prediction loss is (nan|inf).*extreme values in the logs"):
        train_in(extreme, tmp_path / "out", loop_config(steps=20))
    assert not (tmp_path / "out" / CHECKPOINT).exists()


def test_an_accelerator_is_asked_rarely(store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a loss makes it wait; what it logs is what the CPU logs."""
    monkeypatch.setattr(loop, "_check_every", lambda device: 25)
    told: list[int] = []
    train_in(store, tmp_path, loop_config(steps=60), on_step=lambda moment: told.append(moment.step))
    assert told == [1, 26, 51]
    assert [line["step"] for line in metrics_in(tmp_path)] == [0, 50]


@pytest.mark.parametrize("step", [30, 57])
def test_an_accelerator_saves_nothing_unchecked(store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Found at the next check, or at the end; by then the weights are spoilt, but no checkpoint is."""
    monkeypatch.setattr(loop, "_check_every", lambda device: 25)
    broken_at(monkeypatch, "inverse", step, math.nan)
    with pytest.raises(TrainingStopped, match=f"stopped at step {step}: the inverse loss is nan"):
        train_in(store, tmp_path, replace(loop_config(steps=60), checkpoint_seconds=0.0))
    tensors, meta = checkpoint_in(tmp_path)
    assert meta["step"] == 25 * (step // 25) + 1
    assert all(value.isfinite().all() for value in tensors.values())


def test_a_collapse_stops_and_says_why(store: EpisodeStore, tmp_path: Path) -> None:
    """Prediction alone is easiest when every observation is the same."""
    alone = model_config(sigreg=0.0, covariance=0.0, inverse=0.0)
    config = loop_config(steps=3000, watch_every=50, learning_rate=1e-2)
    with pytest.raises(TrainingStopped, match=r"stopped at step \d+: the latents (no longer vary|vary along one)") as stop:
        train_in(store, tmp_path, config, model=fresh(store.schema, alone))
    assert "SIGReg" in str(stop.value)
    looks = [line for line in metrics_in(tmp_path) if "watch/mean_std" in line]
    assert len(looks) >= 2, "one bad look is not enough"
    assert looks[-1]["step"] < 3000


def test_with_its_regularisers_the_same_model_stays_alive(store: EpisodeStore, tmp_path: Path) -> None:
    alive = fresh(store.schema, model_config(sigreg=1.0, covariance=1.0, inverse=0.0))
    _, trained = train_in(store, tmp_path, loop_config(steps=150, watch_every=50, learning_rate=1e-2), model=alive)
    assert trained.health.effective_rank > 3
    assert trained.health.mean_std > 0.3
