"""The historian of a plant: its operation written as a historian exports it, and brought into a store by `tacit import`.

    NAME-historian/   mapping.toml  recording.json  0000.csv  0001.csv ...        and with a camera 0000/*.png  0001/*.png ...
    NAME/             the store

Every file is a stretch of one operation that goes on from file to file: drifts, disturbances and controllers do not start anew. A row
has the samples of one moment and the commands that were given then; a cell is empty where a sensor has no new sample. Columns are tags:
`.PV` what is measured, `.OP` commands, `.SP` setpoints, and without an ending what nobody on site knows.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore, StoreError
from tacit.data.importing import prepare, run
from tacit.data.mapping import LogMapping
from tacit.signals import MASK, Role, Schema, Signal
from tacit.worlds.plants.plant import Floats, Plant, Samples
from tacit.worlds.world import Purpose, stream

BEGIN = np.datetime64("2026-01-05T06:00:00.000")  # of the first shift, UTC
TIME = "Timestamp"
TAGS = {Role.OBSERVATION: ".PV", Role.DISTURBANCE: ".PV", Role.ACTION: ".OP", Role.LABEL: ""}
SETPOINT = ".setpoint"  # ending of the name of a label with a setpoint
FOLDER = "-historian"  # ending of the name of the folder of exports


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Logged operation of a plant: what is the same for the same values.

    Attributes:
        plant: Name of the plant.
        steps: T, control steps per file.
        seed: Of plant and people, at least 0.
    """

    plant: str
    steps: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """The values as a store's source tells them."""
        return {"world": self.plant, "policy": "operator", "steps": self.steps, "seed": self.seed}


