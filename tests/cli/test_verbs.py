"""Each verb as a person types it: what it makes, what it refuses, and what an interrupt leaves."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typed_words import EVAL, RECORD, TRAIN

import tacit
from tacit.assurance import Interval
from tacit.assurance.intervals import write_intervals
from tacit.cli import demo, main
from tacit.data import EpisodeStore
from tacit.evaluation.protocol import Manifest, Protocol, draw_manifest
from tacit.models.readout import Readout, ReadoutConfig
from tacit.planning import Task
from tacit.training.folder import digest_of_run, read_config, read_results
from tacit.training.readouts import FittedReadout, write_readouts


def interrupting(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """The same function, with Ctrl-C pressed when it is called for the given time."""
    calls = itertools.count(1)

    def pressed(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return pressed


def interrupt(monkeypatch: pytest.MonkeyPatch, module: str, name: str, *, call: int, during: list[str]) -> int:
    """Run a command and press Ctrl-C in some call of a function that it makes."""
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[module], name, interrupting(getattr(sys.modules[module], name), call))
        return main(during)


def flipped(path: Path, share: float) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 1
    path.write_bytes(data)


def test_an_interrupted_recording_goes_on_to_the_same_store(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["record", "two_room", "--out", "again", *RECORD]
    assert interrupt(monkeypatch, "tacit.worlds.record", "recorded", call=8, during=command) == 130
    assert "7 of 20 episodes are in again. Go on with: tacit record two_room --out again" in capsys.readouterr().err
    assert main(command) == 0
    for first, second in zip(EpisodeStore("data"), EpisodeStore("again"), strict=True):
        assert all(np.array_equal(first.signals[name], second.signals[name]) for name in first.signals)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["moon", "--out", "x"], "there is no world 'moon'"),
        (["two_room", "--out", "x", "--episodes", "0"], "must be at least 1"),
        (["two_room", "--out", "data", "--seed", "1"], "holds another recording"),
        (["two_room", "--out", "run"], "run already exists"),
    ],
)
def test_record_refuses(words: list[str], text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", *words]) == 1
    assert text in capsys.readouterr().err


def test_info_shows_the_store_and_names_damage(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "data", "--verify"]) == 0
    text = capsys.readouterr().out
    assert "64 × 64 × 3" in text
    assert "20 episodes of 16 to 16 actions, 340 frames" in text
    assert "no damage: every checksum is right" in text
    flipped(here / "data/00000.arrow", 0.52)
    assert main(["info", "data"]) == 0  # only a look at every byte finds it
    assert main(["info", "data", "--verify"]) == 1
    assert "the bytes of image have changed" in capsys.readouterr().err


def test_training_leaves_damaged_episodes_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flipped(here / "data/00000.arrow", 0.52)
    assert main(["train", "data", "--out", "other", *TRAIN]) == 0
    config = read_config(Path("other"))
    assert config.train_episodes + config.held_out_episodes == 19
    assert "1 damaged episode;" in capsys.readouterr().err


def test_training_says_what_it_took(here: Path) -> None:
    results = read_results(here / "run")
    assert {"verify", "train", "encode", "distance", "policy", "plan", "probe"} <= set(results["phases"])
    assert results["train"]["steps"] == 6
    assert results["commands"]["train"].startswith("tacit train ")
    assert results["commands"]["eval"].startswith("tacit eval ")


def test_a_run_is_not_overwritten_by_accident(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = (here / "run/model.safetensors").read_bytes()
    assert main(["train", "data", "--out", "run", *TRAIN]) == 1
    assert "holds a finished run" in capsys.readouterr().err
    assert (here / "run/model.safetensors").read_bytes() == weights
    of_some = ("monitor.safetensors", "forecasts.safetensors", "support.safetensors", "readouts.json", "readouts.safetensors")
    for name in of_some:
        (here / "run" / name).write_bytes(b"of the old model")
    assert main(["train", "data", "--out", "run", *TRAIN, "--seed", "1", "--overwrite"]) == 0
    assert not any((here / "run" / name).exists() for name in of_some)
    assert (here / "run/model.safetensors").read_bytes() != weights
    assert "success" not in read_results(here / "run")  # it was measured on the other model


def test_an_interrupted_training_goes_on_from_its_checkpoint(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "data", "--out", "new", *TRAIN]
    assert interrupt(monkeypatch, "tacit.training.loop", "unit_directions", call=4, during=command) == 130
    assert "a checkpoint is in new. Go on with: tacit train data --out new" in (shown := capsys.readouterr().err)
    assert "--resume" in shown
    assert main(command) == 1
    assert "holds a training that was stopped" in capsys.readouterr().err
    assert main(["eval", "new"]) == 1
    assert "training has not finished" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert read_results(Path("new"))["train"]["steps"] == 6


def test_an_interrupt_before_the_first_checkpoint_promises_none(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interrupt(monkeypatch, "tacit.training.finish", "division", call=1, during=["train", "data", "--out", "new", *TRAIN]) == 130
    shown = capsys.readouterr().err
    assert "no checkpoint was written yet" in shown
    assert "--resume" not in shown


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--out", "x", "--steps", "5", "--minutes", "1"], "--minutes and --steps are both given"),
        (["--out", "x", "--steps", "0"], "must be positive"),
        (["--out", "x", "--steps", "5", "--threads", "0"], "--threads 0 must be at least 1"),
        (["--out", "x", "--steps", "5", "--device", "abacus"], "--device abacus is not a device"),
        (["--out", "x", "--steps", "5", "--resume"], "no checkpoint to go on from"),
        (["--out", "run", "--steps", "5", "--resume", "--overwrite"], "give one of them"),
        (["--out", "run", "--steps", "5", "--resume", "--size", "m", "--threads", "1"], "latest.safetensors was written with"),
    ],
)
def test_train_refuses_and_leaves_the_run_alone(words: list[str], text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (here / "run/results.json").read_bytes()
    assert main(["train", "data", *words]) == 1
    assert text in capsys.readouterr().err
    assert (here / "run/results.json").read_bytes() == before
    assert not (here / "x").exists()


@pytest.mark.parametrize(("episodes", "steps", "text"), [(0, 1, "it has no episode"), (12, 2, "takes 3 actions in a row")])
def test_train_refuses_logs_without_a_window(
    episodes: int, steps: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tacit.data import EpisodeWriter
    from tacit.worlds import record, world

    if episodes:
        record(world("two_room"), tmp_path / "logs", episodes=episodes, steps=steps)
    else:
        EpisodeWriter.create(tmp_path / "logs", world("two_room").schema).close()
    assert main(["train", str(tmp_path / "logs"), "--out", str(tmp_path / "run"), *TRAIN]) == 1
    assert text in capsys.readouterr().err


def test_eval_writes_everything_that_was_measured(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "run", "--world", "two_room", *EVAL, "--ablation-episodes", "2", "--json", "numbers.json"]
    assert main(command) == 0
    results = json.loads(Path("numbers.json").read_text())
    assert results == read_results(here / "run")
    assert results["success"]["episodes"] == 4
    assert results["success_other_room"]["episodes"] + results["success_same_room"]["episodes"] == 4
    assert results["ablation"]["latent_l2"]["episodes"] == 2
    assert set(results["floors"]) == {"random", "noop", "cloning"}
    assert results["floors"]["noop"]["successes"] == 0  # no scene is solved at its start
    assert len(results["probe"]["position"]["r2_per_channel"]) == 2
    assert results["plan"]["threads"] == 1
    assert 0 < results["plan"]["ms_p50"] <= results["plan"]["ms_p99"]
    manifest = Manifest.load(here / "run/manifest.json")
    assert results["protocol"]["digest"] == manifest.digest == draw_manifest(Protocol(world="two_room", episodes=4, budget=5)).digest
    assert "95 % interval" in capsys.readouterr().out


def test_eval_by_a_named_protocol(here: Path) -> None:
    assert main(["eval", "run", "--protocol", "standard", "--episodes", "2", "--threads", "1"]) == 0
    results = read_results(here / "run")
    assert {name: results["protocol"][name] for name in ("budget", "offset", "hold", "episodes")} == {
        "budget": 50,
        "offset": 25,
        "hold": 0,
        "episodes": 2,
    }
    assert results["plan"]["settings"]["planner"] == "propose-verify"
    assert results["protocol"]["digest"] == Manifest.load("run/manifest.json").digest
    assert main(["report", "run"]) == 0


def test_eval_with_a_manifest_gives_the_same_numbers(here: Path) -> None:
    before = read_results(here / "run")
    assert main(["eval", "run", "--manifest", "run/manifest.json", "--threads", "1"]) == 0
    after = read_results(here / "run")
    assert all(before[name] == after[name] for name in ("success", "floors", "ablation", "probe", "protocol"))


def test_eval_without_its_logs_measures_the_rest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Path(read_config(here / "run").store)
    store.rename(store.with_name("moved"))
    try:
        assert main(["eval", "run", *EVAL]) == 0
    finally:
        store.with_name("moved").rename(store)
    assert "Nothing is probed without the logs: name their folder with --data" in capsys.readouterr().err
    assert read_results(here / "run")["probe"] == {}
    assert main(["eval", "run", *EVAL, "--data", "data"]) == 0
    assert read_results(here / "run")["probe"]


def test_an_interrupted_evaluation_changes_no_number(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in (here / "run").iterdir() if path.is_file()}
    assert interrupt(monkeypatch, "tacit.evaluation.suites", "probe_labels", call=1, during=["eval", "run", *EVAL]) == 130
    assert "run is as it was before" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (here / "run").iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nowhere"], "no such run"),
        (["run", "--episodes", "0"], "must be at least 1"),
        (["run", "--protocol", "long", "--budget", "3"], "--budget is decided by --protocol long"),
        (["run", "--manifest", "run/config.json"], "is not a manifest"),
        (["run", "--ablation-episodes", "9", *EVAL], "must be between 1 and the 4 episodes"),
        (["run", "--json", "nowhere/x.json"], "no such folder for --json"),
        (["run", "--data", "run", *EVAL], "is not an episode store"),
    ],
)
def test_eval_refuses(words: list[str], text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", *words]) == 1
    assert text in capsys.readouterr().err


def test_eval_refuses_the_world_of_another_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from point_world import recipe, record
    from tacit.training.fit import fit

    fit(record(tmp_path / "logs"), tmp_path / "run", recipe(steps=3, head_steps=3))
    assert main(["eval", str(tmp_path / "run"), "--world", "two_room", *EVAL]) == 1
    assert "the world two_room lacks the signal 'sensors'" in capsys.readouterr().err
    assert main(["eval", str(tmp_path / "run")]) == 1
    assert "say where to plan with --world" in capsys.readouterr().err


def test_report_has_every_section_once_everything_was_measured(here: Path) -> None:
    assert main(["report", "run"]) == 0
    page = (here / "run/report.html").read_text()
    assert page.count("<section id=") == 9
    assert "Not measured" not in page
    assert main(["report", "run", "--out", "page.html"]) == 0
    assert Path("page.html").read_text() == page  # nothing is measured again


def test_report_does_not_show_the_numbers_of_another_model(here: Path) -> None:
    flipped_weights = tacit.load("run").model.state_dict()["actions.mean"]
    assert main(["train", "data", "--out", "other", *TRAIN, "--seed", "1"]) == 0
    (here / "run/model.safetensors").write_bytes((here / "other/model.safetensors").read_bytes())
    assert not (tacit.load("run").model.state_dict()["actions.mean"] == flipped_weights).all()
    assert main(["report", "run"]) == 0
    assert "not evaluated yet" in (here / "run/report.html").read_text()


def test_report_refuses_damaged_evidence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evidence = here / "run/report.npz"
    evidence.write_bytes(evidence.read_bytes()[:1000])
    assert main(["report", "run"]) == 1
    assert "measure again with `tacit eval`" in capsys.readouterr().err


TINY = demo.Size(recorded=20, model="xs", steps=3, scenes=2, ablation=1, budget=3, threads=1)


def test_demo_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "QUICK", TINY)
    command = ["demo", "--quick", "--out", "demo", "--world", "two_room_fixed", "--seed", "0"]
    for module, name, call in (
        ("tacit.worlds.record", "recorded", 5),
        ("tacit.training.loop", "unit_directions", 2),
        ("tacit.training.fit", "fit_policy", 1),
        ("tacit.evaluation.suites", "filmstrips", 1),
        ("tacit.evaluation.report", "render_report", 1),
    ):
        assert interrupt(monkeypatch, module, name, call=call, during=command) == 130
        assert "Go on with: tacit demo --quick --out demo --world two_room_fixed --seed 0\n" in capsys.readouterr().err
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "trained before" in shown
    assert "evaluated before" in shown
    for name in ("results.json", "report.html"):
        assert (tmp_path / "demo" / name).read_bytes() == (tmp_path / "demo/run" / name).read_bytes()
    assert main([*command[:-1], "4"]) == 1
    assert "choose another folder" in capsys.readouterr().err
    assert main(["demo", "--quick", "--minutes", "3", "--out", "demo"]) == 1


def test_tensorboard_gets_the_scalars(here: Path) -> None:
    pytest.importorskip("tensorboard")
    assert main(["train", "data", "--out", "other", *TRAIN, "--tensorboard"]) == 0
    assert list((here / "other/tensorboard").glob("events.*"))


def test_bench_tells_the_latency_beside_its_floor(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "plan", "run", "--calls", "3", "--json", "speed.json"]) == 0
    shown = capsys.readouterr().out
    assert "one plan" in shown
    assert "floor" in shown
    numbers = json.loads((here / "speed.json").read_text())
    assert numbers["calls"] == 3
    assert numbers["threads"] == 1
    assert numbers["settings"]["planner"] == "cem"
    assert main(["bench", "plan", "run", "--protocol", "standard", "--calls", "3", "--json", "speed.json"]) == 0
    assert json.loads((here / "speed.json").read_text())["settings"]["planner"] == "propose-verify"
    assert main(["bench", "plan", "run", "--calls", "0"]) == 1
    assert "--calls 0 must be at least 1" in capsys.readouterr().err


TASK = """\
[goal]
image = "goal.png"

