"""Nobody waits for the disk, and what it did is known."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from driven_point import Maker, decided, drive, made, session

from tacit.assurance import Began, Gap, Ledger, LedgerError, Recorded, check
from tacit.assurance.canonical import ArrayDigest, digest_of_array
from tacit.assurance.ledger_writer import os as writer_os
from tacit.assurance.replay import entries


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "machine.ledger"


def test_digests_prove_inputs_without_keeping_them(path: Path) -> None:
    observation, decision = decided()
    goal = np.array([[0.5, 0.5]], np.float32)
    with Ledger(path, session(), inputs="digest") as ledger:
        ledger.begin({"state": goal})
        ledger.add(observation, decision)
    began, entry = list(entries(path))[1:3]
    assert isinstance(began, Began)
    assert began.goal == {"state": digest_of_array(goal)}
    assert entry.inputs == {"state": digest_of_array(np.array([0.1, 0.2]))}
    assert isinstance(entry.inputs["state"], ArrayDigest)


def test_it_syncs_by_itself(path: Path) -> None:
    observation, decision = decided()
    with Ledger(path, session(), sync_seconds=0.02) as ledger:
        ledger.add(observation, decision)
        until = time.monotonic() + 10
        while ledger.head.count < 2 and time.monotonic() < until:
            time.sleep(0.005)
        assert check(path).synced.count == 2


def test_a_disk_that_hangs_never_holds_a_decision_up_and_what_is_lost_is_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    going = threading.Event()
    real = os.fsync
    observation, decision = decided()
    with Ledger(path, session(), queue_bytes=20_000, sync_seconds=0.01) as ledger:
        monkeypatch.setattr(writer_os, "fsync", lambda handle: (going.wait(20), real(handle))[1])
        ledger.add(observation, decision)
        time.sleep(0.1)  # the writing thread now waits for the disk
        began = time.perf_counter()
        kept = [ledger.add(observation, decision) for _ in range(50)]
        ledger.begin()
        assert time.perf_counter() - began < 1.0
        lost = kept.count(False)
        assert 0 < lost < 50
        assert ledger.lost == lost
        going.set()
        ledger.sync()
        assert ledger.add(observation, decision)
    found = list(entries(path))
    gap = next(entry for entry in found if isinstance(entry, Gap))
    assert (gap.step, gap.decisions, gap.episodes) == (51 - lost, lost, 1)
    steps = [entry.step for entry in made(path)]
    assert steps == [*range(51 - lost), 51]
    assert made(path)[-1].episode == 1


def test_a_full_disk_is_tried_again_and_leaves_no_trace(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, is_full = os.pwrite, [True]

    def pwrite(handle: int, data: memoryview, place: int) -> int:
        if not is_full[0]:
            return real(handle, data, place)
        real(handle, data[:40], place)  # a part of it
        raise OSError(errno.ENOSPC, "No space left on device")

    with Ledger(path, session()) as ledger:
        monkeypatch.setattr(writer_os, "pwrite", pwrite)
        actor = Recorded(Maker()(session()), ledger)
        drive(actor, 3)
        with pytest.raises(OSError, match="No space left"):
            ledger.sync()
        assert ledger.fault is not None
        assert len(drive(actor, 3)) == 3, "decisions are made all the same"
        is_full[0] = False
        assert ledger.sync().count == 7
        assert ledger.fault is None
    assert check(path).finding is None
    assert len(made(path)) == 6


def test_a_disk_that_stays_full_is_raised_at_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pwrite(handle: int, data: memoryview, place: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    ledger = Ledger(path, session())
    monkeypatch.setattr(writer_os, "pwrite", pwrite)
    ledger.add(*decided())
    with pytest.raises(OSError, match="No space left"):
        ledger.close()
    assert check(path).records == 1


def test_a_sync_that_failed_is_never_believed_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    ledger = Ledger(path, session())
    head = ledger.head
    monkeypatch.setattr(writer_os, "fsync", fsync)
    ledger.add(*decided())
    with pytest.raises(LedgerError, match="the disk failed"):
        ledger.sync()
    monkeypatch.undo()
    assert not ledger.add(*decided())
    assert (ledger.head, ledger.lost) == (head, 1)
    with pytest.raises(LedgerError, match="the disk failed"):
        ledger.close()
    assert check(path, head).records >= 1
