"""Task files: what is read, and where each mistake is found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tacit.located import key_lines
from tacit.planning import (
    ActionLimit,
    Fallback,
    Goal,
    LinearLimit,
    PathLimits,
    PIDSettings,
    PlanSettings,
    RampSettings,
    RegionLimit,
    RetreatSettings,
    SafeSettings,
    SignalGoal,
    SignalLimit,
    Task,
    TaskError,
    action_limits,
    for_signals,
)
from tacit.planning.plan_settings import read_settings
from tacit.planning.planner_kinds import KINDS, OF_SEARCHES
from tacit.signals import Role, Schema, Signal

SCHEMA = Schema(
    signals=(
        Signal(name="image", role=Role.OBSERVATION, shape=(4, 6, 3), dtype="uint8"),
        Signal(name="level", role=Role.OBSERVATION, unit="m", low=0.0, high=5.0),
        Signal(name="coolant", role=Role.ACTION, unit="K", low=250.0, high=400.0),
        Signal(name="push", role=Role.ACTION, shape=(2,), unit="N", low=-1.0, high=1.0, max_norm=1.0),
        Signal(name="position", role=Role.LABEL, shape=(2,), unit="m"),
    )
)

TASK = """\
[goal]
image = "goal.png"

[limits.action.coolant]
low = 280          # kelvin
high = 370.0

[limits.action.push]
low = [-0.5, -1]
high = 0.5
max_norm = 0.6

[plan]
planner = "cem"
horizon = 20
deadline_ms = 50
replan_every = 2
candidates = 64
iterations = 4

[fallback]
kind = "hold"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    Image.fromarray(pixels).save(tmp_path / "goal.png")
    return tmp_path


def refusal(text: str, folder: Path) -> str:
    with pytest.raises(TaskError) as error:
        Task.from_text(text, folder).check(SCHEMA)
    return str(error.value)


def test_reads_every_entry(folder: Path) -> None:
    (folder / "reach.toml").write_text(TASK)
    task = Task.from_toml(folder / "reach.toml")
    task.check(SCHEMA)
    assert task.goal is not None
    np.testing.assert_array_equal(task.goal.observations["image"].ravel(), np.arange(4 * 6 * 3))
    assert task.limits == {
        "coolant": ActionLimit(low=280.0, high=370.0),
        "push": ActionLimit(low=(-0.5, -1.0), high=0.5, max_norm=0.6),
    }
    assert task.plan == PlanSettings(planner="cem", horizon=20, deadline_ms=50, replan_every=2, candidates=64, iterations=4)
    assert task.fallback is Fallback.HOLD


def test_a_goal_is_enough(folder: Path) -> None:
    task = Task.from_text('goal.image = "goal.png"', folder)
    task.check(SCHEMA)
    assert (task.limits, task.plan, task.fallback) == ({}, PlanSettings(), Fallback.HOLD)
    Task(goal=Goal(observations={"level": np.float64(1.5), "image": np.zeros((4, 6, 3), np.uint8)})).check(SCHEMA)


