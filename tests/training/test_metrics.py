"""metrics.jsonl over interruptions: no line twice, none lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tacit.training.distributed import Group
from tacit.training.metrics import METRICS, metrics_of

LOSS, LOOK = {"loss/total": 1.0}, {"watch/min_std": 0.5}


def lines(out: Path) -> list[tuple[int, str]]:
    return [(v["step"], "loss" if "loss/total" in v else "look") for v in map(json.loads, (out / METRICS).read_text().splitlines())]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A training that was killed while it wrote a line."""
    written = [{"step": 0, **LOSS}, {"step": 50, **LOOK}, {"step": 50, **LOSS}, {"step": 100, **LOOK}]
    (tmp_path / METRICS).write_text("".join(json.dumps(v) + "\n" for v in written) + '{"step": 10')
    return tmp_path


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (0, []),
        (49, [(0, "loss")]),
        (50, [(0, "loss"), (50, "look")]),  # the loss of step 50 is measured again, the look after 50 steps is not
        (51, [(0, "loss"), (50, "look"), (50, "loss")]),
        (100, [(0, "loss"), (50, "look"), (50, "loss"), (100, "look")]),
    ],
)
def test_lines_that_will_be_written_again_are_dropped(out: Path, step: int, kept: list[tuple[int, str]]) -> None:
    with metrics_of(out, step, Group()) as file:
        file.write(json.dumps({"step": 999, **LOOK}) + "\n")
    assert lines(out) == [*kept, (999, "look")]


def test_other_processes_write_nothing(out: Path) -> None:
    before = (out / METRICS).read_bytes()
    with metrics_of(out, 50, Group(rank=1, world_size=2)) as file:
        file.write("x")
    assert (out / METRICS).read_bytes() == before
    assert [p.name for p in out.iterdir()] == [METRICS]
