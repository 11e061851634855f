"""`tacit ledger` and `tacit why`, on what a run has decided."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tacit
from tacit.assurance import Hold, Ledger, Recorded, Supervision, Supervisor, check
from tacit.cli import main
from tacit.data import EpisodeStore
from tacit.planning import Goal, PlanSettings, Task
from tacit.planning.task_fallback import Fallback
from tacit.worlds import TwoRoomWorld

PLAN = PlanSettings(planner="propose-verify", horizon=3, candidates=12, iterations=2, proposals=4)
TASK = """
[goal]
image = "goal.png"
[plan]
planner = "propose-verify"
horizon = 3
candidates = 12
iterations = 2
proposals = 4
"""


@pytest.fixture
def decide(here: Path) -> Callable[..., str]:
    """Writes a ledger of two episodes; its name."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (3, 64, 64, 3), np.uint8)
    Image.fromarray(frames[0]).save("goal.png")
    Path("task.toml").write_text(TASK)

    def write(name: str = "line.ledger", **options: object) -> str:
        run = tacit.load("run")
        session = run.session("task.toml", cost="reaching_cost", seed=3)
        with Ledger(name, session, **options) as ledger:  # type: ignore[arg-type]
            actor = Recorded(run.controller_of(session), ledger)
            for goal in (None, {"image": frames[1:2]}):
                actor.reset(goal)
                for frame in frames:
                    actor.act({"image": frame})
        return name

    return write


def test_verify_says_whether_it_is_whole_and_what_is_wrong(decide: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    name = decide()
    head = str(check(Path(name)).head)
    assert main(["ledger", "verify", name]) == 0
    said = capsys.readouterr()
    assert "10 records, all as they were written" in said.out
    assert f"head: {head}" in said.out
    assert "keep the line above elsewhere" in said.err
    assert main(["ledger", "verify", name, "--head", head]) == 0
    assert "warning" not in capsys.readouterr().err
    assert main(["ledger", "verify", name, "--head", "f" * 64 + ":4"]) == 1
    assert "replaced: record 3 is not the one that the head given names" in capsys.readouterr().out
    assert main(["ledger", "verify", name, "--head", "yesterday"]) == 1
    assert "'yesterday' is not a head: give HASH:COUNT" in capsys.readouterr().err
    Path(name).write_bytes(Path(name).read_bytes().replace(b'"verdict":"act"', b'"verdict":"acT"', 1))
    assert main(["ledger", "verify", name]) == 1
    said = capsys.readouterr().out
    assert "changed: record 2 has changed" in said
    assert "2 records before it are as they were written" in said
    assert main(["ledger", "verify", "nowhere.ledger"]) == 1
    assert "nowhere.ledger: No such file" in capsys.readouterr().err


def test_replay_makes_the_same_decisions_and_refuses_what_did_not_make_them(
    decide: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = decide()
    assert main(["ledger", "replay", name, "run", "--task", "task.toml"]) == 0
    assert "6 decisions came out the same, bit for bit" in capsys.readouterr().out
    Path("other.toml").write_text(TASK.replace("horizon = 3", "horizon = 4"))
    assert main(["ledger", "replay", name, "run", "--task", "other.toml"]) == 1
    assert "other.toml was not what was asked" in capsys.readouterr().err
    shutil.copytree("run", "changed")
    calibration = Path("changed/calibration.json")
    calibration.write_text(calibration.read_text() + "\n")
    assert main(["ledger", "replay", name, "changed"]) == 1
    assert "changed is another run (SHA-256 " in capsys.readouterr().err
    assert main(["ledger", "replay", decide("small.ledger", inputs="digest"), "run"]) == 1
    assert "has only digests of what was observed" in capsys.readouterr().err


def test_replay_names_the_first_difference(decide: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    name, run = decide(), tacit.load("run")
    session = run.session("task.toml", cost="reaching_cost", seed=3)
    with Ledger(name, session) as ledger:  # decisions of a controller with another seed, noted under this session
        other = Recorded(run.controller(session.task, seed=4), ledger)
        other.act({"image": np.zeros((64, 64, 3), np.uint8)})
    assert main(["ledger", "replay", name, "run"]) == 1
    said = capsys.readouterr().out
    assert "6 decisions came out the same" in said
    assert "step 6 did not: the plan's" in said


def test_supervised_decisions_are_replayed_with_the_monitor_of_that_time(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TwoRoomWorld, "tolerance", 40.0)  # the run has hardly been trained
    words = ["--episodes", "24", "--budget", "16", "--false-alarms", "0.5", "--threads", "1"]
    assert main(["calibrate", "run", "--world", "two_room", *words]) == 0
    run, rng = tacit.load("run"), np.random.default_rng(0)
    goal = rng.integers(0, 255, (64, 64, 3), np.uint8)
    session = run.session(Task(goal=Goal(observations={"image": goal}), plan=PLAN, fallback=Fallback.ZERO))
    frames = EpisodeStore("data")[0].signals["image"][:5]
    with Ledger("line.ledger", session) as ledger:
        supervisor = run.supervisor(session, supervision=Supervision(dwell=2, deadline=30.0), ledger=ledger)
        supervisor.reset()
        verdicts = {str(supervisor.act({"image": frame}, taken=float(n)).verdict) for n, frame in enumerate([*frames, goal, goal])}
    assert "abstain" in verdicts
    assert main(["ledger", "replay", "line.ledger", "run"]) == 0
    assert "7 decisions came out the same, bit for bit" in capsys.readouterr().out
    shutil.copy("run/monitor.safetensors", "kept.safetensors")
    replace(run.monitor(), false_alarms=0.6).save("run/monitor.safetensors")
    assert main(["ledger", "replay", "line.ledger", "run"]) == 1
    assert "calibrating again replaced it, so give the file of that time" in " ".join(capsys.readouterr().err.split())
    assert main(["ledger", "replay", "line.ledger", "run", "--monitor", "kept.safetensors"]) == 0
    with Ledger("own.ledger", session) as ledger:
        Supervisor(run.controller_of(session), fallback=Hold(), ledger=ledger).act({"image": goal})
    assert main(["ledger", "replay", "own.ledger", "run"]) == 1
    assert "a fallback of its own (holding the last action)" in " ".join(capsys.readouterr().err.split())


def test_why_explains_a_step(decide: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    name = decide()
    assert main(["why", name, "--step", "4", "--run", "run", "--page", "why.html"]) == 0
    said = capsys.readouterr().out
    assert "It acted: following a feasible plan." in said
    assert "image: a picture of 64 × 64 × 3, kept in full" in said
    assert "page: why.html" in said
    assert "data:image/png" in Path("why.html").read_text()
    assert main(["why", name, "--step", "6"]) == 1
    assert "has no step 6: the last one is 5" in capsys.readouterr().err
    assert main(["why", name, "--step", "0", "--page", "nowhere/why.html"]) == 1
    assert "no such folder for --page" in capsys.readouterr().err
    shutil.copytree("run", "changed")
    Path("changed/calibration.json").write_text("{}")
    assert main(["why", name, "--step", "0", "--run", "changed"]) == 1
    assert "changed did not decide this" in capsys.readouterr().err


def test_a_session_is_that_of_its_run(here: Path) -> None:
    run = tacit.load("run")
    with pytest.raises(ValueError, match="'price' is not a cost of a run"):
        run.session(Task(plan=PLAN), cost="price")
    assert tacit.load("run").digest == run.digest
    assert run.session(Task(plan=PLAN)).model == run.digest
