"""Channels of readouts, side by side."""

from __future__ import annotations

import torch

from tacit.models.heads import HeadConfig
from tacit.models.readout import Readout, ReadoutConfig
from tacit.planning.channels import selected


def readout(name: str, channels: tuple[str, ...], depth: int) -> Readout:
    torch.manual_seed(len(name))
    made = Readout(3, ReadoutConfig(name=name, channels=channels, head=HeadConfig(width=8, depth=depth)))
    made.values.set(torch.randn(len(channels)), torch.rand(len(channels)) + 0.5)
    return made.requires_grad_(False)


def test_linear_readouts_are_read_in_one_product_and_say_the_same() -> None:
    latents = torch.randn(2, 4, 5, 3)
    for depth in (0, 1):
        readouts = {
            "tip": readout("tip", ("x", "y"), 0),
            "level": readout("level", ("value",), depth),
            "idle": readout("idle", ("value",), 0),
        }
        found = selected(readouts, ["level", "tip.y"])
        assert (found.affine is None) == bool(depth), "one that is more than linear is asked as it is"
        told = torch.cat((readouts["level"](latents), readouts["tip"](latents)[..., 1:]), -1)
        torch.testing.assert_close(found(latents), told, rtol=1e-5, atol=1e-5)
        assert found.units == ("1", "1")
