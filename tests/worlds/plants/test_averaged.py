"""Slow clocks: means of what was measured anew, commands that are held, and the same plant below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tacit.data import EpisodeStore
from tacit.signals import Role, Schema, Signal, mask_of
from tacit.worlds.plants import Plant, plant, record_plant
from tacit.worlds.plants.averaged import Averaged, average, slower


def test_a_step_is_several_of_the_plants_own_under_one_command() -> None:
    slow, fast = Averaged(plant("four_tank"), 3), plant("four_tank")
    assert isinstance(slow, Plant)
    assert slow.step_seconds == slow.schema.period == 3 * fast.step_seconds
    first, same = slow.reset(4), fast.reset(4)
    assert first.keys() == same.keys()
    assert all(np.array_equal(first[name], same[name]) for name in first)
    action = np.array([fast.operating_point[s.name] for s in fast.schema.actions]) * 1.1
    moments = [fast.apply(action) for _ in range(3)]
    seen = slow.apply(action)
    assert seen["level_1"] == pytest.approx(np.mean([m["level_1"] for m in moments]), rel=1e-6)
    assert seen["level_1"].dtype == moments[0]["level_1"].dtype
    label = fast.schema.labels[0].name
    assert seen[label] == moments[-1][label]


def test_only_new_samples_count_and_where_there_is_none_the_last_one_stays() -> None:
    gas = Signal(name="gas", role=Role.OBSERVATION, rate=1.0)
    schema = Schema(signals=(gas, mask_of(gas), Signal(name="u", role=Role.ACTION)), period=0.5)

    def moment(value: float, fresh: bool) -> dict[str, np.ndarray]:
        return {"gas": np.float32(value), "gas.valid": np.bool_(fresh)}  # type: ignore[dict-item]

    seen = average(schema, [moment(1.0, True), moment(1.0, False), moment(4.0, True)])
    assert seen["gas"] == 2.5
    assert seen["gas.valid"]
    none = average(schema, [moment(1.0, False), moment(3.0, False)])
    assert none["gas"] == 3.0
    assert not none["gas.valid"]


def test_no_sensor_is_faster_than_the_clock() -> None:
    gas = Signal(name="gas", role=Role.OBSERVATION, rate=1.0)
    schema = Schema(signals=(gas, mask_of(gas), Signal(name="u", role=Role.ACTION)), period=0.5)
    assert slower(schema, 1) == schema
    assert slower(schema, 10).by_name["gas"].rate == 1 / 5.0


def test_what_is_ahead_of_a_branch_is_the_same() -> None:
    slow = Averaged(plant("four_tank"), 2)
    slow.reset(1)
    action = np.array([slow.operating_point[s.name] for s in slow.schema.actions])
    slow.apply(action)
    other = slow.branch()
    found, again = slow.apply(action), other.apply(action)
    assert all(np.array_equal(found[name], again[name]) for name in found)


def test_its_logs_come_through_the_historian_at_its_clock(tmp_path: Path) -> None:
    slow = Averaged(plant("four_tank"), 4)
    record_plant(slow, tmp_path / "slow", episodes=2, steps=6)
    store = EpisodeStore(tmp_path / "slow")
    assert store.schema.period == slow.step_seconds
    assert [store[n].steps for n in range(2)] == [6, 6]
    limit, values = slow.action_limits["pump_1"], store[0].signals["pump_1"]
    assert ((limit.low <= values) & (values <= limit.high)).all()


def test_a_clock_that_stands_is_refused() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        Averaged(plant("four_tank"), 0)