def test_a_task_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Task().fallback = Fallback.ZERO  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # alone
        ("horizon", "horizont", "task.toml:15: plan.horizont: unknown key; use one of: planner, horizon"),
        ("[plan]", "[plans]", "task.toml:13: plans: unknown key"),
        ("kind =", "sort =", "task.toml:22: fallback.sort: unknown key"),
        ('kind = "hold"', 'kind = "panic"', "task.toml:22: fallback.kind: 'panic' is not a fallback; use one of: hold, zero"),
        ('kind = "hold"', "kind = ['hold']", "task.toml:22: fallback.kind"),
        ('"cem"', '"magic"', "task.toml:14: plan.planner: 'magic' is not a planner; use one of: cem"),
        ("horizon = 20", "horizon = 20.0", "task.toml:15: plan.horizon: must be a whole number of at least 1, not 20.0"),
        ("horizon = 20", "horizon = true", "task.toml:15: plan.horizon: must be a whole number"),
        ("horizon = 20", "horizon = 1", "task.toml:17: plan.replan_every: 2 is more actions than the horizon"),
        ("deadline_ms = 50", "deadline_ms = 0", "task.toml:16: plan.deadline_ms: must be positive"),
        ("deadline_ms = 50", "deadline_ms = nan", "task.toml:16: plan.deadline_ms: must be finite"),
        ("candidates = 64", "candidates = 1", "task.toml:18: plan.candidates: must be a whole number of at least 2"),
        ("high = 370.0", "high = inf", "task.toml:6: limits.action.coolant.high: must be finite, not inf"),
        ("high = 370.0", "high = '370'", "task.toml:6: limits.action.coolant.high: must be a number, not '370'"),
        ("high = 370.0", "high = false", "task.toml:6: limits.action.coolant.high: must be a number, not False"),
        ("high = 370.0", "max = 2.0", "task.toml:6: limits.action.coolant.max: unknown key; use one of: low, high, max_norm, rate"),
        ("high = 370.0", "high = 279.9", "task.toml:5: limits.action.coolant.low: low 280.0 is above high 279.9"),
        ("[-0.5, -1]", "[-0.5, 0.6]", "task.toml:9: limits.action.push.low: low (-0.5, 0.6) is above high 0.5"),
        ("[-0.5, -1]", "[-0.5,\n  nan]", "task.toml:9: limits.action.push.low: must be finite"),
        ("[-0.5, -1]", "[[1], [2]]", "task.toml:9: limits.action.push.low: must be a number, not [1]"),
        ("max_norm = 0.6", "max_norm = -1", "task.toml:11: limits.action.push.max_norm: must be positive"),
        ("[limits.action.coolant]", "[limits.signals.level]", "task.toml:4: limits.signals: unknown key; use one of: action"),
        ("[limits.action.coolant]", "[limits.actions.coolant]", "task.toml:4: limits.actions: unknown key; use one of: action"),
        ('image = "goal.png"', "signals = { level = '1' }", "task.toml:2: goal.signals.level: must be a number, not '1'"),
        ('image = "goal.png"', "minimise = 3", "task.toml:2: goal.minimise: must name a channel or an action, or be a table"),
        ('image = "goal.png"', "image = 3", "task.toml:2: goal.image: must be the path of an image, not 3"),
        ('image = "goal.png"', 'image = "none.png"', "task.toml:2: goal.image: image 'none.png' cannot be read"),
        ('image = "goal.png"', 'image = ""', "task.toml:2: goal.image: image '' cannot be read"),
        ('image = "goal.png"', "", "goal: is missing"),
        ("horizon = 20", "horizon = ", "task.toml: is not TOML: Invalid value (at line 15"),
        ("horizon = 20", "horizon = 20\nhorizon = 21", "at line 16"),
        # against the schema
        ("action.coolant", "action.heater", "task.toml:4: limits.action.heater: there is no signal 'heater'; the actions are: coolant"),
        ("action.coolant", "action.level", "task.toml:4: limits.action.level: 'level' is a signal of role observation, not action"),
        ("action.coolant", "action.position", "task.toml:4: limits.action.position: label 'position' is never given to a model"),
        ("low = 280 ", "low = 401\n#", "task.toml:5: limits.action.coolant.low: low 401.0 is above high"),
        ("low = 280          # kelvin\nhigh = 370.0", "low = 401", "task.toml:5: limits.action.coolant.low: leaves no value: 'coolant'"),
        ("low = 280          # kelvin\nhigh = 370.0", "high = 100", "task.toml:5: limits.action.coolant.high: leaves no value"),
        ("[-0.5, -1]", "[-0.5, -1, 0]", "task.toml:9: limits.action.push.low: has 3 elements, but 'push' has 2"),
        ("[-0.5, -1]", "[0.1, 0.1]", "task.toml:8: limits.action.push: max_norm needs a range that contains 0"),
        ('kind = "hold"', 'kind = "zero"', "task.toml:22: fallback.kind: 0 is outside the limits of 'coolant'"),
        ("image =", "picture =", "task.toml:2: goal.picture: there is no signal 'picture'; the observations are: image, level"),
        ("image =", "position =", "task.toml:2: goal.position: label 'position' is never given to a model"),
        ("image =", "push =", "task.toml:2: goal.push: 'push' is a signal of role action, not observation"),
        ("image =", "level =", "task.toml:2: goal.level: has shape (4, 6, 3), but 'level' has ()"),
    ],
)  # fmt: skip
def test_each_mistake_is_found_on_its_line(folder: Path, old: str, new: str, message: str) -> None:
    assert TASK.count(old) == 1 or old in ("horizon", "image =", "[plan]")
    assert message in refusal(TASK.replace(old, new, 1), folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("goal = 3", "task.toml:1: goal: must be a table"),
        ("limits = 3", "task.toml:1: limits: must be a table"),
        ("\nlimits.action = 3", "task.toml:2: limits.action: must be a table"),
        ("[limits.action]\npush = 3", "task.toml:2: limits.action.push: must be a table"),
        ("[[plan]]\nhorizon = 3", "task.toml:1: plan: must be a table"),
        ("", "task.toml:1: goal: is missing"),
        ("[limits.action]\n\npush = { low = 3, high = 2 }", "task.toml:3: limits.action.push.low: low 3.0 is above high 2.0"),
    ],
)
def test_mistakes_of_form_are_found_on_their_line(folder: Path, text: str, message: str) -> None:
    assert message in refusal(text, folder)


