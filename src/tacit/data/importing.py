"""Importing: the takes of a source become the episodes of a store.

    prepare    look at the source, fit the mapping to it, estimate what the mapping asks to estimate, and say what will come out
    run        read, align and store one take after the other; several processes may each take a share and are merged in order

Beside the episodes the store keeps `imported.jsonl`, a line when a take is begun and one when it is finished. A run that was interrupted,
killed even, goes on with the take that it was stopped in, after its last episode: alignment gives the same episodes every time.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tacit.data.alignment.align import AlignmentNotes, aligned
from tacit.data.alignment.mapped import schema_of
from tacit.data.alignment.synchronize import with_delays
from tacit.data.description import StoreError
from tacit.data.episode import Episode, EpisodeError
from tacit.data.formats import format_named, recognised
from tacit.data.mapping import LogMapping
from tacit.data.store import EpisodeStore
from tacit.data.streams import BadTake, Channel, Description, Format, SourceError
from tacit.data.writer import EpisodeWriter
from tacit.signals import Role, Schema

LEDGER = "imported.jsonl"
LOOK_SECONDS = 0.5  # between two looks at how far the other processes are

Progress = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class TakeDone:
    """What became of one take.

    Attributes:
        take: Its name.
        episodes: That came out of it.
        notes: What alignment did to it, in words a person can act on.
        fault: Why it could not be read to its end, or None.
    """

    take: str
    episodes: int
    notes: tuple[str, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an import will come to, before it starts.

    Attributes:
        moments: At most, when nothing is cut out.
        nbytes: Of the store, at most.
        free: Bytes free where it goes.
    """

    moments: int
    nbytes: int
    free: int


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A source and a mapping that fit together.

    Attributes:
        source: File or folder.
        format: That reads it.
        mapping: With every delay as a number.
        found: What the source holds.
        schema: Of the store.
        delays: What was estimated, in words.
        about: What else the store says of where it is from: JSON values.
    """

    source: Path
    format: Format
    mapping: LogMapping
    found: Description
    schema: Schema
    delays: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> Mapping[str, Channel]:
        """What the format found, by name."""
        return {channel.name: channel for channel in self.found.channels}

    def estimate(self, out: Path) -> Estimate | None:
        """What the store will come to; None when the source does not tell how long it is."""
        if self.found.seconds is None:
            return None
        moments = int(self.found.seconds / self.mapping.period) + len(self.found.takes)
        there = next(parent for parent in (out, *out.absolute().parents) if parent.exists())
        each = 8 + sum(signal.nbytes for signal in self.schema.signals)
        return Estimate(moments=moments, nbytes=moments * each, free=shutil.disk_usage(there).free)

    def episodes(self, take: str) -> Iterator[Episode | AlignmentNotes]:
        """The episodes of a take, and the notes of its alignment at the end.

        Raises:
            BadTake: The take is damaged; what came before is good.
            SourceError: The source cannot be read at all.
        """
        pieces = self.format.read(self.source, take, self.mapping.channels, self.mapping.options)
        yield from aligned(pieces, self.mapping, self.channels)

    def origin(self) -> dict[str, Any]:
        """What the store says of where it is from; the same for every part of the same import."""
        fixed = {key: value for key, value in asdict(replace(self.mapping, source=None)).items() if key != "source"}
        return {
            **self.about,
            "imported": {"from": str(self.source.absolute()), "format": self.format.name, "mapping": json.loads(json.dumps(fixed))},
        }


def prepare(
    source: Path,
    mapping: LogMapping,
    *,
    format: str | None = None,  # noqa: A002 (the word of the mapping)
    about: Mapping[str, Any] | None = None,
) -> Prepared:
    """Fit a mapping to a source.

    Args:
        source: File or folder.
        mapping: Which channels become which signals.
        format: Name of the format; None takes the mapping's, or recognises it.
        about: What else the store says of where it is from: JSON values.

    Raises:
        SourceError: The source cannot be read, or holds no take.
        MappingError: The mapping does not fit it, or a delay cannot be estimated.
    """
    reader = reader_of(source, format or mapping.format)
    found = reader.describe(source, mapping.options)
    if not found.takes:
        raise SourceError(f"{source} holds no take: nothing to import")
    channels = {channel.name: channel for channel in found.channels}
    schema = schema_of(mapping, channels)
    if not schema.having(Role.OBSERVATION) or not schema.having(Role.ACTION):
        missing = "observation" if schema.having(Role.ACTION) else "action"
        raise mapping.fault(f'no signal has role = "{missing}": without one a model has nothing to learn', "signals")
    fixed, words = with_delays(mapping, channels, lambda: reader.read(source, found.takes[0], mapping.channels, mapping.options))
    return Prepared(source=source, format=reader, mapping=fixed, found=found, schema=schema, delays=words, about=about or {})


def reader_of(source: Path, name: str | None) -> Format:
    """The format of a source: the one named, or the one recognised."""
    if not source.exists():
        raise SourceError(f"{source} does not exist")
    return format_named(name) if name else recognised(source)


def run(prepared: Prepared, out: Path, *, jobs: int = 1, progress: Progress | None = None) -> tuple[TakeDone, ...]:
    """Fill a store, or go on where an earlier run of the same import was stopped.

    Args:
        prepared: What to import.
        out: Folder of the store.
        jobs: Processes that read and align; with more than one the store is first written in parts, which takes twice its room.
        progress: Told the share done and a few words.

    Returns:
        What became of each take, in their order.

    Raises:
        StoreError: The folder holds something else, or there is not enough room.
        SourceError: The source cannot be read at all; single bad takes are reported, and the others imported.
    """
    expected = prepared.estimate(out)
    parts = parts_of(out)
    if expected is not None and not out.exists() and not parts.exists() and expected.nbytes * (2 if jobs > 1 else 1) > expected.free:
        raise StoreError(
            f"{out} would take up to {expected.nbytes / 1e9:,.1f} GB{' twice' if jobs > 1 else ''}, and {expected.free / 1e9:,.1f} GB are "
            "free: make room, map fewer or smaller cameras, or lengthen the period"
        )
    takes = prepared.found.takes
    if jobs <= 1 or len(takes) == 1:
        done_takes = fill(prepared, out, takes, prepared.episodes, progress)
        shutil.rmtree(parts, ignore_errors=True)  # of an earlier run with more jobs
        return done_takes
    jobs = min(jobs, len(takes))
    _run_parts(prepared, parts, jobs, progress)
    told: dict[str, TakeDone] = {}
    places: dict[str, tuple[EpisodeStore, range]] = {}
    for part in range(jobs):
        store, first = EpisodeStore(_part(parts, part, jobs)), 0
        for done in read_ledger(_part(parts, part, jobs)):
            told[done.take] = done
            places[done.take] = store, range(first, first + done.episodes)
            first += done.episodes

    def merged(take: str) -> Iterator[Episode]:
        store, numbers = places[take]
        yield from (store[number] for number in numbers)
        if (fault := told[take].fault) is not None:
            raise BadTake(fault)

    done_takes = fill(prepared, out, takes, merged, progress, told)
    shutil.rmtree(parts)
    return done_takes


def parts_of(out: Path) -> Path:
    """Folder of the parts of a store that several processes are filling."""
    return out.with_name(out.name + ".parts")


def fill(
    prepared: Prepared,
    out: Path,
    takes: Iterable[str],
    episodes_of: Callable[[str], Iterator[Episode | AlignmentNotes]],
    progress: Progress | None = None,
    told: Mapping[str, TakeDone] | None = None,
) -> tuple[TakeDone, ...]:
    """Put the episodes of some takes into a store, in order, leaving out what an earlier run has put there.

    Args:
        prepared: Where they come from.
        out: Folder of the store.
        takes: Names.
        episodes_of: The episodes of a take, the same every time, with the notes of its alignment anywhere among them.
        progress: Told the share done and a few words.
        told: Notes of each take where `episodes_of` brings none.
    """
    takes = tuple(takes)
    begun = (out / "store.json").exists()  # maybe without an episode so far, and then the writer is false
    with EpisodeWriter.append(out) if begun else EpisodeWriter.create(out, prepared.schema, source=prepared.origin()) as writer:
        if dict(writer.source) != prepared.origin() or writer.schema != prepared.schema:
            raise StoreError(f"{out} holds another import or recording; choose another folder, or the mapping that it was made with")
        finished = {done.take: done for done in read_ledger(out)}
        kept = len(writer) - sum(done.episodes for done in finished.values())  # of the take that was interrupted
        if kept < 0:
            raise StoreError(f"{out / LEDGER} tells of more episodes than the store has; remove the folder and import again")
        # A take that gave nothing is tried again, after those that were never finished: the file may have been repaired.
        again = [take for take in takes if take in finished and finished[take].fault and not finished[take].episodes]
        results = {take: done for take, done in finished.items() if take not in again}
        shown = _Shown(prepared=prepared, of=len(takes), progress=progress)
        left = [take for take in takes if take not in finished] + again
        if kept and (stopped_in := _begun(out)) is not None:
            if stopped_in not in left:
                raise StoreError(
                    f"{out} was stopped in take {stopped_in!r}, which the source no longer has; remove the folder and import again"
                )
            left.sort(key=lambda take: take != stopped_in)
        for count, take in enumerate(left, start=len(results)):
            made, fault, notes = 0, None, told[take].notes if told else ()
            _note(out, {"take": take, "begun": True})
            try:
                for item in episodes_of(take):
                    if isinstance(item, AlignmentNotes):
                        notes = item.words()
                        continue
                    if made >= kept:
                        writer.add(item)
                    made += 1
                    shown.seconds += float(item.time[-1] - item.time[0])
                    shown.tell(count, len(writer))
            except (BadTake, EpisodeError) as error:
                fault = str(error)
            results[take] = TakeDone(take=take, episodes=max(made, kept), notes=tuple(notes), fault=fault)
            kept = 0
            writer.sync()
            _note(out, asdict(results[take]))
            shown.tell(count + 1, len(writer))
    return tuple(results[take] for take in takes)


@dataclass(kw_only=True)
class _Shown:
    """How far an import is: in takes, or in recorded time where one long take would otherwise stand still."""

    prepared: Prepared
    of: int
    progress: Progress | None
    seconds: float = 0.0

    def tell(self, takes: int, episodes: int) -> None:
        if self.progress is None:
            return
        share = takes / self.of
        if self.of == 1 and takes == 0 and self.prepared.found.seconds:
            share = min(1.0, self.seconds / self.prepared.found.seconds)
        self.progress(share, f"take {min(takes + 1, self.of):,} of {self.of:,}, {episodes:,} episodes")


def read_ledger(out: Path) -> tuple[TakeDone, ...]:
    """The finished takes of a store, the latest word on each; a last line that was cut short by a crash does not count."""
    if not (out / LEDGER).exists():
        return ()
    latest: dict[str, TakeDone] = {}
    for line in (out / LEDGER).read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
            done = TakeDone(**{**values, "notes": tuple(values["notes"])})
            latest.pop(done.take, None)  # in the order of the latest words, which is that of the episodes
            latest[done.take] = done
        except (json.JSONDecodeError, TypeError, KeyError):
            continue
    return tuple(latest.values())


def _begun(out: Path) -> str | None:
    """The take that an earlier run was stopped in; None when it was stopped between two, or before it wrote anything."""
    for line in reversed((out / LEDGER).read_text(encoding="utf-8").splitlines() if (out / LEDGER).exists() else []):
        with contextlib.suppress(json.JSONDecodeError):
            values = json.loads(line)
            return str(values["take"]) if values.get("begun") else None
    return None


def _note(out: Path, values: Mapping[str, object]) -> None:
    with (out / LEDGER).open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            file.write(b"" if file.read() == b"\n" else b"\n")
        file.write(json.dumps(values).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _run_parts(prepared: Prepared, parts: Path, jobs: int, progress: Progress | None) -> None:
    """Import every `jobs`-th take into a part of its own, all at the same time."""
    parts.mkdir(parents=True, exist_ok=True)
    total = len(prepared.found.takes)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting: set[Future[None]] = {pool.submit(_fill_part, prepared, _part(parts, k, jobs), k, jobs) for k in range(jobs)}
        while waiting:
            done, waiting = wait(waiting, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for each in done:
                each.result()
            if progress:
                finished = sum(len(read_ledger(_part(parts, k, jobs))) for k in range(jobs))
                progress(finished / total, f"{finished:,} of {total:,} takes in {jobs} processes")


def _part(parts: Path, part: int, jobs: int) -> Path:
    """Folder of a part; another number of jobs deals the takes out anew, and begins others."""
    return parts / f"{part}-of-{jobs}"


def _fill_part(prepared: Prepared, out: Path, part: int, jobs: int) -> None:
    fill(prepared, out, prepared.found.takes[part::jobs], prepared.episodes)
