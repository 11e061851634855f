"""Ctrl-C waits for the end of a step, once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from tacit.training.interrupts import held_back


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """A process that a shell starts in the background ignores Ctrl-C from the beginning; this one does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)  # to this thread; another one of the process may be slow to hand it on


def test_the_first_waits_until_asked() -> None:
    before = signal.getsignal(signal.SIGINT)
    done = []
    with held_back() as interrupt_if_asked:
        interrupt_if_asked()
        press_ctrl_c()
        done.append("the step")
        with pytest.raises(KeyboardInterrupt):
            interrupt_if_asked()
    assert done == ["the step"]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_does_not_wait() -> None:
    before = signal.getsignal(signal.SIGINT)
    with held_back():
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_signal_nothing_happens() -> None:
    with held_back() as interrupt_if_asked:
        interrupt_if_asked()


def test_an_error_passes_and_leaves_the_handler_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)

    def fail() -> None:
        with held_back():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_train_too() -> None:
    called = []

    def work() -> None:
        with held_back() as interrupt_if_asked:
            interrupt_if_asked()
            called.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert called == [True]