MOVING = """\
[goal]
image = "goal.png"

[limits.action.coolant]
unit = "K"
rate = 2.0         # K per second
jerk = 1.5

[limits.action.push]
rate = [0.5, 0.25]

[[limits.linear]]
name = "pump"
weights = { coolant = 0.01, push = [1.0, 0.5] }
at_most = 4.2
unit = "bar"

[[limits.linear]]
name = "balance"
at_most = 0.5

[limits.linear.weights]
push = [1, -1]
"""


def test_reads_limits_on_the_way_from_action_to_action(folder: Path) -> None:
    task = Task.from_text(MOVING, folder)
    assert task.limits["coolant"] == ActionLimit(unit="K", rate=2.0, jerk=1.5)
    assert task.limits["push"] == ActionLimit(rate=(0.5, 0.25))
    assert task.linear == (
        LinearLimit(name="pump", weights={"coolant": 0.01, "push": (1.0, 0.5)}, at_most=4.2, unit="bar"),
        LinearLimit(name="balance", weights={"push": (1.0, -1.0)}, at_most=0.5),
    )
    limits = action_limits(Schema(signals=SCHEMA.signals, period=0.5), task)
    assert isinstance(limits, PathLimits)
    assert limits.step.tolist() == [1.0, 0.25, 0.125]
    assert limits.change.tolist() == [0.375, np.inf, np.inf]
    assert [c.weights for c in limits.combinations] == [(0.01, 1.0, 0.5), (0.0, 1.0, -1.0)]
    assert limits.names == ("coolant", "push[0]", "push[1]")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"K"', '"°C"', "task.toml:5: limits.action.coolant.unit: is '°C', but 'coolant' is in 'K'"),
        ("rate = 2.0", "rate = 0", "task.toml:6: limits.action.coolant.rate: must be positive"),
        ("rate = 2.0", "rate = inf", "task.toml:6: limits.action.coolant.rate: must be finite"),
        ("rate = 2.0", "rate = 1e-9", "task.toml:6: limits.action.coolant.rate: is finer than float32 tells actions of this range apart"),
        ("jerk = 1.5", "jerk = -1.5", "task.toml:7: limits.action.coolant.jerk: must be positive"),
        ("jerk = 1.5", "jerk = 1e-6", "task.toml:7: limits.action.coolant.jerk: is finer than float32 tells actions of this range apart"),
        ("[0.5, 0.25]", "[0.5, 0.25, 1]", "task.toml:10: limits.action.push.rate: has 3 elements, but 'push' has 2"),
        ("[0.5, 0.25]", "[0.5, 0]", "task.toml:10: limits.action.push.rate: must be positive"),
        ('name = "pump"', "name = 3", "task.toml:13: limits.linear.1.name: must be words, not 3"),
        ('name = "pump"', 'name = "balance"', "task.toml:19: limits.linear.2.name: 'balance' is the name of another combination, too"),
        ('name = "pump"', "", "task.toml:12: limits.linear.1: lacks name"),
        ('unit = "bar"', 'units = "bar"', "task.toml:16: limits.linear.1.units: unknown key; use one of: name, weights, at_most, unit"),
        ("coolant = 0.01", "heater = 0.01", "task.toml:14: limits.linear.1.weights.heater: there is no signal 'heater'; the actions are"),
        ("coolant = 0.01", "level = 0.01", "task.toml:14: limits.linear.1.weights.level: 'level' is a signal of role observation"),
        ("coolant = 0.01", "coolant = 'x'", "task.toml:14: limits.linear.1.weights.coolant: must be a number, not 'x'"),
        ("[1.0, 0.5]", "[1.0]", "task.toml:14: limits.linear.1.weights.push: has 1 elements, but 'push' has 2"),
        ("{ coolant = 0.01, push = [1.0, 0.5] }", "{ push = 0 }", "task.toml:14: limits.linear.1.weights: are all 0"),
        ("{ coolant = 0.01, push = [1.0, 0.5] }", "3", "task.toml:14: limits.linear.1.weights: must be a table"),
        ("at_most = 4.2", "at_most = 0.9", "task.toml:15: limits.linear.1.at_most: 'pump' cannot be kept: in the ranges of the actions"),
        ("at_most = 0.5", "at_most = -1.6", "task.toml:20: limits.linear.2.at_most: 'balance' cannot be kept: no action keeps it"),
        ("at_most = 0.5", "at_most = nan", "task.toml:20: limits.linear.2.at_most: must be finite"),
        ("push = [1, -1]", "push = [1, -1, 1]", "task.toml:23: limits.linear.2.weights.push: has 3 elements"),
        ("[[limits.linear]]", "[[limits.linears]]", "task.toml:12: limits.linears: unknown key; use one of: action, linear"),
        ("[goal]", 'fallback.kind = "zero"\n[goal]', "task.toml:1: fallback.kind: 0 is outside the limits of 'coolant'"),
    ],
)  # fmt: skip
def test_each_mistake_in_limits_on_the_way_is_found_on_its_line(folder: Path, old: str, new: str, message: str) -> None:
    assert old in MOVING
    with pytest.raises(TaskError) as error:
        action_limits(SCHEMA, Task.from_text(MOVING.replace(old, new, 1), folder))
    assert message in str(error.value)


