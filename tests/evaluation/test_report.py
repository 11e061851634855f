"""The report page: complete, self-contained, honest about what is missing, and readable in a browser."""

from __future__ import annotations

import base64
import datetime
import io
import itertools
import json
import re
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tacit.evaluation import report as r
from tacit.signals import Role, Schema, Signal

SIZE = 64
WALL, DOOR = 31, 44  # a wall down the middle, and where its door is


def room() -> np.ndarray:
    image = np.full((SIZE, SIZE, 3), 245, np.uint8)
    image[:, WALL - 1 : WALL + 2] = 60
    image[DOOR - 4 : DOOR + 5, WALL - 1 : WALL + 2] = 245
    return image


def with_dot(x: float, y: float, colour: tuple[int, int, int] = (213, 94, 0)) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    image = room()
    image[(columns - x) ** 2 + (rows - y) ** 2 <= 9] = colour
    return image


def planned(corners: list[tuple[float, float]], goal: tuple[float, float], success: bool, caption: str) -> r.Episode:
    way = np.concatenate([np.linspace(a, b, 14) for a, b in itertools.pairwise(corners)])
    chosen = np.linspace(0, len(way) - 1, 7).astype(int)
    frames = np.stack([with_dot(*way[i]) for i in chosen])
    return r.Episode(frames=frames, goal=with_dot(*goal), success=success, caption=caption, steps=tuple(map(int, chosen)), path=way)


def layout_map(goal: tuple[float, float]) -> r.ValueMap:
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(float)
    straight = np.hypot(columns - goal[0], rows - goal[1])
    through_door = np.hypot(columns - WALL, rows - DOOR) + np.hypot(goal[0] - WALL, goal[1] - DOOR)
    steps = np.where(columns < WALL, through_door, straight) / 2.5
    wall = (np.abs(columns - WALL) <= 1) & (np.abs(rows - DOOR) > 4)
    steps[wall] = straight[wall] = np.nan
    return r.ValueMap(name="Layout 1", background=room(), steps_to_go=steps, latent_distance=np.sqrt(straight), goal=goal)


