"""Forecasts judged from logs alone: the other forecasters, skill with its interval, coverage, and the page."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tacit.cli import main
from tacit.data import EpisodeStore
from tacit.evaluation import forecasters
from tacit.evaluation.forecast_page import render_validation, worse
from tacit.evaluation.forecast_skill import lstm_width, validate
from tacit.evaluation.forecasters import Arx, Lstm, Persistence, ProcessLog, best_arx, process_log, squared_errors
from tacit.evaluation.validation import ARX, LSTM, NO_CHANGE, RUN, Validation
from tacit.run import Run
from tank_world import SCHEMA, record, trained


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    return record(tmp_path_factory.mktemp("tank") / "store", episodes=10)


@pytest.fixture(scope="module")
def run(store: EpisodeStore) -> Run:
    return trained(store)


@pytest.fixture(scope="module")
def found(run: Run, store: EpisodeStore) -> Validation:
    return validate(run, store, store, lstm_steps=20)


def oscillator(episodes: int, seed: int) -> ProcessLog:
    """A linear plant of second order, without noise."""
    rng = np.random.default_rng(seed)
    seen, actions = [], []
    for _ in range(episodes):
        u = rng.normal(size=40)
        y = np.zeros(41)
        y[:2] = rng.normal(size=2)
        for t in range(1, 40):
            y[t + 1] = 1.5 * y[t] - 0.8 * y[t - 1] + 0.5 * u[t] + 3
        seen.append(y)
        actions.append(np.append(u, 0.0))
    first = torch.arange(episodes) * 41
    return ProcessLog(
        seen=torch.tensor(np.concatenate(seen), dtype=torch.float32)[:, None],
        there=torch.ones(episodes * 41, 1, dtype=torch.bool),
        actions=torch.tensor(np.concatenate(actions), dtype=torch.float32)[:, None],
        first=first,
        steps=torch.full((episodes,), 40),
        names=("y",),
        units=("1",),
    )


def test_the_linear_model_finds_a_linear_plant_and_its_order() -> None:
    log, fresh = oscillator(10, 0), oscillator(3, 1)
    model = best_arx(log, 20)
    assert model.order >= 2
    episode, t = fresh.moments(20, past=5)
    error = squared_errors(fresh, model.forecast(fresh, episode, t, 20), episode, t)
    assert error.mean().sqrt() < 0.05 * fresh.seen.std()
    short = squared_errors(fresh, Arx(log, 1).forecast(fresh, episode, t, 20), episode, t)
    assert short.mean() > 20 * error.mean(), "the first order is too short"


def test_the_linear_model_of_a_single_episode_is_judged_by_the_same_one() -> None:
    assert best_arx(oscillator(1, 0), 10).order >= 2


def test_no_change_and_what_was_not_measured(store: EpisodeStore) -> None:
    log = process_log(store, [0, 3], SCHEMA)
    assert (log.names, log.units, log.sensors) == (("level", "lab.value"), ("cm", "%"), 2)
    assert log.seen.shape == (182, 3), "sensors, then the disturbance; no label"
    episode, t = log.moments(4)
    still = Persistence().forecast(log, episode, t, 4)
    assert torch.equal(still[:, 0], log.seen[log.first[episode] + t][:, :2])
    error = squared_errors(log, still, episode, t)
    assert error[..., 0].isfinite().all()
    assert error[..., 1].isfinite().double().mean() == pytest.approx(1 / 3, abs=0.02)


def test_the_recurrent_network_learns() -> None:
    log, fresh = oscillator(10, 0), oscillator(3, 1)
    network = Lstm(log, width=16, steps=150, horizon=5, seed=0)
    episode, t = fresh.moments(5)
    error, still = (squared_errors(fresh, f.forecast(fresh, episode, t, 5), episode, t).mean() for f in (network, Persistence()))
    assert error < 0.8 * still
    assert 0 < network.best <= network.steps
    weights = sum(p.numel() for p in network.network.parameters())
    assert network.size == weights
    assert lstm_width(weights, 2, 1) in (16, 17)


def test_the_recurrent_network_stops_when_it_only_learns_by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasters, "LOOK_EVERY", 10)
    monkeypatch.setattr(forecasters, "PATIENCE", 2)
    log = oscillator(5, 0)
    noise = replace(log, seen=torch.randn(log.seen.shape, generator=torch.Generator().manual_seed(0)))
    network = Lstm(noise, width=64, steps=1000, horizon=5, seed=0)
    assert network.steps < 1000
    assert network.best == network.steps - 20


def test_a_run_is_judged_on_its_last_episodes_beside_the_others(found: Validation) -> None:
    assert [m.name for m in found.methods] == [RUN, NO_CHANGE, ARX, LSTM]
    assert (found.ahead, found.names, found.own, found.episodes) == ((1, 2, 5, 10, 20, 50), ("level", "lab.value"), True, 2)
    own, still, *_ = found.methods
    assert (own.mean.value[:4, 0] > 0.5).all(), "1 to 10 steps ahead"
    assert (own.mean.low <= own.mean.value).all()
    assert (own.mean.value <= own.mean.high).all()
    np.testing.assert_array_equal(still.skill.value, 0.0)
    assert own.lead is None
    assert still.lead is not None
    np.testing.assert_allclose(still.lead.value, own.skill.value, atol=1e-9)
    assert 0.7 < found.mean_coverage.value.mean() <= 1.0


def test_another_store_is_judged_with_the_intervals_of_the_run(run: Run, store: EpisodeStore, tmp_path: Path) -> None:
    fresh = record(tmp_path / "fresh", episodes=4, seed=9)
    found = validate(run, fresh, store, lstm_steps=5)
    assert (found.own, found.episodes) == (False, 4)
    assert 0.75 < found.mean_coverage.value.mean() < 0.99
    assert run.correction is not None
    wide = replace(run, correction=replace(run.correction, half_widths=torch.full((50, 2), 1e6)))
    np.testing.assert_array_equal(validate(wide, fresh, store, lstm_steps=5).mean_coverage.value, 1.0)
    with pytest.raises(ValueError, match="no readouts to forecast with"):
        validate(replace(run, readouts={}), fresh, store)


def test_no_step_ahead_is_judged_that_the_others_could_not_be_fitted_for(run: Run, store: EpisodeStore, tmp_path: Path) -> None:
    short = record(tmp_path / "short", episodes=10, steps=30)
    assert validate(run, store, short, lstm_steps=5).ahead == (1, 2, 5, 10, 20)


def test_the_page_is_self_contained_and_says_where_another_one_is_better(found: Validation, tmp_path: Path) -> None:
    render_validation(tmp_path / "a.html", found, title="Tank <1>", date=datetime.date(2026, 1, 2))
    page = (tmp_path / "a.html").read_text()
    assert "Tank &lt;1&gt;" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").split("</style>")[1].replace("http://www.w3.org", "")
    for words in ("level", "lab.value", "persistence", "ARX", "LSTM", "2 January 2026"):
        assert words in page
    own, still, *rest = found.methods
    assert still.lead is not None
    beaten = replace(still, lead=replace(still.lead, high=np.full_like(still.lead.high, -0.1)))
    assert worse(replace(found, methods=(own, beaten, *rest)))[0] == "level, 1, 2, 5, 10, 20, 50 steps ahead: persistence is better"


def test_the_verb_writes_numbers_and_a_page(run: Run, store: EpisodeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["validate", str(run.path), str(store.path), "--steps", "5", "--threads", "1"]
    assert main([*words, "--json", str(tmp_path / "v.json"), "--html", str(tmp_path / "v.html")]) == 0
    said = capsys.readouterr().out
    assert "skill, mean of all sensors" in said
    assert "90% intervals hold" in said
    numbers = json.loads((tmp_path / "v.json").read_text())
    assert numbers["steps_ahead"] == [1, 2, 5, 10, 20, 50]
    assert set(numbers["methods"]) == {"tacit", "persistence", "ARX", "LSTM"}
    assert len(numbers["methods"]["tacit"]["rmse"]) == 6
    assert (tmp_path / "v.html").read_text().startswith("<!doctype html>")
    assert main([*words, "--json", str(tmp_path / "nowhere" / "v.json")]) == 1
