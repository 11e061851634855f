"""A small store and a small run, made once by the command line itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typed_words import EVAL, RECORD, TRAIN

from tacit.cli import main
from tacit.evaluation import suites


@pytest.fixture(scope="session", autouse=True)
def few_replans() -> Iterator[None]:
    """Latency is not what these tests are about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suites, "REPLANS", 12)
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and `run`, to be copied and not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    assert main(["record", "two_room", "--out", str(folder / "data"), *RECORD]) == 0
    assert main(["train", str(folder / "data"), "--out", str(folder / "run"), *TRAIN]) == 0
    assert main(["eval", str(folder / "run"), *EVAL]) == 0
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a person who has recorded, trained and evaluated."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "here"))
    return Path.cwd()
