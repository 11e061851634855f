"""Everything that training needs to go on, in one safetensors file, written atomically and loaded strictly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from tacit.atomic import atomic_write


class CheckpointError(RuntimeError):
    """A checkpoint is damaged, or belongs to something else."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write named tensors and JSON values to one safetensors file, atomically, with a checksum of both."""
    dense = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(dict(meta))
    # One entry, since the order of several differs from process to process, and the same contents should be the same file.
    atomic_write(path, save(dense, metadata={"tacit": f"{_digest(dense, text)} {text}"}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        CheckpointError: The file is missing, truncated, changed since it was written, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            digest, _, text = (file.metadata() or {})["tacit"].partition(" ")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        if digest != _digest(tensors, text):
            raise CheckpointError(f"{path}: its bytes have changed since it was written; restore it from a copy or train again")
        return tensors, json.loads(text)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or not a file of this program ({error}); restore it or train again") from error


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of a text and of the names, types, shapes and bytes of dense tensors, in hex."""
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load a module's state, refusing missing, extra and differently shaped tensors by name.

    Raises:
        CheckpointError: The tensors are not exactly this module's.
    """
    own = module.state_dict()
    wrong = [f"{n} is missing" for n in own if n not in tensors] + [f"{n} is unknown" for n in tensors if n not in own]
    wrong += [
        f"{n} has shape {tuple(tensors[n].shape)} instead of {tuple(own[n].shape)}"
        for n in own
        if n in tensors and tensors[n].shape != own[n].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(f"{where} does not fit this model: {'; '.join(wrong[:3])}{more}. Was it trained with another --size?")
    module.load_state_dict(dict(tensors), strict=True)


def differences(written: Any, wanted: Any, name: str = "") -> list[str]:
    """Where two trees of JSON settings differ, as `name old instead of new`."""
    if isinstance(written, dict) and isinstance(wanted, dict):
        keys = dict.fromkeys((*wanted, *written))
        return [d for key in keys for d in differences(written.get(key), wanted.get(key), f"{name}.{key}" if name else key)]
    if written == wanted:
        return []
    return [f"{name} {written} instead of {wanted}"]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an Adam-like optimizer as `index.key` -> tensor."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": torch.as_tensor(value) for index, values in state.items() for key, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix.`, without it."""
    return {name.removeprefix(prefix + "."): value for name, value in tensors.items() if name.startswith(prefix + ".")}
