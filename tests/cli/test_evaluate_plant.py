"""A plant from its historian to the page about it in closed loop, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tacit
from tacit.assurance import Ledger, Recorded
from tacit.assurance.replay import replay
from tacit.cli import main
from tacit.nn import native
from tacit.planning import Task, Verdict
from tacit.worlds.plants import plant

TASK = """\
[goal.signals]
level_1 = 12.4
level_2 = { value = 12.7, weight = 2.0 }

[goal.minimise.volts]
terms = { pump_1 = 1.0, pump_2 = 1.0 }
weight = 0.01
unit = "V"

[limits.action.pump_1]
rate = 0.3

[limits.signal.level_1]
high = 19.0

[plan]
horizon = 8
"""


@pytest.fixture(scope="module")
def tanks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that has seen little."""
    folder = tmp_path_factory.mktemp("tanks")
    assert main(["record", "four_tank", "--out", str(folder / "log"), "--episodes", "3", "--steps", "60"]) == 0
    assert main(["train", str(folder / "log"), "--out", str(folder / "run"), "--size", "xs", "--steps", "4", "--threads", "1"]) == 0
    (folder / "tanks.toml").write_text(TASK)
    return folder


def test_check_task_says_what_is_wanted(tanks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-task", str(tanks / "tanks.toml"), str(tanks / "run")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "level_2 12.7 cm 2 " in shown
    assert "volts small 0.01 from its terms" in shown
    assert "pump_1 calm 1 10 V" in shown
    assert "planned by newton: 8 actions = 40 s ahead" in shown


def test_check_task_refuses_a_level_that_the_sensor_never_shows(tanks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "task.toml").write_text(TASK.replace("level_1 = 12.4", "level_1 = 22.4"))
    assert main(["check-task", str(tmp_path / "task.toml"), str(tanks / "run")]) == 1
    assert "task.toml:2: goal.signals.level_1.value: 22.4 is outside the range of 'level_1', 0 to 20 cm" in capsys.readouterr().err


def test_eval_drives_the_plant_and_writes_the_page(tanks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--task", str(tanks / "tanks.toml"), "--episodes", "2", "--budget", "12", "--threads", "1", "--json", str(tanks / "x.json")]
    assert main(["eval", str(tanks / "run"), *words]) == 0
    assert "less integrated squared error" in (out := capsys.readouterr().out) or "more integrated squared error" in out
    found = json.loads((tanks / "x.json").read_text())
    assert list(found["policies"]) == ["Tacit", "PI control", "constant"]
    assert all(score["broken"] == 0 for score in found["policies"]["Tacit"].values())
    assert all(set(score["indicators"]) == {"volts"} for score in found["policies"]["Tacit"].values())
    assert "four_tank" in (tanks / "run" / "plant.html").read_text()


def test_a_ledger_says_what_really_made_the_plans(tanks: Path) -> None:
    """A model of sensors keeps to float32 products, whatever other models of this machine plan with."""
    run = tacit.load(tanks / "run")
    session = run.session(tanks / "tanks.toml")
    assert session.build["planning"] == native.name(torch.float32)
    with Ledger(tanks / "tanks.ledger", session) as ledger:
        actor, tank = Recorded(run.controller_of(session), ledger), plant("four_tank")
        actor.reset(applied=[[[3.0, 3.0]]])
        actor.act({name: value for name, value in tank.reset(0).items() if name in {signal.name for signal in tank.schema.seen}})
    found = replay(tanks / "tanks.ledger", run.controller_of, planning=run.planning)
    assert (found.same, found.difference, found.builds) == (1, None, ())
    assert main(["ledger", "replay", str(tanks / "tanks.ledger"), str(tanks / "run")]) == 0


def test_options_of_worlds_with_pictures_are_refused(tanks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(tanks / "run"), "--protocol", "standard"]) == 1
    assert "--protocol is of worlds with goal images, and four_tank is a plant" in capsys.readouterr().err


def test_a_plant_without_loops_is_not_driven(tanks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(tanks / "run"), "--world", "tennessee_eastman"]) == 1
    assert "tennessee_eastman has its controllers inside, and no loop that a run could take over" in capsys.readouterr().err


def test_a_measured_disturbance_is_taken_in_and_changes_the_plan(tanks: Path) -> None:
    """Feed-forward: the controller sees the inflow before any level does."""
    run, tank = tacit.load(tanks / "run"), plant("four_tank")
    seen = {name: value for name, value in tank.reset(0).items() if name in {signal.name for signal in tank.schema.seen}}
    sent = []
    for inflow in (0.0, 4.0):
        controller = run.controller(Task.from_toml(tanks / "tanks.toml"))
        controller.reset(applied=[[[3.0, 3.0]]])
        decision = controller.act(seen | {"inflow_2": inflow})
        assert decision.verdict is Verdict.ACT
        sent.append(decision.action)
    assert (sent[0] != sent[1]).any()
