"""Tacit above the controllers of the Tennessee Eastman process: what it is asked for, its clock, and the table."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmarks.plants.supervisor import RESTING, STEPS, Supervisor, supervision
from benchmarks.tables.tennessee_eastman import POLICIES, SCENARIOS, Run, summary, table

from tacit.planning.action_limits import action_limits
from tacit.worlds.plants.averaged import slower
from tacit.worlds.plants.tennessee_eastman import BASE, HIGH, LOW, MOST, SCHEMA, TennesseeEastman
from tacit.worlds.plants.tennessee_eastman_tags import HANDLES


def test_the_task_fits_the_plant_at_the_slow_clock() -> None:
    limits = action_limits(slower(SCHEMA, STEPS), supervision())
    rests = np.isin([handle.name for handle in HANDLES], RESTING)
    assert rests.sum() == 3
    assert limits.low.numpy() == pytest.approx(np.where(rests, BASE, LOW))
    assert limits.high.numpy() == pytest.approx(np.where(rests, BASE, HIGH))
    assert limits.step.numpy() == pytest.approx(STEPS * MOST)


class Recorded:
    """A controller that remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.targets: list[dict[str, float]] = []

    def reset(self, applied: Any) -> None:
        self.applied = applied

    def retarget(self, setpoints: dict[str, float]) -> None:
        self.targets.append(setpoints)

    def act(self, seen: dict[str, Any]) -> Any:
        self.seen.append(seen)
        return SimpleNamespace(action=np.full(len(HANDLES), len(self.seen), np.float32))


@pytest.mark.skipif(find_spec("tep_studio") is None, reason="needs the extra: pip install 'tacit[worlds]'")
def test_setpoints_are_planned_every_quarter_of_an_hour_from_means_that_hold_no_label() -> None:
    controller, made = Recorded(), TennesseeEastman(unrest=0.0)
    policy = Supervisor(controller)  # type: ignore[arg-type]
    moments = [made.reset(0)]
    policy.begin(made)
    assert controller.applied == pytest.approx(BASE[None, None])
    wanted = [{"product_flow": 22.949}] * (STEPS + 2) + [{"product_flow": 20.0}] * (STEPS - 1)
    sent = []
    for setpoints in wanted:
        command, _ = policy.act(moments[-1], setpoints)
        sent.append(command[0])
        moments.append(made.apply(BASE))
    assert sent == [1.0] * STEPS + [2.0] * STEPS + [3.0]
    assert controller.targets == [wanted[0], wanted[-1]]
    level = [float(moment["reactor_level"]) for moment in moments]
    assert controller.seen[0]["reactor_level"] == pytest.approx(level[0], abs=1e-4)
    assert controller.seen[1]["reactor_level"] == pytest.approx(np.mean(level[1 : STEPS + 1]), abs=1e-4)
    assert set(controller.seen[0]) == {signal.name for signal in SCHEMA.seen}


def test_the_table_has_a_row_for_everybody_who_was_measured() -> None:
    cheap = Run(
        hours=48.0,
        tripped=False,
        cost=110.0,
        true_cost=110.0,
        late_cost=120.0,
        production_error=0.1,
        mix_deviation=0.2,
        mix_error=0.3,
        off_spec=0.5,
        abnormal=0.0,
    )
    names = list(POLICIES)
    results = {"hours": 48, "seeds": 2, "cpu": "one", "rows": {names[2]: {"base": summary([cheap, cheap])}, names[0]: {}}}
    line = next(line for line in table(results).splitlines() if line.startswith(f"| {SCENARIOS['base'].words} | {names[2]}"))
    assert "| 0/2 | 110.0 (110.0 to 110.0) | 120.0 (" in line
    assert line.endswith("| 50.0 % | 0.0 % |")
    assert names[1] not in table(results)
    results["rows"][names[3]] = {"base": summary([cheap])}
    assert "| 0/1 | 110.0 | 120.0 |" in table(results), "one run has no interval"
    assert "†" not in table(results)
    results["code"] = results["rows"][names[3]]["base"]["code"] = "of now"
    assert f"| {names[2]} † |" in table(results)
    assert f"| {names[3]} |" in table(results)
    assert "† Measured with other code" in table(results)
