"""The mapping language: what it takes, and every mistake refused with its line and a remedy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tacit.data.mapping import Align, LogMapping, MappingError, Missing
from tacit.signals import Role

GOOD = """\
format = "table"
period = 0.5
[options]
time = "t"
[episodes]
min_steps = 3
max_steps = 30
[clock]
reference = "level"
max_offset = 0.2
[signals.level]
source = ["LI1", "LI2"]
role = "observation"
unit = "m"
scale = 0.01
align = "linear"
max_age = inf
missing = "mask"
valid_low = 0
[signals.flow]
source = "FI1"
role = "disturbance"
rate = 0.25
delay = "estimate"
[signals.valve]
source = "FV1"
role = "action"
"""


def test_a_mapping_is_read() -> None:
    mapping = LogMapping.from_text(GOOD)
    level, flow, valve = mapping.signals.values()
    assert (mapping.format, mapping.period, dict(mapping.options)) == ("table", 0.5, {"time": "t"})
    assert (mapping.episodes.min_steps, mapping.episodes.max_steps) == (3, 30)
    assert mapping.channels == ("LI1", "LI2", "FI1", "FV1")
    assert (level.role, level.align, level.missing, level.scale, level.valid_low) == (Role.OBSERVATION, Align.LINEAR, Missing.MASK, 0.01, 0)
    assert (flow.delay, valve.source) == ("estimate", ("FV1",))


def test_the_default_age_follows_the_slower_clock() -> None:
    level, flow, valve = LogMapping.from_text(GOOD).signals.values()
    assert level.oldest(0.5) == math.inf
    assert flow.oldest(0.5) == pytest.approx(12.0), "three sampling intervals of 4 s"
    assert valve.oldest(0.5) == pytest.approx(1.5), "three control periods"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("period = 0.5", "", r":1: period: is missing"),
        ("period = 0.5", "period = 0", r":2: period: must be positive"),
        ("period = 0.5", "period = nan", r":2: period: must be finite"),
        ("period = 0.5", "period = true", r":2: period: must be a number, not True"),
        ("period = 0.5", "speed = 1\nperiod = 0.5", r":2: speed: unknown key; use one of: .*period"),
        ('format = "table"', "format = 3", r":1: format: must be the name of a format"),
        ("min_steps = 3", "min_steps = 31", r":6: episodes.min_steps: 31 is more than max_steps, 30"),
        ("min_steps = 3", "min_steps = 2.5", r":6: episodes.min_steps: must be a whole number of at least 1, not 2.5"),
        ("min_steps = 3", "least = 3", r":6: episodes.least: unknown key; use one of: min_steps, max_steps"),
        ('reference = "level"', 'reference = "speed"', r":9: clock.reference: there is no signal 'speed'"),
        ('reference = "level"', "", r":8: clock: is incomplete: .*reference"),
        ('reference = "level"', 'reference = "flow"', r':24: signals.flow.delay: "estimate" needs a table \[clock\] with another signal'),
        ("max_offset = 0.2", "max_offset = -1", r":10: clock.max_offset: must be positive"),
        ('source = ["LI1", "LI2"]', "source = []", r":12: signals.level.source: must be the name of a channel"),
        ('source = ["LI1", "LI2"]', "", r":11: signals.level: is incomplete: .*source"),
        ('role = "disturbance"', 'role = "sensor"', r":22: signals.flow.role: 'sensor' is none of: observation, action"),
        ('align = "linear"', 'align = "cubic"', r":16: signals.level.align: 'cubic' is none of: hold, linear, mean, last_valid"),
        ("scale = 0.01", "scale = 0", r":15: signals.level.scale: must not be 0"),
        ("max_age = inf", "max_age = 0", r":17: signals.level.max_age: must be positive"),
        ("rate = 0.25", "rate = inf", r":23: signals.flow.rate: must be finite"),
        ('delay = "estimate"', 'delay = "guess"', r":24: signals.flow.delay: must be a number, not 'guess'"),
        ('source = "FV1"', 'source = "FV1"\nmissing = "mask"', r":27: signals.valve.missing: only an observation or a disturbance can be"),
        ('source = "FV1"', 'source = "FV1"\nsize = [64]', r":27: signals.valve.size: must be 2 whole numbers of at least 1"),
        ('source = "FV1"', 'source = "FV1"\nelements = [-1]', r":27: signals.valve.elements: must be some whole numbers of at least 0"),
        ('source = "FV1"', 'source = "FV1"\ndtype = "str"', r":27: signals.valve.dtype: 'str' is none of: uint8"),
        ("[signals.valve]", '[signals."the valve"]', r":25: signals.the valve: signal name 'the valve': use letters"),
        ("period = 0.5", "period = = 0.5", r"mapping.toml: is not TOML"),
    ],
)
def test_a_mistake_has_its_line(old: str, new: str, message: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(MappingError, match=message):
        LogMapping.from_text(GOOD.replace(old, new))


def test_a_mapping_needs_a_signal() -> None:
    with pytest.raises(MappingError, match=r"signals: is missing: map at least one channel"):
        LogMapping.from_text("period = 1.0")
    with pytest.raises(MappingError, match=r":2: signals.a: must be a table"):
        LogMapping.from_text("period = 1.0\nsignals.a = 3")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"none\.toml: cannot be read"):
        LogMapping.from_toml(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"format = '\xe9'")
    with pytest.raises(MappingError, match=r"latin\.toml: cannot be read"):
        LogMapping.from_toml(tmp_path / "latin.toml")
