"""Every benchmark starts as its own first lines say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "benchmarks").rglob("*.py"))}
COMMANDS = {name: said[1] for name, text in SCRIPTS.items() if (said := re.search(r"^    python (.+)$", text, re.MULTILINE))}


def test_what_needs_its_neighbours_is_started_as_a_module() -> None:
    """A script that is started by its path finds what lies beside it, and no package `benchmarks`."""
    assert len(COMMANDS) > 20
    for name, command in COMMANDS.items():
        module, path = f"-m {name.removesuffix('.py').replace('/', '.')}", name
        assert command.split(" [")[0].startswith((module, path)), name
        if re.search(r"^(from|import) benchmarks", SCRIPTS[name], re.MULTILINE):
            assert command.startswith(module), f"{name} cannot be started by its path"


@pytest.mark.parametrize("name", ["benchmarks/tables/success.py", "benchmarks/shifts.py"])
def test_a_command_answers(name: str) -> None:
    words = COMMANDS[name].split()[:2]
    shown = subprocess.run([sys.executable, *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "usage" in shown.stdout
