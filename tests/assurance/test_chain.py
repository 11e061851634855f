"""Every change of a ledger is found, and called by its name."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from driven_point import session, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.assurance import Damage, Head, check
from tacit.assurance.chain import head_path, records

Lines = list[bytes]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ledgers of the same machine."""
    folder = tmp_path_factory.mktemp("kept")
    for name in ("machine.ledger", "other.ledger"):
        write(folder / name, inputs="digest")
    return folder


@pytest.fixture
def path(kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept, tmp_path / "copy") / "machine.ledger"


def lines(path: Path) -> Lines:
    return path.read_bytes().splitlines(keepends=True)


def test_an_unchanged_one_verifies(path: Path) -> None:
    found = check(path)
    assert found.finding is None
    assert found.records == len(lines(path)) == 12  # opened, 2 episodes of 4 decisions, closed
    assert found.bytes == path.stat().st_size
    assert found.head == found.synced == Head.parse(head_path(path).read_text())
    assert check(path, found.head).finding is None
    assert [record["n"] for record in records(path)] == list(range(12))


def test_a_line_is_what_standard_tools_say(path: Path) -> None:
    head, text = lines(path)[3].rstrip(b"\n").split(b" ", 1)
    assert hashlib.sha256(text).hexdigest().encode() == head


def changed(at: int, place: int = 300) -> Callable[[Lines, Lines], Lines]:
    def change(own: Lines, other: Lines) -> Lines:
        line = bytearray(own[at])
        line[place] ^= 1
        return [*own[:at], bytes(line), *own[at + 1 :]]

    return change


CHANGES: dict[str, tuple[Callable[[Lines, Lines], Lines], int, Damage]] = {
    "a bit of a value": (changed(4), 4, Damage.CHANGED),
    "a bit of a digest": (changed(4, place=3), 4, Damage.CHANGED),
    "a record dropped": (lambda own, other: own[:5] + own[6:], 5, Damage.DROPPED),
    "the first ones dropped": (lambda own, other: own[2:], 0, Damage.DROPPED),
    "two that change places": (lambda own, other: [*own[:3], own[4], own[3], *own[5:]], 3, Damage.REORDERED),
    "one that stands again": (lambda own, other: [*own[:6], own[2], *own[6:]], 6, Damage.REPEATED),
    "the last one again": (lambda own, other: [*own, own[-1]], 12, Damage.REPEATED),
    "one of another ledger": (lambda own, other: [*own[:7], other[7], *own[8:]], 7, Damage.FOREIGN),
    "one more of another ledger": (lambda own, other: [*own, *other[-2:]], 12, Damage.FOREIGN),
    "the other ledger": (lambda own, other: other, 11, Damage.REPLACED),
    "the end cut off": (lambda own, other: own[:9], 9, Damage.TRUNCATED),
    "cut within a record": (lambda own, other: [*own[:9], own[9][:99]], 9, Damage.TRUNCATED),
    "nothing left": (lambda own, other: [], 0, Damage.TRUNCATED),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named(name: str, path: Path) -> None:
    change, record, damage = CHANGES[name]
    path.write_bytes(b"".join(change(lines(path), lines(path.with_name("other.ledger")))))
    finding = check(path).finding
    assert finding is not None
    assert (finding.record, finding.damage) == (record, damage)
    assert f"{record:,}" in finding.sentence or damage is Damage.REPLACED


def test_a_record_that_was_written_anew_with_its_own_digest_is_found_by_the_next(path: Path) -> None:
    own = lines(path)
    text = own[4][65:-1].replace(b'"act"', b'"fallback"')
    own[4] = hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"
    path.write_bytes(b"".join(own))
    finding = check(path).finding
    assert (finding.record, finding.damage) == (5, Damage.CHANGED)
    assert "does not follow the record before it" in finding.sentence


def test_a_whole_chain_that_was_written_anew_is_found_by_the_head_kept_elsewhere(path: Path, tmp_path: Path) -> None:
    head = check(path).head
    write(tmp_path / "forged.ledger", session(seed=1))
    assert check(tmp_path / "forged.ledger").finding is None
    assert check(tmp_path / "forged.ledger", head).finding.damage is Damage.REPLACED


def test_an_end_cut_off_together_with_its_head_is_found_by_the_head_kept_elsewhere(path: Path) -> None:
    head, own = check(path).head, lines(path)[:9]
    path.write_bytes(b"".join(own))
    head_path(path).write_text(f"{own[-1][:64].decode()}:9\n")
    assert check(path).finding is None
    finding = check(path, head).finding
    assert (finding.record, finding.damage) == (9, Damage.TRUNCATED)


def test_a_ledger_that_grew_since_the_head_was_kept_verifies(path: Path) -> None:
    head = check(path).head
    write(path)
    assert check(path, head).finding is None
    assert check(path, head).records == 2 * head.count


def test_without_its_head_it_needs_one_from_elsewhere(path: Path) -> None:
    head = check(path).head
    head_path(path).unlink()
    assert check(path).finding.damage is Damage.HEADLESS
    assert check(path, head).finding is None
    head_path(path).write_text("nonsense")
    assert check(path).finding.damage is Damage.HEADLESS
    assert "nonsense" in check(path).finding.sentence


def test_what_a_killed_process_tore_is_no_damage(path: Path) -> None:
    own = lines(path)
    head_path(path).write_text(f"{own[7][:64].decode()}:8\n")
    path.write_bytes(b"".join(own[:10]) + own[10][:100])
    found = check(path)
    assert found.finding is None
    assert (found.records, found.torn_bytes) == (10, 100)


@pytest.mark.parametrize("text", ["", "ab:3", f"{'a' * 64}:0", f"{'a' * 64}:x", f"{'G' * 64}:3", f"{'a' * 64}"])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a head"):
        Head.parse(text)
    assert Head.parse(f" {'a' * 64}:12\n") == Head(hash="a" * 64, count=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_byte_that_changes_is_found(kept: Path, tmp_path: Path, data: st.DataObject) -> None:
    contents = bytearray((kept / "machine.ledger").read_bytes())
    place, bits = data.draw(st.integers(0, len(contents) - 1)), data.draw(st.integers(1, 255))
    contents[place] ^= bits
    copy = tmp_path / "copy.ledger"
    copy.write_bytes(contents)
    shutil.copy(head_path(kept / "machine.ledger"), head_path(copy))
    assert check(copy).finding is not None
