"""What every test shares: one torch thread, a drawing backend without a screen, and the browser."""

from __future__ import annotations

import os
import shutil

import matplotlib
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
matplotlib.use("Agg")
settings.register_profile("tacit", deadline=None)  # the first example of a process loads libraries
settings.load_profile("tacit")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of headless Chromium. Missing, it skips the test on a desk and fails it in CI (`CI=true`)."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    reason = "no chromium on the PATH: install Debian's package `chromium` to run the browser tests"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
