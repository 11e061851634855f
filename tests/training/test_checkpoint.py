"""Checkpoints: back bit by bit, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tacit.training.checkpoint import (
    CheckpointError,
    differences,
    load_strictly,
    load_tensors,
    optimizer_tensors,
    restore_optimizer,
    save_tensors,
    under,
    with_prefix,
)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "weight": torch.randn(3, 4),
        "turned": torch.randn(4, 3).t(),
        "half": torch.randn(5).bfloat16(),
        "count": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "nothing": torch.empty(0, 2),
        "not.a.number": torch.tensor([torch.nan, -0.0, torch.inf]),
    }


def test_tensors_and_values_come_back_bit_by_bit(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    meta = {"step": 3, "seconds": 0.1, "settings": {"batch": 8, "spans": [1, 4]}, "name": "Ä"}
    save_tensors(tmp_path / "a", tensors, meta)
    found, values = load_tensors(tmp_path / "a")
    assert values == meta
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
        assert torch.equal(found[name].reshape(-1).view(torch.uint8), value.contiguous().reshape(-1).view(torch.uint8)), name


def test_the_same_contents_are_the_same_file(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    for i in range(8):
        save_tensors(tmp_path / str(i), dict(reversed(tensors.items())) if i % 2 else tensors, {"step": 3})
    assert len({(tmp_path / str(i)).read_bytes() for i in range(8)}) == 1


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "a"
    save_tensors(path, tensors, {"step": 3})
    data = path.read_bytes()
    for place in range(0, len(data), 5):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=str(path)):
            load_tensors(path)


def test_every_truncation_is_noticed(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "a"
    save_tensors(path, tensors, {"step": 3})
    data = path.read_bytes()
    for length in (0, 1, 7, 8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            load_tensors(path)


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load_tensors(tmp_path / "none")
    save_file({"weight": torch.ones(2)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="not a file of this program"):
        load_tensors(tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="damaged"):
        load_tensors(tmp_path)


def test_a_module_takes_exactly_its_own_tensors() -> None:
    module = nn.Linear(3, 2)
    own = {name: torch.ones_like(value) for name, value in module.state_dict().items()}
    load_strictly(module, own, "here")
    assert torch.equal(module.weight, torch.ones(2, 3))
    for wrong, words in (
        ({"weight": own["weight"]}, "bias is missing"),
        (own | {"extra": torch.ones(1)}, "extra is unknown"),
        (own | {"weight": torch.ones(2, 4)}, r"weight has shape \(2, 4\) instead of \(2, 3\)"),
    ):
        with pytest.raises(CheckpointError, match=f"here does not fit.*{words}"):
            load_strictly(module, wrong, "here")


def test_an_optimizer_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    def one(weight: nn.Parameter, optimizer: torch.optim.Optimizer, step: int) -> None:
        optimizer.zero_grad()
        (weight * torch.arange(4.0) + step).square().sum().backward()
        optimizer.step()

    straight, resumed = (nn.Parameter(torch.ones(4)) for _ in range(2))
    first = torch.optim.AdamW([straight], lr=0.1, fused=True)
    for step in range(6):
        one(straight, first, step)
        if step == 2:
            save_tensors(tmp_path / "a", optimizer_tensors(first), {})
            resumed.data.copy_(straight.data)
    second = torch.optim.AdamW([resumed], lr=0.1, fused=True)
    restore_optimizer(second, load_tensors(tmp_path / "a")[0])
    for step in range(3, 6):
        one(resumed, second, step)
    assert torch.equal(straight, resumed)


def test_prefixes_keep_parts_apart() -> None:
    both = with_prefix("model", {"a.b": torch.ones(1)}) | with_prefix("models", {"c": torch.zeros(1)})
    assert list(under("model", both)) == ["a.b"]
    assert list(under("models", both)) == ["c"]


def test_differences_name_every_setting() -> None:
    written = {"seed": 1, "model": {"latent": 8, "spans": [1, 2]}, "old": 3}
    wanted = {"seed": 1, "model": {"latent": 16, "spans": [1, 4]}, "new": 4}
    assert differences(written, written) == []
    assert differences(written, wanted) == [
        "model.latent 8 instead of 16",
        "model.spans [1, 2] instead of [1, 4]",
        "new None instead of 4",
        "old 3 instead of None",
    ]
