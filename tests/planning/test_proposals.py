"""Proposals, in a linear world where what a policy does can be followed by hand."""

from __future__ import annotations

import pytest
import torch
from linear_worlds import LinearWorld
from torch import Tensor

from tacit.contracts import Proposal
from tacit.planning import ImaginedPolicy, Retrieval, SharedOut

GOAL = torch.tensor([[1.0, 0.0], [0.0, -1.0]])


def towards(history: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    return 5 * (goal - history[:, -1]), torch.full_like(goal, 0.2)


def proposal(**settings: float) -> ImaginedPolicy:
    return ImaginedPolicy(model=LinearWorld(history=2), policy=towards, goal=GOAL, **settings)


def proposed(made: ImaginedPolicy, count: int = 5, seed: int = 0) -> Tensor:
    return made(torch.zeros(2, 2, 2), 6, count, torch.Generator().manual_seed(seed))


def test_the_first_one_is_the_policy_itself_step_by_step() -> None:
    made = proposal()
    assert isinstance(made, Proposal)
    actions = proposed(made)
    assert actions.shape == (2, 5, 6, 2)
    state = torch.zeros(2, 2)
    for step in range(6):
        expected = 5 * (GOAL - state)
        torch.testing.assert_close(actions[:, 0, step], expected)
        state = state + 0.1 * expected


def test_the_others_stray_within_the_spread_the_later_ones_more() -> None:
    first = proposed(proposal(stray=2.0), 3000)[:, :, 0]
    off = (first - first[:, :1]) / 0.2
    scale = torch.linspace(0, 2, 3000)[None, :, None]
    assert (off[:, 1:] / scale[:, 1:]).std() - 1 < 0.05
    assert off[:, 2500:].std() > 2 * off[:, :1000].std()


def test_straying_is_smooth_in_time() -> None:
    def correlation(rho: float) -> float:
        actions = proposed(
            ImaginedPolicy(model=LinearWorld(history=2, effect=torch.zeros(2, 2)), policy=towards, goal=GOAL, correlation=rho), 4000
        )
        off = (actions - actions[:, :1])[:, 1:] / torch.linspace(0, 2, 4000)[None, 1:, None, None]
        return float(torch.corrcoef(torch.stack((off[:, :, 2].flatten(), off[:, :, 3].flatten())))[0, 1])

    assert abs(correlation(0.9) - 0.9) < 0.02
    assert abs(correlation(0.0)) < 0.03


def test_a_policy_that_needs_history_gets_it_oldest_first() -> None:
    seen: list[Tensor] = []

    def policy(history: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(history)
        return torch.ones_like(goal), torch.zeros_like(goal)

    made = ImaginedPolicy(model=LinearWorld(history=3), policy=policy, goal=GOAL[:1])
    made(torch.tensor([[[-2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]]), 3, 1, torch.Generator())
    torch.testing.assert_close(seen[2][0, :, 0], torch.tensor([0.0, 0.1, 0.2]))


def test_the_same_seed_proposes_the_same() -> None:
    assert torch.equal(proposed(proposal()), proposed(proposal()))
    assert not torch.equal(proposed(proposal()), proposed(proposal(), seed=1))


def test_what_is_imagined_keeps_no_gradients() -> None:
    effect = torch.eye(2).requires_grad_()
    made = ImaginedPolicy(model=LinearWorld(history=2, effect=effect), policy=towards, goal=GOAL)
    assert not proposed(made).requires_grad


# Three walks along the first axis, from 0 to 9 by ones; the action says which walk and which step: walk + step / 100.
LATENTS = torch.cat([torch.stack((torch.arange(10.0), torch.full((10,), height)), 1) for height in (0.0, 1.0, 5.0)])
ACTIONS = torch.cat([walk + torch.arange(10.0)[:, None] / 100 for walk in (1.0, 2.0, 3.0)])
LAST = torch.tensor([9] * 10 + [19] * 10 + [29] * 10)


def retrieved(here: tuple[float, float], goal: tuple[float, float], *, horizon: int = 6, count: int = 1, **fields: object) -> Tensor:
    """Suggestions (P, H) for one machine."""
    made = Retrieval(**{"latents": LATENTS, "actions": ACTIONS, "last": LAST, "goal": torch.tensor([goal]), "spacing": 1} | fields)  # type: ignore[arg-type]
    assert isinstance(made, Proposal)
    history = torch.tensor([[[99.0, 99.0], here]])
    actions = made(history, horizon, count, torch.Generator())
    assert actions.shape == (1, count, horizon, 1)
    return actions[0, :, :, 0]


def test_retrieves_what_was_done_from_here_to_the_goal_and_then_rests() -> None:
    assert retrieved((2.1, 0.1), (5.0, 0.0))[0].tolist() == pytest.approx([1.02, 1.03, 1.04, 0, 0, 0])
    assert retrieved((2.1, 4.9), (5.0, 5.0))[0].tolist() == pytest.approx([3.02, 3.03, 3.04, 0, 0, 0])
    assert retrieved((2.1, 4.9), (5.0, 5.0), rest=torch.tensor([0.5]))[0].tolist() == pytest.approx([3.02, 3.03, 3.04, 0.5, 0.5, 0.5])
    assert retrieved((3.0, 0.0), (9.0, 0.0))[0].tolist() == pytest.approx([1.03, 1.04, 1.05, 1.06, 1.07, 1.08]), "as far as the horizon"


def test_no_episode_goes_on_in_the_next_one() -> None:
    """The walk ends at 9; the next one begins at the goal, one row on."""
    found = retrieved((8.0, 0.0), (0.0, 1.0), count=30)
    assert not ((found[:, :1] > 1.05) & (found[:, 1:] >= 2.0)).any()
    assert retrieved((8.0, 0.0), (0.0, 1.0), horizon=3)[0, 0] != pytest.approx(1.08)
    assert retrieved((9.0, 0.0), (9.0, 0.0), count=30)[:, 0].max() < 3.09, "nothing was done at the last frame"


def test_the_best_come_first_and_what_lacks_is_the_best_again() -> None:
    found = retrieved((2.0, 0.0), (4.0, 0.0), horizon=2, count=40)
    assert found[0].tolist() == pytest.approx([1.02, 1.03])
    assert found[1].tolist() == pytest.approx([1.03, 0]), "one unit ahead, and at the goal a step earlier"
    assert (found[2:5, 0] - 2.02).abs().min() < 1e-5, "the next walk is one unit away, here and at the goal"
    assert torch.equal(found[27:], found[:1].expand(13, -1)), "27 frames have an action"


def test_the_window_is_exact_for_every_horizon() -> None:
    """Against the definition, written out."""
    generator = torch.Generator().manual_seed(0)
    latents, actions = torch.randn(60, 3, generator=generator), torch.arange(60.0)[:, None] + 1
    last = torch.tensor([13] * 14 + [14] + [40] * 26 + [59] * 19)
    here, goal = torch.randn(2, 3, generator=generator), torch.randn(2, 3, generator=generator)
    for horizon in (1, 2, 3, 5, 8, 13, 70):
        made = Retrieval(latents=latents, actions=actions, last=last, goal=goal, spacing=1)
        found = made(here[:, None], horizon, 4, torch.Generator())[:, :, 0, 0]
        for b in range(2):
            scores = []
            for i in range(60):
                ahead = (latents[i : min(i + horizon, int(last[i])) + 1] - goal[b]).square().sum(-1)
                scores.append(float((latents[i] - here[b]).square().sum() + ahead.min()) if i < last[i] else torch.inf)
            best = torch.tensor(scores).argsort()[:4]
            ahead = [(latents[i : min(i + horizon, int(last[i])) + 1] - goal[b]).square().sum(-1).argmin() for i in best]
            assert found[b].tolist() == [float(i + 1) if a else 0.0 for i, a in zip(best, ahead, strict=True)]


def test_neighbours_are_not_suggested_together() -> None:
    found = retrieved((4.0, 0.0), (9.0, 0.0), count=8, spacing=5)
    walks, steps = found[:, 0].floor(), (found[:, 0] % 1 * 100).round()
    groups = {(int(walk), int(step) // 5) for walk, step in zip(walks, steps, strict=True)}
    assert len(groups) == 6, "two fives in each of three walks"
    assert torch.equal(found[6:], found[:1].expand(2, -1))


@pytest.mark.parametrize("start", [2, 3, 5, 6])
def test_the_nearest_of_neighbours_is_suggested(start: int) -> None:
    """Rows 2, 6 and so on stand for their neighbours; the heights of the other walks are far off."""
    heights = torch.tensor([1.0, 100.0])
    expected = [1 + (start + step) / 100 for step in range(2)]
    found = retrieved((float(start), 0.0), (start + 2.0, 0.0), horizon=2, spacing=4, latents=LATENTS * heights)
    assert found[0].tolist() == pytest.approx(expected)


def test_each_machine_has_its_own_goal_and_a_broken_one_disturbs_nobody() -> None:
    made = Retrieval(latents=LATENTS, actions=ACTIONS, last=LAST, goal=torch.tensor([[5.0, 0.0], [3.0, 5.0], [0.0, 0.0]]))
    history = torch.tensor([[[2.0, 0.0]], [[1.0, 5.0]], [[torch.nan, 0.0]]])
    actions = made(history, 4, 2, torch.Generator())[..., 0]
    assert actions[0, 0].tolist() == pytest.approx([1.02, 1.03, 1.04, 0])
    assert actions[1, 0].tolist() == pytest.approx([3.01, 3.02, 0, 0])
    assert actions.isfinite().all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"actions": ACTIONS[:-1]}, "must have shapes"),
        ({"last": LAST[:, None]}, "must have shapes"),
        ({"last": LAST - 1}, "last must hold"),
        ({"last": LAST + 1}, "last must hold"),
        ({"last": torch.arange(30)}, "no episode has an action"),
        ({"latents": LATENTS * torch.nan}, "not finite"),
        ({"actions": ACTIONS / 0}, "not finite"),
        ({"rest": torch.zeros(2)}, "rest has shape"),
        ({"spacing": 0}, "spacing must be at least 1"),
    ],
)
def test_logs_that_do_not_fit_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        retrieved((0.0, 0.0), (1.0, 0.0), **fields)  # type: ignore[arg-type]


def test_goals_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"goal \(1, 3\) must have shapes"):
        Retrieval(latents=LATENTS, actions=ACTIONS, last=LAST, goal=torch.zeros(1, 3))


def test_the_action_at_an_episodes_end_is_not_looked_at() -> None:
    actions = ACTIONS.clone()
    actions[LAST] = torch.nan
    assert retrieved((8.0, 0.0), (9.0, 0.0), actions=actions, count=30).isfinite().all()


def test_several_share_the_suggestions_and_each_sees_its_own_latents() -> None:
    def suggesting(size: int) -> Proposal:
        def suggested(history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
            assert history.shape[-1] == size
            rank = torch.arange(float(count)).expand(len(history), -1)
            return (100 * size + rank)[..., None, None].expand(-1, -1, horizon, 1)

        return suggested

    shared = SharedOut(parts=(suggesting(1), suggesting(2)), apart=lambda latents: latents.split((1, 2), -1))
    history, rng = torch.zeros(3, 2, 3), torch.Generator()
    found = shared(history, 4, 5, rng)
    assert found.shape == (3, 5, 4, 1)
    assert sorted(found[0, :, 0, 0].tolist()) == [100, 101, 102, 200, 201]
    assert (found[0, :, 0, 0] % 100).tolist() == [0, 0, 1, 1, 2], "what each finds most likely comes first"
    assert len(shared(history, 4, 1, rng)[0]) == 1
