"""Practice is cut where it arrives, is laid out as logs are, and is what the second training differs by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import practice as bench
from tacit.evaluation.baselines import RandomPolicy
from tacit.evaluation.protocol import Protocol, draw_manifest
from tacit.run import load
from tacit.training.fit import fit
from tacit.training.folder import read_run
from tacit.training.latents import LatentLog
from tacit.training.recipes import for_steps
from tacit.worlds import record, world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with logs of two rooms and a small run."""
    folder = tmp_path_factory.mktemp("made")
    store = record(world("two_room"), folder / "logs", episodes=8, steps=60)
    fit(store, folder / "run", for_steps("xs", 4, 4), held_out=0.25)
    return folder


def a_log(*steps: int) -> LatentLog:
    """Episodes of so many steps, whose latents and actions count the frames."""
    frames = torch.arange(sum(steps) + len(steps), dtype=torch.float32)[:, None]
    return bench._laid(frames, frames.clone(), torch.tensor(steps))


def test_logs_are_joined_and_chosen_from_as_they_are_laid_out() -> None:
    both = bench.joined([a_log(2, 3), a_log(4)])
    assert both.steps.tolist() == [2, 3, 4]
    assert both.first.tolist() == [0, 3, 7]
    assert both.latents[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4]
    some = bench.chosen(both, [2, 0])
    assert some.steps.tolist() == [4, 2]
    assert some.first.tolist() == [0, 5]
    assert some.latents[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_what_was_tried_ends_where_it_arrived(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "planner", lambda run, manifest: RandomPolicy(world("two_room")))
    manifest = draw_manifest(Protocol.standard("two_room", episodes=12))
    found, solved = bench.tried(load(made / "run"), manifest)
    assert 0 < solved < 12
    assert sum(len(each.actions) < 50 for each in found) >= solved - 1  # one may arrive with its last action
    assert all(len(values) == len(each.actions) + 1 for each in found for values in each.seen.values())
    _, model, *_ = read_run(made / "run")
    log = bench.encoded(model, found)
    assert log.steps.tolist() == [len(each.actions) for each in found]
    again = model.encode({name: torch.tensor(values)[None] for name, values in found[1].seen.items()})[0]
    torch.testing.assert_close(log.latents[log.first[1] : log.first[1] + log.steps[1] + 1], again)
    assert np.array_equal(log.actions[log.first[1] : log.first[1] + log.steps[1]], found[1].actions)


def test_predictors_alone_are_trained_on_and_all_three_are_judged(made: Path, tmp_path: Path) -> None:
    options = bench.Options(
        run=made / "run",
        world="two_room",
        logs=made / "logs",
        scenes=4,
        minutes=0.01,
        episodes=2,
        work=tmp_path,
        json=tmp_path / "found.json",
    )
    bench.main(options)
    found = json.loads(options.json.read_text())
    assert set(found["judged"]) == {bench.AS_IS, bench.LOGS, bench.BOTH}
    assert all(one["episodes"] == 2 for one in found["judged"].values())
    assert found["practised_steps"] > 0
    _, before, distance, *_ = read_run(made / "run")
    _, after, same, *_ = read_run(tmp_path / "trained-on-logs-and-practice")
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in distance.state_dict().items())
    changed = {name.split(".")[0] for name, value in before.state_dict().items() if not torch.equal(value, after.state_dict()[name])}
    assert changed == {"predictor"}


def test_what_is_practised_is_not_judged() -> None:
    with pytest.raises(ValueError, match="practised and judged"):
        bench.Options(run=Path("run"), world="two_room", logs=Path("logs"), seed=2000)