def test_zero_outside_a_combination_is_no_fallback() -> None:
    negative = LinearLimit(name="less", weights={"push": 1.0}, at_most=-0.1)
    machine = Schema(signals=tuple(s for s in SCHEMA.signals if s.name != "coolant"))
    with pytest.raises(TaskError, match="0 is outside the limit 'less'"):
        Task(linear=(negative,), fallback=Fallback.ZERO).check(machine)
    Task(linear=(negative,)).check(machine)


@pytest.mark.parametrize("text", ["limits.linear = 3", "[limits.linear]\nname = 'x'", "limits.linear = [1]"])
def test_combinations_are_a_list_of_tables(text: str, folder: Path) -> None:
    assert "task.toml:1: limits.linear: must be a list of tables: write [[limits.linear]]" in refusal(text, folder)


STATES = """\
goal.image = "goal.png"

[limits.signal.level]
low = 0.2
high = 1
confidence = 0.99

[limits.signal."tip.x"]
high = 3.0
hard = false
priority = 2

[[limits.region]]
name = "press"
channels = ["tip.x", "tip.y"]
low = [0, 0]
high = [1, 2]

[[limits.region]]
name = "column"
channels = ["tip.x", "tip.y"]
centre = [4, 4]
radius = 0.5
unit = "m"
"""