def record_plant(
    plant: Plant,
    path: Path,
    *,
    episodes: int,
    steps: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> EpisodeStore:
    """Log the operation of a plant and import the log, or go on with a recording that was interrupted.

    What the first episodes hold depends on the plant, `seed` and `steps` alone, however many there are.

    Args:
        plant: What is run; it is reset.
        path: Folder of the store; the exports are in a folder beside it, which may be thrown away.
        episodes: Number of episodes in the finished store.
        steps: T, control steps per episode.
        seed: Seed of the recording, at least 0.
        progress: Called with the number of episodes that are logged and the number asked for.

    Returns:
        The store. Its schema is the plant's, with the setpoints as labels.

    Raises:
        ValueError: A number is out of its domain.
        StoreError: One of both folders holds something else, or an export was damaged.
    """
    if episodes < 1 or steps < 1 or seed < 0:
        raise ValueError(f"record: episodes {episodes} and steps {steps} must be at least 1, and seed {seed} at least 0")
    operation = Operation(plant=plant.name, steps=steps, seed=seed)
    exports = path.with_name(path.name + FOLDER)
    export(plant, exports, operation, episodes=episodes, progress=progress)
    prepared = prepare(exports, LogMapping.from_toml(exports / "mapping.toml"), about=operation.to_json())
    for done in run(prepared, path):
        if done.fault is not None or done.episodes != 1:
            fault = done.fault or "; ".join(done.notes)
            raise StoreError(f"{exports / done.take} is not as it was written: {fault}; remove {exports} and {path} and record again")
    return EpisodeStore(path)


def export(plant: Plant, folder: Path, operation: Operation, *, episodes: int, progress: Callable[[int, int], None] | None = None) -> None:
    """Write files of logged operation, and the mapping that imports them. Files that are there already stay.

    Args:
        plant: What is run; it is reset.
        folder: Where to; a new one, or one of the same operation.
        operation: What is logged.
        episodes: Number of files.
        progress: Called with the number of files that are there and `episodes`.

    Raises:
        StoreError: The folder holds something else.
    """
    begun = folder / "recording.json"
    if begun.exists():
        if (found := json.loads(begun.read_text(encoding="utf-8"))) != operation.to_json():
            raise StoreError(f"{folder} holds another recording, {found}, not {operation.to_json()}; choose another folder")
    elif folder.exists():
        raise StoreError(f"{folder} already exists and is no recording; choose another folder for the store")
    rng = stream(Purpose.RECORDING, operation.seed, 0)
    samples, operator, schema = plant.reset(int(rng.integers(2**63))), plant.operator(rng), plant.schema
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(begun, json.dumps(operation.to_json()))
    atomic_write(folder / "mapping.toml", mapping_text(schema, tuple(operator.setpoints), operation.steps))
    for number in range(episodes):
        first = number * operation.steps
        moments, cells = [samples], []
        for step in range(operation.steps):
            action = operator.act(samples)
            cells.append(row(schema, first + step, samples, operator.setpoints, action))
            samples = plant.apply(action)
            moments.append(samples)
        cells.append(row(schema, first + operation.steps, samples, operator.setpoints, None))
        file = folder / f"{number:04d}.csv"
        if not file.exists():
            for camera in cameras_of(schema):
                write_pictures(folder / file.stem, [moment[camera.name] for moment in moments])
            atomic_write(file, table([header(schema, tuple(operator.setpoints)), *cells]))
        if progress is not None:
            progress(number + 1, episodes)


def cameras_of(schema: Schema) -> tuple[Signal, ...]:
    """Observations that are written as pictures."""
    return tuple(s for s in schema.observations if s.is_image)


def columns_of(schema: Schema) -> tuple[Signal, ...]:
    """Signals that are written as columns: all numbers but the masks, which are empty cells."""
    masks = {mask.name for mask in schema.masks.values()}
    return tuple(s for s in schema.signals if not s.is_image and s.name not in masks)


def header(schema: Schema, setpoints: tuple[str, ...]) -> list[str]:
    """Names of the columns."""
    return [TIME, *(s.name + TAGS[s.role] for s in columns_of(schema)), *(name + ".SP" for name in setpoints)]


def row(schema: Schema, step: int, samples: Samples, setpoints: Mapping[str, float], action: Floats | None) -> list[str]:
    """The cells of one moment, each number in as many digits as tell it from its neighbours.

    Args:
        schema: Of the plant.
        step: Number of the moment since the beginning of the operation.
        samples: Seen at the moment.
        setpoints: In force.
        action: Commands (m,) that are given then, or None where the file ends.
    """
    time = BEGIN + np.timedelta64(round(step * schema.period * 1000), "ms")
    commands = {} if action is None else dict(zip((s.name for s in schema.actions), action.astype(np.float32), strict=True))
    cells = [f"{time}Z"]
    for signal in columns_of(schema):
        is_there = bool(samples.get(signal.name + MASK, True))
        value = commands.get(signal.name, "") if signal.role is Role.ACTION else samples[signal.name] if is_there else ""
        cells.append(str(value))
    return cells + [str(np.float32(value)) for value in setpoints.values()]


def table(rows: list[list[str]]) -> str:
    """Rows of cells as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_pictures(folder: Path, frames: Sequence[NDArray[np.uint8]]) -> None:
    """Frames (height, width, 3) as numbered PNG files; whatever the folder held before is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:05d}.png", compress_level=1)


def mapping_text(schema: Schema, setpoints: tuple[str, ...], steps: int) -> str:
    """The mapping file that makes a store of a plant's exports."""
    cameras = cameras_of(schema)
    lines = [f'format = "{"video" if cameras else "table"}"', f"period = {schema.period}", "", "[options]", f'time = "{TIME}"']
    if cameras:
        lines.append(f"fps = {1 / schema.period}")
    lines += ["", "[episodes]", "min_steps = 1", f"max_steps = {steps}"]
    for camera in cameras:
        lines += ["", f'[signals."{camera.name}"]', 'source = "image"', f'role = "{camera.role}"']
    for signal in columns_of(schema):
        lines += ["", f'[signals."{signal.name}"]', f'source = "{signal.name + TAGS[signal.role]}"', f'role = "{signal.role}"']
        lines.append(f'unit = "{signal.unit}"')
        lines += [f"{key} = {value}" for key in ("low", "high", "rate") if (value := getattr(signal, key)) is not None]
        if signal.name in schema.masks:  # the mask tells a new sample from one that still stands there
            lines += ['missing = "mask"', f"max_age = {schema.period / 2}"]
    for name in setpoints:
        lines += ["", f'[signals."{name + SETPOINT}"]', f'source = "{name}.SP"', 'role = "label"', f'unit = "{schema.by_name[name].unit}"']
    return "\n".join(lines) + "\n"
