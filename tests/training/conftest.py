"""One store of the point world for every test that only reads it."""

from __future__ import annotations

import pytest

from point_world import record
from tacit.data import EpisodeStore


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    """Twelve random walks of 20 and 21 actions; the last two are for holding out."""
    return record(tmp_path_factory.mktemp("point") / "store")
