"""The page about a decision: self-contained, and saying what the ledger says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tacit.assurance import Ledger, Reading, Session, check, why
from tacit.contracts import Plan, Spent
from tacit.evaluation.why_page import pictures, planned, render_why, trends
from tacit.planning import Decision, Evidence, Task, Verdict
from tacit.signals import Role, Schema, Signal

SCHEMA = Schema(
    signals=(
        Signal(name="camera", role=Role.OBSERVATION, shape=(8, 12, 3), dtype="uint8"),
        Signal(name="gauge", role=Role.OBSERVATION, unit="K"),
        Signal(name="motor", role=Role.ACTION, unit="V", low=-1.0, high=1.0),
    )
)


def decision(verdict: Verdict, reason: str, *, has_plan: bool = True) -> Decision:
    plan = Plan(
        actions=torch.linspace(-0.5, 1.0, 6).reshape(1, 6, 1),
        trajectory=torch.zeros(1, 6, 4),
        cost=torch.tensor([2.5]),
        margins=torch.tensor([[0.25, -0.125]]),
        feasible=torch.tensor([False]),
        spent=Spent(seconds=0.012, iterations=3, candidates=384, cut_by_deadline=True),
    )
    return Decision(
        action=np.array([-0.5], np.float32),
        verdict=verdict,
        reason=reason,
        plan=plan if has_plan else None,
        evidence=Evidence(cost=2.5, surprise=0.5, surprise_p=0.01, encode_ms=1.0, plan_ms=12.0),
        latents=torch.zeros(1, 2, 4),
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("why") / "line <3>.ledger"
    seen = {"camera": np.full((8, 12, 3), 90, np.uint8), "gauge": np.float32(300)}
    with Ledger(path, Session(model="ab" * 32, schema=SCHEMA, task=Task(), limits=("glass", "pressure"))) as ledger:
        for step in range(4):
            readings = {"novelty": Reading(value=0.2 - 0.06 * step, low=0.05)}
            verdict = Verdict.FALLBACK if step == 3 else Verdict.ACT
            ledger.add(seen, decision(verdict, "the <pressure> would rise" if step == 3 else "fine", has_plan=step > 0), readings=readings)
    with Ledger(path, Session(model="ab" * 32, schema=SCHEMA, task=Task()), inputs="digest") as ledger:
        ledger.add(seen, decision(Verdict.ABSTAIN, "too new", has_plan=False))
    return path


def text_of(path: Path) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", path.read_text(), flags=re.DOTALL))


def test_the_page_says_everything_and_loads_nothing(path: Path, tmp_path: Path) -> None:
    page = tmp_path / "why.html"
    head = check(path).head
    render_why(page, why.story(path, 3), ledger=path.name, head=head)
    html, text = page.read_text(), text_of(page)
    sources = re.findall(r'(?:src|href|srcset|data)="([^"]*)"', html)
    assert len(sources) == 3, "the picture, the plan and the numbers"
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in html
    assert "line &lt;3&gt;.ledger" in html
    for words in (
        "It fell back: the &lt;pressure&gt; would rise.",
        "glass: holds on the prediction, margin 0.25",
        "pressure: broken on the prediction by 0.125",
        "novelty: 0.02, alarm below 0.05, ALARM",
        "gauge: 300 K",
        "the least of 384 action sequences in 3 rounds and 12.0 ms, when the deadline ended the search",
        str(head),
        "ab" * 32,
    ):
        assert words in text, words


def test_what_is_not_there_is_not_drawn(path: Path, tmp_path: Path) -> None:
    first, last = why.story(path, 0), why.story(path, 4)
    assert planned(first) is None
    assert trends(first) is not None
    assert list(pictures(first)) == ["camera"]
    assert not pictures(last)
    render_why(tmp_path / "why.html", last, ledger=path.name, head=None)
    text = text_of(tmp_path / "why.html")
    assert "It abstained: too new." in text
    assert "8 × 12 × 3, of which only the digest was kept" in text


def test_the_same_decision_gives_the_same_page(path: Path, tmp_path: Path) -> None:
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for page in pages:
        render_why(page, why.story(path, 2), ledger=path.name, head=None)
    assert pages[0].read_bytes() == pages[1].read_bytes()
