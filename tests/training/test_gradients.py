"""Gradients of a step: cut to a norm, and on an accelerator the same recorded as they come."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from point_world import SCHEMA, loop_config, model_config
from tacit.models.jepa import JEPA
from tacit.objectives.sigreg import unit_directions
from tacit.training.distributed import Group
from tacit.training.gradients import Given, Recorded, as_they_come, gradients_of

CONFIG = replace(loop_config(steps=1), bfloat16=False)


def given(seed: int, *, joined: float = 1.0, alone: bool = False, views: bool = True) -> Given:
    rng = torch.Generator().manual_seed(seed)
    return Given(
        observations={"sensors": 5 + torch.randn(8, 5, 6, generator=rng)},
        actions=torch.randn(8, 4, 2, generator=rng),
        directions=unit_directions(6, 32, rng),
        joined=torch.tensor(joined),
        views={"sensors": 5 + torch.randn(16, 6, generator=rng)} if views else None,
        alone=alone,
    )


def shaped() -> JEPA:
    torch.manual_seed(0)
    return JEPA(SCHEMA, replace(model_config(), shape_weight=1.0))


def test_gradients_are_those_of_the_losses_cut_to_a_norm() -> None:
    model, cut = shaped(), 0.01
    batch = given(1, joined=0.5)
    found = as_they_come(model, replace(CONFIG, clip=cut), Group())(batch)
    losses = model(batch.observations, batch.actions, batch.directions, None, 0, 1, 0.5, batch.views)
    torch.testing.assert_close(found[:-1], torch.stack(losses))
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert found[-1] > cut
    torch.testing.assert_close(norm, torch.tensor(cut), rtol=1e-4, atol=0)


def test_a_copy_holds_memory_of_its_own() -> None:
    one = given(0)
    other = one.copy(torch.device("cpu"))
    for mine, its in zip(one.tensors(), other.tensors(), strict=True):
        torch.testing.assert_close(mine, its)
        assert mine.data_ptr() != its.data_ptr()
    assert len(list(given(0, views=False).tensors())) == len(list(one.tensors())) - 1


def test_a_cpu_records_nothing() -> None:
    assert not isinstance(gradients_of(shaped(), CONFIG, Group()), Recorded)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_what_is_recorded_gives_the_same_gradients() -> None:
    device = torch.device("cuda")
    one = shaped().to(device)
    other = copy.deepcopy(one)
    recorded, plain = Recorded(one, CONFIG, Group(device=device)), as_they_come(other, CONFIG, Group(device=device))
    for seed, (joined, alone) in enumerate([(0.0, True), (0.0, True), (0.0, False), (0.3, False), (1.0, False)]):
        batch = given(seed, joined=joined, alone=alone).copy(device)
        torch.testing.assert_close(recorded(batch), plain(batch), rtol=1e-4, atol=1e-5)
        for mine, its in zip(one.parameters(), other.parameters(), strict=True):
            assert (mine.grad is None) == (its.grad is None)
            if mine.grad is not None:
                torch.testing.assert_close(mine.grad, its.grad, rtol=1e-3, atol=1e-5)
