"""From foreign logs to a store by the command line: draft, dry run, import, export and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tacit.cli import main
from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.signals import Role, Schema, Signal, mask_of

MAPPING = """
period = 1.0
[options]
time = "t"
time_unit = "s"
[episodes]
min_steps = 5
[signals.level]
source = "LI1"
role = "observation"
unit = "m"
[signals.valve]
source = "FV1"
role = "action"
unit = "%"
"""


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = [f"{t},{rng.normal():.3f},{rng.uniform(0, 100):.1f}" for t in range(60) if not 20 <= t < 30]
    (tmp_path / "plant.csv").write_text("t,LI1 [m],FV1 [%]\n" + "\n".join(rows) + "\n")
    (tmp_path / "mapping.toml").write_text(MAPPING)
    return tmp_path


def test_formats_are_listed_with_what_they_need(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["formats"]) == 0
    shown = capsys.readouterr().out
    for name in ("lerobot", "hdf5", "mcap", "table", "video", "donkeycar", "npz"):
        assert name in shown
    assert "pip install 'tacit[formats]'" in shown


def test_a_draft_imports_once_its_roles_are_right(plant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "plant.csv", "--draft", "draft.toml"]) == 0
    assert "tacit import plant.csv --mapping draft.toml" in capsys.readouterr().out
    draft = (plant / "draft.toml").read_text()
    assert 'unit = "m"' in draft
    assert main(["import", "plant.csv", "--draft", "draft.toml"]) == 1, "a draft that was edited is not overwritten"
    (plant / "draft.toml").write_text(draft.replace('source = "FV1"\nrole = "observation"', 'source = "FV1"\nrole = "action"'))
    assert main(["import", "plant.csv", "--mapping", "draft.toml", "--out", "store"]) == 0
    assert EpisodeStore(plant / "store").schema.actions[0].name == "FV1"


def test_a_dry_run_shows_and_writes_nothing(plant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "plant.csv", "--mapping", "mapping.toml", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "2 episodes of 22, 29 actions" in shown
    assert "nothing was written" in shown
    assert sorted(p.name for p in plant.iterdir()) == ["mapping.toml", "plant.csv"]


def test_gaps_are_cut_and_said(plant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "plant.csv", "--mapping", "mapping.toml", "--out", "store"]) == 0
    shown = capsys.readouterr().out
    assert "plant.csv: cut after 22.000 s" in shown
    assert "store: 2 episodes" in shown
    store = EpisodeStore(plant / "store")
    assert store[1].time[0] == 30.0


def test_a_store_goes_out_to_lerobot_and_comes_back(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "data", "--out", "published", "--labels"]) == 0
    assert main(["import", "published", "--out", "back"]) == 0, "its own format leaves nothing to guess"
    there, back = EpisodeStore("data"), EpisodeStore("back")
    assert back.schema == there.schema
    assert back.lengths.tolist() == there.lengths.tolist()
    for one, other in zip(there, back, strict=True):
        np.testing.assert_array_equal(one.signals["move"], other.signals["move"])
        np.testing.assert_array_equal(one.signals["position"], other.signals["position"])
        difference = np.abs(one.signals["image"].astype(int) - other.signals["image"])
        assert difference.mean() < 3
    assert main(["train", "back", "--out", "again", "--size", "xs", "--steps", "4", "--threads", "1"]) == 0


def test_masks_go_out_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    level = Signal(name="level", role=Role.OBSERVATION, shape=(2,))
    schema = Schema(signals=(level, mask_of(level), Signal(name="valve", role=Role.ACTION)), period=0.5)
    rng = np.random.default_rng(0)
    valid = rng.random((13, 2)) > 0.3
    signals = {"level": rng.normal(size=(13, 2)).astype("f4"), "level.valid": valid, "valve": rng.normal(size=12).astype("f4")}
    with EpisodeWriter.create(tmp_path / "store", schema) as writer:
        writer.add(Episode(signals=signals, time=0.5 * np.arange(13)))
    assert main(["export", "store", "--out", "published"]) == 0
    assert main(["import", "published", "--out", "back"]) == 0
    back = EpisodeStore("back")
    assert back.schema == schema
    for name, values in signals.items():
        np.testing.assert_array_equal(back[0].signals[name], values)


def test_a_bad_take_is_an_exit_code_and_the_others_are_kept(
    plant: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (plant / "takes").mkdir()
    for number in (1, 2):
        np.savez(plant / f"takes/{number}.npz", LI1=np.arange(20.0), FV1=np.arange(20.0), time=np.arange(20.0))
    (plant / "takes/3.npz").write_bytes(b"broken")
    (plant / "npz.toml").write_text(MAPPING.replace('[options]\ntime = "t"\ntime_unit = "s"\n', ""))
    assert main(["import", "takes", "--mapping", "npz.toml", "--out", "store"]) == 1
    assert "take '3.npz'" in capsys.readouterr().err
    assert len(EpisodeStore(plant / "store")) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plant.csv", "--out", "store"], "nothing in plant.csv says which channels are actions"),
        (["plant.csv", "--mapping", "mapping.toml"], "give --out FOLDER"),
        (["nowhere.csv", "--mapping", "mapping.toml", "--out", "store"], "nowhere.csv does not exist"),
        (["plant.csv", "--mapping", "none.toml", "--out", "store"], "none.toml: cannot be read"),
        (["plant.csv", "--mapping", "mapping.toml", "--out", "store", "--format", "bag"], "there is no format 'bag'"),
    ],
)
def test_mistakes_are_explained(plant: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["import", *words]) == 1
    assert message in capsys.readouterr().err
    assert not (plant / "store").exists()


def test_a_mistake_in_a_mapping_has_its_line(plant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plant / "mapping.toml").write_text(MAPPING.replace('unit = "m"', 'unit = "mm"'))
    assert main(["import", "plant.csv", "--mapping", "mapping.toml", "--out", "store"]) == 1
    assert "mapping.toml:11: signals.level.unit: the source says that 'LI1' is in 'm'" in capsys.readouterr().err
