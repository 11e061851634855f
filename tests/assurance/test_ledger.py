"""The ledger keeps what was decided, never holds the control loop up, and goes on after every kind of end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from driven_point import Ceiling, Maker, decided, made, session, write

from tacit.assurance import Began, Closed, Gap, Ledger, LedgerError, Made, Opened, Reading, Recorded, check
from tacit.assurance.canonical import digest_of_array
from tacit.assurance.chain import head_path
from tacit.assurance.replay import entries
from tacit.planning import Decision, Verdict

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "machine.ledger"


def test_what_was_decided_is_kept_bit_for_bit(path: Path) -> None:
    told = session(limits=("ceiling",))
    observations = [{"state": np.array([0.1 * n, 0.2])} for n in range(3)]
    with Ledger(path, told) as ledger:
        actor = Recorded(Maker(limits=(Ceiling(),))(told), ledger)
        decisions = [actor.act(observation, applied=np.array([0.1, 0.2])) for observation in observations]
        assert ledger.steps == 3
    found = list(entries(path))
    assert [type(entry) for entry in found] == [Opened, Made, Made, Made, Closed]
    assert found[0].session.to_json() == told.to_json()
    assert (found[0].inputs, found[0].was_closed, found[0].cut) == ("full", None, None)
    for step, (entry, decision, observation) in enumerate(zip(found[1:4], decisions, observations, strict=True)):
        assert (entry.step, entry.episode, entry.verdict, entry.reason) == (step, 0, decision.verdict, decision.reason)
        assert entry.action.dtype == np.float32
        assert entry.action.tobytes() == decision.action.tobytes()
        assert entry.inputs["state"].tobytes() == observation["state"].tobytes()
        assert entry.applied.tolist() == [0.1, 0.2]
        assert entry.latents == digest_of_array(decision.latents[0].numpy())
        assert entry.plan.actions.tobytes() == decision.plan.actions[0].numpy().tobytes()
        assert entry.plan.margins.tobytes() == decision.plan.margins[0].numpy().tobytes()
        assert (float(entry.plan.cost), entry.plan.feasible) == (float(decision.plan.cost[0]), bool(decision.plan.feasible[0]))
        assert entry.plan.trajectory == digest_of_array(decision.plan.trajectory[0].numpy())
        assert entry.plan.spent == decision.plan.spent
        assert entry.evidence["surprise"] == decision.evidence.surprise
        assert entry.evidence["plan_ms"] == decision.evidence.plan_ms
    assert abs(found[1].time - time.time()) < 60


def test_arrays_are_copied_when_they_are_given(path: Path) -> None:
    observation, decision = decided()
    applied, action = np.array([0.5, 0.5]), decision.action.copy()
    with Ledger(path, session()) as ledger:
        ledger.add(observation, decision, applied=applied)
        for array in (observation["state"], decision.action, applied):
            array[:] = 9
    entry = made(path)[0]
    assert entry.inputs["state"].tolist() == [0.1, 0.2]
    assert entry.applied.tolist() == [0.5, 0.5]
    assert entry.action.tobytes() == action.tobytes()


def test_readings_and_what_is_missing(path: Path) -> None:
    _, decision = decided()
    with Ledger(path, session()) as ledger:
        readings = {"novelty": Reading(value=0.01, low=0.05), "speed": 3, "drift": Reading(value=float("nan"), high=1.0)}
        ledger.add({"state": None, "gauge": [1, 2]}, decision, readings=readings)
    entry = made(path)[0]
    assert entry.inputs["state"] is None
    assert entry.inputs["gauge"].tolist() == [1, 2]
    assert entry.readings["novelty"] == Reading(value=0.01, low=0.05)
    assert entry.readings["speed"] == Reading(value=3.0)
    assert np.isnan(entry.readings["drift"].value)
    assert {name: reading.is_alarm for name, reading in entry.readings.items()} == {"novelty": True, "speed": False, "drift": True}


def test_what_is_not_made_of_numbers_is_refused_and_leaves_the_ledger_whole(path: Path) -> None:
    observation, decision = decided()
    with Ledger(path, session()) as ledger:
        with pytest.raises(TypeError, match="'state' is not made of numbers"):
            ledger.add({"state": np.array(["high"])}, decision)
        for reading in ("high", Reading(value=np.zeros(2)), Reading(value=1.0, low="low")):
            with pytest.raises(TypeError, match="the reading 'novelty' is not made of numbers"):
                ledger.add(observation, decision, readings={"novelty": reading})
        assert ledger.add(observation, decision)
    assert [entry.step for entry in made(path)] == [0]


def test_a_head_counts_what_is_on_disk(path: Path) -> None:
    observation, decision = decided()
    with Ledger(path, session()) as ledger:
        assert ledger.head.count == 1
        ledger.add(observation, decision)
        head = ledger.sync()
        assert head == ledger.head == check(path).synced
        assert head.count == 2
        ledger.add(observation, decision)
    assert check(path, head).finding is None
    assert check(path).records == 4


def test_going_on_counts_on(path: Path) -> None:
    write(path, episodes=2, steps=3)
    write(path, session(seed=5), episodes=1, steps=2)
    found = list(entries(path))
    assert [entry.step for entry in found if isinstance(entry, Made)] == list(range(8))
    assert [entry.episode for entry in found if isinstance(entry, Began)] == [1, 2, 3]
    opened = [entry for entry in found if isinstance(entry, Opened)]
    assert [entry.was_closed for entry in opened] == [None, True]
    assert [entry.session.seed for entry in opened] == [0, 5]


def test_a_torn_end_is_kept_beside_and_said(path: Path) -> None:
    write(path, episodes=1, steps=3)
    own = path.read_bytes().splitlines(keepends=True)
    head_path(path).write_text(f"{own[3][:64].decode()}:4\n")
    path.write_bytes(b"".join(own[:4]) + own[4][:77])
    write(path, episodes=1, steps=2)
    opened = [entry for entry in entries(path) if isinstance(entry, Opened)][1]
    assert opened.was_closed is False
    assert opened.cut.bytes == 77
    assert path.with_name(opened.cut.kept_as).read_bytes() == own[4][:77]
    assert [entry.step for entry in made(path)] == [0, 1, 2, 3]
    assert check(path).finding is None


def test_records_that_a_power_failure_spoiled_behind_the_head_are_cut_too(path: Path) -> None:
    write(path, episodes=1, steps=3)
    own = path.read_bytes().splitlines(keepends=True)
    head_path(path).write_text(f"{own[2][:64].decode()}:3\n")
    path.write_bytes(b"".join(own[:3]) + bytes(len(own[3])) + own[4])
    write(path, episodes=1, steps=1)
    assert check(path).finding is None
    assert [entry.step for entry in made(path)] == [0, 1]


@pytest.mark.parametrize("spoil", ["changed", "truncated", "headless", "emptied"])
def test_a_damaged_one_is_not_written_to(path: Path, spoil: str) -> None:
    write(path, episodes=1, steps=3)
    own = path.read_bytes()
    if spoil == "headless":
        head_path(path).unlink()
    else:
        path.write_bytes({"changed": own.replace(b'"act"', b'"acT"', 1), "truncated": own[: len(own) // 2], "emptied": b""}[spoil])
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"does not verify: .* begin a new ledger"):
        Ledger(path, session())
    assert path.read_bytes() == before


def test_another_file_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine\n")
    with pytest.raises(LedgerError, match="does not verify"):
        Ledger(tmp_path / "notes.txt", session())
    assert (tmp_path / "notes.txt").read_text() == "mine\n"


def test_one_process_at_a_time(path: Path) -> None:
    with Ledger(path, session()), pytest.raises(LedgerError, match="another process writes"):
        Ledger(path, session())
    Ledger(path, session()).close()


def test_a_closed_one_says_so(path: Path) -> None:
    ledger = Ledger(path, session())
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="is closed: make a new Ledger"):
        ledger.add(*decided())


@pytest.mark.parametrize(("options", "text"), [({"inputs": "some"}, "inputs must be"), ({"sync_seconds": 0.0}, "must be positive")])
def test_options_are_checked(path: Path, options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Ledger(path, session(), **options)  # type: ignore[arg-type]
    assert not path.exists()


def test_what_was_lost_at_the_end_is_said_at_the_end(path: Path) -> None:
    with Ledger(path, session(), queue_bytes=1) as ledger:
        assert not ledger.add(*decided())
    gap = list(entries(path))[1]
    assert isinstance(gap, Gap)
    assert (gap.step, gap.decisions) == (0, 1)
    write(path, episodes=1, steps=1)
    assert [entry.step for entry in made(path)] == [1]


def test_an_error_in_the_block_comes_first(path: Path) -> None:
    with pytest.raises(KeyError), Ledger(path, session()):
        raise KeyError("mine")
    assert isinstance(list(entries(path))[-1], Closed)


def test_an_actor_that_refuses_leaves_no_record(path: Path) -> None:
    with Ledger(path, session()) as ledger:
        actor = Recorded(Maker()(session()), ledger)
        with pytest.raises(ValueError, match="is not an observation"):
            actor.act({"mood": 1.0})
        with pytest.raises(ValueError, match="is not an observation"):
            actor.reset({"mood": [1.0]})
    assert [type(entry) for entry in entries(path)] == [Opened, Closed]


def test_a_supervisor_can_be_recorded_in_the_place_of_a_controller(path: Path) -> None:
    controller = Maker()(session())

    def act(observation: dict[str, object], applied: object = None) -> Decision:
        return replace(controller.act(observation), action=np.zeros(2, np.float32), verdict=Verdict.ABSTAIN, reason="too new: holding")

    with Ledger(path, session()) as ledger:
        Recorded(SimpleNamespace(act=act, reset=controller.reset), ledger).act({"state": [0.0, 0.0]})
    assert (made(path)[0].verdict, made(path)[0].action.tolist()) == (Verdict.ABSTAIN, [0.0, 0.0])


def test_the_benchmark_in_small(tmp_path: Path) -> None:
    """Processes are killed while they write, copies are mutated, and calls are timed."""
    out = tmp_path / "ledger.json"
    words = ["--mutations", "120", "--kills", "5", "--seconds", "0.1", "--flat-steps", "20", "--json", str(out)]
    command = [sys.executable, "-W", "error", str(ROOT / "benchmarks/ledger.py"), *words]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"})
    found = json.loads(out.read_text())
    assert (found["mutations"]["made"], found["mutations"]["found"]) == (120, 120)
    assert found["mutations"]["the_unchanged_one_verifies"]
    assert found["kills"]["not_verified_up_to_the_synced_record"] == 0
    assert found["kills"]["with_records_on_disk"] > 0
    assert found["kills"]["goes_on_after_the_last_kill"]
    assert all(row["p50"] > 0 for row in found["microseconds_per_decision"].values())
