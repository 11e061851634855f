"""Readouts: names of their channels, numbers and probabilities."""

from __future__ import annotations

import pytest
import torch

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


def test_events_are_probabilities() -> None:
    readout = Readout(3, ReadoutConfig(name="touches", kind=Kind.EVENT))
    read = readout(100 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    assert ((read >= 0) & (read <= 1)).all()
