"""The documentation does what it says.

In README.md and docs/*.md: links between files and to sections lead somewhere, every `tacit` command of a `console` or `bash` block names a
verb and flags that the command line has, every `python` block is valid, and one that starts by importing tacit is run. The runnable blocks
of one page run in order, in one namespace and one empty folder, as a reader would type them.
"""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.exists()]
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)|<img[^>]+src=\"([^\"]+)\"")
SECTION = re.compile(r"\]\(([^)#\s:]*)#([^)\s]+)\)")


def blocks(text: str, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(text) if language in languages]


def commands(text: str) -> list[list[str]]:
    """Words of every `tacit` command, without its comment, its output and what a shell would do with it."""
    typed = [(body, "$ tacit ") for body in blocks(text, "console")] + [(body, "tacit ") for body in blocks(text, "bash", "sh")]
    found = []
    for body, prompt in typed:
        for line in body.replace("\\\n", " ").splitlines():
            if line.startswith(prompt):
                words = shlex.split(line.removeprefix(prompt), comments=True)
                stop = next((n for n, word in enumerate(words) if word in ("|", ">", ">>", "&&", ";", "&")), len(words))
                found.append(words[:stop])
    return found


def runnable(text: str) -> list[str]:
    return [body for body in blocks(text, "python") if body.startswith(("import tacit", "from tacit"))]


def links(text: str) -> list[str]:
    named = [a or b for a, b in LINK.findall(FENCE.sub("", text))]
    return [link for link in named if not re.match(r"[a-z]+:", link)]


def sections(text: str) -> set[str]:
    """What links call the headings of a page, small letters, digits and hyphens, and its anchors."""
    prose = FENCE.sub("", text)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    anchors = re.findall(r"<a id=\"([^\"]+)\">", prose)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings} | set(anchors)


def unknown_words(words: list[str], usage: str) -> list[str]:
    """The verb and the flags of a command that its own help does not name."""
    named = [words[0], *(word.split("=")[0] for word in words[1:] if re.match(r"--?[a-zA-Z]", word))]
    return [name for name in named if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", usage)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert not [link for link in links(page.read_text()) if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_sections_that_links_name_are_there(page: Path) -> None:
    named = [(page if not file else page.parent / file, section) for file, section in SECTION.findall(FENCE.sub("", page.read_text()))]
    assert not [(file.name, section) for file, section in named if file.suffix == ".md" and section not in sections(file.read_text())]


@pytest.mark.parametrize("words", [c for page in PAGES for c in commands(page.read_text())], ids=" ".join)
def test_command_exists_with_its_flags(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module("tacit.cli").main([*words, "--help"])  # parsed up to the help, never run
    usage = capsys.readouterr().out
    assert stopped.value.code in (0, None)
    assert not unknown_words(words, usage), usage


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_is_valid_and_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text()
    for body in blocks(text, "python"):
        compile(body, str(page), "exec")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for body in runnable(text):
        exec(compile(body, str(page), "exec"), namespace)


SAMPLE = """
See [the design](docs/design.md#time), [the field](https://example.org/x) and <img src="docs/a.png">.

```console
$ tacit demo --out demo   # a comment
tacit is busy
$ ls | wc
$ tacit train --size s \\
    --seed=3 > log
```

```python
x = 1
```

```python
import tacit
```
"""


def test_the_reading_of_a_page() -> None:
    """So that a rule above cannot pass by finding nothing."""
    assert links(SAMPLE) == ["docs/design.md", "docs/a.png"]
    assert SECTION.findall(SAMPLE) == [("docs/design.md", "time")]
    assert sections('# A camera, and `sensors`\n<a id="here"></a>\n') == {"a-camera-and-sensors", "here"}
    assert commands(SAMPLE) == [["demo", "--out", "demo"], ["train", "--size", "s", "--seed=3"]]
    assert runnable(SAMPLE) == ["import tacit\n"]
    assert unknown_words(["demo", "--out", "x", "--seed=3", "-v", "-1.5"], "usage: tacit demo --out PATH --seeds INT") == ["--seed", "-v"]
    assert unknown_words(["nope"], "usage: tacit {demo,train}") == ["nope"]