def sample_report() -> r.Report:
    """A page with every section, on made-up numbers."""
    rng = np.random.default_rng(0)
    steps = np.arange(0, 20_000, 100)
    fall = lambda end, pace: end + np.exp(-steps / pace) * (1 + 0.1 * rng.standard_normal(steps.size))  # noqa: E731
    losses = {"prediction": fall(0.004, 2500), "SIGReg": fall(0.3, 1200), "inverse": fall(0.02, 3000), "total": fall(0.06, 2500)}
    ahead = np.arange(1, 25)
    way = np.cumsum(rng.standard_normal((4, 30, 2)).cumsum(1) * 0.1, axis=1)
    drift = 0.02 * np.cumsum(rng.standard_normal(way.shape), axis=1)
    position = rng.uniform(4, 60, (2, 600))
    counts = {
        ("CEM + learned value", r.Kind.PLANNER): (97, 82),
        ("CEM, latent distance only", r.Kind.ABLATION): (88, 6),
        ("inverse model only", r.Kind.ABLATION): (95, 71),
        ("behaviour cloning", r.Kind.FLOOR): (61, 22),
        ("random actions", r.Kind.FLOOR): (9, 0),
        ("no action", r.Kind.FLOOR): (2, 0),
    }
    scores = tuple(
        r.Score(method=method, kind=kind, split=split, successes=reached, episodes=100)
        for (method, kind), both in counts.items()
        for split, reached in zip(("same room", "other room"), both, strict=True)
    )
    return r.Report(
        title="Two rooms, 64 × 64 pixels",
        verdict="The model plans through the door: it reaches four goals in five in the other room; latent distance alone, one in sixteen.",
        date=datetime.date(2026, 11, 23),
        data=r.Data(
            store="two-rooms-1k",
            episodes=1000,
            frames=91_000,
            seconds=9100.0,
            schema=Schema(
                period=0.1,
                signals=(
                    Signal(name="camera", role=Role.OBSERVATION, shape=(64, 64, 3), dtype="uint8", low=0, high=255),
                    Signal(name="velocity", role=Role.ACTION, shape=(2,), unit="px/s", max_norm=25.0),
                    Signal(name="position", role=Role.LABEL, shape=(2,), unit="px", low=0, high=63),
                ),
            ),
            samples=np.stack([with_dot(*rng.uniform(6, 58, 2)) for _ in range(8)]),
        ),
        training=r.Training(
            losses=tuple(r.Curve(name=name, steps=steps, values=np.abs(values)) for name, values in losses.items()),
            minutes=12.4,
            frames_per_second=5310.0,
            config={
                "size": "s",
                "latent": "64",
                "history": "3",
                "batch": "128",
                "optimiser": "AdamW",
                "learning rate": "0.001",
                "seed": "0",
            },
            effective_rank=r.Curve(name="effective rank", steps=steps, values=48 - 40 * np.exp(-steps / 900)),
            min_std=r.Curve(name="flattest dimension", steps=steps, values=0.8 - 0.7 * np.exp(-steps / 700)),
            held_out=r.HorizonError(model=0.004 * ahead**0.9, floor=0.3 * ahead**0.6, episodes=100),
        ),
        probes=r.Probes(
            episodes=100,
            probes=tuple(
                r.Probe(
                    label=f"position.{axis}", unit="px", true=true, predicted=true + rng.normal(0, 1, 600), r2_linear=r2, r2_mlp=r2 + 0.001
                )
                for axis, true, r2 in zip("xy", position, (0.9961, 0.9978), strict=True)
            ),
        ),
        dynamics=r.Dynamics(real=way, predicted=way + drift, errors=(drift**2).sum(-1), explained=(0.46, 0.31)),
        planning=r.Planning(
            episodes=(
                planned([(12, 12), (WALL, DOOR), (52, 14)], (52, 14), True, "Other room, 27 steps: through the door and back up."),
                planned([(10, 52), (26, 20), (27, 12)], (50, 10), False, "Other room, out of steps: drove straight at the wall."),
            )
        ),
        values=r.Values(maps=(layout_map((52.0, 14.0)),)),
        results=r.Results(
            scores=scores,
            hard_split="other room",
            protocol="Starts and goals come from held-out layouts and are drawn once for all methods. A goal counts as reached when the "
            "agent is within 4 pixels of it at any of 60 steps.",
        ),
        timing=r.Timing(plan_ms=11 + rng.gamma(2, 1.4, 800), encode_ms=1.2 + rng.gamma(2, 0.1, 800), threads=2, deadline_ms=50.0),
        provenance=r.Provenance(
            cpu="Example CPU at 2.4 GHz",
            cores=2,
            versions={"tacit": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.7"},
            seeds={"data": 0, "training": 0, "evaluation": 7},
            command="tacit demo --out demo",
            limits=("One training seed: the spread between seeds is not known.", "The world is simulated and has no disturbances."),
        ),
    )


class Page(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action", "poster")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    r.render_report(path, sample_report())
    return path


@pytest.fixture(scope="module")
def page(page_path: Path) -> Page:
    return Page(page_path.read_text(encoding="utf-8"))


def test_nothing_comes_from_outside(page_path: Path, page: Page) -> None:
    html = page_path.read_text(encoding="utf-8")
    assert not re.findall(r"https?://|url\(|@import", html)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.addresses
    assert all(a.startswith(("data:image/", "#")) for a in page.addresses)
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= set(page.ids)


def test_every_image_decodes_and_refers_to_nothing(page: Page) -> None:
    images = [a for a in page.addresses if a.startswith("data:")]
    assert len(images) > 30
    for uri in images:
        kind, contents = uri.split(";base64,")
        raw = base64.b64decode(contents, validate=True)
        if kind == "data:image/png":
            assert Image.open(io.BytesIO(raw)).convert("RGB").size == (SIZE, SIZE)
        else:
            root = ET.fromstring(raw)
            links = [value for node in root.iter() for name, value in node.attrib.items() if name.endswith("href")]
            assert root.tag.endswith("svg")
            assert all(link.startswith(("#", "data:")) for link in links)


def test_frames_are_shown_exactly(page: Page) -> None:
    frames = sample_report().planning.episodes[0].frames  # type: ignore[union-attr]
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(a.split(",")[1])))) for a in page.addresses if a.startswith("data:image/png")
    ]
    assert all(any(np.array_equal(frame, s) for s in shown) for frame in frames)


