"""Readouts: names of their channels, numbers and probabilities."""

from __future__ import annotations

import pytest
import torch

from tacit.models.heads import HeadConfig
from tacit.models.readout import Kind, Readout, ReadoutConfig


def test_channels_are_called_by_their_readout_and_their_name() -> None:
    assert ReadoutConfig(name="level").names == ("level",)
    assert ReadoutConfig(name="tip", channels=("x", "y")).names == ("tip.x", "tip.y")
    for channels in ((), ("x", "x")):
        with pytest.raises(ValueError, match="channels with names of their own"):
            ReadoutConfig(name="tip", channels=channels)
    assert ReadoutConfig(name="LI101.PV").names == ("LI101.PV",), "historians call their tags so"
    with pytest.raises(ValueError, match="needs a name"):
        ReadoutConfig(name="")


def test_reads_physical_units_from_latents_of_any_shape() -> None:
    readout = Readout(3, ReadoutConfig(name="tip", channels=("x", "y"), unit="m"))
    readout.values.set(torch.tensor([100.0, -5.0]), torch.tensor([1e-3, 1e-3]))
    read = readout(torch.zeros(2, 4, 5, 3))
    assert read.shape == (2, 4, 5, 2)
    torch.testing.assert_close(read, torch.tensor([100.0, -5.0]).expand(2, 4, 5, 2), rtol=0, atol=1e-2)
    assert readout.unit == "m"


@torch.no_grad()
def test_a_readout_without_hidden_layer_is_one_product_and_a_sum() -> None:
    torch.manual_seed(0)
    readout = Readout(3, ReadoutConfig(name="tip", channels=("x", "y"), head=HeadConfig(width=8, depth=0)))
    readout.latents.set(torch.tensor([1.0, 2.0, -3.0]), torch.tensor([0.5, 2.0, 10.0]))
    readout.values.set(torch.tensor([100.0, -5.0]), torch.tensor([3.0, 0.1]))
    found = readout.affine()
    assert found is not None
    latents = 10 * torch.randn(4, 5, 3)
    torch.testing.assert_close(readout(latents).double(), latents.double() @ found[0].T + found[1], rtol=1e-5, atol=1e-4)
    assert Readout(3, ReadoutConfig(name="tip")).affine() is None, "it has a hidden layer"
    assert Readout(3, ReadoutConfig(name="touches", kind=Kind.EVENT, head=HeadConfig(width=8, depth=0))).affine() is None


def test_events_are_probabilities() -> None:
    readout = Readout(3, ReadoutConfig(name="touches", kind=Kind.EVENT))
    read = readout(100 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    assert ((read >= 0) & (read <= 1)).all()
