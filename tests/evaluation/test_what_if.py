"""Answers to what-if questions: predictions, ranking, ties, refusals, the page and the verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tacit.cli import main
from tacit.data import EpisodeStore
from tacit.evaluation.what_if import ask, situation
from tacit.evaluation.what_if_answer import Kpi, Moment, Situation, Wish
from tacit.evaluation.what_if_page import headline, render_what_if
from tacit.run import Run
from tank_world import SCHEMA, record, trained

LOW = Kpi(channel="level", wish=Wish.SMALL)
WHEN = Moment(episode=11, step=30)  # neither pump nor level is at an end of what they were


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    return record(tmp_path_factory.mktemp("tank") / "store", episodes=12)


@pytest.fixture(scope="module")
def run(store: EpisodeStore) -> Run:
    return trained(store)


@pytest.fixture(scope="module")
def now(store: EpisodeStore) -> Situation:
    return situation(store, SCHEMA, WHEN, 20)


def test_a_moment_holds_what_was_seen_before_and_done_and_shown_after(store: EpisodeStore, now: Situation) -> None:
    episode = store[11].signals
    assert np.array_equal(now.seen["level"], episode["level"][:31])
    assert set(now.seen) == {"level", "lab.value", "lab.value.valid", "inflow"}, "no label"
    assert np.array_equal(now.applied[:, 0], episode["pump"][:30])
    assert np.array_equal(now.actions[:, 0], episode["pump"][30:50])
    assert np.array_equal(now.happened[:, 0], episode["level"][31:51])
    assert np.isfinite(now.happened[:, 1]).tolist() == [(31 + k) % 3 == 0 for k in range(20)]


def test_after_the_end_of_a_log_its_last_action_is_held(store: EpisodeStore) -> None:
    late = situation(store, SCHEMA, Moment(episode=10, step=85), 20)
    assert late.logged == 5
    assert (late.actions[5:] == late.actions[4]).all()
    assert np.isnan(late.happened[5:]).all()


@pytest.mark.parametrize(("moment", "words"), [(Moment(episode=12, step=0), "no episode 12"), (Moment(episode=0, step=91), "no moment 91")])
def test_a_moment_that_is_not_there(store: EpisodeStore, moment: Moment, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        situation(store, SCHEMA, moment, 5)


def test_more_pump_gives_a_higher_level_and_the_ranking_says_so(run: Run, now: Situation) -> None:
    answer = ask(run, run.support(), now, ["pump+=0.3", "pump-=0.3", "pump-=0.15"], kpi=LOW)
    logged, more, less, little = answer.outcomes
    assert [o.text for o in answer.ranking] == ["pump-=0.3", "pump-=0.15", "as logged", "pump+=0.3"]
    assert more.against is not None
    assert less.against is not None
    assert more.against.low > 0 > less.against.high
    assert logged.against is not None
    assert logged.against.value == 0
    assert little.rank == 2
    large = ask(run, run.support(), now, ["pump+=0.3", "pump-=0.3"], kpi=replace(LOW, wish=Wish.LARGE))
    assert [o.text for o in large.ranking] == ["pump+=0.3", "as logged", "pump-=0.3"]


def test_the_effect_is_that_of_the_plant(run: Run, now: Situation) -> None:
    answer = ask(run, run.support(), now, ["pump+=0.5"], kpi=LOW)
    step = answer.outcomes[1].median[:, 0] - answer.outcomes[0].median[:, 0]
    assert abs(step[1]) < 0.05, "two steps of dead time"
    level, other = 12.0, 12.0
    for k in range(20):
        level += 0.35 * 3.0 - 0.29 * np.sqrt(level)
        other += 0.35 * (3.0 + 0.5 * (k >= 2)) - 0.29 * np.sqrt(other)
    assert step[-1] == pytest.approx(other - level, rel=0.35)


def test_what_cannot_be_told_apart_is_said_to_tie(run: Run, now: Situation) -> None:
    answer = ask(run, run.support(), now, ["pump+=0.001", "pump+=0.3"], kpi=LOW)
    logged, same, more = answer.outcomes
    assert same.ties == ("as logged",)
    assert logged.ties == ("pump+=0.001",)
    assert more.ties == ()
    assert "cannot tell it from" in headline(answer)


def test_the_target_is_ranked_by_distance_and_an_action_can_be_ranked_by(run: Run, now: Situation) -> None:
    first = ask(run, run.support(), now, ["pump+=0.3"], kpi=LOW).outcomes
    assert first[1].kpi is not None
    goal = Kpi(channel="level", wish=Wish.NEAR, target=first[1].kpi.value + 0.5)
    assert ask(run, run.support(), now, ["pump+=0.3", "pump-=0.3"], kpi=goal).ranking[0].text == "pump+=0.3"
    saving = ask(run, run.support(), now, ["pump-=0.2"], kpi=Kpi(channel="pump", wish=Wish.SMALL)).outcomes[1]
    assert saving.against is not None
    assert (saving.against.value, saving.against.low, saving.against.high) == pytest.approx((-0.2,) * 3, abs=1e-5)


def test_intervals_hold_what_happened_on_logs_that_they_are_not_made_of(run: Run, tmp_path: Path) -> None:
    inside, support, fresh = [], run.support(), record(tmp_path / "fresh", episodes=4, seed=9)
    for step in range(10, 70, 10):
        for episode in range(4):
            now = situation(fresh, SCHEMA, Moment(episode=episode, step=step), 20)
            logged = ask(run, support, now, ["pump+=0.1"]).outcomes[0]
            inside.append((logged.low[:, 0] <= now.happened[:, 0]) & (now.happened[:, 0] <= logged.high[:, 0]))
    assert 0.8 < np.mean(inside) < 0.99


def test_in_hindsight_as_logged_is_what_was_measured_and_others_differ_by_their_effects(run: Run, now: Situation) -> None:
    changes = ["pump+=0.3", "pump-=0.3"]
    before = ask(run, run.support(), now, changes, kpi=LOW)
    after = ask(run, run.support(), now, changes, kpi=LOW, hindsight=True)
    logged, lab = after.outcomes[0], now.happened[:, 1]
    assert np.allclose(logged.median[:, 0], now.happened[:, 0], atol=1e-4)
    assert np.allclose(logged.median[np.isfinite(lab), 1], lab[np.isfinite(lab)], atol=1e-4)
    for one, other in zip(before.outcomes, after.outcomes, strict=True):
        assert np.allclose(one.median - before.outcomes[0].median, other.median - logged.median, atol=1e-4), (
            "effects are those of a forecast"
        )
        assert one.reasons == other.reasons
    assert logged.kpi is not None
    assert logged.kpi.value == pytest.approx(after.really, abs=1e-4)
    assert (logged.high - logged.low)[-1, 0] < 0.5 * (before.outcomes[0].high - before.outcomes[0].low)[-1, 0]
    assert [o.text for o in after.ranking] == ["pump-=0.3", "as logged", "pump+=0.3"]
    assert after.to_json()["hindsight"] is True


def test_hindsight_knows_a_disturbance_that_no_forecast_could(run: Run, now: Situation) -> None:
    leak = replace(now, happened=now.happened - np.float32(3.0))
    goal = Kpi(channel="level", wish=Wish.NEAR, target=float(now.happened[:, 0].min()))  # below what is foreseen, above what came
    changes = ["pump+=0.3", "pump-=0.3"]
    assert ask(run, run.support(), leak, changes, kpi=goal).ranking[0].text == "pump-=0.3"
    assert ask(run, run.support(), leak, changes, kpi=goal, hindsight=True).ranking[0].text == "pump+=0.3"


def test_hindsight_needs_the_whole_horizon_in_the_log(run: Run, store: EpisodeStore) -> None:
    late = situation(store, SCHEMA, Moment(episode=10, step=85), 20)
    with pytest.raises(ValueError, match=r"all of the 100 s must have been logged, and the episode ends 25 s after the moment"):
        ask(run, run.support(), late, ["pump=3"], hindsight=True)


def test_intervals_in_hindsight_hold_another_sample_of_what_was_measured(run: Run, tmp_path: Path) -> None:
    inside, support, fresh = [], run.support(), record(tmp_path / "fresh", episodes=4, seed=9)
    for step in range(10, 70, 10):
        for episode in range(4):
            now = situation(fresh, SCHEMA, Moment(episode=episode, step=step), 20)
            gap = replace(now, happened=now.happened.copy())
            gap.happened[1::2, 0] = np.nan
            logged = ask(run, support, gap, ["pump+=0.1"], hindsight=True).outcomes[0]
            inside.append(((logged.low[:, 0] <= now.happened[:, 0]) & (now.happened[:, 0] <= logged.high[:, 0]))[1::2])
    assert 0.8 < np.mean(inside) <= 1.0


def test_intervals_widen_with_what_is_done(run: Run, now: Situation) -> None:
    logged, more = ask(run, run.support(), now, ["pump+=0.8"]).outcomes
    assert (more.high - more.low)[-1, 0] > (logged.high - logged.low)[-1, 0]


def test_what_the_logs_never_held_is_not_ranked_and_says_why(run: Run, now: Situation) -> None:
    answer = ask(run, run.support(), now, ["pump=6 for 40s", "pump-=0.1"], kpi=LOW)
    never, little = answer.outcomes[1:]
    assert never.is_refused
    assert never.rank is None
    assert never.p_value < 0.05
    assert "pump at 6 V, for 40 s outside: the logs never held it above 4.4" in never.reasons[0]
    assert not little.is_refused
    assert "pump=6 for 40s" not in [text for o in answer.outcomes for text in o.ties]
    assert never.kpi is not None, "the prediction is shown all the same"


def test_a_movement_that_was_never_logged_is_not_ranked(run: Run, now: Situation) -> None:
    to_and_fro = "; ".join(f"pump={2.0 + 2 * (k % 2)} from {5 * k}s for 5s" for k in range(20))
    assert ask(run, run.support(), now, [to_and_fro]).outcomes[1].is_refused


def test_a_state_that_was_never_logged_is_not_ranked(run: Run, now: Situation) -> None:
    other = replace(now, seen={**now.seen, "level": now.seen["level"] + 30})
    outcomes = ask(run, run.support(), other, ["pump-=0.1"]).outcomes
    assert all(o.is_refused for o in outcomes)
    assert outcomes[0].reasons[0].startswith("level is at 4")


def test_questions_that_cannot_be_asked(run: Run, store: EpisodeStore, now: Situation) -> None:
    with pytest.raises(ValueError, match=r"there is no 'truth' to rank by; there are: level, lab.value, pump"):
        ask(run, run.support(), now, ["pump=3"], kpi=Kpi(channel="truth", wish=Wish.SMALL))
    with pytest.raises(ValueError, match="longer than the 225 s"):
        ask(run, run.support(), situation(store, SCHEMA, WHEN, 46), ["pump=3"])


def test_the_page_holds_everything_and_escapes_words(run: Run, now: Situation, tmp_path: Path) -> None:
    answer = ask(run, run.support(), now, ["pump=6 for 40s", "pump-=0.1"], kpi=LOW)
    render_what_if(tmp_path / "ask.html", answer, run="<tank>", moment="episode 10")
    page = (tmp_path / "ask.html").read_text("utf-8")
    assert "&lt;tank&gt;" in page
    assert "<tank>" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    assert "the logs never held it above" in page
    assert page.count("data:image/svg+xml") == 2


def test_the_verb_prints_a_ranking_and_writes_numbers_and_a_page(
    run: Run, store: EpisodeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    place = f"{store.path}:11@150s"
    files = ["--out", str(tmp_path / "ask.json"), "--html", str(tmp_path / "ask.html")]
    words = ["ask", str(run.path), "--from", place, "--do", "pump-=0.3", "pump=6 for 40s", "--horizon", "100s", "--minimise", "level"]
    assert main([*words, *files]) == 0
    said = capsys.readouterr().out
    assert "best by the mean of level: 'pump-=0.3'" in said
    assert "not ranked: 'pump=6 for 40s' leaves what the logs can answer: pump at 6 V" in said
    assert "what really happened: mean of level" in said
    values = json.loads((tmp_path / "ask.json").read_text())
    assert (values["episode"], values["step"], values["logged_steps"]) == (11, 30, 20)
    assert [o["text"] for o in values["outcomes"]] == ["as logged", "pump-=0.3", "pump=6 for 40s"]
    assert [o["rank"] for o in values["outcomes"]] == [2, 1, None]
    assert len(values["outcomes"][1]["median"]["level"]) == 20
    assert None in values["happened"]["lab.value"]
    assert "could not know" in (tmp_path / "ask.html").read_text("utf-8")
    assert main([*words, *files, "--hindsight"]) == 0
    assert "in hindsight: as logged is what was measured" in capsys.readouterr().out
    known = json.loads((tmp_path / "ask.json").read_text())
    assert known["outcomes"][0]["kpi"]["value"] == pytest.approx(known["really"], abs=1e-4)
    assert "As logged, measured" in (tmp_path / "ask.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--from": "nowhere"}, "should be STORE:EPISODE@T"),
        ({"--from": "STORE:10@5 days"}, "'days' is no unit of time"),
        ({"--do": "pomp=3"}, "'pomp' is no actuator"),
        ({"--horizon": "1s"}, "shorter than half a control period"),
        ({"--target": "level"}, "should be a signal and a value"),
        ({"--maximise": "level"}, "rank by one indicator"),
        ({"--out": "nowhere/ask.json"}, "is not a folder"),
    ],
)
def test_mistakes_at_the_verb(
    run: Run, store: EpisodeStore, changed: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"--from": "STORE:11@150s", "--do": "pump-=0.3", "--horizon": "100s", "--minimise": "level", **changed}
    if "--target" in changed:
        del given["--minimise"]
    typed = [word.replace("STORE", str(store.path)) for pair in given.items() for word in pair]
    assert main(["ask", str(run.path), *typed]) == 1
    assert words in capsys.readouterr().err
