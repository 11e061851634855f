"""The rollout loss against a loop over starts and steps, and its order in time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tacit.objectives.prediction import histories, rollout_loss

B, L, D, A = 3, 6, 4, 2
Step = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def step_of(history: int, hidden: int = 5) -> tuple[torch.nn.Module, Step]:
    network = torch.nn.Sequential(torch.nn.Linear(history * D + A, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, D))
    return network, lambda past, action: past[..., -1, :] + network(torch.cat((past.flatten(-2), action), dim=-1))


def naive(step: Step, latents: Tensor, actions: Tensor, history: int, steps: int) -> Tensor:
    errors: dict[int, list[Tensor]] = {k: [] for k in range(steps)}
    for start in range(L - 1):
        past = [latents[:, max(0, start - i)] for i in reversed(range(history))]
        for k in range(min(steps, L - 1 - start)):
            past = [*past[1:], step(torch.stack(past, dim=1), actions[:, start + k])]
            errors[k].append((past[-1] - latents[:, start + k + 1]).square())
    return torch.stack([torch.cat([e.flatten() for e in found]).mean() for found in errors.values()]).mean()


@pytest.mark.parametrize("history", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 3, L - 1])
def test_equals_a_loop_over_starts_and_steps(history: int, steps: int) -> None:
    network, step = step_of(history)
    latents, actions = torch.randn(B, L, D, requires_grad=True), torch.randn(B, L - 1, A)
    ours = rollout_loss(step, latents, actions, history=history, steps=steps)
    theirs = naive(step, latents, actions, history, steps)
    torch.testing.assert_close(ours, theirs)
    wanted = [latents, *network.parameters()]
    for mine, reference in zip(torch.autograd.grad(ours, wanted), torch.autograd.grad(theirs, wanted), strict=True):
        torch.testing.assert_close(mine, reference)


def test_targets_are_trained_too() -> None:
    """No stop-gradient: a frame that is only ever a target has a gradient."""
    _, step = step_of(1)
    latents = torch.randn(B, L, D, requires_grad=True)
    (gradient,) = torch.autograd.grad(rollout_loss(step, latents, torch.randn(B, L - 1, A), history=1, steps=1), latents)
    assert (gradient[:, -1].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("length", [1, 2, 4])
def test_histories_repeat_the_first_frame(length: int) -> None:
    latents = torch.randn(B, L, D)
    found = histories(latents, length)
    assert found.shape == (B, L, length, D)
    for t in range(L):
        for i in range(length):
            assert torch.equal(found[:, t, i], latents[:, max(0, t - (length - 1 - i))])


@pytest.mark.parametrize("changed", range(1, L))
def test_the_future_does_not_change_earlier_predictions(changed: int) -> None:
    """Every prediction is recorded with the frame it is for; those of frames before a change in the logs must stay as they are."""
    _, step = step_of(2)
    latents, actions = torch.randn(B, L, D), torch.randn(B, L - 1, A)
    later_latents, later_actions = latents.clone(), actions.clone()
    later_latents[:, changed:] += 1
    later_actions[:, changed - 1 :] += 1  # the action that leads to the changed frame

    def predictions(z: Tensor, a: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        rollout_loss(lambda past, action: found.append(step(past, action)) or found[-1], z, a, history=2, steps=3)
        return found

    before, after = predictions(latents, actions), predictions(later_latents, later_actions)
    for k, (one, other) in enumerate(zip(before, after, strict=True)):
        for start in range(one.shape[1]):
            same = torch.equal(one[:, start], other[:, start])
            assert same == (start + k + 1 < changed), f"prediction of frame {start + k + 1} from frame {start}"
