"""The chain of a ledger's records: each names the digest of the one before, and a head kept elsewhere names the last.

    machine.ledger         one record a line: SHA-256 of the rest of the line in hex, a space, and canonical JSON
    machine.ledger.head    HASH:COUNT of the last record that is safely on disk, replaced in one step at every sync
    machine.ledger.torn-N  what a killed process left of a record, cut off when the ledger was opened again

Every record holds its number (`n`, from 0), the ledger's own name (`ledger`, drawn at random when it was made) and the SHA-256 of the
record before (`previous`). Whoever changes a record must change all that follow, and the head with them: so a head that a person keeps
where the machine cannot write proves everything up to it. `sha256sum` can check a line, and any JSON tool can read one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from tacit.assurance.canonical import canonical

START = "0" * 64  # what the first record names as the one before
_HEX = 64  # letters of a SHA-256
_FIELDS = {"n": int, "ledger": str, "previous": str, "kind": str}


class LedgerError(RuntimeError):
    """A ledger cannot be read, or must not be written to."""


class Damage(StrEnum):
    """What is wrong with a record."""

    CHANGED = "changed"  # its bytes are not those that were written
    DROPPED = "dropped"  # it is missing, and later ones are there
    REORDERED = "reordered"  # it stands further behind
    REPEATED = "repeated"  # an earlier one stands here again
    FOREIGN = "foreign"  # one of another ledger stands here
    TRUNCATED = "truncated"  # it and all that follow are missing
    REPLACED = "replaced"  # it is whole, but not the one that a head names
    HEADLESS = "headless"  # nothing tells how many there were


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last of so many records; kept elsewhere, it proves all of them.

    Attributes:
        hash: SHA-256 of the last record, in hex.
        count: Number of records.
    """

    hash: str
    count: int

    def __str__(self) -> str:
        return f"{self.hash}:{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read HASH:COUNT.

        Raises:
            ValueError: The text is something else.
        """
        match = re.fullmatch(r"([0-9a-f]{64}):([1-9][0-9]*)", text.strip())
        if match is None:
            raise ValueError(f"{text.strip()[:90]!r} is not a head: give HASH:COUNT, as the file beside the ledger has it")
        return cls(hash=match[1], count=int(match[2]))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The first record that is not what it was.

    Attributes:
        record: Its number.
        damage: What is wrong.
        sentence: The same for a person.
    """

    record: int
    damage: Damage
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check of a ledger found.

    Attributes:
        records: Number of records that are right, from the first one on.
        bytes: That they take.
        torn_bytes: Of a record that is not whole at the end of the file, which no head knows: one that is being written, or that a killed
            process was writing.
        head: Of the records that are right; None when there are none.
        synced: What the file beside the ledger says; None when there is no such file.
        finding: The first record that is wrong, or None.
    """

    records: int
    bytes: int
    torn_bytes: int
    head: Head | None
    synced: Head | None
    finding: Finding | None


def line_of(values: Mapping[str, Any], *, ledger: str, head: Head | None) -> tuple[bytes, Head]:
    """The line of a record, and the head it makes.

    Args:
        values: What it holds.
        ledger: Name of the ledger.
        head: Of the records before it.
    """
    count, previous = (0, START) if head is None else (head.count, head.hash)
    text = canonical({**values, "n": count, "ledger": ledger, "previous": previous})
    found = hashlib.sha256(text).hexdigest()
    return b"%s %s\n" % (found.encode("ascii"), text), Head(hash=found, count=count + 1)


def head_path(ledger: Path) -> Path:
    """The file that holds a ledger's head."""
    return ledger.with_name(ledger.name + ".head")


