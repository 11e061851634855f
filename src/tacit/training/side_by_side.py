"""Members of an ensemble, trained at the same time: a process for each, what they say on the way, and Ctrl-C for all of them."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Protocol, final

from tacit.training.fit import Display
from tacit.training.loop import TrainingStopped

PHASES = ("train", "encode", "dynamics", "distance", "policy")
SAY_SECONDS = 0.25  # between two words of a member

Shown = Callable[[float, str], None]
Said = tuple[int, str, float, str]  # member, phase, share done, a few words


class Work(Protocol):
    """A member to be trained; it goes to another process as it is."""

    @property
    def member(self) -> int:
        """Which one."""

    def train(self, display: Display) -> None:
        """Train it, from where it is."""


@final
class Slowest:
    """Shows where the member is that is furthest behind."""

    def __init__(self, display: Display, members: Sequence[int]) -> None:
        self._display = display
        self._where: dict[int, tuple[int, float, str]] = dict.fromkeys(members, (0, 0.0, ""))
        self._phase = -1
        self._shown: Shown = lambda share, words: None

    def heard(self, said: Said) -> None:
        """Take in what a member says."""
        member, phase, share, words = said
        self._where[member] = (PHASES.index(phase), share, words)
        slowest, (at, share, words) = min(self._where.items(), key=lambda item: item[1][:2])
        if at > self._phase:
            self._phase, self._shown = at, self._display.phase(PHASES[at])
        self._shown(share, f"{words}, member {slowest + 1} is last")

    def ended(self, member: int) -> None:
        """A member is done, and nobody waits for it."""
        self.heard((member, PHASES[-1], 1.0, ""))


@dataclass(kw_only=True)
class _Telling:
    """The display of a member in a process of its own. It ends the work when it is told to, or when nobody is there to tell."""

    member: int
    words: Queue[Said]
    stop: Event
    parent: int
    said: float = field(default=0.0)

    def phase(self, name: str) -> Shown:
        def shown(share: float, words: str) -> None:
            if self.stop.is_set() or os.getppid() != self.parent:
                raise KeyboardInterrupt
            if (now := time.monotonic()) - self.said >= SAY_SECONDS:
                self.said = now
                self.words.put((self.member, name, share, words))

        shown(0.0, "")
        return shown


_told: tuple[Queue[Said], Event, int]  # of a process that trains for another one


def _begin(words: Queue[Said], stop: Event, parent: int) -> None:
    global _told
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C is for the process that asked: it tells the others
    _told = words, stop, parent


def _train_here(work: Work) -> int:
    words, stop, parent = _told
    work.train(_Telling(member=work.member, words=words, stop=stop, parent=parent))
    return work.member


def side_by_side(works: Sequence[Work], processes: int, shown: Slowest) -> None:
    """Train members at the same time; when one fails, or Ctrl-C is pressed, the others write a checkpoint and stop."""
    context = get_context("spawn")
    words: Queue[Said] = context.Queue()
    stop = context.Event()
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(words, stop, os.getpid()))
    waiting: set[Future[int]] = set()
    try:
        waiting = {pool.submit(_train_here, work) for work in works}
        while waiting:
            ended, waiting = wait(waiting, timeout=SAY_SECONDS, return_when="FIRST_COMPLETED")
            _listen(words, shown)
            for future in ended:
                shown.ended(future.result())
    except BrokenProcessPool as error:
        raise TrainingStopped(
            "a process that trained a member ended without a word, as it does when memory runs out: go on with --resume, "
            "or train fewer members"
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        words.close()


def _listen(words: Queue[Said], shown: Slowest) -> None:
    while True:
        try:
            shown.heard(words.get_nowait())
        except queue.Empty:
            return
