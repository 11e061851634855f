"""Every plant keeps the contract, and every process agrees with its published operating point and with adaptive integration."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tacit.signals import MASK, Role
from tacit.worlds.plants import PLANTS, Plant, SimulatedPlant, plant
from tacit.worlds.plants.integrate import runge_kutta
from tacit.worlds.plants.plant import Floats, Samples
from tacit.worlds.plants.process import Process
from tacit.worlds.plants.simulated import shown

INSTALLED = [name for name in PLANTS if name != "tennessee_eastman" or find_spec("tep_studio") is not None]
SIMULATED = [name for name in INSTALLED if isinstance(plant(name), SimulatedPlant)]


@dataclass(frozen=True, kw_only=True)
class Point:
    """States, manipulated variables and disturbances at the operating point."""

    x: Floats
    u: Floats
    d: Floats


def process_of(name: str) -> Process:
    made = plant(name)
    assert isinstance(made, SimulatedPlant)
    return made.process


def operating_point(process: Process) -> Point:
    return Point(
        x=np.array([s.nominal for s in process.states]),
        u=np.array([a.nominal for a in process.actuators]),
        d=np.array([each.nominal for each in process.disturbances]),
    )


def commands(subject: Plant, steps: int, seed: int = 0) -> Floats:
    """Random commands (steps, m) near the operating point."""
    rng = np.random.default_rng(seed)
    nominal = np.array([subject.operating_point[name] for name in subject.action_limits])
    width = np.array([limit.high - limit.low for limit in subject.action_limits.values()])
    return nominal + 0.05 * width * rng.uniform(-1, 1, (steps, len(nominal)))


def assert_same(one: Samples, two: Samples) -> None:
    assert list(one) == list(two)
    for name in one:
        assert np.array_equal(one[name], two[name]), name


@pytest.fixture(params=INSTALLED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=SIMULATED)
def process(request: pytest.FixtureRequest) -> Process:
    return process_of(request.param)


def test_a_plant_is_found_under_its_own_name(name: str) -> None:
    made = plant(name)
    assert isinstance(made, Plant)
    assert made.name == name
    assert made.schema.period == made.step_seconds


def test_an_unknown_plant_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"five_tank.*four_tank, four_tank_nonminimum"):
        plant("five_tank")


def test_every_signal_but_the_actions_is_shown_in_its_shape_and_dtype(name: str) -> None:
    made = plant(name)
    shown_signals = [s for s in made.schema.signals if s.role is not Role.ACTION]
    for samples in (made.reset(1), made.apply(commands(made, 1)[0])):
        assert list(samples) == [s.name for s in shown_signals]
        for signal in shown_signals:
            assert samples[signal.name].shape == signal.shape
            assert samples[signal.name].dtype == signal.dtype


def test_what_belongs_to_control_is_named_and_in_range(name: str) -> None:
    made = plant(name)
    actions = [s.name for s in made.schema.actions]
    assert list(made.action_limits) == actions
    seen = [s.name for s in made.schema.observations if not s.is_image and not s.name.endswith(MASK)]
    assert {*seen, *actions, *(s.name for s in made.schema.having(Role.DISTURBANCE))} <= set(made.operating_point)
    for loop in made.loops:
        assert loop.controlled in seen
        assert loop.manipulated in actions
        assert loop.low <= made.operating_point[loop.controlled] <= loop.high
    for action, limit in made.action_limits.items():
        assert limit.low < made.operating_point[action] < limit.high


def test_the_same_seed_is_the_same_plant_and_another_one_is_not(name: str) -> None:
    one, two, other = plant(name), plant(name), plant(name)
    assert_same(one.reset(7), two.reset(7))
    other.reset(8)
    for action in commands(one, 5):
        first, second, third = one.apply(action), two.apply(action), other.apply(action)
        assert_same(first, second)
    assert any(not np.array_equal(first[k], third[k]) for k in first)
    assert_same(one.reset(7), plant(name).reset(7))


def test_a_branch_goes_on_like_the_plant_and_without_it(name: str) -> None:
    made = plant(name)
    made.reset(3)
    before, after = np.split(commands(made, 8), 2)
    for action in before:
        made.apply(action)
    one, two = made.branch(), made.branch()
    gone_on = [made.apply(action) for action in after]
    for action, expected in zip(after, gone_on, strict=True):
        assert_same(one.apply(action), expected)
    for action, expected in zip(after, gone_on, strict=True):
        assert_same(two.apply(action), expected)


def test_an_action_of_another_shape_or_of_nan_is_refused_and_changes_nothing(name: str) -> None:
    made, same = plant(name), plant(name)
    good = commands(made, 1)[0]
    for bad in (good[:-1], np.full_like(good, np.nan), np.append(good, 0.0)):
        with pytest.raises(ValueError, match=f"{len(good)} finite numbers"):
            made.apply(bad)
    assert_same(made.apply(good), same.apply(good))


def test_a_disturbance_can_be_held_and_let_go(name: str) -> None:
    made, same = plant(name), plant(name)
    measured = made.schema.having(Role.DISTURBANCE)
    if not measured:
        pytest.skip("has no measured disturbance")
    signal = measured[0]
    assert signal.low is not None
    assert signal.high is not None
    value = 0.4 * signal.low + 0.6 * signal.high
    action = commands(made, 1)[0]
    made.disturb({signal.name: value})
    for _ in range(3):
        assert float(made.apply(action)[signal.name]) == pytest.approx(value, abs=0.03 * (signal.high - signal.low))
        expected = same.apply(action)
    made.disturb({signal.name: None})
    expected = same.apply(action)
    assert np.array_equal(made.apply(action)[signal.name], expected[signal.name]), "it has gone its own way meanwhile"
    with pytest.raises(ValueError, match=f"no disturbance 'rain'; there are: .*{signal.name}"):
        made.disturb({"rain": 1.0})


@pytest.mark.parametrize("name", SIMULATED)
def test_noise_and_disturbances_do_not_depend_on_what_is_done(name: str) -> None:
    one, two = plant(name), plant(name)
    assert isinstance(one, SimulatedPlant)
    assert isinstance(two, SimulatedPlant)
    for first, second in zip(commands(one, 20, seed=1), commands(one, 20, seed=2), strict=True):
        one.apply(first)
        two.apply(second)
        assert np.array_equal(one.disturbances, two.disturbances)
    assert not np.array_equal(one.state, two.state)


@pytest.mark.parametrize("name", SIMULATED)
def test_an_actuator_never_leaves_its_limits(name: str) -> None:
    made = plant(name)
    for wanted in (1e9, -1e9):
        before = np.array([made.operating_point[action] for action in made.action_limits])
        sent = made.branch()
        same = made.branch()
        limits = list(made.action_limits.values())
        for _ in range(3):
            rates = np.array([limit.rate * made.step_seconds for limit in limits if limit.rate is not None])
            before = np.clip(before + np.sign(wanted) * rates, [limit.low for limit in limits], [limit.high for limit in limits])
            assert_same(sent.apply(np.full(len(limits), wanted)), same.apply(before))


@pytest.mark.parametrize("name", SIMULATED)
def test_an_analyser_shows_a_new_sample_now_and_then_and_the_last_one_between(name: str) -> None:
    made = plant(name)
    slow = [s for s in process_of(name).sensors if s.every > 1]
    assert slow, "every plant has one"
    seen = [made.reset(2), *(made.apply(action) for action in commands(made, 2 * slow[0].every))]
    for sensor in slow:
        fresh = [bool(samples[sensor.name + MASK]) for samples in seen]
        assert fresh == [step % sensor.every == 0 for step in range(len(seen))]
        for step in range(1, len(seen)):
            assert fresh[step] or seen[step][sensor.name] == seen[step - 1][sensor.name]


@pytest.mark.parametrize("name", SIMULATED)
def test_without_unrest_and_noise_a_sensor_shows_the_output_its_dead_time_ago(name: str) -> None:
    subject = SimulatedPlant(process_of(name), unrest=0.0, noise=0.0)
    process = subject.process
    outputs, seen = [process.outputs(subject.state)], [subject.reset(0)]
    for action in commands(subject, 30):
        seen.append(subject.apply(action))
        outputs.append(process.outputs(subject.state))
    for place, sensor in enumerate(process.sensors):
        for step in range(0, 31, sensor.every):
            value = outputs[max(0, step - sensor.dead_steps)][place]
            assert float(seen[step][sensor.name]) == pytest.approx(value, abs=sensor.resolution / 2 + 1e-4)
            assert seen[step][sensor.name] == np.float32(shown(value, sensor.resolution, sensor.low, sensor.high))


@pytest.mark.parametrize("name", SIMULATED)
def test_at_rest_a_plant_stays_at_its_published_operating_point(name: str) -> None:
    """To the rounding of what is published; the reactor rests on a saddle, and a minute is all it stays there for."""
    subject = SimulatedPlant(process_of(name), unrest=0.0, noise=0.0)
    point = operating_point(subject.process)
    minutes = 1 if name == "reactor" else 30
    for _ in range(round(60 * minutes / subject.step_seconds)):
        subject.apply(point.u)
    spans = {loop.controlled: loop.high - loop.low for loop in subject.loops}
    for sensor, value in zip(subject.process.sensors, subject.process.outputs(subject.state), strict=True):
        if sensor.name in spans:
            assert value == pytest.approx(subject.operating_point[sensor.name], abs=0.06 * spans[sensor.name]), sensor.name


@pytest.mark.parametrize("seed", range(3))
def test_integration_agrees_with_an_adaptive_method_far_below_the_noise(process: Process, seed: int) -> None:
    subject = SimulatedPlant(process)
    subject.reset(seed)
    for u in commands(subject, 5, seed):
        subject.apply(u)
    x, d = subject.state, subject.disturbances

    def derivative(t: float, x: Floats) -> Floats:
        return process.derivative(t, x, u, d)

    ours = runge_kutta(derivative, x, process.step_seconds, process.substeps)
    exact = solve_ivp(derivative, (0, process.step_seconds), x, method="DOP853", rtol=1e-8, atol=1e-8).y[:, -1]
    error = np.abs(process.outputs(ours) - process.outputs(exact))
    assert (error <= 0.01 * np.array([s.noise for s in process.sensors])).all(), error


def test_equations_take_many_states_at_once(process: Process) -> None:
    """An optimiser asks for a whole batch; each row is what it would be alone."""
    point, rng = operating_point(process), np.random.default_rng(1)
    x = point.x * rng.uniform(0.98, 1.02, (3, len(point.x)))
    u = point.u * rng.uniform(0.98, 1.02, (3, len(point.u)))
    d = np.array([[rng.uniform(each.low, each.high) for each in process.disturbances] for _ in range(3)])
    batch = process.derivative(0.0, x, u, d)
    assert batch.shape == x.shape
    for row, *alone in zip(batch, x, u, d, strict=True):
        assert row == pytest.approx(process.derivative(0.0, *alone), rel=1e-9, abs=1e-12)
    assert process.derivative(0.0, x, point.u, point.d).shape == x.shape
    assert process.outputs(x) == pytest.approx(np.stack([process.outputs(row) for row in x]))


def test_a_disturbance_wanders_and_jumps_as_much_as_it_says() -> None:
    process = process_of("reactor")
    place = [d.name for d in process.disturbances].index("feed_temperature")
    feed = process.disturbances[place]
    subject = SimulatedPlant(process)
    seen = []
    for seed in range(300):
        subject.reset(seed)
        seen.append(subject.disturbances[place])
    spread = np.hypot(feed.wander, feed.jump)
    assert np.std(seen) == pytest.approx(spread, rel=0.15)
    assert np.mean(seen) == pytest.approx(feed.nominal, abs=0.25 * spread)


@pytest.mark.parametrize(("value", "expected"), [(1.234, 1.2), (-3.0, 0.0), (9.0, 2.0)])
def test_a_sensor_shows_steps_inside_its_range(value: float, expected: float) -> None:
    assert shown(value, 0.1, 0.0, 2.0) == pytest.approx(expected)
