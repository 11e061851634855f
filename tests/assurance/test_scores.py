"""Each score grows when what it looks for happens, and the others need not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tacit.assurance.moments import Moments
from tacit.assurance.monitor import scored
from tacit.assurance.scores import SCORES, WORDS, Reference, fit_reference, read, usual_end, usual_nearing

GAIN = 0.1


def episodes(count: int, *, steps: int = 30, seed: int = 0, gain: float = GAIN, to_go: NDArray[np.float32] | None = None) -> Moments:
    """A point that is pushed about at random, and a model that knows its usual gain."""
    rng = np.random.default_rng(seed)
    action = np.clip(rng.normal(0.0, 0.7, (count, steps, 2)), -1, 1).astype(np.float32)
    moved = np.concatenate((np.zeros((count, 1, 2)), (gain * action + rng.normal(0, 0.01, action.shape))[:, :-1]), axis=1)
    state = (rng.uniform(-1, 1, (count, 1, 2)) + moved.cumsum(1)).astype(np.float32)
    expected = np.full_like(state, np.nan)
    expected[:, 1:] = state[:, :-1] + GAIN * action[:, :-1]
    return Moments(
        latent=state,
        expected=expected,
        action=action,
        steps_to_go=np.full((count, steps), np.nan, np.float32) if to_go is None else to_go,
        distance=np.full((count, steps), np.nan, np.float32) if to_go is None else to_go,
        senses=state.copy() if to_go is None else 0.2 * to_go[..., None].repeat(2, -1),
        is_same=np.zeros((count, steps), np.bool_),
        goal_senses=np.full((count, 2), np.nan if to_go is None else 0.0, np.float32),
    )


def highest(name: str, moments: Moments) -> NDArray[np.float32]:
    """Largest value of a score in each episode."""
    found: NDArray[np.float32] = scored(with_goal(), moments)[..., SCORES.index(name)].max(1)
    return found


def with_goal() -> Reference:
    """A reference that knows how episodes near their goals."""
    reference = fit_reference(episodes(40, seed=9))
    usual = episodes(40, to_go=ARRIVING[:1].repeat(40, 0))
    reference = replace(reference, near=usual_end(read(reference, usual), passing=False))
    return replace(reference, nearing=usual_nearing(scored(reference, usual)[..., -1]))


def ends(moments: Moments) -> NDArray[np.float32]:
    """Arrival in the last moment of each episode."""
    found: NDArray[np.float32] = scored(with_goal(), moments)[:, -1, SCORES.index("arrival")]
    return found


def far_away(moments: Moments) -> Moments:
    return replace(moments, latent=moments.latent + 4, expected=moments.expected + 4)


ARRIVING = np.maximum(5.0 - np.arange(30), 0.1)[None].repeat(20, 0).astype(np.float32)
USUAL = episodes(20, seed=1)
STILL = replace(USUAL, is_same=np.ones_like(USUAL.is_same))
DISTURBED = {
    "novelty": far_away(USUAL),
    "appearance": replace(USUAL, senses=USUAL.senses + 3),
    "surprise": replace(USUAL, expected=USUAL.expected + 0.2),
    "response": episodes(20, seed=1, gain=0.4 * GAIN),
    "disagreement": far_away(USUAL),
    "frozen": STILL,
    "jitter": replace(USUAL, senses=USUAL.senses + np.random.default_rng(0).normal(0, 1, USUAL.senses.shape).astype(np.float32)),
    "goal": replace(USUAL, goal_senses=np.full((20, 2), 3.0, np.float32)),
    "progress": episodes(20, seed=1, to_go=np.full((20, 30), 5.0, np.float32)),
}


@pytest.mark.parametrize("name", [name for name in SCORES if name != "arrival"])
def test_a_score_grows_when_what_it_looks_for_happens(name: str) -> None:
    usual = episodes(20, seed=1, to_go=ARRIVING)
    assert highest(name, DISTURBED[name]).min() > highest(name, usual).max()


def test_arrival_is_sure_where_two_readings_say_so_and_nothing_went_unseen() -> None:
    usual = episodes(20, seed=1, to_go=ARRIVING)
    assert ends(usual).max() < 1.5
    far = np.full((20, 30), 5.0, np.float32)
    assert ends(episodes(20, seed=1, to_go=far)).min() > 10.0
    assert ends(replace(usual, steps_to_go=far, distance=far)).max() < 1.5  # the two other readings still say so
    assert ends(replace(usual, steps_to_go=far, distance=far, goal_senses=usual.goal_senses + 1)).min() > 10.0
    assert ends(replace(usual, is_same=np.ones_like(usual.is_same))).min() > 5.0


def test_a_single_glimpse_is_no_arrival() -> None:
    glimpse = np.full((20, 30), 5.0, np.float32)
    glimpse[:, -1] = 0.1
    assert ends(episodes(20, seed=1, to_go=glimpse)).min() > 5.0


def test_who_sees_nothing_has_not_arrived() -> None:
    usual = episodes(20, seed=1, to_go=ARRIVING)
    assert np.isinf(ends(replace(usual, senses=np.full_like(usual.senses, np.nan)))).all()
    half = usual.senses.copy()
    half[..., 0] = np.nan
    assert ends(replace(usual, senses=half)).max() < 1.5  # the readings of the latent are left


def test_without_a_goal_it_is_never_sure() -> None:
    assert np.isinf(ends(USUAL)).all()
    assert not highest("goal", USUAL).any()


def test_what_moves_in_a_picture_is_no_jitter_and_what_is_missing_is_not_known() -> None:
    reference = fit_reference(wide(40, seed=9))
    usual, column = wide(20, seed=1), SCORES.index("jitter")
    noise = np.random.default_rng(0).normal(0, 1, usual.senses.shape).astype(np.float32)
    assert (scored(reference, usual)[:, 1:, column] == 1).all()
    assert scored(reference, replace(usual, senses=usual.senses + noise))[:, 1:, column].min() > 1.1
    assert not scored(reference, replace(usual, senses=np.full_like(usual.senses, np.nan)))[..., column].any()


def wide(count: int, seed: int) -> Moments:
    """A point in a picture of 16 senses, most of which never change."""
    moments = episodes(count, seed=seed)
    return replace(
        moments,
        senses=np.concatenate((moments.senses, np.zeros((*moments.senses.shape[:2], 14), np.float32)), axis=-1),
        goal_senses=np.full((count, 16), np.nan, np.float32),
    )


def test_every_score_has_words() -> None:
    assert set(WORDS) == set(SCORES)


def test_what_is_not_known_is_no_reason_to_worry() -> None:
    blind = replace(USUAL, expected=np.full_like(USUAL.expected, np.nan), latent=np.full_like(USUAL.latent, np.nan))
    found = scored(fit_reference(episodes(40, seed=9)), blind)
    assert np.isfinite(found[..., :-1]).all()
    assert not found[..., SCORES.index("surprise")].any()


@pytest.mark.parametrize("value", [1e18, 1e30, 3e38])
def test_an_enormous_number_is_not_taken_for_an_unknown_one(value: float) -> None:
    gone = replace(USUAL, latent=USUAL.latent.copy(), senses=USUAL.senses.copy())
    gone.latent[:, 15:, 0] = gone.senses[:, 15:, 0] = value
    found, usual = (scored(fit_reference(episodes(40, seed=9)), moments) for moments in (gone, USUAL))
    for name in ("novelty", "appearance", "surprise"):
        column = SCORES.index(name)
        assert found[:, 15:, column].min() > 1e6 * usual[..., column].max(), name


@pytest.mark.parametrize("value", [1e18, 3e38, np.inf])
def test_enormous_restlessness_is_not_taken_for_an_unknown_one(value: float) -> None:
    """From one end of the numbers to the other is further than numbers go."""
    restless = replace(USUAL, senses=USUAL.senses.copy())
    restless.senses[:, 15::2], restless.senses[:, 16::2] = value, -value
    found, usual = (scored(fit_reference(episodes(40, seed=9)), moments)[..., SCORES.index("jitter")] for moments in (restless, USUAL))
    assert found[:, 15:].min() > 1e6 * usual.max()


def test_machines_side_by_side_do_not_mix() -> None:
    reference = fit_reference(episodes(40, seed=9))
    together = scored(reference, USUAL)
    alone = np.concatenate([scored(reference, USUAL.among(np.array([i]))) for i in range(len(USUAL))])
    assert np.allclose(together, alone, atol=1e-4)


def test_too_few_moments_make_no_reference() -> None:
    with pytest.raises(ValueError, match="at least 64 moments"):
        fit_reference(episodes(2, steps=20))
