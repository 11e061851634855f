"""What the logs can answer, in a run's folder: read as it was written, or refused by what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tacit.run import Run
from tacit.training.checkpoint import load_tensors, save_tensors
from tacit.training.folder import RunError
from tacit.training.support import Support
from tacit.training.support_file import SUPPORT, read_support, write_support
from tank_world import record, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(record(tmp_path_factory.mktemp("tank") / "store", episodes=12))


def reread(run: Run, folder: Path) -> Support:
    return read_support(folder, run.model, [fitted.readout for fitted in run.readouts.values()])


def test_training_writes_it_and_it_is_read_again(run: Run, tmp_path: Path) -> None:
    support = run.support()
    write_support(tmp_path, support)
    again = reread(run, tmp_path)
    for name in ("scores", "residuals", "gain", "low", "high", "moved"):
        assert torch.equal(getattr(again, name).nan_to_num(9.0), getattr(support, name).nan_to_num(9.0))
    assert torch.equal(again.states.points, support.states.points)


def test_a_damaged_or_missing_file_is_told(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such file; a run of a machine with sensors gets it when it is trained"):
        reread(run, tmp_path)
    written = (run.path / SUPPORT).read_bytes()
    (tmp_path / SUPPORT).write_bytes(written[:-1] + bytes([written[-1] ^ 1]))
    with pytest.raises(RunError, match="changed since it was written"):
        reread(run, tmp_path)


DAMAGES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "scores": (lambda it: it[:0], r"scores has shape \(0, 45\) instead of \(any, 45\)"),
    "residuals": (lambda it: it[:, :9], r"residuals has shape \(\d+, 9, 2\) instead of \(any, 45, 2\)"),
    "gain": (lambda it: it[:1], r"gain has shape \(1\) instead of \(2\)"),
    "low": (lambda it: it[None], r"low has shape \(1, 3\) instead of \(3\)"),
    "moved": (lambda it: it[:2], r"moved has shape \(2, 1\) instead of \(3, 1\)"),
    "high": (lambda it: it.double(), r"high has numbers of torch\.float64 instead of torch\.float32"),
    "actions.usual": (lambda it: it[None], r"actions\.usual has shape \(1\) instead of \(\)"),
    "states.whiten": (lambda it: it[:, 1:], r"states\.whiten has shape"),
    "states.points": (lambda it: it.half(), r"states\.points has numbers of torch\.float16"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_file_that_is_not_of_this_run_is_told_by_what_does_not_fit(run: Run, tmp_path: Path, name: str) -> None:
    change, words = DAMAGES[name]
    tensors, meta = load_tensors(run.path / SUPPORT)
    save_tensors(tmp_path / SUPPORT, tensors | {name: change(tensors[name]).contiguous()}, meta)
    with pytest.raises(RunError, match=rf"{words}.*; train the run again") as told:
        reread(run, tmp_path)
    assert str(tmp_path) in str(told.value)
    save_tensors(tmp_path / SUPPORT, {key: value for key, value in tensors.items() if key != name}, meta)
    with pytest.raises(RunError, match=f"is damaged: {name} is missing; train the run again"):
        reread(run, tmp_path)


def test_a_run_without_it_cannot_be_asked(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such file"):
        replace(run, path=tmp_path).support()