def test_limits_on_states_are_read(folder: Path) -> None:
    task = Task.from_text(STATES, folder)
    task.check(SCHEMA)
    assert task.signals == {
        "level": SignalLimit(low=0.2, high=1.0, confidence=0.99),
        "tip.x": SignalLimit(high=3.0, hard=False, priority=2.0),
    }
    tip = ("tip.x", "tip.y")
    assert task.regions == (
        RegionLimit(name="press", channels=tip, low=(0.0, 0.0), high=(1.0, 2.0)),
        RegionLimit(name="column", channels=tip, centre=(4.0, 4.0), radius=0.5, unit="m"),
    )
    assert [entry.name for entry in task.state_limits] == ["level", "tip.x", "press", "column"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("low = 0.2", "lowest = 0.2", "task.toml:4: limits.signal.level.lowest: unknown key; use one of: low, high, confidence"),
        ("low = 0.2", "low = 1", "task.toml:4: limits.signal.level.low: low 1.0 is not below high 1.0"),
        ("low = 0.2\nhigh = 1", "", "task.toml:3: limits.signal.level: limits nothing"),
        ("confidence = 0.99", "confidence = 1", "task.toml:6: limits.signal.level.confidence: must be above 0 and below 1"),
        ("confidence = 0.99", "confidence = '99 %'", "task.toml:6: limits.signal.level.confidence: must be a number"),
        ("hard = false", "hard = 0", "task.toml:10: limits.signal.tip.x.hard: must be true or false, not 0"),
        ("hard = false", "hard = true", "task.toml:11: limits.signal.tip.x.priority: is of soft limits"),
        ("priority = 2", "priority = 0", "task.toml:11: limits.signal.tip.x.priority: must be positive"),
        ('name = "press"', "", "task.toml:13: limits.region.1: lacks name"),
        ('name = "press"', 'name = "press"\nsize = 3', "task.toml:15: limits.region.1.size: unknown key; use one of: name, channels"),
        ('name = "column"', 'name = "press"', "task.toml:20: limits.region.2.name: 'press' is the name of another region, too"),
        ('name = "column"', 'name = "level"', "task.toml:20: limits.region.2.name: 'level' is the name of a limited signal, too"),
        ("high = [1, 2]", "high = [1, 0]", "task.toml:16: limits.region.1.low: low [0.0, 0.0] is not below high [1.0, 0.0]"),
        ("high = [1, 2]", "high = [1, 2, 3]", "task.toml:17: limits.region.1.high: must be a list of two numbers"),
        ("high = [1, 2]", "radius = 2", "task.toml:13: limits.region.1: must be a rectangle, with low and high, or a circle"),
        ("radius = 0.5", "radius = -1", "task.toml:23: limits.region.2.radius: must be positive"),
        ("[limits.signal.level]", "[limits.region.level]", "must be a list of tables: write [[limits.region]] above each"),
    ],
)
def test_each_mistake_about_states_is_found_on_its_line(folder: Path, old: str, new: str, message: str) -> None:
    text = STATES.replace(old, new, 1)
    if "[limits.region.level]" in new:
        text = text.split("[[limits.region]]")[0]
    assert message in refusal(text, folder)


def test_an_image_is_never_resized(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "goal.png")
    message = refusal(TASK, folder)
    assert "task.toml:2: goal.image: has shape (8, 8, 3), but 'image' has (4, 6, 3)" in message


@pytest.mark.parametrize(("mode", "shape"), [("L", (4, 6, 1)), ("RGB", (4, 6, 3)), ("RGBA", (4, 6, 4)), ("P", (4, 6, 3))])
def test_images_keep_their_channels(folder: Path, mode: str, shape: tuple[int, ...]) -> None:
    Image.new(mode, (6, 4)).save(folder / "goal.png")
    goal = Task.from_text(TASK, folder).goal
    assert goal is not None
    assert goal.observations["image"].shape == shape
    assert goal.observations["image"].dtype == np.uint8


@pytest.mark.parametrize("mode", ["1", "I;16"])
def test_images_of_other_depths_are_refused(folder: Path, mode: str) -> None:
    Image.new(mode, (6, 4)).save(folder / "goal.png")
    assert "task.toml:2: goal.image: image 'goal.png' is not an 8-bit image" in refusal(TASK, folder)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_broken_image_is_refused(folder: Path, content: bytes) -> None:
    (folder / "goal.png").write_bytes(content)
    assert "task.toml:2: goal.image: image 'goal.png' cannot be read" in refusal(TASK, folder)


def test_a_truncated_image_is_refused(folder: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "goal.png")
    (folder / "goal.png").write_bytes((folder / "goal.png").read_bytes()[:4000])
    assert "cannot be read" in refusal(TASK, folder)


