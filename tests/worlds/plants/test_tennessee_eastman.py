"""The Tennessee Eastman process: published base case, analysers, disturbances, shutdowns, operators, and its logs."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tacit.cli import main
from tacit.data import EpisodeStore
from tacit.signals import MASK, Role
from tacit.worlds.plants.plant import Samples
from tacit.worlds.plants.tennessee_eastman import BASE, IDV, INNER_HOURS, INNER_STEPS, SCHEMA, TennesseeEastman, operating_cost
from tacit.worlds.plants.tennessee_eastman_shift import CALM_STEPS, SupervisoryShift, Weather, lead
from tacit.worlds.plants.tennessee_eastman_tags import HANDLES, MEASURED, TRAINING, TRIPS, VALVES

if find_spec("tep_studio") is None:
    pytest.skip("needs the extra: pip install 'tacit[worlds]'", allow_module_level=True)

HANDLE = [handle.name for handle in HANDLES]


@pytest.fixture(scope="module")
def calm() -> list[Samples]:
    """Four hours at the base case without disturbances."""
    made = TennesseeEastman(unrest=0.0)
    return [made.reset(5), *(made.apply(BASE) for _ in range(80))]


def moved(**handles: float) -> np.ndarray:
    action = BASE.copy()
    for name, value in handles.items():
        action[HANDLE.index(name)] = value
    return action


def test_the_base_case_is_the_published_one(calm: list[Samples]) -> None:
    point = TennesseeEastman().operating_point
    assert point["operating_cost"] == pytest.approx(170.6, abs=0.1), "Downs and Vogel (1993)"
    for name in (*(tag.name for tag in MEASURED), *(tag.name for tag in VALVES.values()), "operating_cost"):
        assert float(calm[0][name]) == pytest.approx(point[name], rel=1e-4), name
    most = {"reactor_pressure": 5.0, "reactor_level": 1.0, "product_flow": 0.3, "separator_level": 5.0, "stripper_level": 5.0}
    for name, off in most.items():
        assert np.mean([float(samples[name]) for samples in calm]) == pytest.approx(point[name], abs=off), name


def test_the_cost_from_measurements_is_the_simulators_own(calm: list[Samples]) -> None:
    ours = np.array([float(operating_cost(samples)) for samples in calm])
    true = np.array([float(samples["operating_cost.true"]) for samples in calm])
    assert ours[0] == pytest.approx(true[0], rel=1e-5), "nothing is noisy or late at the first moment"
    assert ours.mean() == pytest.approx(true.mean(), rel=0.01)
    assert [float(samples["operating_cost"]) for samples in calm] == pytest.approx(ours, rel=1e-6)
    assert operating_cost({name: np.array([s[name] for s in calm]) for name in calm[0]}) == pytest.approx(ours)


def test_with_its_handles_at_rest_it_is_tep_studios_own_closed_loop() -> None:
    from tep_studio import RickerMultiLoopController, TennesseeEastmanProcess
    from tep_studio.control import ControllerSetpoints

    made = TennesseeEastman(unrest=0.0)
    made.reset(3)
    made.disturb({"idv_01": 1.0})
    seen = [made.apply(BASE) for _ in range(10)][-1]
    noise = np.random.SeedSequence(3).spawn(2)[0].generate_state(1)[0]
    process = TennesseeEastmanProcess()
    measured, _ = process.reset(seed=float(1 + int(noise) % (2**32 - 1)))
    setpoints = ControllerSetpoints(**{handle.inner: handle.base for handle in HANDLES if handle.is_setpoint})
    layer = RickerMultiLoopController(setpoints=setpoints, enable_overrides=True)
    layer.reset(measured)
    for _ in range(10 * INNER_STEPS):
        valves, _ = layer.compute_action(measured, time=process.time)
        measured = process.advance(valves, control_interval=INNER_HOURS, disturbances=np.eye(28)[0]).measurements
    assert [float(seen[tag.name]) for tag in MEASURED] == pytest.approx(measured, rel=1e-4)
    assert [float(seen[tag.name]) for tag in VALVES.values()] == pytest.approx(valves[list(VALVES)], rel=1e-3)


def test_analysers_show_a_new_sample_every_6_or_15_minutes_and_the_last_one_between(calm: list[Samples]) -> None:
    for name, every in (("purge_B", 2), ("reactor_feed_A", 2), ("product_G", 5)):
        fresh = np.flatnonzero([bool(samples[name + MASK]) for samples in calm])
        assert fresh[0] == 0
        assert abs(np.diff(fresh[1:]) - every).max() <= 1
        assert len(fresh) - 1 == pytest.approx(80 / every, abs=1)
        for before, after in pairwise(calm):
            assert bool(after[name + MASK]) == (after[name] != before[name])
    assert not {"reactor_pressure", "d_feed_valve"} & set(SCHEMA.masks)


def test_a_setpoint_moves_what_it_is_for_no_faster_than_its_rate() -> None:
    made = TennesseeEastman(unrest=0.0)
    made.reset(1)
    pressures = [float(made.apply(moved(reactor_pressure_setpoint=2750.0))["reactor_pressure"]) for _ in range(60)]
    assert pressures[0] < 2720.0
    assert np.mean(pressures[-10:]) == pytest.approx(2750.0, abs=8.0)
    rate = HANDLES[HANDLE.index("reactor_pressure_setpoint")].hourly
    reached = next(t for t, value in enumerate(pressures) if value > 2740.0)
    assert 0.05 * reached >= (2740.0 - 2712.0) / rate


def test_an_actuator_follows_its_handle_and_the_layers_valves_are_seen() -> None:
    made = TennesseeEastman(unrest=0.0)
    made.reset(1)
    before = made.apply(BASE)
    for _ in range(20):
        after = made.apply(moved(steam_valve=0.0))
    assert float(after["steam_flow"]) < 0.3 * float(before["steam_flow"])
    valves = [tag.name for tag in VALVES.values()]
    assert any(float(after[name]) != float(before[name]) for name in valves)


def test_a_disturbance_acts_shows_as_a_label_and_can_be_taken_off() -> None:
    disturbed, left = TennesseeEastman(unrest=0.0), TennesseeEastman(unrest=0.0)
    disturbed.reset(2)
    left.reset(2)
    disturbed.disturb({"idv_01": 1.0})
    with_it = [disturbed.apply(BASE) for _ in range(30)]
    without = [left.apply(BASE) for _ in range(30)]
    assert float(with_it[-1]["idv_01"]) == 1.0
    assert abs(float(with_it[-1]["a_feed"]) - float(without[-1]["a_feed"])) > 0.02
    disturbed.disturb({"idv_01": None})
    assert float(disturbed.apply(BASE)["idv_01"]) == 0.0
    with pytest.raises(ValueError, match=r"no disturbance 'idv_29'; there are: idv_01, "):
        disturbed.disturb({"idv_29": 1.0})


def test_a_smaller_disturbance_does_less() -> None:
    feeds = []
    for size in (0.0, 0.3, 1.0):
        made = TennesseeEastman(unrest=0.0)
        made.reset(2)
        made.disturb({"idv_01": size})
        feeds.append(np.mean([float(made.apply(BASE)["a_feed"]) for _ in range(40)][-10:]))
    assert abs(feeds[2] - feeds[0]) > 1.5 * abs(feeds[1] - feeds[0]) > 0.0


def test_without_a_feed_the_plant_shuts_down_and_then_nothing_moves() -> None:
    """IDV(6), the disturbance that these controllers do not survive."""
    made = TennesseeEastman(unrest=0.0)
    made.reset(3)
    made.disturb({"idv_06": 1.0})
    for _ in range(400):
        last = made.apply(BASE)
        if made.tripped is not None:
            break
    assert made.tripped is not None
    assert "Shutting down" in made.tripped
    assert float(last["tripped"]) == 1.0
    assert min(float(last[f"{trip.name}.margin"]) for trip in TRIPS) < 0.5
    after = made.apply(moved(agitator=90.0))
    for signal in SCHEMA.observations:
        if signal.name.endswith(MASK):
            assert not after[signal.name]
        else:
            assert after[signal.name] == last[signal.name]
    assert float(made.reset(3)["tripped"]) == 0.0
    assert made.tripped is None


def test_weather_is_of_the_training_list_and_comes_and_goes() -> None:
    weather = Weather(np.random.default_rng(0))
    sizes = np.array([weather.next() for _ in range(20_000)])
    trained = [number - 1 for number in TRAINING]
    assert set(np.flatnonzero(sizes.any(axis=0))) == set(trained)
    assert sizes.max() <= 1.0
    assert sizes[sizes > 0].min() >= 0.3
    assert (sizes[:, trained] > 0).mean() == pytest.approx(5 / 55, rel=0.25)


def test_operators_move_every_handle_inside_its_limits_and_rate() -> None:
    operator, samples = SupervisoryShift(np.random.default_rng(1)), TennesseeEastman(unrest=0.0).reset(0)
    sent = np.array([operator.act(samples) for _ in range(3000)])
    for handle, column in zip(HANDLES, sent.T, strict=True):
        assert handle.low <= column.min() < column.max() <= handle.high
        assert np.ptp(column) > 0.6 * (handle.high - handle.low)
        assert np.abs(np.diff(column)).max() <= handle.hourly * 0.05 + 1e-9
    assert operator.setpoints["reactor_pressure"] == sent[-1, HANDLE.index("reactor_pressure_setpoint")]
    assert set(operator.setpoints) <= set(SCHEMA.by_name)


def test_operators_leave_things_alone_when_a_level_is_not_normal_and_lead_the_product_after_it() -> None:
    operator, samples = SupervisoryShift(np.random.default_rng(1)), TennesseeEastman(unrest=0.0).reset(0)
    for _ in range(300):
        before = operator.act(samples)
    low = {**samples, "stripper_level": np.float32(20.0)}
    after = operator.act(low)
    product = HANDLE.index("product_flow_setpoint")
    assert after[product] < before[product] or before[product] == HANDLES[product].low
    assert np.array_equal(np.delete(after, product), np.delete(before, product))
    for _ in range(CALM_STEPS - 1):
        assert np.array_equal(operator.act(samples), after)
    assert lead({**samples, "stripper_level": np.float32(120.0)})[product] == 1.0
    assert lead({**samples, "reactor_pressure": np.float32(2950.0)})[HANDLE.index("reactor_pressure_setpoint")] == -1.0


def test_its_logs_come_through_the_historian_and_tacit_import(tmp_path: Path) -> None:
    assert main(["record", "tennessee_eastman", "--out", str(tmp_path / "log"), "--episodes", "2", "--steps", "12", "--seed", "1"]) == 0
    store = EpisodeStore(tmp_path / "log")
    assert store.lengths.tolist() == [12, 12]
    assert store.schema.without_labels() == SCHEMA.without_labels()
    assert {*IDV, "tripped", "operating_cost.true", "reactor_pressure.setpoint"} <= {s.name for s in store.schema.having(Role.LABEL)}
    masks = np.concatenate([episode.signals["product_G" + MASK][1:] for episode in store])
    assert 0.1 < masks.mean() < 0.3
    assert all(episode.signals["reactor_pressure"].std() > 0.0 for episode in store)
