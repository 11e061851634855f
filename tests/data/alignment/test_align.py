"""One control clock for all: every moment gets the sample that its rule says, every step the command that was in force."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from aligned_takes import Take, align

from tacit.data.alignment.align import Alignment, AlignmentNotes, Gap, aligned
from tacit.data.alignment.column import Column
from tacit.data.alignment.notes import KEPT
from tacit.data.episode import Episode
from tacit.data.mapping import Align, Cutting, LogMapping, MappingError, SignalMapping
from tacit.data.streams import ArrayFrames, BadTake, Channel, Piece, Stream
from tacit.signals import Role

CAUSAL = (Align.HOLD, Align.MEAN, Align.LAST_VALID)


def seen(source: str = "x", **rule: Any) -> SignalMapping:
    return SignalMapping(source=(source,), role=Role.OBSERVATION, **{"dtype": "float64", **rule})


def done(source: str = "u", **rule: Any) -> SignalMapping:
    return SignalMapping(source=(source,), role=Role.ACTION, **{"dtype": "float64", **rule})


def one(take: Take, signals: dict[str, SignalMapping], **how: Any) -> Episode:
    episodes, _ = align(take, signals, **how)
    assert len(episodes) == 1
    return episodes[0]


@pytest.mark.parametrize("rule", list(Align))
@pytest.mark.parametrize("start", [0.0, 1.7e9, 1.7e9 + 1 / 3])
@pytest.mark.parametrize("period", [0.1, 1 / 30, 0.02])
def test_what_was_sampled_at_the_control_clock_comes_out_as_it_went_in(rule: Align, start: float, period: float) -> None:
    rng = np.random.default_rng(0)
    time, x, u = start + np.arange(200) * period, rng.normal(size=(200, 2)), rng.normal(size=200)
    episode = one(Take(logs={"x": (time, x), "u": (time, u)}), {"x": seen(align=rule), "u": done(align="hold")}, period=period)
    np.testing.assert_array_equal(episode.signals["x"], x)
    np.testing.assert_array_equal(episode.signals["u"], u[:-1])
    np.testing.assert_allclose(episode.time, time, rtol=0, atol=1e-6)
    later = one(Take(logs={"x": (time, x), "u": (time[3:], u[3:])}), {"x": seen(align=rule), "u": done(align="hold")}, period=period)
    np.testing.assert_array_equal(later.signals["x"], x[3:])
    np.testing.assert_array_equal(later.signals["u"], u[3:-1])


def test_the_clock_starts_at_the_latest_of_the_first_samples() -> None:
    take = Take(logs={"x": (np.arange(0, 9, 0.25), np.arange(36.0)), "u": (np.arange(1.3, 9.0), np.arange(8.0))})
    episode = one(take, {"x": seen(), "u": done()})
    np.testing.assert_allclose(episode.time, 1.3 + np.arange(8))
    np.testing.assert_array_equal(episode.signals["x"], np.floor(episode.time * 4))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("hold", [0.0, 2.0, 4.0, 7.0]),
        ("last_valid", [0.0, 2.0, 4.0, 7.0]),
        ("mean", [0.0, 1.5, 3.5, 6.0]),
        ("linear", [0.0, 2.5, 5.0, 7.5]),
    ],
)
def test_each_rule_against_hand_computed_values(rule: str, expected: list[float]) -> None:
    x = ([0.0, 0.4, 0.8, 1.2, 1.6, 2.4, 2.5, 2.8, 3.2], [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 5.0, 7.0, 8.0])
    clock = (np.arange(4.0), np.zeros(4))
    take = Take(logs={"x": x, "clock": clock})
    episode = one(take, {"x": seen(align=rule), "clock": seen("clock")})
    np.testing.assert_allclose(episode.signals["x"], expected)


def test_a_bad_sample_ends_hold_and_is_passed_over_by_last_valid() -> None:
    time = np.arange(8.0)
    take = Take(logs={"x": (time, [0.0, 1, 2, np.nan, 4, 5, 6, 7]), "u": (time, np.arange(8.0))})
    held, notes = align(take, {"x": seen(), "u": done()})
    assert [e.time.tolist() for e in held] == [[0, 1, 2], [4, 5, 6, 7]]
    assert notes.gaps == (Gap(at=2.0, seconds=2.0, signal="x"),)
    assert notes.signals["x"].missing == notes.signals["x"].not_finite == 1
    passed = one(take, {"x": seen(align="last_valid"), "u": done()})
    np.testing.assert_array_equal(passed.signals["x"], [0, 1, 2, 2, 4, 5, 6, 7])
    straight = one(take, {"x": seen(align="linear"), "u": done()})
    np.testing.assert_array_equal(straight.signals["x"], np.arange(8.0))


def test_a_sample_is_used_up_to_its_age_and_not_beyond() -> None:
    take = Take(logs={"x": ([0.0, 1.0, 4.0, 8.5, 9.5], np.arange(5.0)), "u": (np.arange(10.0), np.arange(10.0))})
    episodes, notes = align(take, {"x": seen(max_age=3.0), "u": done()})
    assert [e.time.tolist() for e in episodes] == [list(range(8)), [8.5, 9.5]]
    np.testing.assert_array_equal(episodes[0].signals["x"], [0, 1, 1, 1, 2, 2, 2, 2])
    assert notes.gaps == (Gap(at=7.0, seconds=1.5, signal="x"),)
    assert any("cut after 7.000 s: x is missing; 1.500 s until the next moment" in line for line in notes.words())


def test_a_take_with_many_gaps_costs_no_more_than_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 20_000
    x = np.where(np.arange(count) % 10 == 7, np.nan, 1.0)
    steady = np.arange(float(count))
    late = steady + np.random.default_rng(0).uniform(0, 0.01, count)  # each gap shifts the clock a little
    asked: list[int] = []
    for name in ("ticks", "there"):
        plain = getattr(Column, name)

        def counted(column: Column, *at: Any, plain: Any = plain) -> Any:
            asked.append(len(at[-1]))
            return plain(column, *at)

        monkeypatch.setattr(Column, name, counted)
    for time, calls, moments in ((steady, 500, 7 * count), (late, count / 2, 30 * count)):
        asked.clear()
        take = Take(logs={"x": (time, x), "u": (time, np.zeros(count))})
        episodes, notes = align(take, {"x": seen(), "u": done()})
        assert notes.episodes == len(episodes) > count / 20
        assert len(asked) < calls
        assert sum(asked) < moments
        assert len(notes.gaps) == KEPT
        assert f"and {notes.cuts - 5:,} more cuts" in notes.words()


def test_the_rest_of_a_take_without_a_signal_is_noted_as_a_gap_and_ordinary_ends_are_not() -> None:
    ends = Take(logs={"x": (np.arange(10.0), np.arange(10.0)), "u": (np.arange(12.0), np.arange(12.0))})
    assert not align(ends, {"x": seen(max_age=1.0), "u": done()})[1].gaps
    dies = Take(logs={"x": (np.arange(10.0), np.arange(10.0)), "u": (np.arange(50.0), np.arange(50.0))})
    assert align(dies, {"x": seen(max_age=1.0), "u": done()})[1].gaps == (Gap(at=10.0, seconds=39.0, signal="x"),)


def test_a_command_logged_only_when_it_changes_stays_in_force() -> None:
    take = Take(logs={"x": (np.arange(20.0), np.arange(20.0)), "u": ([0.0, 7.25], [1.0, 3.0])})
    episode = one(take, {"x": seen(), "u": done(max_age=np.inf)})
    np.testing.assert_array_equal(episode.signals["u"], [1.0] * 7 + [2.5] + [3.0] * 11)
    finer = one(take, {"x": seen(), "u": done(max_age=np.inf)}, period=0.75)
    np.testing.assert_allclose(finer.signals["u"], [1.0] * 9 + [1.0 + 2.0 * 0.25 / 0.75] + [3.0] * 15)


def test_commands_of_whole_numbers_give_the_one_longest_in_force() -> None:
    u = ([0.0, 0.3, 0.5, 0.9, 1.0, 1.25, 2.5], [1, 2, 1, 2, 3, 4, 5])
    take = Take(logs={"x": (np.arange(4.0), np.zeros(4)), "u": u})
    episode = one(take, {"x": seen(), "u": done(dtype="int32")})
    np.testing.assert_array_equal(episode.signals["u"], [1, 4, 4])


def test_large_counts_are_not_rounded() -> None:
    counts = 2**60 + np.arange(6)
    take = Take(logs={"x": (np.arange(6.0), counts), "u": (np.arange(6.0), counts)})
    episode = one(take, {"x": seen(dtype="int64"), "u": done(dtype="int64")})
    np.testing.assert_array_equal(episode.signals["x"], counts)
    np.testing.assert_array_equal(episode.signals["u"], counts[:-1])


def test_a_linear_command_is_the_mean_of_the_line() -> None:
    take = Take(logs={"x": (np.arange(5.0), np.zeros(5)), "u": ([0.0, 0.5, 2.5, 4.0], [0.0, 1.0, -1.0, 2.0])})
    episode = one(take, {"x": seen(), "u": done(align="linear")})
    np.testing.assert_allclose(episode.signals["u"], [0.625, 0.0, -0.625, 1.0])


def test_a_bad_command_cuts_the_step_in_which_it_was_in_force() -> None:
    take = Take(logs={"x": (np.arange(9.0), np.arange(9.0)), "u": ([0.0, 3.5, 3.75, 5.0], [1.0, np.nan, 2.0, 3.0])})
    episodes, notes = align(take, {"x": seen(), "u": done(max_age=9.0)})
    assert [e.time.tolist() for e in episodes] == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]
    assert notes.gaps == (Gap(at=3.0, seconds=1.0, signal="u"),)
    assert notes.signals["u"].missing == 1
    passed = one(take, {"x": seen(), "u": done(max_age=9.0, align="last_valid")})
    np.testing.assert_array_equal(passed.signals["u"], [1, 1, 1, 1.25, 2, 3, 3, 3])


def test_actions_shifted_by_a_step_change_the_result() -> None:
    time, u = np.arange(30) * 0.1, np.random.default_rng(0).normal(size=30)
    late = one(Take(logs={"x": (time, u), "u": (time + 0.1, u)}), {"x": seen(), "u": done()}, period=0.1)
    right = one(Take(logs={"x": (time, u), "u": (time, u)}), {"x": seen(), "u": done()}, period=0.1)
    np.testing.assert_array_equal(right.signals["u"], right.signals["x"][:-1])
    assert not np.isclose(late.signals["u"], late.signals["x"][:-1]).any()
    mended = one(Take(logs={"x": (time, u), "u": (time + 0.1, u)}), {"x": seen(), "u": done(delay=0.1)}, period=0.1)
    np.testing.assert_array_equal(mended.signals["u"], right.signals["u"])


def test_delay_and_drift_are_taken_off_the_time_stamps() -> None:
    true = np.arange(1000.0)
    late = true + 0.25 + 2e-4 * true
    drift = 2e-4 / 1.0002  # per second of the late clock
    take = Take(logs={"x": (late, true), "u": (true, true)})
    episode = one(take, {"x": seen(delay=0.25, drift=drift, align="linear"), "u": done()})
    np.testing.assert_allclose(episode.signals["x"], episode.time, atol=1e-6)


def test_time_stamps_that_repeat_go_back_or_are_missing_are_dropped_and_counted() -> None:
    time = [0.0, 1.0, 1.0, 2.0, 0.5, np.nan, 3.0, 2.5, 4.0, 4.0, 4.0]
    x = [0.0, -1, 1, 2, -1, -1, 3, -1, -1, -1, 4]
    for cuts in ([], [1.0, 4.0], [0.5, 1.5, 3.0]):
        episodes, notes = align(Take(logs={"x": (time, x), "u": (np.arange(5.0), np.arange(5.0))}), {"x": seen(), "u": done()}, cuts=cuts)
        np.testing.assert_array_equal(episodes[0].signals["x"], [0, 1, 2, 3, 4])
        found = notes.signals["x"]
        assert (found.read, found.repeated, found.backward, found.untimed, found.left_out) == (11, 3, 2, 1, 6)
        words = "\n".join(notes.words())
        assert "log.csv, column x: row 7 has the time stamp nan" in words
        assert "log.csv, column x: row 6 goes back in time, to 0.5 s" in words
        assert "log.csv, column x: row 3 has the same time stamp as the next one, 1.0 s" in words
        assert "x: 3 samples with the time stamp of a later one left out" in words


def test_the_last_of_two_samples_at_the_end_of_a_piece_may_come_with_the_next_one() -> None:
    take = Take(logs={"x": ([0.0, 1.0, 1.0, 2.0], [0.0, -1.0, 1.0, 2.0]), "u": (np.arange(3.0), np.zeros(3))})
    (whole,) = take.pieces()
    halves = []
    for rows, until in ((slice(0, 2), 1.0), (slice(2, 4), np.inf)):
        streams = {name: Stream(time=s.time[rows], values=np.asarray(s.values)[rows], where=s.where) for name, s in whole.streams.items()}
        halves.append(Piece(streams=streams, until=until))
    signals = {"x": seen(), "u": done()}
    alignment = Alignment(LogMapping(signals=signals, period=1.0, episodes=Cutting(min_steps=1)), take.channels)
    (episode,) = alignment.episodes(halves)
    np.testing.assert_array_equal(episode.signals["x"], [0, 1, 2])
    assert alignment.notes.signals["x"].repeated == 1


def test_samples_are_bad_when_the_source_or_the_range_or_the_dtype_says_so() -> None:
    time, x = np.arange(8.0), np.array([0.0, 50, 100, 200, np.inf, 300, 10, 20])
    take = Take(logs={"x": (time, x), "u": (time, time)}, valid={"x": [True] * 6 + [False, True]})
    rule = seen(scale=0.5, offset=1.0, valid_low=0.0, valid_high=101.0, align="last_valid", max_age=9.0)
    episodes, notes = align(take, {"x": rule, "u": done()})
    np.testing.assert_array_equal(episodes[0].signals["x"], [1, 26, 51, 101, 101, 101, 101, 11])
    found = notes.signals["x"]
    assert (found.not_finite, found.out_of_range, found.flagged, found.bad) == (1, 1, 1, 3)
    _, notes = align(take, {"x": seen(dtype="uint8"), "u": done()})
    assert notes.signals["x"].out_of_range == 1, "300 is no uint8"
    big = Take(logs={"x": (time, np.full(8, 1e39)), "u": (time, time)})
    assert align(big, {"x": seen(dtype="float32"), "u": done()})[1].signals["x"].out_of_range == 8


@pytest.mark.parametrize("cuts", [[], [3.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
def test_a_stream_that_stands_still_for_too_long_is_bad_from_then_on(cuts: list[float]) -> None:
    x = [0.0, 1, 1, 1, 1, 1, 2, 3]
    take = Take(logs={"x": (np.arange(8.0), x), "u": (np.arange(8.0), np.arange(8.0))})
    episodes, notes = align(take, {"x": seen(stuck_after=3.0), "u": done()}, cuts=cuts)
    assert [e.time.tolist() for e in episodes] == [[0, 1, 2, 3], [6, 7]]
    assert notes.signals["x"].stuck == 2


def test_a_masked_signal_keeps_its_last_value_and_says_so() -> None:
    time = np.arange(8.0)
    logs = {"a": (time[2:], [1.0, 2, np.nan, np.nan, 5, 6]), "b": (time, np.arange(8.0)), "u": (time, time)}
    rule = SignalMapping(source=("b", "a"), role=Role.OBSERVATION, missing="mask", dtype="float64", elements=(1, 0))
    take = Take(logs=logs)
    episodes, notes = align(take, {"x": rule, "u": done()})
    (episode,) = episodes
    assert list(episode.signals) == ["x", "x.valid", "u"]
    np.testing.assert_array_equal(episode.signals["x"], np.stack([[0, 0, 1, 2, 2, 2, 5, 6], np.arange(8)], axis=1))
    expected = np.stack([np.isin(time, [2, 3, 6, 7]), np.ones(8, bool)], axis=1)
    np.testing.assert_array_equal(episode.signals["x.valid"], expected)
    assert notes.signals["x"].missing == 4
    assert not notes.gaps
    split, _ = align(take, {"x": rule, "u": done()}, max_steps=3)
    np.testing.assert_array_equal(split[1].signals["x"][:, 0], [2, 2, 2, 5])


def test_a_value_from_before_a_gap_never_fills_a_moment_after_it() -> None:
    time = np.arange(20.0)
    log = np.concatenate([time[:5], time[12:]])
    take = Take(logs={"x": (time[:8], time[:8] + 1), "u": (log, log)})
    episodes, _ = align(take, {"x": seen(missing="mask"), "u": done(max_age=2.0)})
    assert [e.time[0] for e in episodes] == [0.0, 12.0]
    np.testing.assert_array_equal(episodes[1].signals["x"], np.zeros(8))
    assert not episodes[1].signals["x.valid"].any()


def test_long_episodes_are_cut_and_share_the_moment_and_short_ones_are_counted() -> None:
    time = np.arange(24.0)
    x = time.copy()
    x[[22]] = np.nan
    episodes, notes = align(Take(logs={"x": (time, x), "u": (time, time)}), {"x": seen(), "u": done()}, min_steps=4, max_steps=6)
    assert [(e.time[0], e.time[-1]) for e in episodes] == [(0, 6), (6, 12), (12, 18)]
    np.testing.assert_array_equal(episodes[1].signals["x"], np.arange(6.0, 13))
    np.testing.assert_array_equal(episodes[1].signals["u"], np.arange(6.0, 12))
    assert (notes.episodes, notes.steps, notes.too_short, notes.steps_left_out) == (3, 18, 1, 3)
    assert "1 stretch with fewer than min_steps left out, 3 steps" in notes.words()


def test_a_take_that_is_fine_has_nothing_to_say_and_one_without_a_signal_says_which() -> None:
    time = np.arange(9.0)
    assert align(Take(logs={"x": (time, time), "u": (time, time)}), {"x": seen(), "u": done()})[1].words() == ()
    episodes, notes = align(Take(logs={"x": (time, time), "u": ([], np.zeros(0))}), {"x": seen(), "u": done()})
    assert not episodes
    assert notes.words() == ("u: the take has no samples",)


def test_the_notes_come_after_the_episodes_and_a_delay_must_be_known() -> None:
    time = np.arange(9.0)
    take = Take(logs={"x": (time, time), "u": (time, time)})
    text = """
