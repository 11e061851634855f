"""The inverse loss against a loop, and its trick: a change counts by its direction, not by its size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tacit.objectives.inverse import inverse_loss

B, L, D, A = 4, 6, 3, 2


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("before", [False, True])
def test_equals_a_loop_over_starts_and_spans(before: bool) -> None:
    decoder = torch.nn.Linear((2 + before) * D, A)
    latents, actions = torch.randn(B, L, D), torch.randn(B, L - 1, A)
    steps = latents[:, 1:] - latents[:, :-1]
    typical = steps.square().mean().sqrt() + 1e-4
    expected = []
    for span in (1, 3):
        starts = range(int(before), L - span)
        changes = torch.stack([latents[:, t + span] - latents[:, t] for t in starts], dim=1)
        size = changes.square().mean().sqrt() + 1e-4
        errors = []
        for t in starts:
            target = sum(actions[:, t + i] for i in range(span)) / math.sqrt(span)
            led = [steps[:, t - 1] / typical] if before else []
            inputs = torch.cat((latents[:, t], *led, (latents[:, t + span] - latents[:, t]) / size), dim=-1)
            errors.append((decoder(inputs) - target).square())
        expected.append(torch.stack(errors).mean())
    torch.testing.assert_close(inverse_loss(decoder, latents, actions, (1, 3), before=before), torch.stack(expected).mean())


def test_a_force_is_read_from_how_the_speed_changed() -> None:
    """Where the action is an acceleration, two moments alone say nothing of it."""
    actions = torch.randn(200, L - 1, A)
    speed = torch.randn(200, 1, A) + torch.nn.functional.pad(actions.cumsum(1), (0, 0, 1, 0))
    place = torch.nn.functional.pad(speed[:, 1:].cumsum(1), (0, D - A, 1, 0))
    steps = place[:, 1:] - place[:, :-1]
    before, after = steps.square().mean().sqrt() + 1e-4, (place[:, 2:] - place[:, 1:-1]).square().mean().sqrt() + 1e-4
    loss = inverse_loss(lambda x: x[..., 2 * D : 2 * D + A] * after - x[..., D : D + A] * before, place, actions, (1,), before=True)
    assert float(loss) == pytest.approx(0.0, abs=1e-8)


def scene(scale: float) -> Tensor:
    """Latents of one large static scene with a change of the given scale on top."""
    generator = torch.Generator().manual_seed(1)
    static = torch.randn(B, 1, D, generator=generator)
    return static + scale * torch.randn(B, L, D, generator=generator).cumsum(1)


@pytest.mark.parametrize("before", [False, True])
def test_the_size_of_the_change_does_not_matter(before: bool) -> None:
    change_only = torch.nn.Linear((2 + before) * D, A)
    with torch.no_grad():
        change_only.weight[:, :D] = 0
    actions = torch.randn(B, L - 1, A)
    large, small = (inverse_loss(change_only, scene(scale), actions, (1, 2), before=before).item() for scale in (1.0, 0.01))
    assert small == pytest.approx(large, rel=0.02)


def test_the_size_is_no_way_out_for_the_gradient() -> None:
    """The size is a constant to the gradient: latents cannot lower the loss by the batch's overall scale alone."""
    latents = scene(0.1).requires_grad_()
    decoder = torch.nn.Linear(3 * D, A)
    actions = torch.randn(B, L - 1, A)
    (ours,) = torch.autograd.grad(inverse_loss(decoder, latents, actions, (1,), before=True), latents)
    step = latents[:, 1:] - latents[:, :-1]
    before, after = (change.detach().square().mean().sqrt() + 1e-4 for change in (step, step[:, 1:]))
    inputs = torch.cat((latents[:, 1:-1], step[:, :-1] / before, step[:, 1:] / after), dim=-1)
    (reference,) = torch.autograd.grad((decoder(inputs) - actions[:, 1:]).square().mean(), latents)
    torch.testing.assert_close(ours, reference)


def test_nothing_decoded_costs_one_on_white_actions() -> None:
    nothing = lambda x: x.new_zeros(*x.shape[:-1], A)  # noqa: E731
    loss = inverse_loss(nothing, torch.randn(500, L, D), torch.randn(500, L - 1, A), (1, 2, 4))
    assert float(loss) == pytest.approx(1.0, rel=0.05)


def test_perfect_decoding_costs_nothing() -> None:
    """Latents that add up the actions, and a decoder that reads the change."""
    actions = torch.randn(B, L - 1, A)
    latents = torch.nn.functional.pad(actions.cumsum(1), (0, D - A, 1, 0))
    size = (latents[:, 1:] - latents[:, :-1]).square().mean().sqrt() + 1e-4
    loss = inverse_loss(lambda x: x[..., D : D + A] * size, latents, actions, (1,))
    assert float(loss) == pytest.approx(0.0, abs=1e-10)


def test_two_processes_share_the_size_of_the_whole_batch() -> None:
    latents = torch.cat((scene(1.0), scene(0.1)))
    actions = torch.randn(2 * B, L - 1, A)
    decoder = torch.nn.Linear(3 * D, A)
    seen: list[list[Tensor]] = [[], []]
    halves = list(zip(latents.split(B), actions.split(B), strict=True))
    for squares, (z, a) in zip(seen, halves, strict=True):
        inverse_loss(decoder, z, a, (1,), before=True, all_reduce=lambda x, squares=squares: squares.append(x) or x, world_size=2)
    parts = []
    for z, a in halves:
        sums = iter([one + two for one, two in zip(*seen, strict=True)])
        parts.append(inverse_loss(decoder, z, a, (1,), before=True, all_reduce=lambda x, sums=sums: next(sums), world_size=2))
    torch.testing.assert_close(torch.stack(parts).mean(), inverse_loss(decoder, latents, actions, (1,), before=True))
