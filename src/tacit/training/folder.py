"""A run on disk: everything needed to use the model elsewhere, and nothing that executes.

    config.json         what the run was made with: recipe, seed, logs, versions
    schema.json         signals the model knows
    model.safetensors   weights of the model and its heads
    calibration.json    errors on held-out episodes
    metrics.jsonl       losses and the collapse watch over the steps
    results.json        numbers measured so far, by whoever measured them
    report.html         the same for a person
    readouts.json       what sensors are read from latents, once some are fitted; their weights in readouts.safetensors
    forecasts.safetensors how forecasts of a machine with sensors are corrected by what they are wrong by
    support.safetensors what the logs of a machine with sensors can answer (`tacit ask`)
    intervals.json      what is taken off limits on states, once some are recorded
    checkpoints/        what resuming needs
    members/            of an ensemble: the run of each member

Every file but metrics.jsonl is written atomically, config.json last.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import cattrs
import numpy as np
from cattrs.v import format_exception
from numpy.typing import NDArray

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore, split, split_by_time
from tacit.models.ensemble import Distance, Ensemble, MeanDistance, MeanPolicy, Model, Policy
from tacit.models.heads import GoalPolicy, TemporalDistance
from tacit.models.jepa import JEPA
from tacit.signals import Schema, SchemaError
from tacit.training.calibration import Calibration
from tacit.training.checkpoint import CheckpointError, load_strictly, load_tensors, save_tensors, under, with_prefix
from tacit.training.recipes import Recipe

FORMAT_VERSION = 5
CONFIG, SCHEMA, MODEL, CALIBRATION, RESULTS = "config.json", "schema.json", "model.safetensors", "calibration.json", "results.json"
READOUTS, READOUT_WEIGHTS = "readouts.json", "readouts.safetensors"
CORRECTION = "forecasts.safetensors"

_converter = cattrs.Converter(forbid_extra_keys=True)
Value = TypeVar("Value")


class RunError(RuntimeError):
    """A folder is not a run, or a damaged one."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run was made with.

    Attributes:
        recipe: Settings.
        seed: Of everything.
        store: Folder of the logs, as it was given.
        source: What the store says of where its logs come from.
        train_episodes: Number of episodes trained on.
        held_out_episodes: Number of episodes kept for calibration and probes.
        held_out: Share of the episodes that was kept; `division` says which.
        versions: Of Python and the packages that matter.
        version: Of this format.
    """

    recipe: Recipe
    seed: int
    store: str
    source: dict[str, Any]
    train_episodes: int
    held_out_episodes: int
    held_out: float
    versions: dict[str, str]
    version: int = FORMAT_VERSION

    def division(self, store: EpisodeStore) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The episodes of a store that such a run is trained on, and those that it is not, int64 numbers.

        Raises:
            ValueError: The store has too few healthy episodes to divide.
        """
        return division(self.recipe, store, held_out=self.held_out, seed=self.seed)


def division(recipe: Recipe, store: EpisodeStore, *, held_out: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Episodes of a store to train on, and those that are held out: the last ones, or some of all, as the recipe says.

    Raises:
        ValueError: The store has too few healthy episodes to divide.
    """
    return split_by_time(store, held_out=held_out) if recipe.by_time else split(store, held_out=held_out, seed=seed)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    found = {"python": platform.python_version()}
    for package in ("tacit", "torch", "numpy", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def write_run(
    folder: Path,
    *,
    config: RunConfig,
    model: Model,
    distance: Distance,
    policy: Policy,
    calibration: Calibration,
) -> None:
    """Write the parts of a finished run, each atomically; config.json last, so that a folder with one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"jepa": model, "distance": distance, "policy": policy}
    tensors = {name: value for part, module in parts.items() for name, value in with_prefix(part, module.state_dict()).items()}
    save_tensors(folder / MODEL, tensors, {"format": FORMAT_VERSION, "schema": model.schema.digest()})
    _write_json(folder / SCHEMA, model.schema.to_json())
    _write_json(folder / CALIBRATION, calibration.to_json())
    _write_json(folder / CONFIG, _converter.unstructure(config))


