"""Two processes that train together are one process with the same global batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trained import fresh, metrics_in, train_in

from point_world import loop_config, model_config
from tacit.data import EpisodeStore
from tacit.models.jepa import JEPA
from tacit.training.checkpoint import load_tensors
from tacit.training.distributed import Group, from_first, joined
from tacit.training.progress import CHECKPOINT

STEPS, RANKS = 6, 2
HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Together:
    """What the processes left behind, by rank."""

    out: Path
    told: list[dict[str, Any]]
    weights: list[dict[str, Tensor]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def together(store: EpisodeStore, tmp_path_factory: pytest.TempPathFactory) -> Together:
    out = tmp_path_factory.mktemp("together")
    group = {"WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "GLOO_SOCKET_IFNAME": "lo"}
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    workers = [
        subprocess.Popen(
            [sys.executable, HERE / "gloo_worker.py", store.path, out, str(STEPS)],
            env=os.environ | group | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    try:
        errors = [worker.communicate(timeout=120)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0] * RANKS, "\n".join(errors)
    return Together(
        out=out,
        told=[json.loads((out / f"told-{rank}.json").read_text()) for rank in range(RANKS)],
        weights=[load_tensors(out / f"weights-{rank}")[0] for rank in range(RANKS)],
    )


@pytest.fixture(scope="module")
def alone(store: EpisodeStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[JEPA, list[float], Path]:
    """One process with the whole batch: its model, losses and folder."""
    out, losses = tmp_path_factory.mktemp("alone"), []
    model, _ = train_in(store, out, loop_config(steps=STEPS, watch_every=3), on_step=lambda moment: losses.append(moment.loss))
    return model, losses, out


def test_losses_are_those_of_one_process(together: Together, alone: tuple[JEPA, list[float], Path]) -> None:
    for told in together.told:
        assert told["world"] == RANKS
        assert told["losses"] == pytest.approx(alone[1], rel=1e-4)


def test_weights_are_the_same_everywhere_and_those_of_one_process(together: Together, alone: tuple[JEPA, list[float], Path]) -> None:
    first, second = together.weights
    for name, value in alone[0].state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_loss_that_is_alone_at_first_keeps_the_processes_together(together: Together, store: EpisodeStore) -> None:
    first, second = (load_tensors(together.out / f"shapes-{rank}")[0] for rank in range(RANKS))
    begun = fresh(store.schema, replace(model_config(), shape_weight=1.0, shape_alone=0.5)).state_dict()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    for name in ("recognised_by.weight", "inverse_of_moves.0.weight"):
        assert not torch.equal(first[name], begun[name]), name


def test_only_the_first_process_writes(together: Together, alone: tuple[JEPA, list[float], Path]) -> None:
    (line, *looks), (expected, *_) = metrics_in(together.out), metrics_in(alone[2])
    assert line == pytest.approx(expected, rel=1e-4), "every part of the loss is that of the global batch"
    assert [look["step"] for look in looks] == [3, 6]
    assert load_tensors(together.out / CHECKPOINT)[1]["step"] == STEPS


def test_a_fault_of_one_process_stops_all_with_the_same_words(together: Together) -> None:
    first, second = (told["words"] for told in together.told)
    assert first == second
    assert "stopped at step 2: the inverse loss is nan" in first
    assert not (together.out / "faulty" / CHECKPOINT).exists()


def test_without_an_environment_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as group:
        assert group == Group()
        assert group.is_first
        assert from_first(0.1, group) == 0.1
