"""The predictor of a plant: least squares with a network beside it, better than no change, and not thrown off by an offset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.models.jepa import JEPA
from tacit.run import load
from tacit.signals import Role, Schema, Signal
from tacit.training import recipes, sensors
from tacit.training.fit import fit
from tacit.training.latents import LatentLog, encode_log, moments
from tacit.training.linear_map import PICTURED, differences, ridge
from tacit.training.recipes import sensors_of
from tacit.training.sensors import sensor_log, usual_frames
from tacit.training.settings import HeadTraining
from tacit.worlds.plants.stiction import Stems
from tank_world import SCHEMA, record, shift

CPU = torch.device("cpu")


def plant_model(store: EpisodeStore) -> JEPA:
    """The model that the recipe gives a plant, untrained, with statistics of the logs."""
    torch.manual_seed(0)
    model = JEPA(store.schema, recipes.for_steps("xs", 1, schema=store.schema).jepa)
    seen = {s.name: torch.from_numpy(np.concatenate([e.signals[s.name] for e in store])) for s in model.schema.seen}
    (action,) = model.schema.actions
    model.standardize(seen, torch.from_numpy(np.concatenate([e.signals[action.name] for e in store]))[:, None])
    return model


def test_the_recipe_follows_from_the_schema() -> None:
    plant = recipes.for_minutes("s", 3.0, schema=SCHEMA)
    assert plant.by_time
    assert plant.readout is not None
    assert (plant.jepa.state, plant.jepa.context, plant.jepa.sees_action) == (4, 0, True), "two sensors, an inflow, a pump"
    assert not plant.train.bfloat16
    parts = (plant.train, plant.dynamics, plant.distance, plant.policy)
    assert sum(part.minutes or 0 for part in parts) == pytest.approx(3.0)
    camera = replace(SCHEMA.signals[0], name="camera", shape=(8, 8, 3), dtype="uint8")
    seen = Schema(signals=(camera, *SCHEMA.signals), period=0.1)
    fused = recipes.for_minutes("s", 3.0, schema=seen)
    assert replace(fused, readout=None) == recipes.for_minutes("s", 3.0), "a camera: the model of images, with readouts of the sensors"
    assert fused.readout is not None
    alone = Schema(signals=(camera, SCHEMA.signals[3]), period=0.1)
    assert recipes.for_minutes("s", 3.0, schema=alone) == recipes.for_minutes("s", 3.0)


def test_a_slow_machine_with_a_camera_keeps_every_number_in_a_dimension_of_its_own() -> None:
    camera = replace(SCHEMA.signals[0], name="camera", shape=(64, 64, 3), dtype="uint8")
    watched = recipes.for_minutes("s", 3.0, schema=replace(SCHEMA, signals=(camera, *SCHEMA.signals)))
    usual, plant = recipes.for_minutes("s", 3.0), recipes.for_minutes("s", 3.0, schema=SCHEMA)
    assert watched.by_time
    assert watched.readout is not None
    assert watched.readout.depth == 0, "least squares: the latent holds what sensors show, number by number"
    assert (watched.jepa.context, watched.jepa.sees_action, watched.jepa.encoder.linear) == (0, True, True)
    assert watched.jepa.state == usual.jepa.state + 17 + 4, "peaks of the picture and of 16 regions; two sensors, an inflow, a pump"
    assert watched.jepa.encoder.exact
    assert watched.jepa.predictor == replace(plant.jepa.predictor, leading=2 * watched.jepa.state), "linear first, with a memory"
    assert (watched.dynamics.batch, watched.dynamics.weight_decay) == (plant.dynamics.batch, plant.dynamics.weight_decay)
    assert watched.train == usual.train
    alone = recipes.for_minutes("s", 3.0, schema=Schema(signals=(camera, SCHEMA.signals[3]), period=5.0))
    assert alone.jepa.state == usual.jepa.state + 17 + 1
    assert alone.readout is None
    assert alone.jepa.predictor == usual.jepa.predictor, "no sensor, and nothing that is linear"
    assert not alone.jepa.encoder.exact


CAMERA = Signal(name="camera", role=Role.OBSERVATION, shape=(16, 16, 3), dtype="uint8")


def record_seen(folder: Path, *, episodes: int = 8, seed: int = 0) -> EpisodeStore:
    """The tank seen by a camera that shows little: noise, and a bright corner that follows the inflow."""
    rng = np.random.default_rng(seed)
    with EpisodeWriter.create(folder, replace(SCHEMA, signals=(CAMERA, *SCHEMA.signals)), source={"world": "tank"}) as writer:
        for _ in range(episodes):
            episode = shift(rng, 90)
            picture = rng.integers(60, 120, (91, *CAMERA.shape))
            picture[:, :4, :4] += np.clip(40 * episode.signals["inflow"] + 60, 0, 120).astype(np.int64)[:, None, None, None]
            writer.add(replace(episode, signals={"camera": picture.astype(np.uint8), **episode.signals}))
    return EpisodeStore(folder)


def test_beside_a_camera_sensors_are_read_exactly_and_forecast_better_than_no_change(tmp_path: Path) -> None:
    """A camera must not blur what sensors show: the encoder is trained here, and so are all that follows."""
    store, later = record_seen(tmp_path / "store", episodes=6), record_seen(tmp_path / "later", episodes=4, seed=1)
    recipe = recipes.for_steps("xs", 20, 20, schema=store.schema)
    shorter = replace(recipe.jepa, predictor=replace(recipe.jepa.predictor, history=4))
    fit(store, tmp_path / "run", replace(recipe, jepa=shorter, dynamics=replace(recipe.dynamics, steps=50, batch=16)), seed=0)
    run = load(tmp_path / "run")
    readouts = [fitted.readout for fitted in run.readouts.values()]
    unseen, shown = encode_log(later, range(4), run.model, device=CPU), sensor_log(later, range(4), store.schema)
    reading = torch.cat([r(unseen.latents) for r in readouts], -1)
    torch.testing.assert_close(reading, shown.values, rtol=1e-3, atol=1e-2)
    errors, still = skill_parts(run.model, readouts, unseen, shown.values)
    assert (errors[1:10, 0] < 0.7 * still[1:10, 0]).all(), "the level, 2 to 10 steps ahead"
    assert run.correction is not None
    assert run.live_forecasts().half_widths.shape == (50, 2)


def test_noise_of_pictures_does_not_hide_small_differences_of_sensors(tmp_path: Path) -> None:
    """To the penalty of least squares what pictures show is small at every moment; sensors and actions are as they are."""
    store = record_seen(tmp_path / "store", episodes=2)
    model = JEPA(store.schema, recipes.for_steps("xs", 1, schema=store.schema).jepa)
    pictured = model.encoder.pictured
    assert pictured.tolist() == [True] * 17 + [False] * 4 + [True] * 12, "peaks; two sensors, the inflow, the pump; the network's own"
    seen = differences(model, encode_log(store, range(2), model, device=CPU), 1.0)
    newest = seen[:, :-1].view(len(seen), model.history, -1)[:, -1].abs()
    changes, levels = newest[(model.history - 2) * len(pictured) :][: len(pictured)], newest[-len(pictured) :]
    for part in (changes, levels):
        torch.testing.assert_close(part.diagonal(), torch.where(pictured, PICTURED, 1.0).double())


def test_sensors_are_observations_that_are_numbers(tmp_path: Path) -> None:
    store = record(tmp_path / "store", episodes=2, steps=20)
    assert [s.name for s in sensors_of(SCHEMA)] == ["level", "lab.value"]
    log = sensor_log(store, [1, 0], SCHEMA)
    assert log.values.shape == log.there.shape == (42, 2)
    level, slow = log.by_sensor()
    assert torch.equal(level[:21, 0], torch.tensor(store[1].signals["level"]))
    assert slow[:21, 0].isfinite().tolist() == store[1].signals["lab.value.valid"].tolist()


def test_ridge_finds_a_linear_map_and_prefers_a_larger_penalty() -> None:
    rng = torch.Generator().manual_seed(0)
    inputs, truth = torch.randn(400, 5, generator=rng), torch.randn(2, 5, generator=rng)
    torch.testing.assert_close(ridge(inputs, inputs @ truth.T), truth, rtol=1e-3, atol=1e-3)
    noise = torch.randn(400, 2, generator=rng)
    assert ridge(inputs, noise).norm() < torch.linalg.lstsq(inputs, noise).solution.norm(), "of noise nothing is learned"


def test_forecasts_beat_no_change_on_later_logs_whatever_offset_there_is(tmp_path: Path) -> None:
    store, later = record(tmp_path / "store", episodes=8), record(tmp_path / "later", episodes=4, seed=1, offset=0.03)
    model = plant_model(store)
    log = encode_log(store, range(8), model, device=CPU)
    encoder = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    recipe = recipes.for_steps("xs", 1, schema=store.schema)
    assert recipe.readout is not None
    told: list[float] = []
    fitted = sensors.fit_sensors(
        model,
        log,
        sensor_log(store, range(8), store.schema),
        recipe.readout,
        HeadTraining(steps=200, batch=32, learning_rate=2e-3),
        seed=0,
        progress=lambda done, loss: told.append(done),
    )
    readouts = fitted.readouts
    assert [r.names for r in readouts] == [("level",), ("lab.value",)]
    assert told == sorted(told)
    assert fitted.errors is not None
    assert all(wrong.shape == (8 * 41, 50, 1) for wrong in fitted.errors), "every moment with 50 steps to come was left out once"
    assert all(torch.equal(value, encoder[name]) for name, value in model.encoder.state_dict().items())
    assert not any(
        isinstance(module, torch.nn.Linear) and module.out_features > model.config.predictor.width for module in model.predictor.network
    )

    unseen, shown = encode_log(later, range(4), model, device=CPU), sensor_log(later, range(4), store.schema)
    with torch.no_grad():
        errors, still = skill_parts(model, readouts, unseen, shown.values)
    assert (errors[:10] < 0.5 * still[:10]).all(), "level and laboratory value, 1 to 10 steps ahead"
    reading = torch.cat([r(unseen.latents) for r in readouts], -1)
    torch.testing.assert_close(reading, shown.values, rtol=1e-3, atol=1e-2)


def skill_parts(
    model: JEPA, readouts: tuple[torch.nn.Module, ...], log: LatentLog, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean squared errors of rollouts of 20 steps, and of no change, (H, N) each."""
    episode, t = moments(log, 20, torch.arange(len(log)))
    row = log.first[episode] + t
    rows = row[:, None] + torch.arange(1, 21)
    latents = model.rollout(log.history(episode, t, model.history), log.actions[rows - 1][:, None])[:, 0]
    found = torch.cat([r(latents) for r in readouts], -1)
    truth = values[rows]
    return (found - truth).square().mean(0), (values[row, None] - truth).square().mean(0)