def digest_of_run(folder: Path) -> str:
    """SHA-256, in hex, over what decides: the weights, the signals, the calibration, the settings, and the readouts where there are some,
    as `sha256sum` prints them.

    Raises:
        RunError: One of the files is missing.
    """
    names = [CALIBRATION, CONFIG, MODEL, SCHEMA] + [name for name in (READOUTS, READOUT_WEIGHTS) if (folder / name).exists()]
    try:
        lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    except OSError as error:
        raise RunError(f"{error.filename}: {error.strerror}") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def fingerprint(folder: Path) -> str:
    """SHA-256 of the weights, in hex.

    Raises:
        RunError: There are none.
    """
    try:
        with (folder / MODEL).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{error.filename}: {error.strerror}") from error


def read_config(folder: Path) -> RunConfig:
    """Read config.json.

    Raises:
        RunError: The folder is not a run, training has not finished, or a newer version wrote it.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run")
    if not (folder / CONFIG).is_file():
        unfinished = (folder / "checkpoints").is_dir() or (folder / "members").is_dir()
        raise RunError(
            f"{folder}: training has not finished; go on with `tacit train ... --out {folder} --resume`"
            if unfinished
            else f"{folder} is not a run: it has no {CONFIG}"
        )
    values = _read_json(folder / CONFIG)
    if values.get("version") != FORMAT_VERSION:
        raise RunError(f"{folder / CONFIG} has format version {values.get('version')}; this Tacit reads version {FORMAT_VERSION}")
    return _structured(folder / CONFIG, values, RunConfig)


def read_schema(folder: Path) -> Schema:
    """Read schema.json of a finished run.

    Raises:
        RunError: The folder is not a finished run, or the file is missing or damaged.
    """
    read_config(folder)
    try:
        return Schema.from_json(_read_json(folder / SCHEMA))
    except SchemaError as error:
        raise RunError(f"{folder / SCHEMA}: {error}") from error


Parts = tuple[RunConfig, Model, Distance, Policy, Calibration]


def read_run(folder: Path) -> Parts:
    """Read what `write_run` wrote; weights are loaded strictly.

    Raises:
        RunError: A part is missing or damaged; the message names the file and the reason.
    """
    config = read_config(folder)
    calibration = _structured(folder / CALIBRATION, _read_json(folder / CALIBRATION), Calibration)
    schema = read_schema(folder)
    try:
        model, distance, policy = _untrained(schema, config.recipe)
        tensors, meta = load_tensors(folder / MODEL)
        if meta.get("schema") != schema.digest():
            raise RunError(f"{folder / MODEL} belongs to another schema than {folder / SCHEMA}: the run's files are mixed up")
        for part, module in {"jepa": model, "distance": distance, "policy": policy}.items():
            load_strictly(module, under(part, tensors), str(folder / MODEL))
            module.requires_grad_(False).eval()
    except SchemaError as error:
        raise RunError(f"{folder / SCHEMA}: {error}") from error
    except CheckpointError as error:
        raise RunError(str(error)) from error
    return config, model, distance, policy, calibration


def _untrained(schema: Schema, recipe: Recipe) -> tuple[Model, Distance, Policy]:
    """Model and heads of a recipe, of one member or of several."""
    latent, each = recipe.jepa.latent, range(recipe.members)
    models = [JEPA(schema, recipe.jepa) for _ in each]
    distances = [TemporalDistance(latent, recipe.head) for _ in each]
    policies = [GoalPolicy(latent, schema.action_size, models[0].history, recipe.head) for _ in each]
    if recipe.members == 1:
        return models[0], distances[0], policies[0]
    return Ensemble(models), MeanDistance(distances), MeanPolicy(policies)


def merge_results(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Add measured numbers to results.json, section by section; returns all of them.

    Args:
        folder: The run.
        values: Sections by name; a section replaces the one that was there.
    """
    path = folder / RESULTS
    merged = (_read_json(path) if path.is_file() else {}) | dict(values)
    _write_json(path, merged)
    return merged


def read_results(folder: Path) -> dict[str, Any]:
    """Numbers measured so far; empty when there are none."""
    path = folder / RESULTS
    return _read_json(path) if path.is_file() else {}


def _write_json(path: Path, values: Any) -> None:
    atomic_write(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def _structured(path: Path, values: dict[str, Any], kind: type[Value]) -> Value:
    try:
        return _converter.structure(values, kind)
    except cattrs.BaseValidationError as error:
        raise RunError(f"{path}: {'; '.join(cattrs.transform_error(error, format_exception=_reason))}") from error


def _reason(error: BaseException, kind: type | None) -> str:
    words = format_exception(error, kind)
    return f"{words} ({error})" if type(error) is ValueError else words


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{path} is missing: the run is not complete") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(values, dict):
        raise RunError(f"{path}: not a JSON object")
    return values
