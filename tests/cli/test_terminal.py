"""Progress in a log file, and the words around it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tacit.cli import terminal
from tacit.cli.terminal import Stopped, Terminal, clock, counting, stoppable


def talking() -> tuple[Terminal, io.StringIO]:
    log = io.StringIO()
    return Terminal(command="tacit x", err=Console(file=log, soft_wrap=True)), log


@pytest.mark.parametrize(("seconds", "text"), [(3.21, "3.2 s"), (59.9, "59.9 s"), (245, "4:05"), (3723, "1:02:03"), (119.7, "2:00")])
def test_durations(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_phases_are_timed_and_named_in_a_log_file(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 4.0, 12.0, 20.0, 20.0, 20.0, 21.5])
    monkeypatch.setattr(terminal.time, "perf_counter", lambda: next(now))
    speaker, log = talking()
    with speaker.phases() as phases:
        shown = phases.phase("train")
        shown(0.2, "early")  # too soon after the beginning to be worth a line
        shown(0.5, "[step 5]")
        phases.phase("encode")
    assert phases.seconds == {"train": 20.0, "encode": 1.5}
    assert log.getvalue().splitlines() == ["train: 50%, 12.0 s left, [step 5]", "train: done after 20.0 s", "encode: done after 1.5 s"]


def test_a_phase_that_was_cut_short_is_not_called_done() -> None:
    speaker, log = talking()
    phases = speaker.phases()

    def train() -> None:
        with phases:
            phases.phase("train")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        train()
    assert "done" not in log.getvalue()
    assert "train" in phases.seconds


def test_bars_on_a_terminal() -> None:
    screen = io.StringIO()
    speaker = Terminal(command="tacit x", err=Console(file=screen, force_terminal=True, width=160))
    with speaker.phases() as phases:
        phases.phase("train")(0.25, "120 frames/s")
        phases.phase("encode")(1.0, "")
    assert all(word in screen.getvalue() for word in ("train", "encode", "120 frames/s", "100%"))


def test_what_was_there_before_is_not_in_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 12.0])
    monkeypatch.setattr(terminal.time, "perf_counter", lambda: next(now))
    seen: list[tuple[float, str]] = []
    progress = counting(lambda share, words: seen.append((share, words)), "episodes")
    progress(500, 1000)
    progress(520, 1000)
    assert seen == [(0.5, "500 of 1,000 episodes"), (0.52, "520 of 1,000 episodes, 10 per second")]


def test_only_an_interrupt_is_turned_into_a_stop() -> None:
    with pytest.raises(Stopped, match="kept; go on with: tacit y"), stoppable(lambda: Stopped("kept", "tacit y")):
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), stoppable(lambda: Stopped("kept", "tacit y")):
        raise ZeroDivisionError


def test_a_silenced_terminal_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Terminal(command="tacit x").silenced()
    quiet.say("hello")
    quiet.warn("hello")
    with quiet.phases() as phases:
        phases.phase("train")
    shown = capsys.readouterr()
    assert shown.out + shown.err == ""
