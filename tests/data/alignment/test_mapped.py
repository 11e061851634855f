"""A mapping and a source become a schema, or a message with the line at fault."""

from __future__ import annotations

import pytest

from tacit.data.alignment.mapped import mapped_signals, schema_of
from tacit.data.mapping import LogMapping, MappingError
from tacit.data.streams import Channel
from tacit.signals import Role, Schema, Signal

CHANNELS = {
    channel.name: channel
    for channel in (
        Channel(name="front", shape=(48, 64, 3), dtype="uint8", camera=True),
        Channel(name="level", unit="cm"),
        Channel(name="arm", shape=(6,), dtype="float32"),
        Channel(name="pose", shape=(4, 4)),
        Channel(name="valve", dtype="int64"),
        Channel(name="remark", dtype="str"),
    )
}


def mapping(*entries: str, of: str = "x", role: str = "observation", more: str = "") -> LogMapping:
    lines = "\n".join(entries)
    return LogMapping.from_text(f'period = 0.1\n[signals.{of}]\nrole = "{role}"\n{lines}\n{more}', name="map.toml")


def test_the_schema_of_everything_that_can_be_mapped() -> None:
    text = """
period = 0.5
[signals.camera]
source = "front"
role = "observation"
size = [12, 16]
missing = "mask"
rate = 30.0
[signals.tank]
source = ["arm", "level"]
role = "observation"
unit = "m"
scale = 0.01
elements = [6, 0, 5]
missing = "mask"
low = 0.0
high = 2.0
[signals.pose]
source = "pose"
role = "label"
dtype = "float64"
[signals.valve]
source = "valve"
role = "action"
dtype = "bool"
[signals.arm]
source = "arm"
role = "action"
max_norm = 3.0
"""
    expected = (
        Signal(name="camera", role=Role.OBSERVATION, shape=(12, 16, 3), dtype="uint8", rate=30.0),
        Signal(name="camera.valid", role=Role.OBSERVATION, dtype="bool", rate=30.0),
        Signal(name="tank", role=Role.OBSERVATION, shape=(3,), unit="m", low=0.0, high=2.0),
        Signal(name="tank.valid", role=Role.OBSERVATION, shape=(3,), dtype="bool"),
        Signal(name="pose", role=Role.LABEL, shape=(4, 4), dtype="float64"),
        Signal(name="valve", role=Role.ACTION, dtype="bool"),
        Signal(name="arm", role=Role.ACTION, shape=(6,), max_norm=3.0),
    )
    found = LogMapping.from_text(text)
    assert schema_of(found, CHANNELS) == Schema(signals=expected, period=0.5)
    arm, level = mapped_signals(found, CHANNELS)[1].parts
    assert (arm.channel.name, arm.kept, arm.places) == ("arm", (0, 5), (1, 2))
    assert (level.channel.name, level.kept, level.places) == ("level", (0,), (0,))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (mapping('source = "levle"'), r"map.toml:4: signals.x.source: the source has no channel 'levle'; did you mean 'level'"),
        (mapping('source = "zzz"'), "no channel 'zzz'; it has: front, level, arm, pose, valve, remark"),
        (mapping('source = ["front", "arm"]'), "camera 'front' cannot be joined with other channels; give it a signal of its own"),
        (mapping('source = "front"', role="action"), r"map.toml:3: signals.x.role: camera 'front' cannot be an action"),
        (mapping('source = "front"', 'align = "linear"'), r"map.toml:5: signals.x.align: linear would mix frames.*use \"hold\""),
        (mapping('source = "front"', 'align = "mean"'), "mean would mix frames"),
        (mapping('source = "front"', "scale = 2.0"), r"map.toml:5: signals.x.scale: is for numbers; 'front' is a camera: leave it out"),
        (mapping('source = "front"', "stuck_after = 2.0"), r"map.toml:5: signals.x.stuck_after: is for numbers"),
        (mapping('source = "arm"', "size = [2, 2]"), r"map.toml:5: signals.x.size: is for cameras; 'arm' is none"),
        (mapping('source = "remark"'), r"map.toml:4: signals.x.source: channel 'remark' holds str, not numbers"),
        (
            mapping('source = "level"', 'unit = "m"'),
            r"map.toml:5: signals.x.unit: .* 'level' is in 'cm', .* write unit = \"cm\", or give scale",
        ),
        (mapping('source = "level"'), "'level' is in 'cm', the mapping says '1'"),
        (mapping('source = "arm"', "elements = [0, 6]"), r"map.toml:5: signals.x.elements: there is no element 6: arm have 6 together"),
        (mapping('source = "arm"', "low = 2.0", "high = 1.0"), r"map.toml:2: signals.x: .*low 2.0 is above high 1.0"),
        (
            mapping('source = "valve"', 'align = "linear"', 'dtype = "int32"', role="action"),
            r"map.toml:5: signals.x.align: linear would invent commands between those of dtype int32",
        ),
        (
            mapping('source = "arm"', 'missing = "mask"', more='[signals."x.valid"]\nsource = "valve"\nrole = "observation"'),
            r"map.toml:6: signals.x.valid: this name is kept for the mask of 'x'",
        ),
        (
            mapping('source = "arm"', more='[signals.y]\nsource = "arm"\nelements = [5]\nrole = "label"'),
            r"map.toml:4: signals.x.source: channel 'arm' is also the label 'y', which no model may see",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(found: LogMapping, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        schema_of(found, CHANNELS)


def test_different_elements_of_a_channel_may_be_seen_and_kept_as_a_label() -> None:
    found = mapping('source = "arm"', "elements = [0, 1]", more='[signals.y]\nsource = "arm"\nelements = [2]\nrole = "label"')
    assert [s.name for s in schema_of(found, CHANNELS).signals] == ["x", "y"]
    schema_of(mapping('source = "level"', 'unit = "cm"'), CHANNELS)
    schema_of(mapping('source = "level"', 'unit = "m"', "scale = 0.01"), CHANNELS)
