"""Logs as they are, through the whole import: two rates, a late clock, a gap, NaN, a stuck sensor and doubled rows in one source.

The same plant is written as a long CSV and as a ROS 2 bag, by the formats' own means, and comes out as the same episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mcap_ros2.writer import Writer
from numpy.typing import NDArray

from tacit.data import EpisodeStore
from tacit.data.importing import prepare, run
from tacit.data.mapping import LogMapping

Series = NDArray[np.float64]
Write = Callable[["Plant", Path], tuple[Path, str]]
START = 1_700_000_000.0
LATE = 0.12  # seconds by which the flow meter's clock is late
GAP = (50.0, 53.0)


@dataclass(frozen=True)
class Plant:
    """Samples (time, value) per tag, in the order of each tag's clock."""

    tags: dict[str, tuple[Series, Series]]
    truth: Callable[[Series], Series]


@pytest.fixture(scope="module")
def plant() -> Plant:
    rng = np.random.default_rng(5)
    frequencies, phases = rng.uniform(0.05, 1.2, 40), rng.uniform(0, 6, 40)

    def truth(t: Series) -> Series:
        return np.asarray(np.sin(2 * np.pi * frequencies * t[:, None] + phases).sum(1))

    slow, fast = np.round(np.arange(0, 120, 0.1), 6), np.round(np.arange(0, 120, 0.04), 6)
    slow = slow[(slow < GAP[0]) | (slow >= GAP[1])]
    level = truth(slow) + rng.normal(0, 0.1, len(slow))
    level[200:203] = np.nan
    level[700:760] = level[700]
    flow = truth(fast) + rng.normal(0, 0.1, len(fast))
    valve = np.repeat(rng.uniform(0, 100, 60), 20)
    return Plant(
        tags={"level": (slow, level), "flow": (fast + LATE, flow), "valve": (np.round(np.arange(0, 120, 0.1), 6), valve)}, truth=truth
    )


def as_table(plant: Plant, folder: Path) -> tuple[Path, str]:
    rows = [(t, tag, v) for tag, (times, values) in plant.tags.items() for t, v in zip(times, values, strict=True)]
    rows.sort(key=lambda row: row[0])
    doubled = next(i for i, row in enumerate(rows) if row[1] == "valve" and row[0] > 10)
    rows.insert(doubled, rows[doubled])
    lines = [f"{START + t:.6f},{tag},{'NaN' if np.isnan(v) else repr(float(v))}" for t, tag, v in rows]
    (folder / "plant.csv").write_text("timestamp,tag,value\n" + "\n".join(lines) + "\n")
    return folder / "plant.csv", '[options]\nlayout = "long"\ntime_unit = "s"\n'


def as_bag(plant: Plant, folder: Path) -> tuple[Path, str]:
    rows = [(t, tag, v) for tag, (times, values) in plant.tags.items() for t, v in zip(times, values, strict=True)]
    rows.sort(key=lambda row: row[0])
    doubled = next(i for i, row in enumerate(rows) if row[1] == "valve" and row[0] > 10)
    rows.insert(doubled, rows[doubled])
    with (folder / "plant.mcap").open("wb") as stream, Writer(stream) as writer:
        kind = writer.register_msgdef("std_msgs/msg/Float64", "float64 data")
        for t, tag, v in rows:
            stamp = int(START) * 10**9 + round(t * 1e9)
            writer.write_message(f"/{tag}", kind, {"data": float(v)}, log_time=stamp, publish_time=stamp)
    return folder / "plant.mcap", ""


def mapping(options: str, channels: dict[str, str]) -> LogMapping:
    return LogMapping.from_text(f"""
period = 0.1
{options}
[clock]
reference = "level"
[signals.level]
source = "{channels["level"]}"
role = "observation"
rate = 10.0
stuck_after = 2.0
max_age = 0.15
[signals.flow]
source = "{channels["flow"]}"
role = "observation"
align = "linear"
delay = "estimate"
missing = "mask"
[signals.valve]
source = "{channels["valve"]}"
role = "action"
""")


@pytest.mark.parametrize(("write", "names"), [(as_table, "{}"), (as_bag, "/{}.data")])
def test_faulty_logs_become_good_episodes(
    plant: Plant, tmp_path: Path, write: Callable[[Plant, Path], tuple[Path, str]], names: str
) -> None:
    source, options = write(plant, tmp_path)
    chosen = mapping(options, {tag: names.format(tag) for tag in plant.tags})
    ready = prepare(source, chosen)
    delay = ready.mapping.signals["flow"].delay
    assert delay == pytest.approx(LATE, abs=0.01)
    (done,) = run(ready, tmp_path / "store")
    store = EpisodeStore(tmp_path / "store")
    assert done.fault is None
    assert len(store) >= 3, "cut at the gap, and where the level is stuck"
    for episode in store:
        time = episode.time - START
        assert np.abs(np.diff(time) - 0.1).max() < 1e-5
        assert not ((time > GAP[0] + 0.4) & (time < GAP[1])).any()
        since, until = plant.tags["level"][0][[700, 759]]
        moving = (time < since) | (time > until)
        assert np.abs(episode.signals["level"] - plant.truth(time))[moving].max() < 1.0
        assert not ((time > since + 2.2) & (time < until)).any(), "stuck for longer than it may be"
        valid = episode.signals["flow.valid"]
        assert valid.mean() > 0.9
        assert np.abs(episode.signals["flow"] - plant.truth(time))[valid].max() < 1.0
        row = np.round(time[:-1] / 0.1).astype(int)
        np.testing.assert_array_equal(episode.signals["valve"], plant.tags["valve"][1][row].astype(np.float32))
    notes = "\n".join(done.notes)
    assert "level: 3 samples not used: NaN or infinite" in notes
    assert "samples not used: nothing had changed for too long" in notes
    assert "valve: 1 sample with the time stamp of a later one left out" in notes
