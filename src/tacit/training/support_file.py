"""What the logs can answer, in a run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tacit.contracts import WorldModel
from tacit.models.readout import Readout
from tacit.training.checkpoint import CheckpointError, load_tensors, save_tensors
from tacit.training.folder import RunError
from tacit.training.support import LAGS, Cloud, Support

SUPPORT = "support.safetensors"
VERSION = 2  # in 1, far predictions of a plant that runs away decided what is usual
KINDS = ("actions", "states")
TENSORS = ("scores", "residuals", "gain", "low", "high", "moved")


def write_support(folder: Path, support: Support) -> None:
    """Write it into the folder of a run, atomically."""
    tensors = {name: getattr(support, name) for name in TENSORS}
    tensors |= {f"{kind}.{name}": value for kind in KINDS for name, value in vars(getattr(support, kind)).items()}
    save_tensors(folder / SUPPORT, tensors, {"version": VERSION})


def read_support(folder: Path, model: WorldModel, readouts: Sequence[Readout]) -> Support:
    """Read what `write_support` wrote.

    Args:
        folder: Of the run.
        model: The run's.
        readouts: Of it, N channels together.

    Raises:
        RunError: There is none, it is damaged, of another version, or of another machine or model.
    """
    path = folder / SUPPORT
    if not path.exists():
        raise RunError(f"{path}: no such file; a run of a machine with sensors gets it when it is trained with this version")
    try:
        tensors, meta = load_tensors(path)
    except CheckpointError as error:
        raise RunError(str(error)) from error
    if meta.get("version") != VERSION:
        raise RunError(f"{path} has format version {meta.get('version')}; this Tacit reads version {VERSION}")
    steps = tensors["scores"].shape[-1] if "scores" in tensors and tensors["scores"].dim() else 0
    for name, shape in _shapes(model, readouts, steps).items():
        if name not in tensors:
            raise RunError(f"{path} is damaged: {name} is missing; train the run again")
        value = tensors[name]
        if not _fits(value.shape, shape):
            words = f"{name} has shape {_words(value.shape)} instead of {_words(shape)}"
            raise RunError(f"{path} is damaged or another run's: {words}; train the run again")
        if value.dtype != torch.float32:
            raise RunError(f"{path} is damaged: {name} has numbers of {value.dtype} instead of {torch.float32}; train the run again")
    clouds = {kind: Cloud(**{name: tensors[f"{kind}.{name}"] for name in Cloud.__dataclass_fields__}) for kind in KINDS}
    return Support(actions=clouds["actions"], states=clouds["states"], **{name: tensors[name] for name in TENSORS})


def _shapes(model: WorldModel, readouts: Sequence[Readout], steps: int) -> dict[str, tuple[int | None, ...]]:
    """The shape of every tensor of a file, with None for sizes that can be any, by name."""
    actions, channels = model.schema.action_size, sum(len(readout.names) for readout in readouts)
    found: dict[str, tuple[int | None, ...]] = {
        "scores": (None, steps),
        "residuals": (None, steps, channels),
        "gain": (channels,),
        "low": (actions + channels,),
        "high": (actions + channels,),
        "moved": (len(LAGS), actions),
    }
    for kind, size in zip(KINDS, ((1 + len(LAGS)) * actions, model.latent_size + actions), strict=True):
        cloud = {"mean": (size,), "scale": (size,), "whiten": (size, size), "points": (None, size), "usual": ()}
        found |= {f"{kind}.{name}": shape for name, shape in cloud.items()}
    return found


def _fits(found: Sequence[int], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(size > 0 and wanted in (None, size) for size, wanted in zip(found, shape, strict=True))


def _words(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"
