"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import tacit

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "src").rglob("*.py"))
MAX_BYTES = 1 << 20
MACHINE_PATH = r"(?<![\w.~$})-])/(?:work|root|home|Users|opt|mnt)/\w"
REGISTRY_HOST = r"(?:pypi|registry\.npmjs|deb\.debian)\.org|python(?:hosted)\.org"  # each client knows its own
FOREIGN = re.compile(f"{MACHINE_PATH}|{REGISTRY_HOST}")
SERIALISERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files belong to the house")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def dangers(source: str) -> Iterator[str]:
    """Ways in which a data file could run code, found in a module's source."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (f"import {n.name}" for n in names if n.name.split(".")[0] in SERIALISERS)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in SERIALISERS:
                yield f"from {module}"
            case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
                yield f"{name}()"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load"), keywords=words) if not truthy(words, "weights_only"):
                yield "torch.load() without weights_only=True"
            case ast.Call(keywords=words) if truthy(words, "allow_pickle"):
                yield "allow_pickle=True"


def truthy(words: list[ast.keyword], name: str) -> bool:
    return any(w.arg == name and isinstance(w.value, ast.Constant) and w.value.value is True for w in words)


def test_no_tracked_file_is_large() -> None:
    large = {str(p.relative_to(ROOT)): p.stat().st_size for p in tracked() if p.stat().st_size > MAX_BYTES}
    assert not large, f"files over 1 MiB belong elsewhere: {large}"


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:  # an image
            continue
        found += [f"{path.relative_to(ROOT)}:{n}: {line.strip()}" for n, line in enumerate(lines, 1) if FOREIGN.search(line)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text", ["see /" + "root/x", "'/" + "home/ann/data'", "https://pypi" + ".org/simple", "https://files.python" + "hosted.org/x"]
)
def test_foreign_paths_are_recognised(text: str) -> None:
    assert FOREIGN.search(text)


@pytest.mark.parametrize("text", ["runs/home/x", "~/home/x", "https://example.org/home/x", "/dev/shm"])
def test_ordinary_paths_are_not_foreign(text: str) -> None:
    assert not FOREIGN.search(text)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_module_says_what_it_holds_and_runs_no_data(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), f"{path.name} has no docstring"
    assert not list(dangers(source))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import dill.source",
        "from pickle import loads",
        "eval('1')",
        "exec('1')",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p, allow_pickle=True)",
    ],
)
def test_dangers_are_recognised(source: str) -> None:
    assert list(dangers(source))


def test_safe_code_is_no_danger() -> None:
    assert not list(dangers("model.eval(); torch.load(p, weights_only=True); np.load(p)"))


def test_public_names_exist() -> None:
    assert len(set(tacit.__all__)) == len(tacit.__all__)
    for name in tacit.__all__:
        assert getattr(tacit, name) is not None


def test_version_is_the_newest_in_the_changelog() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## \[?v?(\d[^\s\]]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest, "CHANGELOG.md has no entry like '## 0.1.0'"
    assert newest[1] == version


def test_everything_installed_is_pinned() -> None:
    """Every requirement in pyproject.toml has one exact version, valid on any machine (no local `+cpu` build)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.lower().split("==") for line in lines)
    assert not [line for line in lines if "+" in line]
    assert not [r for r in wanted if re.split(r"[\[<>=!~ ]", r, maxsplit=1)[0].lower() not in pins]
