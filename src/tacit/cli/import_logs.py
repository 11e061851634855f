"""`tacit import`: make an episode store out of foreign logs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from tacit.cli.info import signals
from tacit.cli.terminal import Stopped, Terminal, clock, stoppable

if TYPE_CHECKING:
    from tacit.data.importing import Prepared, TakeDone
    from tacit.data.mapping import LogMapping

MOST_LINES = 20  # of takes with something to say
TRIED = 3  # episodes that a dry run makes


@dataclass(frozen=True, kw_only=True)
class Import:
    """Import logs of another format into an episode store; an interrupted import goes on where it was.

    $ tacit import plant.csv --draft mapping.toml                            # a first mapping, to be edited
    $ tacit import plant.csv --mapping mapping.toml --out data/x --dry-run   # what would happen
    $ tacit import plant.csv --mapping mapping.toml --out data/plant
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """File or folder; `tacit formats` lists what can be read."""
    out: Path | None = None
    """Folder of the store."""
    mapping: Path | None = None
    """Mapping file: which channels become which signals. Needed unless the format itself says what is an action."""
    format: str | None = None
    """Name of the format; left out, it is recognised by its contents."""
    draft: Path | None = None
    """Write a first mapping to this file, and import nothing."""
    dry_run: bool = False
    """Show what would come out, and import nothing."""
    jobs: int = 1
    """Processes that read side by side; with more than one, the import needs twice the room for a while."""


def run(options: Import, terminal: Terminal) -> int:
    from tacit.data import EpisodeStore
    from tacit.data.importing import parts_of, prepare, read_ledger
    from tacit.data.importing import run as import_all

    if options.draft is not None:
        return write_draft(options, terminal, options.draft)
    if options.out is None and not options.dry_run:
        raise ValueError("where should the store go? give --out FOLDER, or --dry-run to see what would come out")
    out = options.out or Path("store")
    prepared = prepare(options.source, mapping_of(options), format=options.format)
    describe(prepared, out, terminal)
    if options.dry_run:
        return try_out(prepared, terminal)

    def state() -> Stopped:
        if parts_of(out).exists():
            return Stopped(f"what each process has finished is in {parts_of(out)}", terminal.command)
        done = f"{len(read_ledger(out)):,} of {len(prepared.found.takes):,} takes are in {out}" if out.exists() else "nothing was written"
        return Stopped(done, terminal.command)

    with stoppable(state), terminal.phases() as phases:
        takes = import_all(prepared, out, jobs=options.jobs, progress=phases.phase("import"))
    store = EpisodeStore(out)
    bad = report(takes, terminal)
    terminal.say(
        f"{out}: {len(store):,} episodes, {int(store.lengths.sum()) + len(store):,} moments, {clock(store.seconds)} of logs, "
        f"{store.nbytes / 1e6:,.0f} MB. Next: tacit audit {out}"
    )
    if not len(store):
        raise ValueError("no episode came out: see what was cut and why above, above all max_age and min_steps in the mapping")
    return 1 if bad else 0


def mapping_of(options: Import) -> LogMapping:
    """The mapping file, or the draft where the format leaves nothing to guess."""
    from tacit.data.first_mapping import draft, roles_known
    from tacit.data.importing import reader_of
    from tacit.data.mapping import LogMapping

    if options.mapping is not None:
        return LogMapping.from_toml(options.mapping)
    reader = reader_of(options.source, options.format)
    found = reader.describe(options.source, {})
    if not roles_known(found.channels):
        raise ValueError(
            f"nothing in {options.source} says which channels are actions: write a first mapping with --draft mapping.toml, edit it, "
            "and give it with --mapping mapping.toml"
        )
    return LogMapping.from_text(draft(str(options.source), reader.name, found))


def write_draft(options: Import, terminal: Terminal, path: Path) -> int:
    from tacit.atomic import atomic_write
    from tacit.data.first_mapping import draft
    from tacit.data.importing import reader_of

    if path.exists():
        raise ValueError(f"{path} already exists; name another file, so that nothing that was edited is lost")
    reader = reader_of(options.source, options.format)
    found = reader.describe(options.source, {})
    atomic_write(path, draft(str(options.source), reader.name, found))
    takes = len(found.takes)
    terminal.say(f"{path}: {len(found.channels):,} channels of {takes:,} take{'s' if takes != 1 else ''} ({reader.name}). Edit it, then:")
    terminal.say(f"tacit import {options.source} --mapping {path} --out STORE --dry-run")
    return 0


def describe(prepared: Prepared, out: Path, terminal: Terminal) -> None:
    """What the store will hold, and how large it will be."""
    terminal.show(signals(prepared.schema))
    takes = len(prepared.found.takes)
    words = (
        f"{prepared.source}: {prepared.format.name}, {takes:,} take{'s' if takes != 1 else ''}, control period {prepared.schema.period:g} s"
    )
    if (expected := prepared.estimate(out)) is None:
        terminal.say(f"{words}; the source does not tell how long it is")
    else:
        terminal.say(f"{words}; up to {expected.moments:,} moments, {expected.nbytes / 1e6:,.0f} MB of {expected.free / 1e9:,.0f} GB free")
    for line in prepared.delays:
        terminal.say(line)


def try_out(prepared: Prepared, terminal: Terminal) -> int:
    """Align the beginning of the first take, and store nothing."""
    from tacit.data import Episode
    from tacit.data.alignment.align import AlignmentNotes

    take = prepared.found.takes[0]
    made = list(islice(prepared.episodes(take), TRIED + 1))
    episodes = [item for item in made if isinstance(item, Episode)][:TRIED]
    notes = [line for item in made if isinstance(item, AlignmentNotes) for line in item.words()]
    more = " so far" if len(episodes) == TRIED and not any(isinstance(item, AlignmentNotes) for item in made) else ""
    terminal.say(f"tried take {take!r}{more}: {len(episodes)} episodes of {', '.join(f'{e.steps:,}' for e in episodes) or 'no'} actions")
    for line in notes:
        terminal.say(f"  {line}")
    terminal.say("nothing was written")
    return 0 if episodes else 1


def report(takes: tuple[TakeDone, ...], terminal: Terminal) -> int:
    """Say what was done to the takes; the number of bad ones."""
    bad = [done for done in takes if done.fault]
    lines = [f"{done.take}: {note}" for done in takes for note in done.notes]
    for line in lines[:MOST_LINES]:
        terminal.say(line)
    if len(lines) > MOST_LINES:
        terminal.say(f"and {len(lines) - MOST_LINES:,} more notes, in imported.jsonl of the store")
    for done in bad[:MOST_LINES]:
        terminal.warn(f"take {done.take!r}: {done.fault} ({done.episodes:,} episodes before that were kept)")
    if len(bad) > MOST_LINES:
        terminal.warn(f"and {len(bad) - MOST_LINES:,} more")
    return len(bad)
