"""`tacit train --members`: several models as one run, from training to the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typed_words import EVAL, TRAIN

from tacit import Goal, Task, load
from tacit.cli import main
from tacit.models.ensemble import Ensemble
from tacit.training.folder import read_results
from tacit.worlds import TwoRoomWorld


def test_an_ensemble_goes_the_whole_way(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "data", "--out", "both", "--members", "2", *TRAIN]) == 0
    assert "6 steps" in capsys.readouterr().out
    assert isinstance(load("both").model, Ensemble)
    assert "members" in read_results(Path("both"))["commands"]["train"]
    assert main(["eval", "both", *EVAL]) == 0
    assert main(["report", "both"]) == 0
    assert main(["bench", "plan", "both", "--calls", "5"]) == 0
    assert "models asked together" in Path("both/report.html").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(TwoRoomWorld, "tolerance", 40.0)  # the run has hardly been trained
        words = ["--episodes", "24", "--budget", "16", "--false-alarms", "0.5", "--threads", "1"]
        assert main(["calibrate", "both", "--world", "two_room", *words]) == 0
    both, image = load("both"), np.zeros((64, 64, 3), np.uint8)
    supervisor = both.supervisor(both.session(Task(goal=Goal(observations={"image": image}))))
    supervisor.reset()
    assert np.isfinite(supervisor.act({"image": image}).action).all()
    assert supervisor.judgement is not None
    assert main(["train", "data", "--out", "both", "--members", "2", *TRAIN]) == 1
    assert "holds a finished run" in capsys.readouterr().err
    assert main(["train", "data", "--out", "both", "--overwrite", *TRAIN]) == 0
    assert not Path("both/members").exists()
    assert not isinstance(load("both").model, Ensemble)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--members", "0"], "--members 0 must be at least 1"),
        (["--members", "2", "--tensorboard"], "--tensorboard shows the training of one model"),
    ],
)
def test_what_does_not_go_together_is_refused(options: list[str], reason: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "data", "--out", "both", *options, *TRAIN]) == 1
    assert reason in capsys.readouterr().err
    assert not Path("both").exists()


def test_torchrun_trains_one_model(here: Path) -> None:
    from tacit.cli.train import Train, workers_of
    from tacit.training.distributed import Group

    options = Train(data=Path("data"), out=Path("both"), members=2)
    with pytest.raises(ValueError, match="without torchrun"):
        workers_of(options, Group(world_size=2))
    assert workers_of(Train(data=Path("data"), out=Path("both")), Group(world_size=2)).processes == 1