HOT = Schema(
    signals=(
        Signal(name="temperature", role=Role.OBSERVATION, unit="K"),
        Signal(name="coolant", role=Role.ACTION, unit="K", low=-20.0, high=20.0),
    ),
    period=5.0,
)
GROWTH, GAIN = 1.05, 0.2  # per step: what becomes of a temperature that nobody holds, and what 1 K of coolant does


def record_hot(folder: Path, *, episodes: int = 6, steps: int = 240) -> EpisodeStore:
    """An unstable reactor under feedback, around 0 K. Its actuator sticks, half of the episodes have test signals, and in one it once runs
    away for a few steps, and is then cold by itself."""
    rng = np.random.default_rng(0)
    with EpisodeWriter.create(folder, HOT, source={"world": "hot"}) as writer:
        for number in range(episodes):
            stems = Stems(np.zeros(1), np.full(1, 0.1), np.full(1, 0.05))
            temperature, wanted, test = 0.0, 0.0, 0.0
            shown, coolant = [0.0], []
            for t in range(steps):
                wanted = rng.uniform(-5, 5) if rng.random() < 0.01 else wanted
                test = rng.choice((-1.5, 1.5)) if number % 2 and rng.random() < 0.05 else test
                coolant.append(float(np.clip(3.0 * (wanted - shown[-1]) + test, -20, 20)))
                reaction = {100: 25.0, 101: 25.0, 102: 10.0, 108: -40.0}.get(t, 0.0) if number == 4 else 0.0
                temperature = GROWTH * temperature + GAIN * float(stems.move(np.array(coolant[-1:]))[0]) + reaction + 0.05 * rng.normal()
                shown.append(temperature + 0.08 * rng.normal())
            signals = {"temperature": np.array(shown, np.float32), "coolant": np.array(coolant, np.float32)}
            writer.add(Episode(signals=signals, time=HOT.period * np.arange(steps + 1.0)))
    return EpisodeStore(folder)


