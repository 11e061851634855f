"""`tacit ledger`: whether a ledger is what was written, and whether its decisions come out again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from tacit.cli.terminal import Stopped, Terminal, stoppable

if TYPE_CHECKING:
    from tacit.assurance.replay import Replayed


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Compare every record with its digest and the one before; the exit code is 1 when one was changed, dropped, moved or added.

    $ tacit ledger verify line3.ledger --head HASH:COUNT
    """

    ledger: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="LEDGER")]
    """The ledger."""
    head: Annotated[str | None, tyro.conf.arg(metavar="HASH:COUNT", help_behavior_hint="(default: the file beside it)")] = None
    """A head that was kept elsewhere: it proves all records until then, also against somebody who can write here."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Make the decisions again, from what was observed, and compare them bit for bit; the exit code is 1 when one differs.

    $ tacit ledger replay line3.ledger runs/rooms
    """

    ledger: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="LEDGER")]
    """The ledger, with full inputs."""
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run that decided."""
    task: Annotated[Path | None, tyro.conf.arg(metavar="TASK", help_behavior_hint="(default: the one in the ledger)")] = None
    """The task file that should have been asked; another one is refused."""
    monitor: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: that of the run)")] = None
    """The monitor of that time, if the run was calibrated again since."""


@dataclass(frozen=True, kw_only=True)
class LedgerOptions:
    """Verify a ledger of decisions, or replay it."""

    what: Annotated[
        Annotated[Verify, tyro.conf.subcommand("verify", prefix_name=False)]
        | Annotated[Replay, tyro.conf.subcommand("replay", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]


def run(options: LedgerOptions, terminal: Terminal) -> int:
    with stoppable(lambda: Stopped("nothing was changed", terminal.command)):
        return verify(options.what, terminal) if isinstance(options.what, Verify) else replay(options.what, terminal)


def verify(options: Verify, terminal: Terminal) -> int:
    from tacit.assurance.chain import Head, check

    found = check(options.ledger, None if options.head is None else Head.parse(options.head))
    if found.finding is not None:
        terminal.say(f"{found.finding.damage}: {found.finding.sentence}")
        terminal.say(f"{found.records:,} records before it are as they were written")
        return 1
    terminal.say(f"{found.records:,} records, all as they were written")
    terminal.say(f"head: {found.head}")
    if found.torn_bytes:
        terminal.warn(f"{found.torn_bytes:,} bytes of a further record: it is being written, or a killed process was writing it")
    if options.head is None:
        terminal.warn("compared with the head beside the ledger only: keep the line above elsewhere, and give it with --head next time")
    return 0


def replay(options: Replay, terminal: Terminal) -> int:
    from tacit.assurance.entries import Opened
    from tacit.assurance.monitor import Calibration
    from tacit.assurance.replay import entries
    from tacit.assurance.session import Session
    from tacit.planning import Task
    from tacit.run import load
    from tacit.run_replay import replayed

    trained = load(options.run)
    if options.task is not None:
        asked = Session(model=trained.digest, schema=trained.schema, task=Task.from_toml(options.task)).task_digest
        for entry in entries(options.ledger):
            if isinstance(entry, Opened) and entry.session.task_digest != asked:
                raise ValueError(
                    f"{options.task} was not what was asked: its SHA-256 is {asked}, that of the ledger's task {entry.session.task_digest}"
                )
    monitor = None if options.monitor is None else Calibration.load(options.monitor, trained.schema, trained.fingerprint)
    with terminal.phases() as phases:
        shown = phases.phase("replay")
        found = replayed(trained, options.ledger, monitor=monitor, progress=lambda done: shown(0.0, f"{done:,} decisions"))
    for line in outcome(found):
        terminal.say(line)
    return 0 if found.difference is None else 1


def outcome(found: Replayed) -> list[str]:
    """What came out, for a person."""
    lines = [f"{found.same:,} decisions came out the same, bit for bit"]
    if found.skipped:
        lines.append(f"{found.skipped:,} decisions stand behind a gap in their session and cannot be made again")
    lines += [f"this is another build: {name} was {was} and is {now}" for name, was, now in found.builds]
    if (first := found.difference) is not None:
        lines += [f"step {first.step} did not: {first.what} differs", f"  recorded: {first.recorded}", f"  now:      {first.replayed}"]
    return lines
