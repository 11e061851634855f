"""Ctrl-C between optimizer steps, never inside one: what a checkpoint then holds is the state after a whole step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Keep a first SIGINT until the function that this yields is called; a second one interrupts at once.

    Outside the main thread, where Python delivers no signals, nothing is held back.

    Raises:
        KeyboardInterrupt: From the yielded function, when there was a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.getsignal(signal.SIGINT)
    asked = threading.Event()

    def remember(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    def interrupt_if_asked() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, remember)
    try:
        yield interrupt_if_asked
    finally:
        signal.signal(signal.SIGINT, before)