def test_what_an_action_does_is_found_under_feedback_although_the_plant_once_ran_away(tmp_path: Path) -> None:
    store = record_hot(tmp_path / "store")
    model = plant_model(store)
    log, shown = encode_log(store, range(6), model, device=CPU), sensor_log(store, range(6), HOT)
    assert 5 <= int((~usual_frames(shown.values)).sum()) <= 30, "the runaway"
    recipe = recipes.for_steps("xs", 1, schema=HOT)
    assert recipe.readout is not None
    fitted = sensors.fit_sensors(model, log, shown, recipe.readout, HeadTraining(steps=100, batch=32, learning_rate=2e-3), seed=0)
    episode = torch.zeros(20, dtype=torch.int64)
    t = torch.arange(40, 240, 10)
    actions = log.actions[(log.first[episode] + t)[:, None] + torch.arange(5)][:, None]
    with torch.no_grad():
        found = fitted.readouts[0](model.rollout(log.history(episode, t, model.history), torch.cat((actions, actions + 1.0), 1)))[..., 0]
    truth = GAIN * torch.tensor([sum(GROWTH**n for n in range(k + 1)) for k in range(5)])
    torch.testing.assert_close((found[:, 1] - found[:, 0]).mean(0), truth, rtol=0.15, atol=0)


