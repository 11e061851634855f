"""A run on disk: back bit by bit, and every damage by the name of its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from trained import fresh

from point_world import SCHEMA, model_config, recipe
from tacit.models.heads import GoalPolicy, HeadConfig, TemporalDistance
from tacit.signals import Schema
from tacit.training.calibration import Calibration
from tacit.training.folder import (
    FORMAT_VERSION,
    RunConfig,
    RunError,
    merge_results,
    read_config,
    read_results,
    read_run,
    versions,
    write_run,
)

HEAD = HeadConfig(width=32, depth=2)
FILES = ("config.json", "schema.json", "model.safetensors", "calibration.json")
Change = Callable[[dict[str, Any]], object]


def parts(latent: int = 8) -> dict[str, Any]:
    """The parts of a run, with random weights."""
    model = fresh(SCHEMA, model_config(latent=latent))
    torch.manual_seed(1)
    model.actions.set(torch.tensor([0.1, 0.2]), torch.tensor([0.3, 0.4]))
    made = recipe(steps=10, head_steps=10)
    return {
        "config": RunConfig(
            recipe=made,
            seed=3,
            store="logs",
            source={"world": "point", "seed": 0, "nested": {"list": [1, 2.5, None]}},
            train_episodes=10,
            held_out_episodes=2,
            held_out=0.15,
            versions=versions(),
        ),
        "model": model,
        "distance": TemporalDistance(latent, HEAD),
        "policy": GoalPolicy(latent, 2, 2, HEAD),
        "calibration": Calibration(
            one_step=(0.25, 0.5), prediction=(0.1,), stay=(0.2,), shuffled=(0.3,), distance_bias=(-1.5,), episodes=2
        ),
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", **parts())
    return tmp_path / "run"


def test_everything_comes_back_bit_by_bit(run: Path) -> None:
    wrote = parts()
    config, model, distance, policy, calibration = read_run(run)
    assert config == wrote["config"]
    assert calibration == wrote["calibration"]
    assert model.schema == SCHEMA.without_labels()
    torch.manual_seed(1)
    expected = {"distance": TemporalDistance(8, HEAD), "policy": GoalPolicy(8, 2, 2, HEAD), "model": wrote["model"]}
    for name, module in {"model": model, "distance": distance, "policy": policy}.items():
        theirs = expected[name].state_dict()
        assert module.state_dict().keys() == theirs.keys()
        assert all(torch.equal(value, theirs[key]) for key, value in module.state_dict().items()), name
        assert not any(p.requires_grad for p in module.parameters())
    assert sorted(p.name for p in run.iterdir()) == sorted(FILES), "and no temporary file is left"


def test_no_label_is_written_down(run: Path) -> None:
    assert "pose" not in (run / "schema.json").read_text()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(RunError, match=rf"{name}.*(missing|no such file)|has no {name}"):
        read_run(run)


@pytest.mark.parametrize("name", ["config.json", "schema.json", "calibration.json"])
@pytest.mark.parametrize("contents", [b"{", b"[]", b"\xff\xfe", b""])
def test_a_file_that_is_no_json_object_is_named(run: Path, name: str, contents: bytes) -> None:
    (run / name).write_bytes(contents)
    with pytest.raises(RunError, match=rf"{name}.*JSON"):
        read_run(run)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("config.json", lambda v: v.update(surprise=1), "surprise"),
        ("config.json", lambda v: v["recipe"]["jepa"]["encoder"].update(surprise=1), "surprise"),
        ("config.json", lambda v: v.pop("seed"), "seed"),
        ("config.json", lambda v: v["recipe"]["train"].update(batch="many"), "batch"),
        ("config.json", lambda v: v["recipe"].update(size="xxl"), "size"),
        ("config.json", lambda v: v["recipe"]["train"].update(minutes=3.0), "either steps or minutes"),
        ("config.json", lambda v: v.update(version=FORMAT_VERSION + 1), f"version {FORMAT_VERSION + 1}.*reads version {FORMAT_VERSION}"),
        ("config.json", lambda v: v.pop("version"), "version None"),
        ("schema.json", lambda v: v.pop("period"), "period"),
        ("schema.json", lambda v: v["signals"][0].update(role="spy"), "spy"),
        ("schema.json", lambda v: v["signals"][0].update(surprise=1), "surprise"),
        ("schema.json", lambda v: v["signals"].pop(0), "no observation"),
        ("calibration.json", lambda v: v.update(surprise=1), "surprise"),
        ("calibration.json", lambda v: v.pop("stay"), "stay"),
        ("calibration.json", lambda v: v.update(stay=["near"]), "stay"),
        ("calibration.json", lambda v: v.update(one_step=3), "one_step"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(run: Path, name: str, change: Change, words: str) -> None:
    values = json.loads((run / name).read_text())
    change(values)
    (run / name).write_text(json.dumps(values))
    with pytest.raises(RunError, match=rf"(?s){name}.*{words}"):
        read_run(run)


def test_mixed_up_files_of_two_runs_are_refused(run: Path) -> None:
    (run / "schema.json").write_text(json.dumps(Schema(signals=SCHEMA.without_labels().signals, period=0.5).to_json()))
    with pytest.raises(RunError, match=r"model.safetensors belongs to another schema than .*schema.json"):
        read_run(run)


def test_weights_of_another_size_are_refused(run: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "large", **parts(latent=16))
    (tmp_path / "large" / "model.safetensors").replace(run / "model.safetensors")
    with pytest.raises(RunError, match=r"model.safetensors does not fit.*shape \(16, 32\) instead of \(8, 32\)"):
        read_run(run)


def test_changed_or_cut_weights_are_refused(run: Path) -> None:
    path = run / "model.safetensors"
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[-1] ^= 1
    for contents, words in ((flipped, "bytes have changed"), (data[:-4], "damaged")):
        path.write_bytes(contents)
        with pytest.raises(RunError, match=rf"model.safetensors.*{words}"):
            read_run(run)


def test_what_is_no_run_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run"):
        read_config(tmp_path / "none")
    with pytest.raises(RunError, match=r"is not a run: it has no config\.json"):
        read_config(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(RunError, match=r"training has not finished; go on with .*--resume"):
        read_config(tmp_path)


def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    broken = parts()
    values = {**broken["calibration"].__dict__, "stay": (float("nan"),)}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_run(tmp_path / "run", **broken | {"calibration": Calibration(**values)})
    with pytest.raises(RunError):
        read_run(tmp_path / "run")


def test_results_are_merged_by_section(tmp_path: Path) -> None:
    assert read_results(tmp_path) == {}
    merge_results(tmp_path, {"train": {"steps": 1}, "seed": 0})
    assert merge_results(tmp_path, {"train": {"seconds": 2.0}}) == {"train": {"seconds": 2.0}, "seed": 0}
    assert read_results(tmp_path) == {"train": {"seconds": 2.0}, "seed": 0}
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(RunError, match=r"results.json.*JSON"):
        merge_results(tmp_path, {"new": 1})
    assert (tmp_path / "results.json").read_text() == "{", "what cannot be read is not overwritten"
