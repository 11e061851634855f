"""Interventions in words: what they do to logged actions, and how mistakes are told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.planning.interventions import Change, InterventionError, parse_duration, parse_intervention
from tacit.signals import Role, Schema, Signal

SCHEMA = Schema(
    signals=(
        Signal(name="level", role=Role.OBSERVATION, unit="cm"),
        Signal(name="pump_1", role=Role.ACTION, unit="V", low=0.0, high=10.0),
        Signal(name="valves", role=Role.ACTION, shape=(2,), low=-1.0, high=1.0),
        Signal(name="fan", role=Role.ACTION, unit="Hz"),
    ),
    period=5.0,
)
LOGGED = np.tile(np.array([3.0, 0.0, 0.5, 50.0], np.float32), (12, 1))
PREVIOUS = LOGGED[0]


def done(text: str) -> np.ndarray:
    return parse_intervention(text, SCHEMA).applied(LOGGED, PREVIOUS, SCHEMA)


def test_a_step_is_held_and_then_what_was_logged_goes_on() -> None:
    found = done("pump_1=4.5 from 10s for 20s")
    assert found[:, 0].tolist() == [3.0, 3.0, 4.5, 4.5, 4.5, 4.5, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]
    assert np.array_equal(found[:, 1:], LOGGED[:, 1:])
    assert (LOGGED[:, 0] == 3.0).all(), "what was logged stays"


def test_without_an_end_it_lasts_to_the_horizon() -> None:
    assert done("pump_1=2 from 0.5min")[:, 0].tolist() == [3.0] * 6 + [2.0] * 6


def test_a_shift_follows_what_was_logged() -> None:
    logged = LOGGED.copy()
    logged[:, 0] = np.arange(12) / 10
    found = parse_intervention("pump_1 += 0.25 for 10 s; pump_1 -= 0.1 from 50s", SCHEMA).applied(logged, PREVIOUS, SCHEMA)
    np.testing.assert_allclose(found[:, 0] - logged[:, 0], [0.25] * 2 + [0.0] * 8 + [-0.1] * 2, atol=1e-6)


def test_a_ramp_begins_at_the_action_before_and_ends_at_its_value() -> None:
    np.testing.assert_allclose(done("pump_1=5 over 20s for 30s")[:7, 0], [3.5, 4.0, 4.5, 5.0, 5.0, 5.0, 3.0])
    np.testing.assert_allclose(done("pump_1+=1 over 20s")[:5, 0], [3.25, 3.5, 3.75, 4.0, 4.0])


def test_a_ramp_begins_where_an_earlier_change_ended_in_whatever_order_they_are_written() -> None:
    words = ("pump_1=2 for 20s", "pump_1=4 from 20s over 20s")
    wanted = [2.0] * 4 + [2.5, 3.0, 3.5] + [4.0] * 5
    assert done("; ".join(words))[:, 0].tolist() == done("; ".join(reversed(words)))[:, 0].tolist() == wanted


def test_several_actuators_and_elements_of_one() -> None:
    found = done("pump_1=1; valves.1=-0.5 for 5s; fan=60 Hz")
    assert found[0].tolist() == [1.0, 0.0, -0.5, 60.0]
    assert found[-1].tolist() == [1.0, 0.0, 0.5, 60.0]


def test_times_have_units_and_come_in_any_order() -> None:
    intervention = parse_intervention(" pump_1 = 3.2 V for 0.5 h over 90 s from 2min ", SCHEMA)
    assert intervention.changes == (Change(channel="pump_1", value=3.2, begin=120.0, hold=1800.0, ramp=90.0, position=1),)
    assert [parse_duration(text) for text in ("30s", "5 min", "1.5h", "0s")] == [30.0, 300.0, 5400.0, 0.0]


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 1, "an actuator should stand here: pump_1, valves.0, valves.1, fan"),
        ("pump_1=3;", 10, "an actuator should stand here"),
        ("pump_2=3", 1, "'pump_2' is no actuator"),
        ("level=3", 1, "'level' is no actuator"),
        ("pump_1 3", 8, "'=', '+=' or '-=' should follow pump_1"),
        ("pump_1=", 8, "a value of pump_1 should stand here"),
        ("pump_1=high", 8, "a value of pump_1 should stand here"),
        ("pump_1=nan", 8, "a value of pump_1 should stand here"),
        ("fan=1e999", 5, "too large"),
        ("pump_1=11", 8, "pump_1 can be 0 to 10 V, not 11"),
        ("valves.0=0.5; valves.1=-2", 24, "valves can be -1 to 1, not -2"),
        ("pump_1=3 bar", 10, "'bar' cannot follow a value of pump_1 (its unit is V)"),
        ("valves.0=0 V", 12, "(it has no unit)"),
        ("pump_1=3 form 2min", 10, "'form' cannot follow"),
        ("pump_1=3 V form 2min", 12, "'form' is not understood; use from, for or over"),
        ("pump_1=3 for", 13, "a time after 'for' should stand here"),
        ("pump_1=3 for 5", 15, "a unit of time is missing; use s, min or h"),
        ("pump_1=3 for 5 m", 16, "'m' is no unit of time"),
        ("pump_1=3 for 5min for 2min", 19, "'for' stands twice"),
        ("pump_1=3 for 0s", 14, "must be more than 0"),
        ("pump_1=3 from -1s", 15, "a time is not negative"),
        ("pump_1=3 over 5min for 2min", 24, "the ramp of 300 s does not fit into the 120 s"),
        ("pump_1=3, fan=2", 9, "cannot follow a value"),
    ],
)
def test_a_mistake_is_told_with_its_position(text: str, position: int, words: str) -> None:
    with pytest.raises(InterventionError) as error:
        parse_intervention(text, SCHEMA)
    assert f"character {position}:" in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pump_1+=8 from 10s", "pump_1 would be at 11 V, above its limit of 10 V"),
        ("pump_1-=4", "pump_1 would be at -1 V, below its limit of 0 V"),
        ("pump_1=3 from 60s", "after the horizon of 60 s"),
        ("pump_1=3; pump_1=4 from 30s", "another change of pump_1 still lasts then"),
    ],
)
def test_what_does_not_fit_the_machine_is_refused(text: str, words: str) -> None:
    with pytest.raises(InterventionError, match="character") as error:
        done(text)
    assert words in str(error.value)


def test_a_log_that_left_its_range_is_no_fault_of_the_intervention() -> None:
    logged = LOGGED.copy()
    logged[:, 0] = 10.4
    found = parse_intervention("fan=40", SCHEMA).applied(logged, PREVIOUS, SCHEMA)
    assert found[0, 0] == pytest.approx(10.4)
    back = parse_intervention("pump_1-=1 for 5s", SCHEMA).applied(logged, PREVIOUS, SCHEMA)
    assert back[0, 0] == pytest.approx(9.4)


@pytest.mark.parametrize("text", ["5", "5 m", "min", "5min later", "-5s", ""])
def test_no_duration(text: str) -> None:
    with pytest.raises(InterventionError):
        parse_duration(text)


@given(st.text(alphabet="pump_1=+-.0 35svmihfroe;\t", max_size=40))
def test_any_words_are_an_intervention_or_a_mistake_inside_them(text: str) -> None:
    position = 0
    try:
        parse_intervention(text, SCHEMA)
    except InterventionError as error:
        position = error.position
    assert 0 <= position <= len(text)
