"""A draft is a mapping that reads, says what is guessed, and survives any name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.data.first_mapping import control_period, draft, roles_known, signal_names
from tacit.data.mapping import Align, LogMapping
from tacit.data.streams import Channel, Description
from tacit.signals import Role, Signal

CAMERA = Channel(name="front.mp4", shape=(480, 640, 3), dtype="uint8", camera=True, rate=20.0)
SPEED = Channel(name="wheel speed", unit="m/s", rate=100.0, note="about 3 % empty")
STEER = Channel(name="/cmd.steering", rate=20.0)


def drafted(*channels: Channel, **options: object) -> LogMapping:
    return LogMapping.from_text(draft("some source", "video", Description(channels=channels, takes=("a",), options=options)))


def test_roles_rates_sizes_and_units_are_suggested() -> None:
    text = draft("src", "video", Description(channels=(CAMERA, SPEED, STEER), takes=("a",)))
    mapping = LogMapping.from_text(text)
    assert mapping.format == "video"
    assert mapping.period == pytest.approx(0.05)
    camera, speed, steer = (mapping.signals[name] for name in ("front.mp4", "wheel_speed", "cmd.steering"))
    assert (camera.role, camera.size, camera.source) == (Role.OBSERVATION, (64, 64), ("front.mp4",))
    assert (speed.role, speed.unit, speed.align) == (Role.OBSERVATION, "m/s", Align.MEAN)
    assert (steer.role, steer.align) == (Role.ACTION, Align.HOLD)
    assert text.count("guessed") == 2
    assert "about 3 % empty" in text


def test_what_the_format_says_is_not_guessed() -> None:
    action = Channel(name="whatever", hint="action", rate=10.0)
    seen = Channel(name="throttle", hint="observation", rate=10.0)
    assert drafted(action, seen).signals["throttle"].role is Role.OBSERVATION
    assert roles_known((action, seen))
    assert not roles_known((action, SPEED))
    assert not roles_known((seen,))


def test_an_exported_signal_comes_back_as_it_was() -> None:
    move = Signal(name="move", role=Role.ACTION, shape=(2,), dtype="float64", unit="px", low=-1.0, max_norm=0.1 + 0.2)
    rule = drafted(Channel(name="move", shape=(2,), unit="px", rate=10.0, hint="action", signal=move)).signals["move"]
    assert (rule.role, rule.dtype, rule.unit, rule.low, rule.high, rule.max_norm, rule.rate) == (
        Role.ACTION,
        "float64",
        "px",
        -1.0,
        None,
        0.1 + 0.2,
        None,
    )


def test_what_cannot_be_read_is_left_out_and_shown() -> None:
    text = Channel(name="remark", dtype="str", note="text: list its words under nulls")
    broken = Channel(name="/depth", camera=True, note="cannot be read: encoding 32FC1", rate=5.0)
    found = Description(channels=(SPEED, STEER, text, broken), takes=("a",))
    toml = draft("src", "mcap", found)
    mapping = LogMapping.from_text(toml)
    assert list(mapping.signals) == ["wheel_speed", "cmd.steering"]
    assert mapping.period == pytest.approx(0.05)
    assert '# source = "remark"' in toml
    assert "# cannot be read: encoding 32FC1" in toml
    known = replace(SPEED, hint="observation"), replace(STEER, hint="action")
    assert roles_known((*known, broken))


def test_options_come_back() -> None:
    options = {"time": 'a "b"', "good": ["192", "Good"], "join": True, "rows": 7, "scale": 0.5, "unset": None}
    mapping = drafted(SPEED, **options)
    assert mapping.options == {key: value for key, value in options.items() if value is not None}


@pytest.mark.parametrize("name", ["valve", "FV101.OP", "arm_cmd", "u1", "Steering", "action"])
def test_names_of_commands(name: str) -> None:
    assert drafted(Channel(name=name)).signals[name].role is Role.ACTION


@pytest.mark.parametrize("name", ["temperature", "copper", "position", "camera_u8x", "speed"])
def test_names_of_sensors(name: str) -> None:
    assert drafted(Channel(name=name)).signals[name].role is Role.OBSERVATION


def test_without_rates_the_period_says_so() -> None:
    assert control_period([Channel(name="a")]) == (0.1, "nothing in the source tells it")


@given(names=st.lists(st.text(min_size=1), min_size=1, unique=True), note=st.text())
def test_any_name_gives_a_mapping_that_reads(names: list[str], note: str) -> None:
    names = [name.encode("utf-8", "replace").decode() for name in names]
    names = list(dict.fromkeys(names))
    mapping = drafted(*(Channel(name=name, note=note, unit=name) for name in names))
    assert [signal.source for signal in mapping.signals.values()] == [(name,) for name in names]
    for name in signal_names(names).values():
        Signal(name=name, role=Role.OBSERVATION)