[limits.action.move]
rate = 2.0
jerk = [8.0, 9.0]

[[limits.linear]]
name = "both"
weights = { move = [1.0, -0.5] }
at_most = 1.5
unit = "px"
"""


def test_check_task_says_what_is_limited(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 64)).save("goal.png")
    Path("task.toml").write_text(TASK)
    assert main(["check-task", "task.toml", "run"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"move +-?[\d.]+ to [\d.]+ px +[\d.]+ px +2 px/s +0\.2 px +\(8, 9\) px/s²", shown), shown
    assert "both: 1 move[0] + -0.5 move[1] ≤ 1.5 px" in shown
    assert "without a plan to trust: hold" in shown
    assert "task.toml fits run" in shown


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("rate = 2.0", "rate = -2.0", "task.toml:5: limits.action.move.rate: must be positive"),
        ("at_most = 1.5", "at_most = -100", "task.toml:11: limits.linear.1.at_most: 'both' cannot be kept"),
        ("[limits.action.move]", "[limits.action.push]", "task.toml:4: limits.action.push: there is no signal 'push'"),
        ('"goal.png"', '"other.png"', "task.toml:2: goal.image: image 'other.png' cannot be read"),
    ],
)
def test_check_task_names_the_line_at_fault(old: str, new: str, text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 64)).save("goal.png")
    Path("task.toml").write_text(TASK.replace(old, new))
    assert main(["check-task", "task.toml", "run"]) == 1
    assert text in capsys.readouterr().err


STATES = (
    TASK
    + """
