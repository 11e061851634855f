"""Channel dropout: only what has a mask is hidden, for a whole window, and as often as asked."""

from __future__ import annotations

import torch

from tacit.signals import Role, Schema, Signal, mask_of
from tacit.training.hiding import hidden
from tacit.training.seed import generator

TANK = Signal(name="tank", role=Role.OBSERVATION, shape=(3,))
HEAT = Signal(name="heat", role=Role.OBSERVATION)
SCHEMA = Schema(signals=(TANK, mask_of(TANK), HEAT))


def test_elements_are_hidden_for_whole_windows() -> None:
    valid = torch.ones(2000, 4, 3, dtype=torch.bool)
    valid[:, 2, 0] = False
    seen = {"tank": torch.randn(2000, 4, 3), "tank.valid": valid, "heat": torch.randn(2000, 4)}
    after = hidden(seen, SCHEMA, 0.25, generator(0, "hiding", 3))
    assert after["tank"] is seen["tank"]
    assert after["heat"] is seen["heat"]
    assert not after["tank.valid"][:, 2, 0].any(), "what was missing stays missing"
    rest = after["tank.valid"][..., 1:]
    assert torch.equal(rest, rest[:, :1].expand_as(rest)), "a window is hidden as a whole"
    assert 0.21 < 1 - rest.float().mean() < 0.29
    again = hidden(seen, SCHEMA, 0.25, generator(0, "hiding", 3))
    assert torch.equal(after["tank.valid"], again["tank.valid"])


def test_a_share_of_nothing_hides_nothing() -> None:
    seen = {"tank": torch.randn(5, 4, 3), "tank.valid": torch.rand(5, 4, 3) > 0.5, "heat": torch.randn(5, 4)}
    assert torch.equal(hidden(seen, SCHEMA, 0.0, generator(0, "hiding"))["tank.valid"], seen["tank.valid"])
