"""Resuming: as if nothing had happened, or a refusal that names what differs."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trained import assert_same_training, checkpoint_in, fresh, interrupt_at, metrics_in, train_in

from point_world import SCHEMA, loop_config, model_config
from tacit.data import EpisodeStore
from tacit.signals import Schema
from tacit.training.checkpoint import CheckpointError
from tacit.training.metrics import METRICS
from tacit.training.progress import CHECKPOINT

CONFIG = loop_config(steps=20, watch_every=5)


@pytest.fixture(scope="module")
def straight(store: EpisodeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty steps without a stop."""
    out = tmp_path_factory.mktemp("straight")
    train_in(store, out, CONFIG)
    return out


@pytest.mark.parametrize("step", [1, 10, 13, 20])
def test_an_interrupted_training_goes_on_exactly(store: EpisodeStore, tmp_path: Path, straight: Path, step: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_in(store, tmp_path, CONFIG, on_step=interrupt_at(step))
    assert checkpoint_in(tmp_path)[1]["step"] == step
    model, trained = train_in(store, tmp_path, CONFIG, resume=True)
    assert trained.steps == 20
    assert_same_training(tmp_path, straight)
    saved = checkpoint_in(straight)[0]
    assert all(torch.equal(value, saved[f"model.{name}"]) for name, value in model.state_dict().items())


def test_ctrl_c_inside_a_step_waits_for_its_end(
    store: EpisodeStore, tmp_path: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the worst moment: the weights have moved, the step is not yet counted."""
    original, calls = torch.optim.AdamW.step, []

    def step(self: torch.optim.AdamW) -> None:
        original(self)
        calls.append(1)
        if len(calls) == 7:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.AdamW, "step", step)
        with pytest.raises(KeyboardInterrupt):
            train_in(store, tmp_path, CONFIG)
    assert checkpoint_in(tmp_path)[1]["step"] == 7
    train_in(store, tmp_path, CONFIG, resume=True)
    assert_same_training(tmp_path, straight)


def test_a_killed_training_repeats_what_came_after_its_checkpoint(store: EpisodeStore, tmp_path: Path, straight: Path) -> None:
    """Metrics went on after the last checkpoint, and the last line was cut off."""
    with pytest.raises(KeyboardInterrupt):
        train_in(store, tmp_path, CONFIG, on_step=interrupt_at(8))
    with (tmp_path / METRICS).open("a") as file:
        file.write(json.dumps({"step": 10, "watch/min_std": 0.1}) + "\n" + '{"step": 15, "wat')
    train_in(store, tmp_path, CONFIG, resume=True)
    assert_same_training(tmp_path, straight)
    assert [line["step"] for line in metrics_in(tmp_path)] == [0, 5, 10, 15, 20]


def test_training_longer_than_planned_is_allowed(store: EpisodeStore, tmp_path: Path) -> None:
    train_in(store, tmp_path, CONFIG)
    _, trained = train_in(store, tmp_path, replace(CONFIG, steps=25, watch_every=3, checkpoint_seconds=1.0), resume=True)
    assert trained.steps == 25


@pytest.fixture
def interrupted(store: EpisodeStore, tmp_path: Path) -> Path:
    with pytest.raises(KeyboardInterrupt):
        train_in(store, tmp_path, CONFIG, on_step=interrupt_at(2))
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"batch": 8}, "loop.batch 16 instead of 8"),
        ({"window": 6}, "loop.window 5 instead of 6"),
        ({"learning_rate": 1e-4}, "loop.learning_rate 0.003 instead of 0.0001"),
        ({"bfloat16": True}, "loop.bfloat16 False instead of True"),
        ({"batch": 8, "window": 6, "warmup": 1, "clip": 2.0}, "and 1 more"),
    ],
)
def test_other_settings_are_refused_by_name(store: EpisodeStore, interrupted: Path, changed: dict[str, float], words: str) -> None:
    with pytest.raises(CheckpointError, match=rf"{CHECKPOINT} was written with .*{words}"):
        train_in(store, interrupted, replace(CONFIG, **changed), resume=True)


def test_another_size_other_losses_and_another_seed_are_refused_by_name(store: EpisodeStore, interrupted: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.state 6 instead of 14"):
        train_in(store, interrupted, CONFIG, model=fresh(SCHEMA, model_config(latent=16)), resume=True)
    with pytest.raises(CheckpointError, match=r"model.sigreg_weight 0.03 instead of 0.5"):
        train_in(store, interrupted, CONFIG, model=fresh(SCHEMA, model_config(sigreg=0.5)), resume=True)
    with pytest.raises(CheckpointError, match="seed 0 instead of 3"):
        train_in(store, interrupted, CONFIG, seed=3, resume=True)


def test_another_schema_is_refused_by_name_but_labels_do_not_count(store: EpisodeStore, interrupted: Path) -> None:
    other = Schema(signals=SCHEMA.signals, period=0.5)
    with pytest.raises(CheckpointError, match="schema"):
        train_in(store, interrupted, CONFIG, model=fresh(other), resume=True)
    _, trained = train_in(store, interrupted, CONFIG, model=fresh(SCHEMA.without_labels()), resume=True)
    assert trained.steps == 20


def test_a_missing_cut_or_flipped_checkpoint_is_refused(store: EpisodeStore, interrupted: Path) -> None:
    path = interrupted / CHECKPOINT
    data = path.read_bytes()
    metrics = (interrupted / METRICS).read_bytes()
    flipped = bytearray(data)
    flipped[-1000] ^= 4  # inside the tensors, where the format itself has no checksum
    for contents, words in ((flipped, "bytes have changed"), (data[:-1], "damaged"), (None, "no such file")):
        if contents is None:
            path.unlink()
        else:
            path.write_bytes(contents)
        with pytest.raises(CheckpointError, match=words):
            train_in(store, interrupted, CONFIG, resume=True)
        assert (interrupted / METRICS).read_bytes() == metrics, "a refusal destroys nothing"