def test_at_most_a_few_frames_are_unusual() -> None:
    rng = torch.Generator().manual_seed(0)
    calm = torch.randn(1000, 2, generator=rng)
    assert usual_frames(calm).float().mean() > 0.99
    assert usual_frames(torch.zeros(1000, 1)).all()
    tripped = calm.clone()
    tripped[500:510, 1] = 60.0
    assert (~usual_frames(tripped)).nonzero()[:, 0].tolist() == list(range(500, 510))
    batches = torch.zeros(1000, 1)
    batches[::20] = 1.0
    assert usual_frames(batches).all(), "what comes back every twenty frames is how the plant is run"


PAIR = Schema(
    signals=(
        Signal(name="level", role=Role.OBSERVATION, unit="cm"),
        Signal(name="warmth", role=Role.OBSERVATION, unit="K"),
        Signal(name="valve", role=Role.ACTION, unit="%", low=-20.0, high=20.0),
    ),
    period=5.0,
)


COOLS = 0.97  # what is left of the warmth a step later


def record_pair(folder: Path, *, episodes: int = 10, steps: int = 150) -> EpisodeStore:
    """A tank that only ever sums up what comes in, and is held by a controller against a feed of each episode that nobody measures, beside
    something that cools down by itself and whose sensor is noisy."""
    rng = np.random.default_rng(0)
    with EpisodeWriter.create(folder, PAIR, source={"world": "pair"}) as writer:
        for _ in range(episodes):
            wanted, feed, test = rng.normal(0, 10.0), rng.normal(0, 0.4), 0.0
            level, warmth = wanted, 0.0
            levels, warm, valve = [level], [warmth], []
            for _ in range(steps):
                test = rng.uniform(-3, 3) if rng.random() < 0.2 else test
                valve.append(float(np.clip((wanted - levels[-1]) + test, -20, 20)))
                level, warmth = level + 0.1 * valve[-1] + feed, COOLS * warmth + 0.05 * valve[-1]
                levels.append(level + 0.05 * rng.normal())
                warm.append(warmth + 0.3 * rng.normal())
            signals = {"level": levels, "warmth": warm, "valve": valve}
            found = {name: np.array(values, np.float32) for name, values in signals.items()}
            writer.add(Episode(signals=found, time=PAIR.period * np.arange(steps + 1.0)))
    return EpisodeStore(folder)


def test_each_sensor_has_its_own_weight_of_levels(tmp_path: Path) -> None:
    store = record_pair(tmp_path / "store")
    model = plant_model(store)
    log, shown = encode_log(store, range(10), model, device=CPU), sensor_log(store, range(10), PAIR)
    recipe = recipes.for_steps("xs", 1, schema=PAIR)
    assert recipe.readout is not None
    readouts = sensors.read_sensors(PAIR, log, shown, recipe.readout, seed=0)
    target = torch.cat([readout.values(values) for readout, values in zip(readouts, shown.by_sensor(), strict=True)], -1)
    found = sensors.best_levels(model, log, readouts, target, usual_frames(shown.values), 5)
    shown_by = (log.latents - log.latents.mean(0)).double() @ found.outputs[:2].T
    torch.testing.assert_close(shown_by, (target - target.mean(0)).double(), rtol=1e-3, atol=1e-3)
    assert found.outputs.shape == (3, 3)
    assert torch.linalg.matrix_rank(found.outputs) == 3, "nothing of a state is lost"
    assert found.weights[0] < found.weights[1], "where an integrator is says nothing, and how far off something warm is says all"
    fitted = sensors.fit_sensors(model, log, shown, recipe.readout, HeadTraining(steps=50, batch=32, learning_rate=1e-3), seed=0)
    still = {"level": torch.full((1, 16), 20.0), "warmth": torch.full((1, 16), 3.0)}
    with torch.no_grad():
        ahead = model.rollout(model.encode(still, torch.zeros(1, 16, 1)), torch.zeros(1, 1, 40, 1))[0, 0]
    assert float(fitted.readouts[1](ahead[-1])) == pytest.approx(3.0 * COOLS**40, abs=0.3)
