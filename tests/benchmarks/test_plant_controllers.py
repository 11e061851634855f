"""Linear and nonlinear predictive control, that plants are compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from benchmarks.plants.aims import Aims, aims_of, plant_task
from benchmarks.plants.identification import Arx, fit, identified
from benchmarks.plants.kalman import Estimator
from benchmarks.plants.linear import LinearControl
from benchmarks.plants.nonlinear import NonlinearControl
from benchmarks.plants.quadratic import Moves

from tacit.evaluation.closed_loop import PidControl, Scenario, drive
from tacit.evaluation.forecasters import ProcessLog
from tacit.evaluation.plant_score import score
from tacit.signals import Role, Schema, Signal
from tacit.worlds.plants import SimulatedPlant, gains_of
from tacit.worlds.plants.four_tank import FOUR_TANK
from tacit.worlds.plants.process import position
from tacit.worlds.plants.reactor import REACTOR

# y' = y + FIRST y + SECOND y_before + BY [a, d] + BY_OLDER [a, d] + CONSTANT
FIRST, SECOND = np.array([[-0.3, 0.05], [0.0, -0.2]]), np.array([[0.1, 0.0], [0.02, 0.05]])
BY, BY_OLDER = np.array([[0.5, 0.0, 0.1], [0.1, 0.2, 0.0]]), np.array([[0.0, 0.3, 0.0], [0.0, 0.1, 0.2]])
CONSTANT = np.array([0.4, 0.1])
KNOWN = Arx(
    outputs=("level_1", "level_2"),
    order=2,
    of_outputs=np.stack((FIRST, SECOND), 1),
    of_inputs=np.stack((BY, BY_OLDER), 1),
    constant=CONSTANT,
)


def aims(horizon: int, **changed: object) -> Aims:
    endless = np.full(2, np.inf)
    found = Aims(
        horizon=horizon,
        names=("level_1", "level_2"),
        actions=("pump_1", "pump_2"),
        weight=np.array([1.0, 0.5]),
        calm=np.array([0.1, 0.2]),
        low=np.full(2, -100.0),
        high=np.full(2, 100.0),
        step=endless,
        floor=-endless,
        ceiling=endless,
        shortfall=np.full(2, 1e4),
        keep=0.8,
    )
    return replace(found, **changed)


def simulated(steps: int, rng: np.random.Generator) -> ProcessLog:
    """Two episodes of the known system with a little noise."""
    seen, actions = [], []
    for _ in range(2):
        inputs = rng.normal(size=(steps + 1, 3))
        inputs[:, 2] = np.repeat(inputs[::100, 2], 100)[: steps + 1]  # mostly stays, as the model believes
        y = [np.zeros(2), np.zeros(2)]
        for t in range(1, steps):
            noise = 0.01 * rng.normal(size=2)
            y.append(KNOWN.step(np.stack((y[-1], y[-2])), np.stack((inputs[t], inputs[t - 1]))) + noise)
        seen.append(np.concatenate((np.array(y), inputs[:, 2:]), 1))
        actions.append(inputs[:, :2])
    return ProcessLog(
        seen=torch.tensor(np.concatenate(seen), dtype=torch.float32),
        there=torch.ones(2 * (steps + 1), 2, dtype=torch.bool),
        actions=torch.tensor(np.concatenate(actions), dtype=torch.float32),
        first=torch.tensor([0, steps + 1]),
        steps=torch.tensor([steps, steps]),
        names=("level_1", "level_2"),
        units=("cm", "cm"),
    )


def test_identification_recovers_a_known_system() -> None:
    log = simulated(600, np.random.default_rng(0))
    exact = fit(log, order=2, penalty=1e-9)
    np.testing.assert_allclose(exact.of_outputs, KNOWN.of_outputs, atol=0.02)
    np.testing.assert_allclose(exact.of_inputs, KNOWN.of_inputs, atol=0.02)
    np.testing.assert_allclose(exact.constant, KNOWN.constant, atol=0.02)
    found = identified(log, KNOWN.outputs)  # the order is found
    assert found.order >= 2
    assert found.error < 0.1
    np.testing.assert_allclose(found.gain(10, 2), KNOWN.gain(10, 2), atol=0.05)


def test_gain_is_what_actions_add_to_predictions() -> None:
    rng, horizon = np.random.default_rng(1), 6
    past, inputs, ahead = rng.normal(size=(2, 2)), rng.normal(size=(2, 3)), rng.normal(size=(horizon, 3))
    rest = ahead * [0, 0, 1]
    free, forced = (KNOWN.free(past, inputs, each, np.zeros(2)) for each in (rest, ahead))
    np.testing.assert_allclose(forced.ravel(), free.ravel() + KNOWN.gain(horizon, 2) @ ahead[:, :2].ravel(), atol=1e-12)


def problem(horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    free = KNOWN.free(rng.normal(size=(2, 2)), rng.normal(size=(2, 3)), np.zeros((horizon, 3)), np.zeros(2))
    return free, KNOWN.gain(horizon, 2), np.array([3.0, 1.0]), np.array([0.5, -0.5])


def test_without_limits_the_moves_are_the_linear_quadratic_optimum() -> None:
    given, (free, gain, wanted, previous) = aims(8), problem(8)
    found = Moves(given).best(free, gain, wanted, previous)
    change = np.eye(16) - np.eye(16, k=-2)
    calm, weight = np.sqrt(np.tile(given.calm, 8)), np.sqrt(np.tile(given.weight, 8))
    rows = np.concatenate((weight[:, None] * gain, calm[:, None] * change))
    first = np.concatenate((previous, np.zeros(14)))
    best = np.linalg.lstsq(rows, np.concatenate((weight * (wanted - free).ravel(), calm * first)), rcond=None)[0]
    np.testing.assert_allclose(found.ravel(), best, atol=1e-8)


def test_moves_keep_their_limits_and_give_way_to_soft_ones() -> None:
    free, gain, wanted, previous = problem(8)
    given = aims(8, low=np.array([-1.0, -1.0]), high=np.array([1.0, 0.7]), step=np.array([0.3, 0.2]))
    found = Moves(given).best(free, gain, wanted, previous)
    assert (found >= given.low).all()
    assert (found <= given.high).all()
    changes = np.abs(np.diff(np.concatenate((previous[None], found)), axis=0))
    assert (changes <= given.step + 1e-12).all()
    assert np.isclose(changes, given.step, atol=1e-5).any()
    capped = aims(8, ceiling=np.array([2.0, np.inf]))
    shown = [(free.ravel() + gain @ Moves(each).best(free, gain, wanted, previous).ravel()).reshape(8, 2) for each in (aims(8), capped)]
    assert shown[0][:, 0].max() > 2.5
    assert shown[1][:, 0].max() < 2.01


@dataclass
class Site:
    """What `LinearControl` asks of a plant."""

    schema: Schema
    operating_point: dict[str, float]


LEVELS = [Signal(name=f"level_{n}", role=Role.OBSERVATION, unit="cm") for n in (1, 2)]
PUMPS = [Signal(name=f"pump_{n}", role=Role.ACTION, unit="V") for n in (1, 2)]
SITE = Site(
    Schema(signals=(*LEVELS, *PUMPS, Signal(name="inflow", role=Role.DISTURBANCE, unit="L")), period=1.0), {"pump_1": 0.0, "pump_2": 0.0}
)


def leaking(control: LinearControl, *, watched: int, steps: int) -> np.ndarray:
    """The levels (steps, 2) under a model that is wrong and a leak that nobody measures, after some steps with the pumps at rest."""
    y, u, leak = [np.zeros(2)] * 2, [np.zeros(3)] * 2, np.array([-0.3, 0.2])
    for step in range(watched + steps):
        samples = {"level_1": np.array(y[-1][0]), "level_2": np.array(y[-1][1]), "inflow": np.array(0.5)}
        wanted = {"level_1": 2.0, "level_2": 1.0}
        if step < watched:
            action = np.zeros(2)
            control.watch(samples, wanted, action)
        else:
            action, _ = control.act(samples, wanted)
        u.append(np.append(action, 0.5))
        y.append(KNOWN.step(np.stack((y[-1], y[-2])), np.stack((u[-1], u[-2]))) + leak)
    return np.array(y[-steps:])


def test_linear_control_has_no_offset_under_a_disturbance_that_nobody_measures() -> None:
    wrong = replace(KNOWN, of_inputs=0.8 * KNOWN.of_inputs)
    control = LinearControl(wrong, aims(20, high=np.full(2, 10.0), low=np.full(2, -10.0)))
    control.begin(SITE)
    np.testing.assert_allclose(leaking(control, watched=0, steps=200)[-1], [2.0, 1.0], atol=1e-3)


def test_linear_control_that_has_watched_knows_the_disturbance() -> None:
    found = []
    for watched in (0, 100):
        control = LinearControl(KNOWN, aims(20, high=np.full(2, 10.0), low=np.full(2, -10.0)))
        control.begin(SITE)
        found.append(np.abs(leaking(control, watched=watched, steps=30)[10:] - [2.0, 1.0]).mean())
    assert found[1] < 0.5 * found[0]


def test_nonlinear_control_on_the_true_equations_is_better_than_pi_control() -> None:
    plant = SimulatedPlant(FOUR_TANK, unrest=0.0)
    moves = {0: {"level_1": 12.4, "level_2": 12.7}, 5: {"level_1": 14.0, "level_2": 12.0}}
    scenario, task = Scenario(name="step", seed=3, steps=80, setpoints=moves), plant_task(plant)
    traces = [drive(plant, policy, scenario) for policy in (NonlinearControl(aims_of(task, plant)), PidControl(gains_of(FOUR_TANK)))]
    best, usual = (score(trace, plant, task) for trace in traces)
    assert best.tracking < 0.8 * usual.tracking
    assert best.broken == 0
    assert max(abs(offset) for offset in best.offset.values()) < 0.05


def followed(
    plant: SimulatedPlant, disturbances: dict[str, float], setpoints: dict[str, float], steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of estimated states, (T, n), under PI control, and of estimated disturbances at the end, (k,)."""
    still = {d.name: d.nominal for d in plant.process.disturbances}
    plant.disturb(still)
    samples, control, estimator = plant.reset(4), PidControl(gains_of(plant.process)), Estimator(plant.process)
    control.begin(plant)
    estimator.begin(samples)
    errors = []
    for step in range(steps):
        if step == 20:
            plant.disturb(disturbances)
        action, _ = control.act(samples, setpoints)
        samples = plant.apply(action)
        stems = [float(samples.get(position(a), u)) for a, u in zip(plant.process.actuators, action, strict=True)]
        estimator.advance(np.array(stems), samples)
        errors.append(estimator.states - plant.state)
    return np.array(errors), estimator.disturbances - plant.disturbances


