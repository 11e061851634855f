"""The page of an audit: self-contained, complete, and saying the verdict; and the verb that writes it."""

from __future__ import annotations

import datetime
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tacit.cli.audit import Audit as Options
from tacit.cli.audit import run
from tacit.cli.terminal import Terminal
from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.data.audit import Answer, audit
from tacit.evaluation.audit_page import render_audit
from tacit.signals import Role, Schema, Signal

SCHEMA = Schema(
    signals=(
        Signal(name="level", role=Role.OBSERVATION, dtype="float64"),
        Signal(name="flow", role=Role.OBSERVATION, dtype="float64"),
        Signal(name="valve", role=Role.ACTION, dtype="float64", low=-2.0, high=2.0),
        Signal(name="pump", role=Role.ACTION, dtype="float64", low=-2.0, high=2.0),
    ),
    period=0.5,
)


def tank(folder: Path, *, dead_pump: bool) -> EpisodeStore:
    with EpisodeWriter.create(folder, SCHEMA, source={"world": "tank & pump"}) as writer:
        for number in range(12):
            rng = np.random.default_rng(number)
            u = rng.uniform(-1, 1, (60, 2))
            x = np.zeros((61, 2))
            for t in range(60):
                x[t + 1] = 0.8 * x[t] + u[t] * [1.0, 0.0 if dead_pump else 0.7] + 0.1 * rng.normal(size=2)
            signals = {"level": x[:, 0], "flow": x[:, 1], "valve": u[:, 0], "pump": u[:, 1]}
            writer.add(Episode(signals={n: np.ascontiguousarray(v) for n, v in signals.items()}, time=0.5 * np.arange(61.0)))
    return EpisodeStore(folder)


class Page(HTMLParser):
    """Text outside the style, and everything that a browser would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self._in_style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in_style = tag == "style"
        self.sources += [value or "" for name, value in attrs if name in ("src", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False


def test_the_page_says_everything_and_loads_nothing(tmp_path: Path) -> None:
    found = audit(tank(tmp_path / "logs", dead_pump=True))
    render_audit(tmp_path / "audit.html", found, title="Tank <1>", date=datetime.date(2026, 3, 4))
    html = (tmp_path / "audit.html").read_text("utf-8")
    page = Page(html)
    text = re.sub(r"\s+", " ", "".join(page.text))
    assert "Tank <1>" in text
    assert "4 March 2026" in text
    assert "Not enough" in text
    for finding in found.findings:
        if finding.theme != "sensors":
            assert finding.sentence in text, finding
    assert "Look for a row of dashes" in text
    assert len(page.sources) == 5
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in html
    render_audit(tmp_path / "again.html", found, title="Tank <1>", date=datetime.date(2026, 3, 4))
    assert (tmp_path / "again.html").read_text("utf-8") == html


def test_logs_without_any_movement_still_make_a_page(tmp_path: Path) -> None:
    with EpisodeWriter.create(tmp_path / "still", SCHEMA) as writer:
        for _ in range(3):
            writer.add(
                Episode(signals={name: np.zeros(9 if name in ("level", "flow") else 8) for name in SCHEMA.by_name}, time=np.arange(9) * 0.5)
            )
    found = audit(EpisodeStore(tmp_path / "still"))
    assert found.verdict.answer is Answer.NOT_ENOUGH
    render_audit(tmp_path / "audit.html", found, title="Still", date=datetime.date(2026, 3, 4))
    text = "".join(Page((tmp_path / "audit.html").read_text("utf-8")).text)
    assert "No action ever changes" in text
    assert "0 of 2" in text


@pytest.mark.parametrize(("dead_pump", "code"), [(True, 1), (False, 0)])
def test_the_verb_answers_with_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str], dead_pump: bool, code: int) -> None:
    tank(tmp_path / "logs", dead_pump=dead_pump)
    options = Options(data=tmp_path / "logs", html=tmp_path / "page.html", json=tmp_path / "audit.json")
    assert run(options, Terminal(command="tacit audit logs")) == code
    said = capsys.readouterr().out
    assert ("pump moves, and no sensor answers" in said) == dead_pump
    assert "732 of 732 moments in 12 of 12 episodes" in said
    assert "tank & pump" in "".join(Page((tmp_path / "page.html").read_text("utf-8")).text)
    answer = json.loads((tmp_path / "audit.json").read_text())["verdict"]["answer"]
    assert (answer == "not enough") == dead_pump


def test_a_missing_folder_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder; make it first"):
        run(Options(data=tmp_path / "none", html=tmp_path / "nowhere" / "page.html"), Terminal(command="tacit audit none"))
    assert not list(tmp_path.iterdir())