[[limits.region]]
name = "no-go"
channels = ["position.x", "position.y"]
low = [10, 24]
high = [18, 40]
confidence = 0.99

[limits.signal."position.x"]
high = 50
hard = false
priority = 3
"""
)


def test_check_task_says_what_is_limited_of_states_and_what_is_taken_off(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 64)).save("goal.png")
    Path("task.toml").write_text(STATES)
    assert main(["check-task", "task.toml", "run"]) == 1
    assert "task.toml:21: limits.signal.position.x: there is no readout 'position.x'; this run has no readouts" in capsys.readouterr().err

    readout = Readout(tacit.load("run").model.latent_size, ReadoutConfig(name="position", channels=("x", "y"), unit="px"))
    write_readouts(Path("run"), [FittedReadout(readout=readout, spread=(0.5, 1.0), now=0.4, half_widths=((0.8,), (1.6,)))])
    assert main(["check-task", "task.toml", "run"]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"no-go +outside \(10, 24\) to \(18, 40\) px +hard +0\.99 +not recorded", shown), shown
    assert re.search(r"position\.x +≤ 50 px +soft × 3 +– +–", shown), shown
    assert "no interval of run is for no-go" in shown
    assert "fits" not in shown

    task = Task.from_toml("task.toml")
    interval = Interval(scale=(0.5, 1.0) + (1.0,) * 10, factor=2.0, reach=4.0, applied=1, scores=(1.0,) * 99)
    write_intervals(Path("run"), task, digest_of_run(Path("run")), {"no-go": interval})
    assert main(["check-task", "task.toml", "run"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"hard +0\.99 +1 to 1 px", shown), shown
    assert "task.toml fits run" in shown


def test_check_task_refuses_newton_steps_to_a_goal_that_is_seen(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 64)).save("goal.png")
    Path("task.toml").write_text(TASK + '\n[plan]\nplanner = "newton"\n')
    assert main(["check-task", "task.toml", "run"]) == 1
    assert "plan.planner: a Newton step needs a cost that is a sum of squares" in capsys.readouterr().err


def test_check_task_needs_a_finished_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("task.toml").write_text(TASK)
    assert main(["check-task", "task.toml", "data"]) == 1
    assert "data is not a run" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["shapes", "pushes", "residual"])
def test_what_is_for_a_scene_is_refused_for_a_process_that_a_camera_sees(flag: str) -> None:
    from tacit.cli.train import Train, recipe_of, require_scene
    from tacit.signals import Role, Schema, Signal

    camera = Signal(name="camera", role=Role.OBSERVATION, shape=(16, 16, 1), dtype="uint8")
    sensor = Signal(name="level", role=Role.OBSERVATION, shape=(1,))
    valve = Signal(name="valve", role=Role.ACTION, shape=(1,))
    options, plain = Train(data=Path("logs"), out=Path("run"), **{flag: True}), Train(data=Path("logs"), out=Path("run"))
    process, machine = (Schema(signals=(camera, sensor, valve), period=period) for period in (5.0, 0.1))
    require_scene(options, recipe_of(options, machine))
    with pytest.raises(ValueError, match=f"--{flag} is for machines with a scene; .* Leave it out"):
        require_scene(options, recipe_of(options, process))
    require_scene(plain, recipe_of(plain, process))


@pytest.mark.parametrize("flag", ["--shapes", "--pushes", "--residual"])
def test_what_is_for_logs_with_images_is_refused_without_them(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from point_world import record

    record(tmp_path / "logs")
    assert main(["train", str(tmp_path / "logs"), "--out", str(tmp_path / "run"), flag, *TRAIN]) == 1
    assert f"{flag} is for logs with images" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