def test_key_numbers_are_on_the_page(page: Page) -> None:
    text = page.text.replace("\u202f", " ")
    for expected in ("89.5 %", "82 %", "41.5 %", "73–88 %", "0.996", "5 310 frames/s", "91 000 frames", "2.53 hours", "64 × 64 × 3"):
        assert expected in text, expected
    assert "Not measured" not in text
    assert "not measured" not in text


def test_same_numbers_give_the_same_bytes(page_path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.html"
    r.render_report(again, sample_report())
    assert again.read_bytes() == page_path.read_bytes()


SECTIONS = [f.name for f in fields(r.Report) if f.default is None]


@pytest.mark.parametrize("name", SECTIONS)
def test_a_missing_section_is_named_as_not_measured(name: str, tmp_path: Path) -> None:
    quick = replace(sample_report(), **{other: None for other in SECTIONS if other not in (name, "timing", "provenance")})
    r.render_report(tmp_path / "a.html", replace(quick, **{name: None}))
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert name not in page.ids
    named = re.search(r"Not measured: (.*)", page.text)
    assert named
    assert {"values": "value map"}.get(name, name) in named[1]


def test_an_empty_report_still_says_what_it_is(tmp_path: Path) -> None:
    r.render_report(tmp_path / "a.html", r.Report(title="Nothing yet", verdict="Nothing was measured.", date=datetime.date(2026, 1, 2)))
    text = Page((tmp_path / "a.html").read_text(encoding="utf-8")).text
    assert "2 January 2026" in text
    assert text.count("not measured") == 6


def test_words_from_outside_are_escaped(tmp_path: Path) -> None:
    r.render_report(tmp_path / "a.html", replace(sample_report(), title="<script>x</script>", training=None, planning=None))
    assert "<script" not in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_smallest_sections_draw_without_a_warning(tmp_path: Path) -> None:
    """One sample, one step, flat values, zeros, a grey camera: nothing divides by zero."""
    one = np.zeros(1)
    path = np.zeros((1, 1, 2))
    grey = np.zeros((1, 8, 8, 1), np.uint8)
    flat = r.ValueMap(name="flat", background=grey[0], steps_to_go=np.zeros((2, 2)), latent_distance=np.zeros((2, 2)), goal=(1, 1))
    small = r.Report(
        title="Small",
        verdict="Small.",
        date=datetime.date(2026, 1, 1),
        training=r.Training(
            losses=(r.Curve(name="total", steps=one, values=one),),
            minutes=0.01,
            frames_per_second=1.0,
            held_out=r.HorizonError(model=one, floor=one, episodes=1),
            min_std=r.Curve(name="flattest dimension", steps=one, values=one),
        ),
        probes=r.Probes(probes=(r.Probe(label="x", true=one, predicted=one, r2_linear=0.0),), episodes=1),
        dynamics=r.Dynamics(predicted=path, real=path, errors=path[..., 0], explained=(1.0, 0.0)),
        planning=r.Planning(episodes=(r.Episode(frames=grey, goal=grey[0], success=False),)),
        values=r.Values(maps=(flat,)),
        results=r.Results(scores=(r.Score(method="ours", kind=r.Kind.PLANNER, split="all", successes=0, episodes=1),), protocol="One."),
        timing=r.Timing(plan_ms=one, encode_ms=one, threads=1),
    )
    r.render_report(tmp_path / "a.html", small)
    assert "No successful episode" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_floor_and_totals_are_counted_over_splits() -> None:
    results = sample_report().results
    assert results is not None
    assert results.methods[0] == "CEM + learned value"
    assert (results.total("inverse model only").successes, results.total("inverse model only").episodes) == (166, 200)
    best, hard = results.best(r.Kind.FLOOR), results.best(r.Kind.FLOOR, "other room")
    assert best is not None
    assert hard is not None
    assert (best.method, best.rate, hard.rate) == ("behaviour cloning", 0.415, 0.22)
    assert results.score("inverse model only", "moon") is None


def score(**changes: Any) -> r.Score:
    return r.Score(**{"method": "a", "kind": r.Kind.PLANNER, "split": "s", "successes": 1, "episodes": 2, **changes})


@pytest.mark.parametrize(
    "make",
    [
        lambda: r.Report(title=" ", verdict="x", date=datetime.date(2026, 1, 1)),
        lambda: r.Curve(name="c", steps=np.arange(3), values=np.arange(2)),
        lambda: r.HorizonError(model=np.ones(3), floor=np.ones(2), episodes=1),
        lambda: r.Probe(label="p", true=np.ones(3), predicted=np.ones((3, 1)), r2_linear=1.0),
        lambda: r.Probes(probes=(), episodes=1),
        lambda: r.Dynamics(predicted=np.ones((2, 3, 2)), real=np.ones((2, 3, 2)), errors=np.ones((2, 2)), explained=(0.5, 0.2)),
        lambda: r.Episode(frames=np.ones((2, 4, 4, 3)), goal=room(), success=True),
        lambda: r.Episode(frames=room()[None], goal=room(), success=True, steps=(1, 2)),
        lambda: r.Planning(episodes=()),
        lambda: r.ValueMap(name="m", background=room(), steps_to_go=np.full((2, 2), np.nan), latent_distance=np.ones((2, 2)), goal=(0, 0)),
        lambda: r.Values(maps=()),
        lambda: score(successes=3),
        lambda: r.Results(scores=(score(), score()), protocol="p"),
        lambda: r.Results(scores=(score(kind=r.Kind.FLOOR),), protocol="p"),
        lambda: r.Results(scores=(score(),), protocol="p", hard_split="t"),
        lambda: r.Timing(plan_ms=np.array([]), encode_ms=np.ones(1), threads=1),
    ],
)
def test_numbers_that_do_not_fit_are_refused(make: Any) -> None:
    with pytest.raises(r.ReportError):
        make()


MEASURE = """<script>addEventListener("load", () => {
  const images = [...document.images];
  const overflowing = [...document.querySelectorAll("h1, p, dt, dd, small, td, li, span, figcaption")]
    .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && getComputedStyle(e).display !== "inline");
  document.title = "MEASURED" + JSON.stringify({
    broken: images.filter(i => !(i.complete && i.naturalWidth > 0 && i.clientWidth > 0)).length, images: images.length,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    overflowing: overflowing.map(e => e.textContent.trim().slice(0, 60)),
  });
});</script>"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 500])
def test_page_stands_in_a_browser(chromium: str, page_path: Path, tmp_path: Path, width: int) -> None:
    """Every image is decoded, nothing runs over its edge, and the console stays silent."""
    html = page_path.read_text(encoding="utf-8")
    measured = tmp_path / "measured.html"  # a copy that may run one script; the page itself runs none
    measured.write_text(re.sub(r"<meta http-equiv=.*?>", "", html).replace("</body>", MEASURE + "</body>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]
    flags += ["--disable-dev-shm-usage", "--hide-scrollbars", "--enable-logging=stderr", f"--window-size={width},900"]
    command = [chromium, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000", "--dump-dom", measured.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>MEASURED(.*?)</title>", done.stdout)
    assert found, done.stderr[-2000:]
    assert json.loads(found[1]) == {"broken": 0, "images": html.count("<img "), "wide": 0, "overflowing": []}
    assert "CONSOLE" not in done.stderr