period = 1.0
[episodes]
min_steps = 1
[clock]
reference = "u"
[signals.x]
source = "x"
role = "observation"
delay = "estimate"
[signals.u]
source = "u"
role = "action"
"""
    mapping = LogMapping.from_text(text.replace('"estimate"', "0.0"))
    *episodes, notes = aligned(take.pieces(), mapping, take.channels)
    assert len(episodes) == 1
    assert isinstance(notes, AlignmentNotes)
    with pytest.raises(MappingError, match=r"mapping.toml:10: signals.x.delay: is still to be estimated: give the seconds"):
        list(aligned(take.pieces(), LogMapping.from_text(text), take.channels))


class Counting:
    """Frames that remember what was read of them; the first pixel of a frame is its number in the take."""

    shape = (4, 6, 3)
    alive = 0

    def __init__(self, numbers: npt.NDArray[np.int64]) -> None:
        self.numbers = numbers
        self.reads: list[tuple[list[int], tuple[int, int] | None]] = []
        Counting.alive += 1

    def __del__(self) -> None:
        Counting.alive -= 1

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, rows: npt.NDArray[np.int64], size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
        assert (np.diff(rows) >= 0).all()
        self.reads.append((rows.tolist(), size))
        images = np.zeros((len(rows), *(size or self.shape[:2]), 3), np.uint8)
        images[:, 0, 0, 0] = self.numbers[rows]
        return images


CAMERA = {"camera": Channel(name="camera", shape=(4, 6, 3), dtype="uint8", camera=True), "u": Channel(name="u")}


def filmed(*, min_steps: int = 1, max_steps: int = 1000, **rule: Any) -> Alignment:
    signals = {"camera": seen("camera", **{"dtype": "float32", "size": (2, 3), **rule}), "u": done()}
    return Alignment(LogMapping(signals=signals, period=1.0, episodes=Cutting(min_steps=min_steps, max_steps=max_steps)), CAMERA)


def film(time: npt.NDArray[np.float64], commands: npt.NDArray[np.float64], frames: Any = None, until: float = np.inf) -> Piece:
    frames = Counting(np.arange(len(time))) if frames is None else frames
    return Piece(
        streams={
            "camera": Stream(time=time, values=frames, where="film.mp4"),
            "u": Stream(time=commands, values=np.zeros(len(commands)), where="log.csv"),
        },
        until=until,
    )


def test_only_frames_that_are_kept_are_decoded_and_in_one_call() -> None:
    time = np.arange(40) / 2
    commands = np.concatenate([np.arange(0.0, 3), np.arange(8.0, 18)])  # the first stretch is too short
    frames = Counting(np.arange(40))
    alignment = filmed(min_steps=8)
    (episode,) = alignment.episodes([film(time, commands, frames)])
    moments = np.arange(8, 20)
    np.testing.assert_array_equal(episode.time, moments)
    assert frames.reads == [((2 * moments).tolist(), (2, 3))]
    assert episode.signals["camera"].shape == (12, 2, 3, 3)
    np.testing.assert_array_equal(episode.signals["camera"][:, 0, 0, 0], 2 * moments)
    assert alignment.notes.too_short == 1


def test_a_take_larger_than_memory_is_held_only_as_far_as_its_window() -> None:
    highest = 0

    def pieces() -> Iterator[Piece]:
        nonlocal highest
        for start in range(0, 2000, 10):
            time = start + np.arange(10.0)
            yield film(time, time, Counting(np.arange(10)), until=start + 10)
            highest = max(highest, Counting.alive)

    steps = [episode.steps for episode in filmed(max_steps=50, min_steps=5).episodes(pieces())]
    assert sum(steps) >= 1999
    assert set(steps[:-1]) == {50}
    assert highest <= 4
    numbers = {"x": (np.arange(3000.0), np.arange(3000.0)), "u": (np.arange(3000.0), np.zeros(3000))}
    take = Take(logs=numbers)
    rules = {"x": seen(align="mean"), "u": done()}
    alignment = Alignment(LogMapping(signals=rules, period=1.0, episodes=Cutting(max_steps=20)), take.channels)
    for _ in alignment.episodes(take.pieces(np.arange(100.0, 3000, 100))):
        assert max(len(track.samples.time) for column in alignment._columns for track in column._tracks) <= 110


def test_a_masked_camera_shows_its_last_frame_and_black_before_the_first() -> None:
    alignment = filmed(missing="mask", max_age=1.0, min_steps=3)
    first = film(np.array([2.0, 3.0]), np.arange(0.0, 6), Counting(np.array([20, 30])), until=6.0)
    second = film(np.array([9.0]), np.arange(6.0, 11), Counting(np.array([90])))
    (episode,) = alignment.episodes([first, second])
    np.testing.assert_array_equal(episode.signals["camera"][:, 0, 0, 0], [0, 0, 20, 30, 30, 30, 30, 30, 30, 90, 90])
    np.testing.assert_array_equal(episode.signals["camera.valid"], np.isin(np.arange(11), [2, 3, 4, 9, 10]))
    assert episode.signals["camera.valid"].shape == (11,)


def test_episodes_before_a_fault_are_kept_and_the_last_one_ends_there() -> None:
    def broken() -> Iterator[Piece]:
        yield film(np.arange(0.0, 10), np.arange(0.0, 10), until=10.0)
        raise BadTake("film.mp4: frame 10 is cut off; copy the file again")

    episodes: list[Episode] = []
    with pytest.raises(BadTake, match="frame 10 is cut off"):
        episodes.extend(filmed(max_steps=4).episodes(broken()))
    assert [e.steps for e in episodes] == [4, 4, 1]
    mapping = LogMapping(signals={"camera": seen("camera", dtype="float32"), "u": done()}, period=1.0, episodes=Cutting(min_steps=1))
    told: list[Episode | AlignmentNotes] = []
    with pytest.raises(BadTake, match="frame 10 is cut off"):
        told.extend(aligned(broken(), mapping, CAMERA))
    assert isinstance(told[-1], AlignmentNotes)
    assert told[-1].episodes == len(told) - 1 == 1


def test_a_frame_that_cannot_be_decoded_spoils_no_earlier_episode() -> None:
    class Torn(Counting):
        def read(self, rows: npt.NDArray[np.int64], size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
            if (rows >= 7).any():
                raise BadTake("film.mp4: frame 7 cannot be decoded")
            return super().read(rows, size)

    episodes: list[Episode] = []
    with pytest.raises(BadTake, match="frame 7 cannot be decoded"):
        episodes.extend(filmed(max_steps=3).episodes([film(np.arange(10.0), np.arange(10.0), Torn(np.arange(10)))]))
    assert [e.time[-1] for e in episodes] == [3.0, 6.0]


def test_streams_that_are_not_as_the_format_described_them_are_bad_takes() -> None:
    time = np.arange(5.0)
    wrong_size = film(time, time, ArrayFrames(images=np.zeros((5, 4, 4, 3), np.uint8)))
    with pytest.raises(BadTake, match=r"film.mp4: its frames are \(4, 4, 3\), those of 'camera' are \(4, 6, 3\).*give the signal a size"):
        list(filmed(size=None).episodes([wrong_size]))
    with pytest.raises(BadTake, match=r"film.mp4: holds numbers, not the frames of camera 'camera'"):
        list(filmed().episodes([film(time, time, np.zeros(5))]))
    take = Take(logs={"x": (time, np.zeros((5, 2))), "u": (time, time)})
    alignment = Alignment(LogMapping(signals={"x": seen(), "u": done()}, period=1.0), {**take.channels, "x": Channel(name="x", shape=(3,))})
    with pytest.raises(BadTake, match=r"log.csv, column x: samples have the shape \(2,\) instead of \(3,\)"):
        list(alignment.episodes(take.pieces()))
