"""The door of the command line: help, exit codes, errors, interrupts."""

from __future__ import annotations

import errno
import subprocess
import sys
import typing
from dataclasses import dataclass
from pathlib import Path

import pytest

import tacit
from tacit import cli
from tacit.cli import evaluate, main, train
from tacit.cli.terminal import Stopped, Terminal
from tacit.training import recipes

VERBS = {
    "demo": True,
    "record": True,
    "info": False,
    "train": True,
    "eval": True,
    "check-task": False,
    "report": False,
}  # and whether it draws


@pytest.mark.parametrize(("verb", "draws"), VERBS.items())
def test_every_verb_explains_itself_with_an_example(verb: str, draws: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert f"$ tacit {verb} " in text
    assert ("--seed" in text) == draws


def test_no_words_ask_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"• {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("words", [["nope"], ["record", "two_room"], ["info", "x", "--nope"], ["train", "x", "--out", "y", "--seed", "z"]])
def test_words_that_are_no_command_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2


def test_help_answers_without_loading_a_room() -> None:
    """Importing the command line loads none of the heavy packages (the package's own front page is replaced by an empty one)."""
    code = (
        "import sys, types; page = types.ModuleType('tacit'); page.__path__ = [sys.argv[1]]; sys.modules['tacit'] = page; "
        "import tacit.cli; print(sorted({'torch', 'numpy', 'pyarrow', 'gymnasium', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code, str(Path(tacit.__file__).parent)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_sizes_are_those_of_the_recipes() -> None:
    hints = typing.get_type_hints(train.Train)
    assert hints["size"] == recipes.Size


@dataclass(frozen=True, kw_only=True)
class Raising:
    """What `tacit report` does in the tests below."""

    error: BaseException

    def __call__(self, options: object, terminal: Terminal) -> int:
        raise self.error


def raised(monkeypatch: pytest.MonkeyPatch, error: BaseException, *words: str) -> int:
    monkeypatch.setitem(cli.RUN, cli.report.ReportOptions, Raising(error=error))
    return main(["report", "x", *words])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (tacit.SchemaError("signals differ"), "error: signals differ\n"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a[b]"), "error: a[b]: No such file or directory\n"),
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (ValueError(), "error: ValueError\n"),
    ],
)
def test_an_explained_error_is_one_line(
    error: Exception, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raised(monkeypatch, error) == 1
    shown = capsys.readouterr()
    assert text in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_debug_and_defects_show_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(tacit.SchemaError):
        raised(monkeypatch, tacit.SchemaError("signals differ"), "--debug")
    with pytest.raises(ZeroDivisionError):
        raised(monkeypatch, ZeroDivisionError())


def test_interrupts_say_what_is_kept_and_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert raised(monkeypatch, Stopped("half of it is kept", "tacit x --resume")) == 130
    assert capsys.readouterr().err == "stopped: half of it is kept. Go on with: tacit x --resume\n"
    assert raised(monkeypatch, KeyboardInterrupt()) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_manifest_decides_alone(here: Path) -> None:
    run = tacit.load("run")
    options = evaluate.Evaluate(run=Path("run"), manifest=Path("run/manifest.json"))
    assert evaluate.manifest_of(options, run).protocol.episodes == 4
    with pytest.raises(ValueError, match="--budget is decided by the manifest"):
        evaluate.manifest_of(evaluate.Evaluate(run=Path("run"), manifest=Path("run/manifest.json"), budget=5), run)