def test_a_missing_or_unreadable_file_is_refused(folder: Path) -> None:
    with pytest.raises(TaskError, match=r"none\.toml: cannot be read"):
        Task.from_toml(folder / "none.toml")
    (folder / "latin.toml").write_bytes(b"\xe9")
    with pytest.raises(TaskError, match=r"latin\.toml: cannot be read"):
        Task.from_toml(folder / "latin.toml")


def test_a_task_from_python_names_the_entry() -> None:
    image = np.zeros((4, 6, 3))
    with pytest.raises(TaskError, match=r"^goal\.image: has dtype float64, but 'image' has uint8"):
        Task(goal=Goal(observations={"image": image})).check(SCHEMA)
    with pytest.raises(TaskError, match=r"^goal\.level: must be finite"):
        Task(goal=Goal(observations={"level": np.float32(np.nan)})).check(SCHEMA)
    with pytest.raises(TaskError, match=r"^limits\.action\.pull: there is no signal 'pull'"):
        Task(limits={"pull": ActionLimit()}).check(SCHEMA)
    with pytest.raises(TaskError, match="high: low has 2 elements and high has 3"):
        ActionLimit(low=[0, 0], high=[1, 1, 1])
    with pytest.raises(TaskError, match="is empty"):
        Goal(observations={})


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a = 1\nb.c = 2\n", {("a",): 1, ("b",): 2, ("b", "c"): 2}),
        ("# [x]\n[t]\n\n  k=1\n", {("t",): 2, ("t", "k"): 4}),
        ("[t.u]\nk = 1\n[t]\nj = 2", {("t",): 1, ("t", "u"): 1, ("t", "u", "k"): 2, ("t", "j"): 4}),
        ("[ 'a.b' . \"c\\u0064\" ] # [no]\nk = 1", {("a.b",): 1, ("a.b", "cd"): 1, ("a.b", "cd", "k"): 2}),
        ("a = [1,\n [2,\n 3]] # x = 1\nb = 2", {("a",): 1, ("b",): 4}),
        ('a = """\nx = 1\n[t]\n"""\nb = 2', {("a",): 1, ("b",): 5}),
        ("a = '''\nx = 1\n'''''\nb = 2", {("a",): 1, ("b",): 4}),
        ("a = \"x = 1 # '\"\r\nb = '[\"'\r\n", {("a",): 1, ("b",): 2}),
        ('a = "\\"\\\\"\nb = ""\nc = 1', {("a",): 1, ("b",): 2, ("c",): 3}),
        ("a = { b = 1, c = [\n1] }\nd = 2020-01-01 10:00:00", {("a",): 1, ("d",): 3}),
        ("[t]", {("t",): 1}),
        ("[[t]]\nk = 1\n[[t]]\nj = [[1]]", {("t",): 1, ("t", "1"): 1, ("t", "1", "k"): 2, ("t", "2"): 3, ("t", "2", "j"): 4}),
        (
            "[[t.u]]\n[t.u.v]\nk = 1\n[[t.u]]\n[t.u.v]",
            {
                ("t",): 1,
                ("t", "u"): 1,
                ("t", "u", "1"): 1,
                ("t", "u", "1", "v"): 2,
                ("t", "u", "1", "v", "k"): 3,
                ("t", "u", "2"): 4,
                ("t", "u", "2", "v"): 5,
            },
        ),
        ("", {}),
    ],
)
def test_lines_of_keys(text: str, lines: dict[tuple[str, ...], int]) -> None:
    assert key_lines(text) == lines


@given(
    st.lists(
        st.sampled_from(["k{} = 1", "k{} = 'a = 1'", 'k{} = """\n[t]\n"""', "k{} = [\n1, # ]\n]", "# k = 1", "", "[t{}]", "[t{}.u]\nx = 3"])
    )
)
def test_lines_of_many_keys(pieces: list[str]) -> None:
    text, expected, table = "", {}, ()
    for n, piece in enumerate(pieces):
        line = text.count("\n") + 1
        if piece.startswith("k"):
            expected[(*table, f"k{n}")] = line
        elif piece.startswith("["):
            table = (f"t{n}", "u") if ".u" in piece else (f"t{n}",)
            expected.update({table[:length]: line for length in range(1, len(table) + 1)})
            if "x" in piece:
                expected[(*table, "x")] = line + 1
        text += piece.format(n) + "\n"
    assert key_lines(text) == expected


