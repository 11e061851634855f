"""Forecasts of a plant: shapes, units, intervals that hold, and questions that are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tacit
from tacit.data import EpisodeStore
from tacit.evaluation.forecast_skill import OfRun
from tacit.evaluation.forecasters import process_log
from tacit.run import Run
from tacit.training import recipes
from tacit.training.correction import LOOKED_BACK
from tacit.training.fit import fit
from tacit.training.following import FollowedWidths, followed
from tacit.training.forecasts import foreseen, imagined, known
from tacit.training.latents import encode_log
from tank_world import SCHEMA, record, shift

H, K = 12, 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    base = tmp_path_factory.mktemp("plant")
    store = record(base / "store", episodes=10)
    recipe = recipes.for_steps("xs", 20, 60, schema=store.schema)
    fit(store, base / "run", replace(recipe, dynamics=replace(recipe.dynamics, steps=150, batch=32)), seed=0)
    return tacit.load(base / "run")


def asked(steps: int = 40, seed: int = 5) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]:
    """What was seen of a shift, what was done, what may be done, and what the level then was."""
    signals = shift(np.random.default_rng(seed), steps + H).signals
    seen = {s.name: signals[s.name][: steps + 1] for s in SCHEMA.seen}
    pump = signals["pump"][:, None]
    ahead = np.stack([pump[steps:], np.zeros((H, 1), np.float32), np.full((H, 1), 6.0, np.float32)])
    return seen, pump[:steps], ahead, signals["level"][steps + 1 :]


def test_training_a_plant_holds_out_its_last_episodes_and_fits_every_sensor(run: Run) -> None:
    assert list(run.readouts) == ["level", "lab.value"]
    assert (run.config.train_episodes, run.config.held_out_episodes) == (8, 2)
    assert run.config.recipe.by_time
    assert all(len(fitted.half_widths) == 50 for fitted in run.readouts.values())


def test_a_forecast_says_what_actions_do_in_units_with_intervals(run: Run) -> None:
    seen, applied, ahead, truth = asked()
    found = run.forecast(seen, applied, ahead)
    assert (found.names, found.units, found.confidence) == (("level", "lab.value"), ("cm", "%"), 0.9)
    assert found.median.shape == found.low.shape == found.high.shape == (K, H, 2)
    assert (found.low < found.median).all()
    level, low, high = found.of("level")
    assert np.abs(level[0] - truth).mean() < 0.5 * np.abs(seen["level"][-1] - truth).mean()
    assert ((truth >= low[0]) & (truth <= high[0])).mean() > 0.7
    assert level[2, -1] > level[0, -1] > level[1, -1], "the more is pumped, the higher it stands"
    assert np.abs(level[2, :2] - level[1, :2]).max() < 0.2 * (level[2, -1] - level[1, -1]), "it takes two steps to arrive"
    widths = (high - low)[0]
    assert widths[-1] > widths[0]
    with pytest.raises(ValueError, match=r"no forecast of 'pressure'; there are: level, lab\.value"):
        found.of("pressure")


def test_intervals_hold_nine_in_ten_of_fresh_measurements(run: Run) -> None:
    inside = []
    for seed in range(100, 130):
        seen, applied, ahead, truth = asked(seed=seed)
        _, low, high = run.forecast(seen, applied, ahead[:1]).of("level")
        inside.append((truth >= low[0]) & (truth <= high[0]))
    assert 0.8 < np.mean(inside) < 0.98


def test_only_the_latest_moments_count_and_masks_may_be_left_out(run: Run) -> None:
    seen, applied, ahead, _ = asked(steps=300)
    whole = run.forecast(seen, applied, ahead)
    last = LOOKED_BACK + run.model.history
    short = run.forecast({name: value[-last:] for name, value in seen.items()}, applied[1 - last :], ahead)
    np.testing.assert_allclose(short.median, whole.median, rtol=1e-3, atol=1e-2)
    seen, applied, ahead, _ = asked()
    whole = run.forecast(seen, applied, ahead)
    told = {name: value for name, value in seen.items() if name != "lab.value.valid"}
    told["lab.value"] = np.where(seen["lab.value.valid"], seen["lab.value"], np.nan)
    np.testing.assert_allclose(run.forecast(told, applied, ahead).median, whole.median, rtol=1e-5, atol=1e-4)
    first = run.forecast({name: value[:1] for name, value in seen.items()}, applied[:0], ahead)
    assert np.isfinite(first.median).all()


def test_questions_that_do_not_fit_are_refused(run: Run) -> None:
    seen, applied, ahead, _ = asked()
    for change, words in (
        ({"level": seen["level"][:-1]}, "different numbers of moments"),
        ({"level": seen["level"][:, None]}, "'level' has shape"),
        ({"level": np.where(np.arange(41) == 3, np.nan, seen["level"])}, "not finite, and no mask"),
    ):
        with pytest.raises(ValueError, match=words):
            run.forecast(seen | change, applied, ahead)
    with pytest.raises(ValueError, match="'inflow' is missing"):
        run.forecast({name: value for name, value in seen.items() if name != "inflow"}, applied, ahead)
    with pytest.raises(ValueError, match=r"between 41 moments have shape \(39, 1\)"):
        run.forecast(seen, applied[:-1], ahead)
    with pytest.raises(ValueError, match="1 to 50 steps"):
        run.forecast(seen, applied, np.zeros((1, 51, 1)))
    with pytest.raises(ValueError, match="an action is not finite"):
        run.forecast(seen, applied, ahead * np.nan)
    with pytest.raises(ValueError, match="no readout to forecast with"):
        replace(run, readouts={}).forecast(seen, applied, ahead)


def test_a_forecast_never_leaves_what_a_sensor_can_show(run: Run) -> None:
    seen, applied, ahead, _ = asked()
    plain = run.forecast(seen, applied, ahead)
    top = float(plain.of("level")[0].mean())
    signals = tuple(replace(s, high=top) if s.name == "level" else s for s in SCHEMA.signals)
    assert run.correction is not None
    lately = known(run.model, run.readouts, seen, applied, run.correction)
    latents = imagined(run.model, seen, applied, ahead)[:, 1:]
    found = foreseen(replace(SCHEMA, signals=signals), tuple(run.readouts.values()), latents, run.correction, lately)
    np.testing.assert_allclose(found[..., 0], plain.of("level")[0].clip(max=top), rtol=1e-6)
    np.testing.assert_array_equal(found[..., 1], plain.of("lab.value")[0])


def test_intervals_that_say_nothing_end_what_is_foreseen(run: Run) -> None:
    fitted = run.readouts["level"]
    assert fitted.reaches == {}
    std = fitted.spreads["level"]
    assert replace(fitted, half_widths=((std,), (2 * std,), (4 * std,), (2 * std,))).reaches == {"level": 2}
    assert replace(fitted, half_widths=((4 * std,),)).reaches == {"level": 1}, "the next step always counts"


def test_live_intervals_are_those_that_are_validated(run: Run) -> None:
    store, episode = EpisodeStore(Path(run.config.store)), 9
    log = process_log(store, [episode], SCHEMA)
    measured = torch.where(log.there, log.seen[:, : log.sensors], torch.nan)
    forecaster = OfRun(run, encode_log(store, [episode], run.model, device=torch.device("cpu")), measured)
    horizon, frames = 50, len(measured)
    assert run.correction is not None
    t = torch.arange(frames - horizon)
    predicted = forecaster.forecast(log, torch.zeros_like(t), t, horizon)
    errors = measured[log.rows(torch.zeros_like(t), t, torch.arange(1, horizon + 1))] - predicted
    wanted = list(followed(FollowedWidths(run.correction.half_widths), errors.numpy()))

    signals = store[episode].signals
    live = run.live_forecasts()
    with pytest.raises(ValueError, match="'level' is missing"):
        live.saw({}, np.empty((0, 1)))
    for now in range(25):
        seen = {s.name: signals[s.name][: now + 1] for s in SCHEMA.seen}
        applied = signals["pump"][:now, None]
        live.saw(seen, applied)
        np.testing.assert_allclose(live.half_widths, wanted[now], rtol=1e-3, err_msg=f"at {now}")
    assert not np.allclose(live.half_widths, run.correction.half_widths.numpy())
    ahead = signals["pump"][None, 24 : 24 + 12, None]
    usual, live_found = run.forecast(seen, applied, ahead), live.forecast(seen, applied, ahead)
    np.testing.assert_array_equal(live_found.median, usual.median)
    np.testing.assert_allclose((live_found.high - live_found.low)[0, :, 0], 2 * live.half_widths[:12, 0], rtol=1e-4)
    with pytest.raises(ValueError, match="no run of the sensors of a process"):
        replace(run, correction=None).live_forecasts()
