"""Talking to a person: lines, and the progress of one phase after another, on a terminal or in a log file."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

LINE_SECONDS = 10.0  # between two lines about a phase in a log file

Shown = Callable[[float, str], None]


class Stopped(Exception):
    """A person stopped a verb.

    Attributes:
        kept: What of the work is safe.
        again: The command that goes on.
    """

    def __init__(self, kept: str, again: str) -> None:
        self.kept, self.again = kept, again
        super().__init__(f"{kept}; go on with: {again}")


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """Where a verb talks to a person: results on `out`, progress and warnings on `err`.

    Attributes:
        command: What the person typed.
    """

    command: str
    out: Console = field(default_factory=lambda: Console(soft_wrap=True))
    err: Console = field(default_factory=lambda: Console(stderr=True, soft_wrap=True))

    def say(self, text: str = "") -> None:
        self.out.print(text, markup=False, highlight=False)

    def show(self, table: Table) -> None:
        self.out.print(table)

    def warn(self, text: str) -> None:
        self.err.print(f"warning: {text}", markup=False, highlight=False)

    def phases(self) -> Phases:
        """Progress of what follows, as a context manager."""
        return Phases(_Bars(self.err) if self.err.is_terminal else _Lines(self.err))

    def silenced(self) -> Terminal:
        """For the processes of a group that have nothing to say."""
        return replace(self, out=Console(quiet=True), err=Console(quiet=True))


@contextmanager
def stoppable(state: Callable[[], Stopped]) -> Iterator[None]:
    """Turn Ctrl-C into what a person wants to know.

    Args:
        state: Says what is safe and how to go on, at the moment of the interrupt.

    Raises:
        Stopped: Ctrl-C was pressed.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise state() from None


def counting(shown: Shown, unit: str) -> Callable[[int, int], None]:
    """Turns counts (done, all) into a share and a rate; what was done before the first call is not in the rate."""
    start: list[tuple[float, int]] = []

    def progress(done: int, total: int) -> None:
        now = time.perf_counter()
        start.append((now, done)) if not start else None
        since, first = start[0]
        rate = f", {(done - first) / (now - since):,.0f} per second" if done > first and now > since else ""
        shown(done / total, f"{done:,} of {total:,} {unit}{rate}")

    return progress


def clock(seconds: float) -> str:
    """A duration as a person reads it: `3.2 s`, `4:05`, `1:02:03`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _Painter(ABC):
    """How one phase is drawn."""

    @abstractmethod
    def begin(self, name: str) -> Shown:
        """A phase begins; the result draws its progress."""

    @abstractmethod
    def end(self, name: str, seconds: float, is_done: bool) -> None:
        """The phase is over, or was cut short."""

    @abstractmethod
    def close(self) -> None:
        """There are no more phases."""


@final
class Phases:
    """Progress of one phase after another; a `tacit.training.fit.Display`. A phase ends where the next one begins.

    Args:
        painter: How a phase is drawn.

    Attributes:
        seconds: Wall seconds of each phase that has ended, by its name.
    """

    def __init__(self, painter: _Painter) -> None:
        self.seconds: dict[str, float] = {}
        self._painter = painter
        self._running: tuple[str, float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end(is_done=kind is None)
        self._painter.close()

    def phase(self, name: str) -> Shown:
        """Begin a phase; the result takes the share done (0 to 1) and a few words."""
        self._end(is_done=True)
        self._running = name, time.perf_counter()
        return self._painter.begin(name)

    def _end(self, *, is_done: bool) -> None:
        if self._running is None:
            return
        name, began = self._running
        self._running = None
        spent = time.perf_counter() - began
        self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 2)
        self._painter.end(name, spent, is_done)


@final
class _Bars(_Painter):
    """One bar per phase, the last one moving."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:24}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left", style="dim"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}", markup=False),
            console=console,
        )
        self._progress.start()

    def begin(self, name: str) -> Shown:
        task = self._task = self._progress.add_task(name, total=1.0, words="")
        return lambda share, words: self._progress.update(task, completed=min(share, 1.0), words=words)

    def end(self, name: str, seconds: float, is_done: bool) -> None:
        if is_done:
            self._progress.update(self._task, completed=1.0)
        self._progress.stop_task(self._task)

    def close(self) -> None:
        self._progress.stop()


@final
class _Lines(_Painter):
    """A line when a phase begins, one every few seconds, and one when it ends: for log files."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, name: str) -> Shown:
        began = last = time.perf_counter()

        def show(share: float, words: str) -> None:
            nonlocal last
            now = time.perf_counter()
            if now - last >= LINE_SECONDS:
                last = now
                left = f", {clock((now - began) * (1 - share) / share)} left" if 0 < share <= 1 else ""
                self._print(f"{name}: {share:.0%}{left}, {words}")

        return show

    def end(self, name: str, seconds: float, is_done: bool) -> None:
        if is_done:  # what cut it short has its own line
            self._print(f"{name}: done after {clock(seconds)}")

    def close(self) -> None:
        pass

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)
