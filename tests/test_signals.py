"""Signals and schemas: what is not well-formed is refused, what is written comes back, and differences are named."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.signals import DTYPES, Role, Schema, SchemaError, Signal, mask_of

CAMERA = Signal(name="camera", role=Role.OBSERVATION, shape=(64, 48, 3), dtype="uint8")
COOLANT = Signal(name="coolant", role=Role.ACTION, unit="K", low=280.0, high=370.0)
WIND = Signal(name="wind", role=Role.DISTURBANCE, shape=(2,), unit="m/s", rate=5.0)
POSE = Signal(name="pose", role=Role.LABEL, shape=(3,))
REACTOR = Schema(signals=(CAMERA, COOLANT, WIND, POSE), period=0.5)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
NAMES = st.text("aZ9_.-", min_size=1, max_size=4)


SIGNALS = st.builds(
    lambda bounds, **values: Signal(low=min(bounds), high=max(bounds), **values) if bounds else Signal(**values),
    st.none() | st.tuples(FINITE, FINITE),
    name=NAMES,
    role=st.sampled_from(Role),
    shape=st.lists(st.integers(1, 9), max_size=4).map(tuple),
    dtype=st.sampled_from(DTYPES),
    unit=st.sampled_from(["1", "K", "m/s", "µ"]),
    max_norm=st.none() | POSITIVE,
    rate=st.none() | POSITIVE,
)


@settings(deadline=None)
@given(st.lists(SIGNALS, max_size=3, unique_by=lambda s: s.name), POSITIVE)
def test_json_round_trip(found: list[Signal], period: float) -> None:
    schema = Schema(signals=tuple(found), period=period)
    again = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert again == schema
    assert again.digest() == schema.digest()
    assert hash(again) == hash(schema)
    for signal in found:
        assert Signal.from_json(signal.to_json()) == signal


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": ""}, "name ''"),
        ({"name": "a b"}, "name 'a b'"),
        ({"name": "../up"}, "letters, digits"),
        ({"dtype": "float16"}, "dtype 'float16' is not one of"),
        ({"shape": (3, 0)}, "empty dimension"),
        ({"shape": (-1,)}, "empty dimension"),
        ({"low": math.nan}, "must be finite"),
        ({"high": math.inf}, "must be finite"),
        ({"low": 2.0, "high": 1.0}, "low 2.0 is above high 1.0"),
        ({"max_norm": 0.0}, "max_norm must be positive"),
        ({"rate": -1.0}, "rate must be positive"),
    ],
)
def test_a_malformed_signal_is_refused(wrong: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"name": "x", "role": Role.OBSERVATION, **wrong}
    with pytest.raises(SchemaError, match=message):
        Signal(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x"}, "'x': 'role'"),
        ({"name": "x", "role": "reward"}, "'reward' is not a valid Role"),
        ({"name": "x", "role": "action", "colour": 1}, "unknown keys colour"),
        ({"name": "x", "role": "action", "shape": "ab"}, "signal 'x'"),
        ({"name": "x", "role": "action", "low": "cold"}, "signal 'x'"),
    ],
)
def test_malformed_json_of_a_signal_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Signal.from_json(values)


@pytest.mark.parametrize("values", [{}, {"signals": []}, {"signals": 3, "period": 1}, {"signals": [], "period": None}, []])
def test_malformed_json_of_a_schema_is_refused(values: Any) -> None:
    with pytest.raises(SchemaError, match="not a schema"):
        Schema.from_json(values)


def test_sizes() -> None:
    assert (CAMERA.size, CAMERA.nbytes, CAMERA.is_image) == (64 * 48 * 3, 64 * 48 * 3, True)
    assert (COOLANT.size, COOLANT.nbytes, COOLANT.is_image) == (1, 4, False)
    assert (POSE.size, POSE.nbytes) == (3, 12)
    assert not dataclasses.replace(CAMERA, dtype="float32").is_image
    valve = Signal(name="valve", role=Role.ACTION, shape=(4,))
    assert dataclasses.replace(REACTOR, signals=(*REACTOR.signals, valve)).action_size == 5


def test_signals_by_role_keep_their_order() -> None:
    assert REACTOR.observations == (CAMERA,)
    assert REACTOR.actions == (COOLANT,)
    assert REACTOR.labels == (POSE,)
    assert REACTOR.having(Role.DISTURBANCE, Role.OBSERVATION) == (CAMERA, WIND)
    assert REACTOR.by_name["wind"] is WIND
    assert REACTOR.without_labels() == Schema(signals=(CAMERA, COOLANT, WIND), period=0.5)


def test_a_schema_that_is_no_schema_is_refused() -> None:
    with pytest.raises(SchemaError, match="named twice: wind"):
        Schema(signals=(WIND, CAMERA, WIND))
    for period in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SchemaError, match="period"):
            Schema(signals=(CAMERA,), period=period)


def test_values_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CAMERA.name = "other"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        REACTOR.period = 1.0  # type: ignore[misc]


def test_the_digest_follows_every_field() -> None:
    changes: dict[str, Any] = {"unit": "degC", "low": 0.0, "high": 999.0, "max_norm": 3.0, "rate": 2.0, "dtype": "float64", "shape": (2,)}
    found = {REACTOR.digest(), dataclasses.replace(REACTOR, period=0.25).digest()}
    for name, value in changes.items():
        found.add(Schema(signals=(CAMERA, dataclasses.replace(COOLANT, **{name: value}), WIND, POSE), period=0.5).digest())
    assert len(found) == 2 + len(changes)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ((COOLANT, WIND), "the run lacks the signal 'camera'"),
        ((CAMERA, COOLANT, WIND, Signal(name="hum", role=Role.OBSERVATION)), "the run has an extra signal 'hum'"),
        ((CAMERA, dataclasses.replace(COOLANT, unit="degC", high=900.0), WIND), r"'coolant' has unit 'degC' instead of 'K', high 900.0"),
        ((COOLANT, CAMERA, WIND), "same signals in another order"),
    ],
)
def test_the_first_difference_is_named(other: tuple[Signal, ...], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        REACTOR.require_same(Schema(signals=other, period=0.5), "the run")


def test_another_period_is_a_difference_and_labels_are_not() -> None:
    REACTOR.require_same(REACTOR.without_labels(), "the run")
    REACTOR.without_labels().require_same(REACTOR, "the run")
    with pytest.raises(SchemaError, match=r"period of 0\.1 s instead of 0\.5 s"):
        REACTOR.require_same(dataclasses.replace(REACTOR, period=0.1), "the run")


def test_a_mask_is_known_by_its_name() -> None:
    tank = Signal(name="tank", role=Role.OBSERVATION, shape=(2,), rate=0.5)
    schema = Schema(signals=(tank, mask_of(tank), CAMERA, mask_of(CAMERA), COOLANT))
    assert mask_of(tank) == Signal(name="tank.valid", role=Role.OBSERVATION, shape=(2,), dtype="bool", rate=0.5)
    assert mask_of(CAMERA).shape == ()
    assert dict(schema.masks) == {"tank": mask_of(tank), "camera": mask_of(CAMERA)}
    assert not Schema(signals=(Signal(name="gate.valid", role=Role.LABEL), COOLANT)).masks


@pytest.mark.parametrize("change", [{"dtype": "uint8"}, {"shape": (3,)}, {"role": Role.LABEL}])
def test_a_mask_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    tank = Signal(name="tank", role=Role.OBSERVATION, shape=(2,))
    with pytest.raises(SchemaError, match=r"'tank\.valid' would be the mask of 'tank'"):
        Schema(signals=(tank, dataclasses.replace(mask_of(tank), **change)))


def test_an_action_has_no_mask() -> None:
    with pytest.raises(SchemaError, match=r"beside an observation or a disturbance"):
        Schema(signals=(COOLANT, Signal(name="coolant.valid", role=Role.OBSERVATION, dtype="bool")))


def test_a_model_sees_observations_and_disturbances_with_their_masks() -> None:
    rain = Signal(name="rain", role=Role.DISTURBANCE)
    schema = Schema(signals=(rain, mask_of(rain), COOLANT, CAMERA, Signal(name="pose", role=Role.LABEL)))
    assert [s.name for s in schema.seen] == ["rain", "rain.valid", CAMERA.name]
    assert dict(schema.masks) == {"rain": mask_of(rain)}
    assert mask_of(rain).role is Role.DISTURBANCE
