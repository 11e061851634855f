"""Limits on what readouts of predicted latents show, in a world whose latents are its readouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from linear_worlds import LinearWorld
from PIL import Image
from torch import Tensor

from tacit.contracts import Limit, Planner
from tacit.planning import (
    Controller,
    Fallback,
    Goal,
    LatentDistance,
    PlanSettings,
    RegionLimit,
    SignalLimit,
    StateLimit,
    Task,
    TaskError,
    Verdict,
    state_limits,
)

MakePlanner = Callable[..., Planner]
PLAN = PlanSettings(horizon=6)


@dataclass(frozen=True, kw_only=True)
class Same:
    """Shows some elements of the latent as they are."""

    names: tuple[str, ...]
    unit: str = "m"
    start: int = 0

    def __call__(self, latent: Tensor) -> Tensor:
        return latent[..., self.start : self.start + len(self.names)]


POSITION = {"position": Same(names=("position.x", "position.y"))}


def task(**fields: object) -> Task:
    return Task(goal=Goal(observations={"state": np.array([1.0, 0.0])}), plan=PLAN, fallback=Fallback.ZERO, **fields)  # type: ignore[arg-type]


def margins(limit: StateLimit, *points: tuple[float, float]) -> list[float]:
    """Of trajectories that stay at one point each."""
    trajectory = torch.tensor(points)[None, :, None].expand(1, -1, PLAN.horizon, -1)
    return [round(margin, 4) for margin in limit(trajectory, torch.zeros(1, len(points), PLAN.horizon, 2))[0].tolist()]


def test_margins_are_distances_in_the_limits_unit() -> None:
    box = RegionLimit(name="box", channels=("position.x", "position.y"), low=(0.0, 0.0), high=(2.0, 1.0))
    circle = RegionLimit(name="circle", channels=("position.y", "position.x"), centre=(0.0, 3.0), radius=1.0)
    signals = {"position.y": SignalLimit(low=-1.0, high=2.0)}
    y, rectangle, disc = state_limits(task(signals=signals, regions=(box, circle)), POSITION)
    assert all(isinstance(limit, Limit) for limit in (y, rectangle, disc))
    assert [limit.name for limit in (y, rectangle, disc)] == ["position.y", "box", "circle"]
    assert y.unit == "m"
    assert margins(y, (9, 0), (9, 1.5), (9, -1.5)) == [1.0, 0.5, -0.5]
    assert margins(rectangle, (-1, 0.5), (5, 5), (1, 0.6), (0.1, 0.5), (0, 0)) == [1.0, 5.0, -0.4, -0.1, 0.0]
    assert margins(disc, (3, 0), (3, 3), (3, 0.25)) == [-1.0, 2.0, -0.75], "its channels are in another order"


def test_each_step_is_tightened_and_the_worst_counts() -> None:
    taken = {"position.x": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]}
    [limit] = state_limits(task(signals={"position.x": SignalLimit(high=1.0, confidence=0.99)}), POSITION, taken)
    trajectory = torch.zeros(1, 2, 6, 2)
    trajectory[0, 1, 2, 0] = 0.7
    np.testing.assert_allclose(limit(trajectory, trajectory).numpy(), [[0.5, 0.1]], atol=1e-6)
    np.testing.assert_allclose(limit.predicted(trajectory)[0, 1].numpy(), [1, 1, 0.3, 1, 1, 1], atol=1e-6)
    assert limit.confidence == 0.99


def parsed(text: str, folder: Path) -> Task:
    """A task file that begins with a goal, in two lines."""
    Image.new("RGB", (2, 2)).save(folder / "goal.png")
    return Task.from_text('[goal]\nimage = "goal.png"\n' + text, folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[limits.signal.pressure]\nhigh = 2",
            "task.toml:3: limits.signal.pressure: there is no readout 'pressure'; the readouts of this run",
        ),
        ("[limits.signal.weight]\nhigh = 2\nunit = 'g'", "task.toml:5: limits.signal.weight.unit: is 'g', but 'weight' is in 'kg'"),
        (
            "[limits.signal.weight]\nhigh = 2\nconfidence = 0.9",
            "task.toml:5: limits.signal.weight.confidence: has no interval for",
        ),
        (
            "[[limits.region]]\nname = 'x'\nchannels = ['weight', 'position.x']\ncentre = [0, 0]\nradius = 1",
            "task.toml:3: limits.region.1: the channels are of different units, kg and m",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    readouts = POSITION | {"weight": Same(names=("weight",), unit="kg")}
    with pytest.raises(TaskError) as error:
        state_limits(parsed(text, tmp_path), readouts)
    assert message in str(error.value)


def test_a_run_without_readouts_says_so() -> None:
    with pytest.raises(TaskError, match="this run has no readouts"):
        state_limits(task(signals={"level": SignalLimit(high=1.0)}), {})


def driver(made: Task, make_planner: MakePlanner, taken: dict[str, list[float]] | None = None) -> Controller:
    world = LinearWorld()
    return Controller(
        model=world,
        planner=make_planner(world),
        cost_for=lambda goal: LatentDistance(goal=goal),
        task=made,
        limits=state_limits(made, POSITION, taken),
    )


def test_every_planner_goes_round_a_region_and_every_step_keeps_what_is_taken_off(make_planner: MakePlanner) -> None:
    region = RegionLimit(name="post", channels=("position.x", "position.y"), centre=(0.5, 0.05), radius=0.2, confidence=0.9)
    control, state = driver(task(regions=(region,)), make_planner, {"post": [0.05] * 6}), np.zeros(2)
    for _ in range(40):
        decision = control.act({"state": state})
        if decision.verdict is Verdict.ACT:
            assert decision.limits[0].is_feasible
        state = state + 0.1 * decision.action
        assert np.hypot(*(state - (0.5, 0.05))) >= 0.25 - 1e-5
    assert np.hypot(*(state - (1, 0))) < 0.6


def test_without_a_feasible_plan_the_fallback_says_which_limit_by_how_much_and_how_sure(make_planner: MakePlanner) -> None:
    made = task(signals={"position.x": SignalLimit(high=0.5, confidence=0.99)})
    control = driver(made, make_planner, {"position.x": [0.25] * 6})
    assert control.act({"state": np.zeros(2)}).verdict is Verdict.ACT
    decision = control.act({"state": np.array([2.0, 0.0])})
    assert decision.verdict is Verdict.FALLBACK
    assert decision.action.tolist() == [0.0, 0.0]
    assert "breaks a hard limit (the best one: position.x, margin -1." in decision.reason
    assert "m at confidence 0.99): applying zero" in decision.reason
    [found] = decision.limits
    assert not found.is_feasible
    assert (found.name, found.unit, found.confidence, found.hard) == ("position.x", "m", 0.99, True)


def test_soft_limits_cost_by_their_priority_and_never_stop_the_machine(make_planner: MakePlanner) -> None:
    """A goal behind a soft wall: a small priority lets the plan go there, a large one does not."""
    reached = []
    for priority in (1e-3, 1e3):
        made = task(signals={"position.x": SignalLimit(high=0.5, hard=False, priority=priority)})
        control, state = driver(made, make_planner), np.zeros(2)
        for _ in range(15):
            decision = control.act({"state": state})
            assert decision.verdict is Verdict.ACT
            state = state + 0.1 * decision.action
        reached.append(state[0])
    assert reached[0] > 0.9
    assert reached[1] < 0.55


def test_limits_that_nobody_checks_are_refused(make_planner: MakePlanner) -> None:
    world, made = LinearWorld(), task(signals={"position.x": SignalLimit(high=0.5)})
    with pytest.raises(TaskError, match=r"limits\.signal\.position\.x: nobody checks it"):
        Controller(model=world, planner=make_planner(world), cost_for=lambda goal: LatentDistance(goal=goal), task=made)
    assert replace(made, signals={}).state_limits == ()
