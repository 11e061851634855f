"""`tacit calibrate`: the monitor of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

import tacit
from tacit.assurance import MonitorError
from tacit.cli import main
from tacit.training.checkpoint import load_tensors, save_tensors
from tacit.worlds import TwoRoomWorld


def test_a_monitor_is_made_of_episodes_that_went_well(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TwoRoomWorld, "tolerance", 40.0)  # the run has hardly been trained
    words = ["--episodes", "24", "--budget", "16", "--false-alarms", "0.5", "--threads", "1"]
    before = tacit.load("run").digest
    assert main(["calibrate", "run", "--world", "two_room", *words]) == 0
    run = tacit.load("run")
    found = run.monitor()
    assert found.false_alarms == 0.5
    assert len(found.reference.nearing) == 16
    assert "in which all was well, warnings in at most 50.0% of such episodes" in capsys.readouterr().out
    assert run.digest == before
    tensors, meta = load_tensors(Path("run/model.safetensors"))
    save_tensors(Path("run/model.safetensors"), {name: value + 1 for name, value in tensors.items()}, meta)  # as if trained again
    with pytest.raises(MonitorError, match=r"run/monitor\.safetensors is the monitor of another run: .* make one of this run"):
        tacit.load("run").monitor()


def test_too_few_episodes_leave_the_run_as_it_was(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "run", "--threads", "1"]) == 1
    assert "too few for a rate of false alarms of 0.04: it takes 37" in capsys.readouterr().err
    assert not Path("run/monitor.safetensors").exists()


def test_a_world_of_another_machine_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "run", "--world", "point_maze"]) == 1
    assert "the world point_maze" in capsys.readouterr().err
