"""The audit tells logs that can teach from logs that cannot, names the part at fault, and never reads a label."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import plants
import pytest
from numpy.typing import NDArray

from tacit.data import Episode, EpisodeStore, EpisodeWriter, split
from tacit.data.audit import Answer, Audit, Finding, Severity, audit
from tacit.data.auditing import regression
from tacit.data.auditing.likeness import Likeness, likeness
from tacit.signals import Role, Schema, Signal, mask_of

SMALL = {"count": 16, "steps": 150}
KINDS = {
    "well excited": ("steps", "white", "dithered pi", "setpoint steps", "sines"),
    "constant": ("held", "regulated pi", "readback", "held per episode", "regulated proportional"),
    "pure feedback": ("proportional", "pid", "saturated", "relay", "slow setpoint"),
}


def stops(found: Audit) -> list[Finding]:
    return [f for f in found.verdict.reasons if f.severity is Severity.STOP]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", KINDS)
def test_the_verdict_is_what_the_logs_were_made_for(tmp_path: Path, case: str, seed: int) -> None:
    found = audit(plants.stored(tmp_path / "logs", plants.episodes(case, KINDS[case][seed], seed, bend=0.4 * (seed % 2), **SMALL)))
    if case == "well excited":
        assert found.verdict.answer in (Answer.READY, Answer.CARE), found.verdict.sentence
        assert {f.subject for f in found.effects.findings if f.severity is Severity.FINE} == set(plants.ACTUATORS)
        return
    assert found.verdict.answer is Answer.NOT_ENOUGH
    themes = {"constant": ("excitation", "feedback", "effects"), "pure feedback": ("feedback",)}[case]
    assert stops(found)[0].theme in themes
    assert found.verdict.sentence.startswith("Not enough. ")


@pytest.mark.parametrize(("how", "seed"), [("still", 0), ("disconnected", 1), ("still", 1), ("disconnected", 2), ("disconnected", 3)])
def test_a_dead_actuator_is_named(tmp_path: Path, how: str, seed: int) -> None:
    found = audit(plants.stored(tmp_path / "logs", plants.episodes("dead actuator", f"{how}, steps", seed, **SMALL)))
    assert {f.subject for f in stops(found)} == {plants.ACTUATORS[plants.dead_of(seed)]}
    assert stops(found)[0].theme == ("excitation" if how == "still" else "effects")


def test_dead_times_are_those_of_the_plant(tmp_path: Path) -> None:
    plant = replace(plants.plant(7), dead=(0, 4), sensing=0.002, process=0.01)
    logs = []
    for number in range(20):
        rng = np.random.default_rng([7, number])
        y, u = plant.run(plants.excited(plant, rng, "white", 100), 100, rng)
        logs.append(episode(y, u))
    found = audit(plants.stored(tmp_path / "logs", iter(logs)))
    assert found.effects.dead_times() == {"valve": 0, "pump": 4}


def test_a_reaction_is_not_an_effect(tmp_path: Path) -> None:
    """A disconnected valve that follows the level correlates with what the level does next; it moves nothing."""

    def logs() -> Iterator[Episode]:
        for number in range(20):
            rng = np.random.default_rng([8, number])
            level = plants.wandering(rng, 101, 0.9, 1.0, columns=3)
            valve = 0.5 * level[:100, 1] + 0.3 * rng.normal(size=100)
            yield episode(level, np.stack([valve, rng.normal(size=100)], axis=1) / 4)

    found = audit(plants.stored(tmp_path / "logs", logs()))
    assert found.effects.dead_times() == {}
    assert {f.subject for f in stops(found)} == {"valve", "pump"}


def test_a_sensor_that_repeats_the_command_is_no_feedback(tmp_path: Path) -> None:
    """The flow behind a valve that a person moves now and then: the audit asks about clocks, and does not speak of a controller."""
    plant = replace(plants.plant(7), dead=(0, 0), sensing=0.01)
    logs = []
    for number in range(20):
        rng = np.random.default_rng([8, number])
        y, u = plant.run(plants.excited(plant, rng, "steps", 150), 150, rng)
        y[:-1, 2] = u[:, 0] + rng.normal(0, 0.01 * u[:, 0].std(), len(u))
        y[-1, 2] = y[-2, 2]
        logs.append(episode(y, u))
    found = audit(plants.stored(tmp_path / "logs", logs))
    assert found.verdict.answer is Answer.CARE, found.verdict.sentence
    valve = next(f for f in found.feedback if f.action == "valve")
    assert valve.shows_at_once
    assert not valve.is_law
    assert valve.explained > 0.9
    assert "shows in a sensor in the very step" in valve.finding.sentence


def test_actions_on_the_wrong_row_are_found(tmp_path: Path) -> None:
    plant = replace(plants.plant(9), dead=(0, 0))
    shifted = {-1: "earlier", 0: "its own row", 1: "next row"}
    for shift, words in shifted.items():
        logs = []
        for number in range(16):
            rng = np.random.default_rng([9, number])
            y, u = plant.run(plants.excited(plant, rng, "white", 100), 100, rng)
            logs.append(episode(y[2:-2], np.roll(u, shift, axis=0)[2:-2]))
        found = audit(plants.stored(tmp_path / words.replace(" ", "-"), iter(logs))).alignment
        assert found is not None
        assert found.shifts[int(np.argmax(found.gains))] == shift
        assert words in found.finding.sentence
        assert (found.finding.severity is Severity.FINE) == (shift == 0)


def test_sick_sensors_and_clocks_are_named(tmp_path: Path) -> None:
    schema = Schema(
        signals=(*plants.PLANT.signals, Signal(name="flow.valid", role=Role.OBSERVATION, dtype="bool")), period=plants.PLANT.period
    )

    def logs() -> Iterator[Episode]:
        for good in plants.episodes("well excited", "steps", 11, **SMALL):
            temperature, level = good.signals["temperature"].copy(), good.signals["level"].copy()
            temperature[40:60] = temperature[40]
            level = np.minimum(level, 0.02)
            valid = np.ones(151, bool)
            valid[:10] = False
            time = good.time.copy()
            time[50:] += 2.0
            yield Episode(signals={**good.signals, "temperature": temperature, "level": level, "flow.valid": valid}, time=time)

    found = audit(plants.stored(tmp_path / "logs", logs(), schema))
    health = {s.sensor: s for s in found.sensors}
    assert set(health) == {"temperature", "level", "flow"}
    assert health["temperature"].stuck == pytest.approx(20 / 151, abs=0.01)
    assert health["temperature"].longest == 20
    assert "up to 20 in a row" in health["temperature"].finding.sentence
    assert health["level"].saturated > 0.1
    assert "end of its range" in health["level"].finding.sentence
    assert health["flow"].dropped == pytest.approx(10 / 151)
    assert "marked missing on 7 %" in health["flow"].finding.sentence
    assert found.clock.gaps == 16
    assert found.clock.longest == pytest.approx(2.5)
    assert "Cut the episodes at the gaps" in found.clock.finding.sentence


CAMERA = Schema(
    signals=(
        Signal(name="camera", role=Role.OBSERVATION, shape=(32, 32, 3), dtype="uint8"),
        Signal(name="push", role=Role.ACTION, shape=(2,), dtype="float64"),
    ),
    period=0.1,
)


def filmed(number: int, *, lost: float = 0.0, blank: bool = False) -> Episode:
    """A bright square that the pushes move over a dark floor."""
    rng = np.random.default_rng([12, number])
    push = rng.uniform(-3, 3, (60, 2))
    place = np.clip(np.cumsum(np.concatenate([rng.uniform(8, 24, (1, 2)), push]), axis=0), 3, 28)
    rows, columns = np.mgrid[:32, :32]
    frames: NDArray[np.uint8] = np.zeros((61, 32, 32, 3), np.uint8)
    for frame, (x, y) in zip(frames, place, strict=True):
        frame[...] = np.clip(255 - 60 * np.hypot(columns - x, rows - y), 10, 255)[..., None]
    for t in np.flatnonzero(rng.random(60) < lost) + 1:
        frames[t] = frames[t - 1]
    if blank:
        frames[::5] = 0
    return Episode(signals={"camera": frames, "push": push}, time=0.1 * np.arange(61.0))


def test_cameras_are_read_and_their_faults_found(tmp_path: Path) -> None:
    good = audit(plants.stored(tmp_path / "good", (filmed(n) for n in range(12)), CAMERA))
    assert good.verdict.answer is not Answer.NOT_ENOUGH
    assert good.effects.dead_times() == {"push[0]": 0, "push[1]": 0}
    strongest = {a: max((p for p in good.effects.pairs if p.action == a), key=lambda p: p.by_lag[0]).sensor for a in ("push[0]", "push[1]")}
    assert strongest == {"push[0]": "camera~column", "push[1]": "camera~row"}
    lossy = audit(plants.stored(tmp_path / "lossy", (filmed(n, lost=0.15) for n in range(12)), CAMERA)).cameras[0]
    at_the_wall = good.cameras[0].frozen
    assert good.cameras[0].finding.severity is Severity.FINE
    assert lossy.frozen == pytest.approx(at_the_wall + 0.15 * (1 - at_the_wall), abs=0.05)
    assert "frames were lost" in lossy.finding.sentence
    blank = audit(plants.stored(tmp_path / "blank", (filmed(n, blank=True) for n in range(12)), CAMERA)).cameras[0]
    assert blank.blank == pytest.approx(13 / 61)
    assert "blank on 21 %" in blank.finding.sentence


def test_copies_across_the_split_are_counted(tmp_path: Path) -> None:
    logs = list(plants.episodes("well excited", "steps", 13, count=16, steps=40))

    def found(name: str, episodes: list[Episode]) -> Likeness:
        return likeness(plants.stored(tmp_path / name, iter(episodes)), held_out=0.3, split_seed=0, seed=0)

    once, twice = found("once", logs), found("twice", logs * 3)
    assert (once.copies, once.near) == (0, 0)
    assert twice.copies > 0.7 * twice.held_out
    assert "Remove the copies" in twice.finding.sentence
    rng = np.random.default_rng(0)
    touched = [replace(e, signals={n: v + 1e-4 * rng.normal() for n, v in e.signals.items()}) for e in logs]
    nearly = found("nearly", logs + touched)
    assert nearly.copies == 0
    train, held_out = split(range(32), held_out=0.3)
    assert nearly.near == sum((n + 16) % 32 in train for n in held_out)


def test_the_audit_is_repeatable_json_without_labels(tmp_path: Path) -> None:
    schema = Schema(signals=(*plants.PLANT.signals, Signal(name="truth", role=Role.LABEL, dtype="float64")), period=plants.PLANT.period)
    logs = list(plants.episodes("well excited", "white", 14, **SMALL))

    def labelled(size: float) -> EpisodeStore:
        rng = np.random.default_rng(0)
        return plants.stored(
            tmp_path / f"labels-{size}",
            (Episode(signals={**e.signals, "truth": size * rng.normal(size=151)}, time=e.time) for e in logs),
            schema,
        )

    one, other = audit(labelled(1.0)), audit(labelled(100.0))
    assert one.to_json() == other.to_json()
    values = json.loads(one.to_json())
    assert values["format"] == "tacit-audit"
    assert values["verdict"]["answer"] == one.verdict.answer
    assert "truth" not in one.to_json()


def test_progress_ends_at_one_and_never_goes_back(tmp_path: Path) -> None:
    shares: list[float] = []
    audit(
        plants.stored(tmp_path / "logs", plants.episodes("well excited", "white", 15, **SMALL)),
        progress=lambda share, words: shares.append(share),
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_little_and_broken_stores_are_explained(tmp_path: Path) -> None:
    tiny = audit(plants.stored(tmp_path / "tiny", plants.episodes("well excited", "white", 16, count=1, steps=3)))
    assert tiny.verdict.answer is Answer.NOT_ENOUGH
    assert any("3 steps are too few" in f.sentence for f in tiny.verdict.reasons)
    empty = plants.stored(tmp_path / "empty", iter(()))
    with pytest.raises(ValueError, match="no readable episode; import or record"):
        audit(empty)
    blind = Schema(signals=(Signal(name="push", role=Role.ACTION),), period=1.0)
    with EpisodeWriter.create(tmp_path / "blind", blind) as writer:
        writer.add(Episode(signals={"push": np.zeros(2, np.float32)}, time=np.arange(3.0)))
    with pytest.raises(ValueError, match="no observation"):
        audit(EpisodeStore(tmp_path / "blind"))


def test_one_long_episode_is_cut_and_scored(tmp_path: Path) -> None:
    found = audit(plants.stored(tmp_path / "long", plants.episodes("well excited", "steps", 17, count=1, steps=1500)))
    assert found.verdict.answer is Answer.CARE
    assert found.predictability.forecasts[0].low > 0
    assert any("too few to hold any out" in f.sentence for f in found.verdict.reasons)


def test_a_switching_law_is_a_law() -> None:
    rng = np.random.default_rng(18)
    x = rng.normal(size=(2000, 3))
    fold = regression.folds(np.arange(2000) // 50)
    y = np.where(x @ [1.0, -2.0, 0.5] > 0.3, 2.0, -1.0)
    found = regression.of_few_levels(x, y, fold)
    assert found is not None
    assert ((found - y) ** 2).mean() < 0.02 * y.var()
    assert regression.of_few_levels(x, x[:, 0], fold) is None
    noise = rng.permutation(y)
    held_out = regression.of_few_levels(x, noise, fold)
    assert held_out is not None
    assert ((held_out - noise) ** 2).mean() > 0.95 * y.var()


def episode(y: NDArray[np.float64], u: NDArray[np.float64]) -> Episode:
    """Observations (T+1, 3) and commands (T, 2) as an episode of the plant."""
    signals = {"temperature": y[:, 0], "level": y[:, 1], "flow": y[:, 2], "valve": u[:, 0], "pump": u[:, 1]}
    return Episode(
        signals={name: np.ascontiguousarray(v) for name, v in signals.items()}, time=plants.PLANT.period * np.arange(len(y), dtype=float)
    )


def test_one_long_episode_beside_short_ones_is_audited(tmp_path: Path) -> None:
    long = plants.episodes("well excited", "steps", 17, count=1, steps=1500)
    short = plants.episodes("well excited", "steps", 17, count=9, steps=4)
    found = audit(plants.stored(tmp_path / "logs", [*short, *long]))
    assert found.verdict.answer in (Answer.READY, Answer.CARE)


@pytest.mark.parametrize("held_out", [-0.1, 10.0])
def test_a_share_is_a_share(tmp_path: Path, held_out: float) -> None:
    store = plants.stored(tmp_path / "logs", plants.episodes("well excited", "steps", 1, **SMALL))
    with pytest.raises(ValueError, match="must be a share between 0 and 1"):
        audit(store, held_out=held_out)


def test_a_hung_camera_is_seen_under_commands_of_a_few_levels_and_a_mask_of_one_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    level = Signal(name="x", role=Role.OBSERVATION, shape=(1,), dtype="float64")
    camera = Signal(name="cam", role=Role.OBSERVATION, shape=(8, 8, 3), dtype="uint8")
    schema = Schema(signals=(camera, level, mask_of(level), Signal(name="u", role=Role.ACTION, dtype="float64")), period=0.1)
    frame = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    with EpisodeWriter.create(tmp_path / "logs", schema) as writer:
        for _ in range(30):
            u = rng.choice([-1.0, 0.0, 1.0], 60, p=[0.35, 0.3, 0.35])
            x = np.concatenate([[0.0], np.cumsum(u)])[:, None] * 0.1 + rng.normal(0, 0.01, (61, 1))
            signals = {"cam": np.repeat(frame[None], 61, 0), "x": x, "x.valid": rng.random((61, 1)) > 0.6, "u": u}
            writer.add(Episode(signals=signals, time=0.1 * np.arange(61)))
    found = audit(EpisodeStore(tmp_path / "logs"))
    said = " ".join(f.sentence for f in stops(found))
    assert "cam" in said
    assert "x[0] is marked missing" in said


def test_an_analyser_that_keeps_its_rate_misses_nothing(tmp_path: Path) -> None:
    """Between two samples of a slow sensor its mask is False; only a sample that was to come and did not is missing."""
    grade = Signal(name="grade", role=Role.OBSERVATION, rate=1.0)
    schema = Schema(signals=(*plants.PLANT.signals, grade, mask_of(grade)), period=plants.PLANT.period)
    every = round(1 / schema.period)
    assert every > 1

    def logs(kept: int) -> Iterator[Episode]:
        for good in plants.episodes("well excited", "steps", 12, **SMALL):
            number = np.arange(151)
            valid = (number % every == 0) & (number // every % 4 < kept)
            yield Episode(signals={**good.signals, "grade": np.float32(number // every), "grade.valid": valid}, time=good.time)

    for kept, missing in ((4, 0.0), (3, 0.25)):
        found = audit(plants.stored(tmp_path / f"logs{kept}", logs(kept), schema))
        assert {s.sensor: s.dropped for s in found.sensors}["grade"] == pytest.approx(missing, abs=0.03)
