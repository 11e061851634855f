"""Delays that a mapping asks to estimate become numbers, and one that cannot be told is refused with its line."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tacit.data.alignment.synchronize import with_delays
from tacit.data.mapping import LogMapping, MappingError
from tacit.data.streams import ArrayFrames, Channel, Piece, Stream

MAPPING = """
period = 0.1
[clock]
reference = "speed"
max_offset = 0.5
[signals.speed]
source = "speed"
role = "observation"
[signals.heading]
source = "gyro"
elements = [1, 2]
role = "observation"
delay = "estimate"
[signals.camera]
source = "camera"
role = "observation"
delay = "estimate"
[signals.throttle]
source = "throttle"
role = "action"
"""
CHANNELS = {
    "speed": Channel(name="speed"),
    "gyro": Channel(name="gyro", shape=(3,)),
    "camera": Channel(name="camera", shape=(8, 8, 3), dtype="uint8", camera=True),
    "throttle": Channel(name="throttle"),
}


def pieces(delay: float, *, related: bool = True) -> Iterator[Piece]:
    """Two minutes of a vehicle that speeds up and slows down, its gyro and camera late by `delay`; in three pieces."""
    rng = np.random.default_rng(3)
    frequencies, phases = rng.uniform(0.05, 1.2, 40), rng.uniform(0, 6, 40)

    def speed(t: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * frequencies * t[:, None] + phases).sum(1)

    at, fast = np.arange(0, 120, 0.1), np.arange(0, 120, 0.04)
    other = speed(fast) if related else rng.normal(size=len(fast))
    gyro = np.stack([rng.normal(size=len(fast)), other + rng.normal(0, 0.3, len(fast)), np.zeros(len(fast))], axis=1)
    track = np.cumsum(speed(fast) ** 2) * 0.04
    images = (127 + 100 * np.sin(track[:, None, None, None] * 0.15 + np.arange(8)[:, None, None] * 0.8)).repeat(8, 2).repeat(3, 3)
    streams = {
        "speed": (at, speed(at)),
        "gyro": (fast + delay, gyro),
        "camera": (fast + delay, images.astype(np.uint8)),
        "throttle": (at, speed(at)),
    }
    for first, until in ((0.0, 40.0), (40.0, 80.0), (80.0, np.inf)):
        kept = {name: (time >= first) & (time < until) for name, (time, _) in streams.items()}
        yield Piece(
            streams={
                name: Stream(
                    time=time[kept[name]],
                    values=ArrayFrames(images=values[kept[name]]) if name == "camera" else values[kept[name]],
                    where=name,
                )
                for name, (time, values) in streams.items()
            },
            until=until,
        )


def test_delays_become_numbers() -> None:
    mapping, words = with_delays(
        LogMapping.from_text(MAPPING.replace("elements = [1, 2]", "elements = [1]")), CHANNELS, lambda: pieces(0.12)
    )
    assert mapping.signals["heading"].delay == pytest.approx(0.12, abs=0.01)
    assert mapping.signals["heading"].drift == 0.0
    assert mapping.signals["camera"].delay == pytest.approx(0.12, abs=0.05)
    assert mapping.signals["speed"].delay == 0.0
    assert words[0].startswith("heading: 1")
    assert "ms late" in words[0]


def test_a_delay_that_cannot_be_told_is_refused_with_its_line() -> None:
    text = MAPPING.replace("elements = [1, 2]", "elements = [1]")
    with pytest.raises(MappingError, match=r"mapping.toml:13: signals.heading.delay: cannot be estimated against 'speed': "):
        with_delays(LogMapping.from_text(text), CHANNELS, lambda: pieces(0.12, related=False))


def test_what_is_known_of_the_reference_counts() -> None:
    """The reference is late itself, by what the mapping says."""
    text = MAPPING.replace("elements = [1, 2]", "elements = [1]").replace('source = "speed"', 'source = "speed"\ndelay = 0.05')
    mapping, _ = with_delays(LogMapping.from_text(text), CHANNELS, lambda: pieces(0.12))
    assert mapping.signals["heading"].delay == pytest.approx(0.17, abs=0.01)


def test_nothing_is_read_when_nothing_is_asked() -> None:
    mapping = LogMapping.from_text(MAPPING.replace('delay = "estimate"', "delay = 0.05"))

    def never() -> Iterator[Piece]:
        raise AssertionError("read")

    assert with_delays(mapping, CHANNELS, never) == (mapping, ())


def test_a_signal_without_samples_is_named() -> None:
    def silent() -> Iterator[Piece]:
        for piece in pieces(0.12):
            yield Piece(streams={name: stream for name, stream in piece.streams.items() if name != "gyro"}, until=piece.until)

    with pytest.raises(MappingError, match=r"'heading' has too few good samples; give the seconds"):
        with_delays(LogMapping.from_text(MAPPING), CHANNELS, silent)
