"""Training the tiny model, and what it left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from point_world import model_config
from tacit.data import EpisodeStore
from tacit.models.jepa import JEPA, JEPAConfig
from tacit.signals import Schema
from tacit.training.checkpoint import load_tensors
from tacit.training.distributed import Group
from tacit.training.loop import Moment, Trained, train
from tacit.training.metrics import METRICS
from tacit.training.progress import CHECKPOINT
from tacit.training.settings import TrainConfig

TRAINING, HELD_OUT = range(10), range(10, 12)


def fresh(schema: Schema, config: JEPAConfig | None = None) -> JEPA:
    """A model with seeded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return JEPA(schema, config or model_config())


def train_in(
    store: EpisodeStore,
    out: Path,
    config: TrainConfig,
    *,
    model: JEPA | None = None,
    seed: int = 0,
    resume: bool = False,
    group: Group | None = None,
    on_step: Callable[[Moment], None] | None = None,
) -> tuple[JEPA, Trained]:
    """Train on the first ten episodes, watch the last two."""
    model = model or fresh(store.schema)
    return model, train(store, TRAINING, HELD_OUT, model, config, out, seed=seed, resume=resume, group=group, on_step=on_step)


def interrupt_at(step: int) -> Callable[[Moment], None]:
    """An `on_step` that stops the training after a number of steps."""

    def on_step(moment: Moment) -> None:
        if moment.step == step:
            raise KeyboardInterrupt

    return on_step


def checkpoint_in(out: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and optimizer, and values without the wall clock."""
    tensors, meta = load_tensors(out / CHECKPOINT)
    return tensors, {key: value for key, value in meta.items() if key != "seconds"}


def metrics_in(out: Path) -> list[dict[str, float]]:
    """Lines of metrics.jsonl without the wall clock."""
    lines = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def assert_same_training(one: Path, other: Path) -> None:
    """Weights, optimizer and metrics of two trainings are equal bit by bit."""
    (mine, my_meta), (theirs, their_meta) = checkpoint_in(one), checkpoint_in(other)
    assert my_meta == their_meta
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name
    assert metrics_in(one) == metrics_in(other)
