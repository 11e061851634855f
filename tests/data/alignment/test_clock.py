"""The lag between two clocks is found where there is one to be found, and nothing is made up where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tacit.data.alignment.clock import Activity, activity, estimate_clock
from tacit.data.streams import ArrayFrames, SourceError, Stream

Motion = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
SEEDS = 20


def motion(rng: np.random.Generator) -> Motion:
    """A movement with all frequencies from 0.05 to 1.5 Hz in it."""
    frequency, phase = rng.uniform(0.05, 1.5, 40), rng.uniform(0, 2 * np.pi, 40)
    return lambda t: np.sin(2 * np.pi * frequency * t[:, None] + phase) @ (1 / np.sqrt(frequency))


def stamps(rng: np.random.Generator, rate: float, seconds: float) -> npt.NDArray[np.float64]:
    regular = np.arange(0, seconds, 1 / rate)
    return np.asarray(regular + rng.uniform(-0.2, 0.2, len(regular)) / rate)


def logged(
    rng: np.random.Generator, of: Motion, *, rate: float, seconds: float, late: float = 0.0, drift: float = 0.0, noise: float = 0.2
) -> Activity:
    """A noisy log of a movement at uneven times, by a clock that is late."""
    time = stamps(rng, rate, seconds)
    values = of(time)
    return Activity(time=time + late + drift * time, values=values + noise * values.std() * rng.normal(size=len(time)))


def jumps(rng: np.random.Generator, *, seconds: float) -> Motion:
    when, to = np.sort(rng.uniform(0, seconds, int(seconds / 7))), rng.normal(size=int(seconds / 7) + 1)
    return lambda t: np.asarray(to[np.searchsorted(when, t)])


def test_the_offset_of_uneven_and_noisy_series_is_found() -> None:
    inside = 0
    for seed in range(SEEDS):
        rng, sign = np.random.default_rng(seed), (-1) ** seed
        of, late = motion(rng), 0.12 * (-1) ** (seed // 2)
        reference, other = logged(rng, of, rate=50, seconds=90), logged(rng, of, rate=10, seconds=90, late=late)
        found = estimate_clock(reference, replace(other, values=sign * other.values))
        assert found.reliable, found.reason
        assert not found.reason
        assert found.offset == pytest.approx(late, abs=0.010)
        assert found.drift == 0.0
        inside += found.interval[0] <= late <= found.interval[1]
    assert inside >= 0.8 * SEEDS


def test_a_positive_offset_means_that_the_time_stamps_of_the_other_are_late() -> None:
    rng = np.random.default_rng(0)
    of = motion(rng)
    first, second = logged(rng, of, rate=50, seconds=60), logged(rng, of, rate=10, seconds=60, late=0.12)
    assert estimate_clock(first, second).offset == pytest.approx(0.12, abs=0.01)
    assert estimate_clock(second, first).offset == pytest.approx(-0.12, abs=0.01)


def test_a_drift_over_half_an_hour_is_found_with_the_offset_at_the_first_time_stamp() -> None:
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        of = motion(rng)
        late = logged(rng, of, rate=4, seconds=1800, late=0.05, drift=200e-6)
        found = estimate_clock(logged(rng, of, rate=5, seconds=1800), late, max_offset=1.0)
        assert found.reliable, found.reason
        assert found.drift == pytest.approx(200e-6, abs=50e-6)
        assert found.offset == pytest.approx(0.05, abs=0.010)
        assert found.drift_error < 20e-6


@pytest.mark.parametrize("kind", ["motion", "walk", "jumps", "rhythm"])
def test_unrelated_series_give_no_reliable_answer(kind: str) -> None:
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        pair = []
        for rate in (25.0, 10.0):
            if kind == "walk":
                steps = rng.normal(size=int(80 * rate))
                pair.append(Activity(time=np.arange(len(steps)) / rate, values=np.cumsum(steps)))
            else:
                rhythm = float(rng.uniform(0, 6))
                of = {"motion": motion(rng), "jumps": jumps(rng, seconds=80), "rhythm": lambda t, r=rhythm: np.sin(3 * t + r)}[kind]
                pair.append(logged(rng, of, rate=rate, seconds=80))
        found = estimate_clock(*pair)
        assert not found.reliable, f"seed {seed}: {found}"
        assert found.reason


def test_rare_jumps_tell_the_offset_to_half_a_sampling_interval() -> None:
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        of = jumps(rng, seconds=200)
        found = estimate_clock(
            logged(rng, of, rate=20, seconds=200, noise=0.05), logged(rng, of, rate=10, seconds=200, noise=0.05, late=0.12)
        )
        assert found.reliable, f"seed {seed}: {found}"
        assert found.offset == pytest.approx(0.12, abs=0.05)


def test_series_that_can_tell_nothing_are_refused_with_the_reason() -> None:
    rng = np.random.default_rng(0)
    of = motion(rng)
    good = logged(rng, of, rate=50, seconds=60)
    constant = replace(good, values=np.full(len(good.time), 3.0), name="log.csv, column level")
    assert estimate_clock(good, constant).reason == "log.csv, column level is constant: nothing in it can be found again elsewhere"
    few = replace(good, time=good.time[:20], values=good.values[:20])
    assert "has 20 samples; it takes at least 32" in estimate_clock(good, few).reason
    short = logged(rng, of, rate=50, seconds=5)
    assert "overlap for 5.0 s; to look for 0.5 s takes at least 10.0 s" in estimate_clock(good, short).reason
    apart = replace(good, time=good.time + 100)
    assert "overlap for 0.0 s" in estimate_clock(good, apart).reason
    far = estimate_clock(good, logged(rng, of, rate=10, seconds=60, late=0.6))
    assert far.reason
    for found in (far, estimate_clock(good, constant), estimate_clock(good, few), estimate_clock(good, short)):
        assert not found.reliable


def test_pauses_in_a_log_do_not_move_the_offset() -> None:
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        of = motion(rng)
        other = logged(rng, of, rate=10, seconds=120, late=0.12)
        there = (other.time % 30) < 22
        found = estimate_clock(
            logged(rng, of, rate=20, seconds=120), replace(other, time=other.time[there] + 1.7e9, values=other.values[there])
        )
        assert not found.reliable, "clocks that are years apart do not overlap"
        found = estimate_clock(logged(rng, of, rate=20, seconds=120), replace(other, time=other.time[there], values=other.values[there]))
        assert found.reliable, found.reason
        assert found.offset == pytest.approx(0.12, abs=0.015)


def test_a_camera_is_set_against_the_position_of_what_it_films() -> None:
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        of = motion(rng)
        time = stamps(rng, 15, 30)
        scaled = (of(time) - of(time).min()) / np.ptp(of(time))
        columns = np.arange(64)
        rows = 200 * np.exp(-((columns - 8 - 48 * scaled[:, None]) ** 2) / 40)
        images = np.broadcast_to(rows[:, None, :, None], (len(time), 32, 64, 1)).astype(np.uint8)
        camera = activity(Stream(time=time + 0.12, values=ArrayFrames(images=images), where="film.mp4"))
        assert camera.is_change
        found = estimate_clock(logged(rng, of, rate=50, seconds=30, noise=0.01), camera)
        assert found.reliable, found.reason
        assert found.offset == pytest.approx(0.12, abs=0.02)


def test_activity_leaves_out_what_is_bad_and_times_changes_in_the_middle() -> None:
    time = np.array([0.0, 1.0, np.nan, 2.0, 1.5, 3.0, 4.0])
    scalar = activity(Stream(time=time, values=np.array([1, 2, 3, np.nan, 5, 6, 7.0]), where="a"))
    np.testing.assert_array_equal(scalar.time, [0, 1, 1.5, 3, 4])
    np.testing.assert_array_equal(scalar.values, [1, 2, 5, 6, 7])
    flagged = activity(Stream(time=time, values=np.arange(7.0), valid=np.array([True, False, True, True, True, True, True]), where="a"))
    np.testing.assert_array_equal(flagged.time, [0, 2, 3, 4])
    vector = activity(Stream(time=np.array([0.0, 1, 3]), values=np.array([[0.0, 5], [0, 5], [6, 5]]), where="a"))
    np.testing.assert_array_equal(vector.time, [0.5, 2.0])
    np.testing.assert_allclose(vector.values, [0.0, 0.5 * 6 / np.std([0, 0, 6])])
    images = np.zeros((300, 2, 2, 3), np.uint8)
    images[256:] = 9
    camera = activity(Stream(time=np.arange(300.0), values=ArrayFrames(images=images), where="film.mp4"))
    np.testing.assert_array_equal(np.flatnonzero(camera.values), [255])
    assert camera.values[255] == 9
    with pytest.raises(SourceError, match=r"log.csv: 1 good samples are too few to tell its activity; choose another signal or take"):
        activity(Stream(time=np.array([0.0, np.nan]), values=np.zeros(2), where="log.csv"))