@pytest.mark.parametrize(("name", "value"), [("initial_std", 0.0), ("noise_correlation", 1.0), ("local_share", -0.1)])
def test_search_settings_out_of_their_domain_are_named(name: str, value: float) -> None:
    with pytest.raises(TaskError, match=name):
        PlanSettings(**{name: value})


@pytest.mark.parametrize(
    ("planner", "name"),
    [
        ("icem", "noise_correlation"),
        ("icem", "local_share"),
        ("mppi", "local_share"),
        ("gradient", "local_share"),
        ("propose-verify", "local_share"),
        ("policy-rollout", "local_share"),
        ("policy-rollout", "noise_correlation"),
        ("newton", "local_share"),
        ("newton", "noise_correlation"),
    ],
)
def test_a_setting_that_a_planner_lacks_is_refused_with_its_name(planner: str, name: str, folder: Path) -> None:
    task = TASK.replace('"cem"', f'"{planner}"').replace("candidates = 64", f"{name} = 0.3")
    assert f"task.toml:18: plan.{name}: planner '{planner}' has no such setting" in refusal(task, folder)
    asked = {"planner": planner} | ({} if KINDS[planner].ways is None else {"candidates": 8, "proposals": 8})
    assert PlanSettings(**asked, **{name: 0.0}) == PlanSettings(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("planner", KINDS)
@pytest.mark.parametrize("name", OF_SEARCHES)
def test_a_setting_that_stands_in_a_file_is_used_or_refused(planner: str, name: str) -> None:
    """Even where it is the default; and a default that nobody wrote is no error."""
    needed = {"planner": planner} | ({} if KINDS[planner].ways is None else {"candidates": 128, "proposals": 128})
    assert read_settings(needed, has_signals=False).planner == planner
    written = needed | {name: getattr(PlanSettings(), name)}
    if name in KINDS[planner].takes:
        assert read_settings(written, has_signals=False) == PlanSettings(**needed)  # type: ignore[arg-type]
    else:
        with pytest.raises(TaskError, match=rf"^{name}: planner '{planner}' has no such setting: .*; it takes horizon, ") as refused:
            read_settings(written, has_signals=False)
        assert name not in refused.value.reason.split("it takes")[1].split(", ")


def test_the_usual_planner_of_goals_on_signals_is_named_where_it_lacks_a_setting(folder: Path) -> None:
    task = "[goal.signals]\nlevel = 0.5\n[plan]\ncandidates = 64\n"
    assert "task.toml:4: plan.candidates: planner 'newton' has no such setting" in refusal(task, folder)
    assert Task.from_text(task.replace("candidates = 64", "iterations = 2"), folder).plan == for_signals(iterations=2)
    assert PlanSettings(planner="newton", proposals=200).proposals == 200, "its own candidates are beside them"


@pytest.mark.parametrize(("candidates", "proposals"), [(64, 0), (64, 60), (66, 66), (4, 4)])
def test_policy_rollout_compares_nothing_but_proposals(candidates: int, proposals: int) -> None:
    with pytest.raises(TaskError, match=f"compares 4 ways of the goal policy: all of {candidates} candidates have to be proposals"):
        PlanSettings(planner="policy-rollout", candidates=candidates, proposals=proposals)


def test_policy_rollout_needs_a_goal_that_is_observed() -> None:
    plan = PlanSettings(planner="policy-rollout", candidates=8, proposals=8)
    Task(plan=plan).check(SCHEMA)  # it is told at the beginning of an episode
    with pytest.raises(TaskError, match=r"plan\.planner: 'policy-rollout' follows a policy to what is observed"):
        Task(goal=Goal(signals={"level": SignalGoal(value=0.5)}), plan=plan).check(SCHEMA)


FALLBACKS = {
    "safe": 'kind = "safe"\naction = { coolant = 300, push = [0.1, 0] }',
    "ramp": 'kind = "ramp"\naction = { coolant = 300, push = 0 }\nseconds = 2.5',
    "pid": 'kind = "pid"\nsignal = "level"\nset_point = 0.5\naction = "coolant"\nproportional = 2',
    "retreat": 'kind = "retreat"\nby = "moves"',
}
READ = {
    "safe": SafeSettings(action={"coolant": 300.0, "push": (0.1, 0.0)}),
    "ramp": RampSettings(action={"coolant": 300.0, "push": 0.0}, seconds=2.5),
    "pid": PIDSettings(signal="level", set_point=0.5, action="coolant", proportional=2.0),
    "retreat": RetreatSettings(by="moves"),
}


@pytest.mark.parametrize("kind", FALLBACKS)
def test_a_task_file_names_a_fallback(kind: str, folder: Path) -> None:
    task = Task.from_text(TASK.replace('kind = "hold"', FALLBACKS[kind]), folder)
    task.check(SCHEMA)
    assert task.fallback == READ[kind]
    assert str(task.fallback).startswith(kind)


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("safe", "action", "actions", "task.toml:23: fallback.actions: unknown key; use one of: kind, action"),
        ("safe", "\naction = { coolant = 300, push = [0.1, 0] }", "", "task.toml:22: fallback.kind: kind 'safe' needs action, too"),
        ("safe", "coolant = 300, ", "", "task.toml:23: fallback.action: needs a value for coolant, too"),
        ("safe", "[0.1, 0]", "[0.1]", "task.toml:23: fallback.action.push: has 1 elements, but 'push' has 2"),
        ("safe", "300", "390", "task.toml:23: fallback.action.coolant: is outside the limits of 'coolant'"),
        ("safe", "[0.1, 0]", "[0.5, 0.5]", "task.toml:23: fallback.action.push: is outside the limits of 'push'"),
        ("safe", "coolant", "level", "task.toml:23: fallback.action.level: 'level' is a signal of role observation"),
        ("safe", "300", '"warm"', "task.toml:23: fallback.action.coolant: must be a number"),
        ("ramp", "2.5", "0", "task.toml:24: fallback.seconds: must be positive"),
        ("ramp", "\nseconds = 2.5", "", "task.toml:22: fallback.kind: kind 'ramp' needs seconds, too"),
        ("pid", '"level"', '"image"', "task.toml:23: fallback.signal: 'image' is no number"),
        ("pid", '"level"', '"position"', "task.toml:23: fallback.signal: label 'position' is never given"),
        ("pid", '"coolant"', '"heater"', "task.toml:25: fallback.action: there is no signal 'heater'"),
        ("pid", '"coolant"', '"push"\nelement = 2', "task.toml:26: fallback.element: 'push' has 2 elements, counted from 0"),
        ("pid", "set_point = 0.5", "set_point = 50", "task.toml:24: fallback.set_point: 50 is outside the range of 'level', 0 to 5 m"),
        ("pid", "proportional = 2", "proportional = 0", "task.toml:26: fallback.proportional: the gains must have one sign"),
        ("pid", "proportional = 2", "proportional = 2\nintegral = -1", "task.toml:26: fallback.proportional: the gains must have one sign"),
        ("retreat", '"moves"', '"forces"', "task.toml:23: fallback.by: must be set_points or moves, not 'forces'"),
        ("retreat", '"moves"', '"moves"\nseconds = -1', "task.toml:24: fallback.seconds: must be positive"),
    ],
)
def test_mistakes_in_a_fallback_have_their_line(kind: str, old: str, new: str, message: str, folder: Path) -> None:
    text = FALLBACKS[kind]
    assert old in text
    assert refusal(TASK.replace('kind = "hold"', text.replace(old, new, 1)), folder).startswith(message)


def test_a_safe_action_keeps_the_combinations() -> None:
    warm = LinearLimit(name="heat", weights={"coolant": 1.0}, at_most=290.0)
    with pytest.raises(TaskError, match="outside the limit 'heat'"):
        Task(linear=(warm,), fallback=READ["safe"]).check(SCHEMA)
    unlimited = Schema(signals=(*SCHEMA.observations, Signal(name="coolant", role=Role.ACTION)))
    with pytest.raises(TaskError, match="needs a range"):
        Task(fallback=READ["pid"]).check(unlimited)
