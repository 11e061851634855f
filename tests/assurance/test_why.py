"""A decision in plain words: what was seen, expected, planned and limited, and why it was done or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from driven_point import Ceiling, Maker, session, write, write_with_gap

from tacit.assurance import Ledger, LedgerError, Reading, Recorded, why
from tacit.planning import PlanSettings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "machine.ledger"


def test_one_that_acted(path: Path) -> None:
    with Ledger(path, told := session(limits=("ceiling",))) as ledger:
        actor = Recorded(Maker(limits=(Ceiling(bound=9.0),))(told), ledger)
        actor.act({"state": np.array([0.0, 0.0])})
        actor.act({"state": np.array([0.1, -0.05])}, applied=np.array([0.5, -0.25]))
    story = why.story(path, 1)
    assert why.headline(story) == "It acted: following a feasible plan."
    assert why.saw(story) == ["state: 0.1, -0.05 m", "action before: 0.5, -0.25, as the machine told"]
    surprise, plan = why.expected(story)
    assert "away from the predicted one, in latent space;" in surprise
    assert "of held-out errors are at least as large" in surprise
    assert "the least of 32 action sequences in 2 rounds" in plan
    assert why.limits(story)[0].startswith("ceiling: holds on the prediction, margin 8.")
    assert why.margins(story)["ceiling"] == pytest.approx(float(story.made.plan.margins[0]))
    first = why.saw(why.story(path, 0)), why.expected(why.story(path, 0))
    assert first[0][-1] == "action before: the one decided"
    assert first[1][0].startswith("nothing that could be compared")


def test_one_that_refused_names_the_limit(path: Path) -> None:
    with Ledger(path, told := session(limits=("ceiling",))) as ledger:
        Recorded(Maker(limits=(Ceiling(bound=-5.0),))(told), ledger).act({"state": np.array([0.0, 0.0])})
    story = why.story(path, 0)
    margin = f"{float(story.made.plan.margins[0]):.3g} m"
    assert why.headline(story) == (
        f"It fell back: every plan breaks a hard limit (the best one: ceiling, margin {margin}): holding the last action."
    )
    assert why.limits(story)[0].startswith("ceiling: broken on the prediction by ")


def test_an_action_at_its_limit_is_said(path: Path) -> None:
    observation = {"state": np.array([0.0, 0.0])}
    decision = replace(Maker()(session()).act(observation), action=np.array([1.0, -0.5], np.float32))
    with Ledger(path, session()) as ledger:
        ledger.add(observation, decision)
    assert why.limits(why.story(path, 0)) == ["velocity[0] is 1 m/s, at its upper limit", "velocity[1] is -0.5, inside -1 to 1 m/s"]


def test_a_plan_that_is_followed_is_that_of_an_earlier_step(path: Path) -> None:
    write(path, session(PlanSettings(horizon=5, candidates=16, iterations=2, replan_every=3)), episodes=1, steps=5)
    story = why.story(path, 2)
    assert story.made.plan is None
    assert story.age == 2
    assert "the plan of step 0, 2 actions on, costs" in why.expected(story)[1]
    shown = why.elements(story)
    assert [e.name for e in shown] == ["velocity[0]", "velocity[1]"]
    assert len(shown[0].planned) == 3
    assert shown[0].planned[0] == pytest.approx(shown[0].value)
    assert why.story(path, 3).age == 0


def test_readings_stand_against_their_thresholds(path: Path) -> None:
    with Ledger(path, session()) as ledger:
        observation = {"state": np.array([0.0, 0.0])}
        readings = {"novelty": Reading(value=0.01, low=0.05), "heat": Reading(value=20.0, high=80.0, unit="K"), "count": 3}
        ledger.add(observation, Maker()(session()).act(observation), readings=readings)
    said = why.watched(why.story(path, 0))
    assert set(said) >= {
        "novelty: 0.01, alarm below 0.05, ALARM",
        "heat: 20 K, alarm above 80, no alarm",
        "count: 3",
    }


def test_history_is_that_of_the_episode(path: Path) -> None:
    write(path, episodes=2, steps=4)
    assert [made.step for made in why.story(path, 6).history] == [4, 5, 6]
    assert why.story(path, 6).made.episode == 2


def test_digests_are_called_so(path: Path) -> None:
    write(path, inputs="digest", episodes=1, steps=1)
    assert why.saw(why.story(path, 0))[0] == "state: an array of 2, of which only the digest was kept"


def test_a_step_that_is_not_there_is_explained(path: Path) -> None:
    write_with_gap(path, 2, 2, 2)
    assert why.story(path, 5).made.step == 5
    with pytest.raises(LedgerError, match="step 3 was not kept: the disk did not keep up, and 2 decisions are missing"):
        why.story(path, 3)
    with pytest.raises(LedgerError, match="has no step 6: the last one is 5"):
        why.story(path, 6)


def test_what_stands_before_damage_is_shown_and_what_stands_behind_is_not(path: Path) -> None:
    write(path, episodes=1, steps=5)
    own = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*own[:4], own[4].replace(b'"act"', b'"acT"'), *own[5:]]))
    assert why.story(path, 1).made.step == 1
    with pytest.raises(LedgerError, match="step 3 is not before the damage: record 4 has changed"):
        why.story(path, 3)