def test_a_filter_of_the_true_equations_finds_what_no_sensor_shows() -> None:
    plant = SimulatedPlant(FOUR_TANK)
    errors, disturbances = followed(plant, {"split_2": 0.55}, {"level_1": 12.4, "level_2": 12.7}, 360)
    assert np.abs(errors[-60:, :2]).mean() < 0.03, "levels with a sensor, below its noise of 0.04 cm"
    assert np.abs(errors[-60:, 3]).mean() < 0.15, "level 4, which none has"
    assert abs(disturbances[3]) < 0.025, "the valve, which has moved by 0.05"


def test_samples_that_come_late_belong_to_their_moment() -> None:
    plant = SimulatedPlant(REACTOR)
    errors, _ = followed(plant, {}, {"temperature": 353.0}, 240)
    sensor = plant.process.sensors[0]
    assert sensor.dead_steps == 12, "or there is nothing to see here"
    assert np.sqrt(np.square(errors[20:60, 0]).mean()) < sensor.noise, "while it moves"


def test_who_knows_the_equations_alone_does_not_look_at_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = SimulatedPlant(FOUR_TANK)
    task, setpoints = plant_task(plant), {"level_1": 13.4, "level_2": 12.7}
    told, blind = NonlinearControl(aims_of(task, plant)), NonlinearControl(aims_of(task, plant), is_told=False)
    samples = plant.reset(0)
    for policy in (told, blind):
        policy.begin(plant)
    np.testing.assert_allclose(blind.act(samples, setpoints)[0], told.act(samples, setpoints)[0], atol=0.2)
    samples = plant.apply(blind.act(samples, setpoints)[0])
    for truth in ("state", "disturbances"):
        monkeypatch.setattr(SimulatedPlant, truth, property(lambda _: pytest.fail("it looked at the truth")))
    action, _ = blind.act({**samples, "level_4": np.float32(np.nan)}, setpoints)
    assert np.isfinite(action).all()
    assert blind.name != told.name


def test_aims_need_scales() -> None:
    plant = SimulatedPlant(FOUR_TANK)
    task = plant_task(plant)
    assert task.goal is not None
    bare = replace(task, goal=replace(task.goal, signals={n: replace(g, scale=None) for n, g in task.goal.signals.items()}))
    with pytest.raises(ValueError, match="scale"):
        aims_of(bare, plant)
    with pytest.raises(ValueError, match="equations"):
        NonlinearControl(aims_of(task, plant)).begin(SimpleNamespace(name="tep"))