def read_head(ledger: Path) -> Head | None:
    """The head that stands beside a ledger, None when there is none.

    Raises:
        ValueError: The file holds something else.
    """
    try:
        return Head.parse(head_path(ledger).read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def records(path: str | Path) -> Iterator[dict[str, Any]]:
    """The records of a ledger, up to the first that is not right; `check` says whether that is all of them.

    Raises:
        OSError: The file cannot be read.
    """
    chain = _Chain()
    with Path(path).open("rb") as file:
        for line in file:
            record = _read(line)
            if record is None or chain.misfit(record) is not None:
                return
            chain.take(record, line)
            yield record


def check(path: str | Path, head: Head | None = None) -> Checked:
    """Compare every record with its digest and with the one before, and the last with the heads.

    Args:
        path: The ledger; it may be in use.
        head: One that was kept elsewhere. Without it, the file beside the ledger must be there.

    Raises:
        OSError: The file cannot be read.
    """
    path = Path(path)
    try:
        synced, unreadable = read_head(path), None
    except ValueError as error:  # read before the ledger, which may be growing
        synced, unreadable = None, str(error)
    heads = [h for h in (head, synced) if h is not None]
    promised = max((h.count for h in heads), default=0)
    chain, torn, finding = _Chain(marks={h.count for h in heads}), 0, None
    with path.open("rb") as file:
        for line in file:
            record = _read(line)
            if record is None and not line.endswith(b"\n"):
                torn = len(line) + len(file.read())
            elif record is None:
                finding = _changed(chain.count)
            else:
                finding = _misfit(path, chain, record) if chain.misfit(record) else None
            if torn or finding is not None:
                break
            assert record is not None
            chain.take(record, line)
    if finding is None and chain.count < promised:
        finding = Finding(
            record=chain.count,
            damage=Damage.TRUNCATED,
            sentence=f"record {chain.count:,} is missing, and all that followed it: there were {promised:,}"
            + (f" ({torn:,} bytes of it are left)" if torn else ""),
        )
    for known in heads:
        if known.count <= chain.count and (finding is None or finding.record >= known.count) and chain.marks[known.count] != known.hash:
            finding = Finding(
                record=known.count - 1,
                damage=Damage.REPLACED,
                sentence=f"record {known.count - 1:,} is not the one that the head {'given' if known is head else 'beside the ledger'} "
                "names: it, or one before it, was written anew, or the head belongs to another ledger",
            )
    if finding is None and (unreadable or not heads):
        why = f"the file of the head is damaged: {unreadable}" if unreadable else "the file of the head is missing"
        finding = Finding(
            record=chain.count,
            damage=Damage.HEADLESS,
            sentence=f"{why}; records cut off at the end would not be seen, so give a head that was kept elsewhere",
        )
    return Checked(records=chain.count, bytes=chain.bytes, torn_bytes=torn, head=chain.head, synced=synced, finding=finding)


class _Chain:
    """Records that are right, one after another, from the first one on."""

    def __init__(self, marks: set[int] | None = None) -> None:
        self.count = self.bytes = 0
        self.ledger: str | None = None
        self.hash = START
        self.marks: dict[int, str] = dict.fromkeys(marks or (), "")  # hash of the last of so many records

    @property
    def head(self) -> Head | None:
        return Head(hash=self.hash, count=self.count) if self.count else None

    def misfit(self, record: Mapping[str, Any]) -> str | None:
        """The field for which a record cannot be the next one, None when it can."""
        if self.ledger is not None and record["ledger"] != self.ledger:
            return "ledger"
        if record["n"] != self.count:
            return "n"
        return None if record["previous"] == self.hash else "previous"

    def take(self, record: Mapping[str, Any], line: bytes) -> None:
        self.count += 1
        self.bytes += len(line)
        self.ledger, self.hash = record["ledger"], line[:_HEX].decode("ascii")
        if self.count in self.marks:
            self.marks[self.count] = self.hash


def _read(line: bytes) -> dict[str, Any] | None:
    """The record of a line, None when it is not as it was written."""
    text = line[_HEX + 1 : -1]
    if line[-1:] != b"\n" or line[_HEX : _HEX + 1] != b" " or hashlib.sha256(text).hexdigest().encode("ascii") != line[:_HEX]:
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    is_record = isinstance(record, dict) and all(type(record.get(name)) is kind for name, kind in _FIELDS.items())
    return record if is_record else None


def _changed(number: int) -> Finding:
    return Finding(record=number, damage=Damage.CHANGED, sentence=f"record {number:,} has changed: its bytes do not have its digest")


def _misfit(path: Path, chain: _Chain, record: Mapping[str, Any]) -> Finding:
    """Why a whole record stands where it does not belong."""
    place, number = chain.count, record["n"]
    if chain.misfit(record) == "ledger":
        damage, what = Damage.FOREIGN, f"a record of another ledger ({record['ledger']}) stands in the place of record {place:,}"
    elif number < place:
        damage, what = Damage.REPEATED, f"record {number:,} stands again in the place of record {place:,}"
    elif number > place and _is_later(path, chain):
        damage, what = Damage.REORDERED, f"record {number:,} stands in the place of record {place:,}, which comes later"
    elif number > place:
        damage, what = Damage.DROPPED, f"record {place:,} is missing: record {number:,} stands in its place"
    else:
        damage, what = Damage.CHANGED, f"record {place:,} does not follow the record before it: one of the two was written anew"
    return Finding(record=place, damage=damage, sentence=what)


def _is_later(path: Path, chain: _Chain) -> bool:
    """Whether the record that is missing here stands further behind."""
    with path.open("rb") as file:
        file.seek(chain.bytes)
        found = (_read(line) for line in file)
        return any(r is not None and r["n"] == chain.count and r["ledger"] == chain.ledger for r in found)
