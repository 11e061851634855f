"""Probes against closed forms: what is linear is read exactly, what is curved needs the network, noise cannot be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.evaluation.probes import Latents, MLPProbeConfig, linear_probe, mlp_probe

QUICK = MLPProbeConfig(steps=600, width=64, batch=128)


def latents_of(episodes: range, seed: int = 0, steps: int = 40, size: int = 6) -> Latents:
    """Random latents with a linear, a curved and an unrelated label, all of them far from unit scale."""
    rng = np.random.default_rng([seed, episodes.start])
    x = rng.normal(size=(len(episodes) * steps, size)).astype(np.float32)
    labels = np.stack([300 + 20 * (x[:, 0] - 2 * x[:, 1]), 1e-3 * np.abs(x[:, 2]), rng.normal(size=len(x))], axis=1)
    return Latents(latents=x * 7 + 100, labels=labels.astype(np.float32), episodes=np.repeat(np.array(episodes), steps))


TRAIN, HELD_OUT = latents_of(range(40)), latents_of(range(40, 50))


def test_a_linear_probe_reads_what_is_linear_and_nothing_else() -> None:
    probe = linear_probe(TRAIN, HELD_OUT)
    assert probe.r2[0] > 0.99999
    assert abs(probe.r2[1]) < 0.1, "|x| is uncorrelated with x"
    assert abs(probe.r2[2]) < 0.1
    assert probe.predicted[:, 0] == pytest.approx(HELD_OUT.labels[:, 0].astype(float), abs=0.01)
    assert probe.mean_abs_error[0] < 0.01
    assert probe.mean_abs_error[2] == pytest.approx(np.sqrt(2 / np.pi), abs=0.1)
    assert probe.r2_overall == pytest.approx(probe.r2.mean())
    assert probe.episodes == 10
    assert np.array_equal(probe.true, HELD_OUT.labels.astype(float))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), ridge=st.floats(1e-6, 10))
def test_ridge_is_least_squares_with_rows_that_pull_to_zero(seed: int, ridge: float) -> None:
    """The naive version: standardise, add sqrt(N ridge) I as rows, keep a column of ones free."""
    train, held_out = latents_of(range(3), seed), latents_of(range(3, 5), seed)
    x, y = train.latents.astype(float), train.labels.astype(float)
    z = (x - x.mean(0)) / x.std(0)
    rows = np.block([[z, np.ones((len(z), 1))], [np.sqrt(len(z) * ridge) * np.eye(6), np.zeros((6, 1))]])
    weights = np.linalg.lstsq(rows, np.vstack([y, np.zeros((6, 3))]), rcond=None)[0]
    expected = np.hstack([(held_out.latents - x.mean(0)) / x.std(0), np.ones((len(held_out.latents), 1))]) @ weights
    assert linear_probe(train, held_out, ridge=ridge).predicted == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_scale_of_latents_does_not_matter_and_dead_or_doubled_ones_do_no_harm() -> None:
    def changed(data: Latents) -> Latents:
        x = data.latents.astype(np.float64)
        return replace(data, latents=np.concatenate([x * 1e4 - 5, x[:, :2], np.full((len(x), 1), 3.3)], axis=1))

    first, second = linear_probe(TRAIN, HELD_OUT), linear_probe(changed(TRAIN), changed(HELD_OUT))
    assert first.predicted == pytest.approx(second.predicted, rel=1e-4, abs=1e-4)


def test_the_network_reads_what_is_curved_but_no_noise() -> None:
    probe = mlp_probe(TRAIN, HELD_OUT, config=QUICK)
    assert probe.r2[0] > 0.98
    assert probe.r2[1] > 0.8
    assert probe.r2[2] < 0.1
    assert probe.mean_abs_error[1] < 3e-4, "in the label's own unit"


def test_the_network_is_the_same_for_the_same_seed_and_leaves_the_global_one_alone() -> None:
    config = replace(QUICK, steps=30)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = mlp_probe(TRAIN, HELD_OUT, seed=4, config=config)
    assert torch.rand(1) == expected
    torch.manual_seed(99)
    assert np.array_equal(first.predicted, mlp_probe(TRAIN, HELD_OUT, seed=4, config=config).predicted)
    assert not np.array_equal(first.predicted, mlp_probe(TRAIN, HELD_OUT, seed=5, config=config).predicted)


def test_the_weights_are_those_that_were_best_on_validation_episodes() -> None:
    """Few moments and noise to learn by heart: the last weights explain far less than nothing."""
    few, held_out = latents_of(range(8), steps=5), latents_of(range(40, 50))
    noise = Latents(latents=few.latents, labels=few.labels[:, 2:], episodes=few.episodes)
    score = replace(held_out, labels=held_out.labels[:, 2:])
    stopped = mlp_probe(noise, score, config=replace(QUICK, check_every=10, patience=1000))
    overfitted = mlp_probe(noise, score, config=replace(QUICK, check_every=600))
    assert stopped.r2[0] > -0.5 > overfitted.r2[0]


def test_training_stops_when_nothing_gets_better() -> None:
    """Pure noise: after the patience is over no number of allowed steps makes a difference."""
    noise, score = (replace(data, labels=data.labels[:, 2:]) for data in (TRAIN, HELD_OUT))
    short, long = (mlp_probe(noise, score, config=replace(QUICK, steps=steps, check_every=20, patience=3)) for steps in (400, 10**9))
    assert np.array_equal(short.predicted, long.predicted)


def test_held_out_episodes_play_no_part_in_training() -> None:
    config = replace(QUICK, steps=60)
    other = replace(HELD_OUT, labels=HELD_OUT.labels * -3 + 1)
    for probe in (linear_probe, lambda a, b: mlp_probe(a, b, config=config)):
        assert np.array_equal(probe(TRAIN, HELD_OUT).predicted, probe(TRAIN, other).predicted)


@pytest.mark.parametrize("probe", [linear_probe, mlp_probe])
def test_a_shared_episode_or_a_constant_label_is_refused(probe: object) -> None:
    assert callable(probe)
    with pytest.raises(ValueError, match="episode 39 is both trained on and held out"):
        probe(TRAIN, latents_of(range(39, 41)))
    with pytest.raises(ValueError, match="channel 1 is constant"):
        probe(TRAIN, replace(HELD_OUT, labels=np.where([True, False, True], HELD_OUT.labels, 5)))
    with pytest.raises(ValueError, match="another number"):
        probe(TRAIN, replace(HELD_OUT, labels=HELD_OUT.labels[:, :2]))


def test_one_training_episode_is_too_few_for_the_network() -> None:
    with pytest.raises(ValueError, match="none to validate on"):
        mlp_probe(latents_of(range(1)), HELD_OUT)


def test_a_ridge_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        linear_probe(TRAIN, HELD_OUT, ridge=0.0)


def test_latents_that_do_not_fit_or_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match=r"give \(N, D\)"):
        replace(TRAIN, episodes=TRAIN.episodes[1:])
    with pytest.raises(ValueError, match="at least one moment"):
        TRAIN.among(np.array([999]))
    bad = TRAIN.latents.copy()
    bad[85, 2] = np.nan
    with pytest.raises(ValueError, match="latents of moment 85, in episode 2"):
        replace(TRAIN, latents=bad)
