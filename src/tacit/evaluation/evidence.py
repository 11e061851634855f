"""What the report shows and results.json cannot hold: sample images, scatter points, paths, strips, maps and single latencies.

One npz file without a pickle in it: the arrays, and a JSON text that says where each belongs.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

import cattrs
import numpy as np

from tacit.atomic import atomic_write
from tacit.evaluation.checks import ReportError
from tacit.evaluation.sections import Data, Dynamics, Planning, Probes, Timing, Values
from tacit.signals import Schema, SchemaError

EVIDENCE = "report.npz"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Sections of the report that are arrays for the most part; None where nothing was measured."""

    data: Data | None = None
    probes: Probes | None = None
    dynamics: Dynamics | None = None
    planning: Planning | None = None
    values: Values | None = None
    timing: Timing | None = None

    def save(self, path: Path) -> None:
        """Write one file, in one step.

        Raises:
            OSError: The file cannot be written.
        """
        arrays: list[Any] = []
        text = json.dumps(_converter(arrays).unstructure(self), allow_nan=False)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, sections=np.array(text), **{str(n): array for n, array in enumerate(arrays)})
        atomic_write(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Read what `save` wrote.

        Raises:
            ReportError: The file is damaged or of another version.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes())) as file:
                arrays = [file[str(n)] for n in range(len(file.files) - 1)]
                return _converter(arrays).structure(json.loads(str(file["sections"])), cls)
        except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, SchemaError, cattrs.BaseValidationError) as error:
            raise ReportError(f"{path} is damaged or of another version: measure again with `tacit eval`") from error


def _is_array(kind: Any) -> bool:
    return kind is np.ndarray or get_origin(kind) is np.ndarray


def _converter(arrays: list[Any]) -> cattrs.Converter:
    """Dataclasses to JSON values and back, with every array kept in `arrays` and named by its place there."""

    def put(array: Any) -> int:
        arrays.append(array)
        return len(arrays) - 1

    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook_func(_is_array, put)
    converter.register_structure_hook_func(_is_array, lambda place, _: arrays[place])
    converter.register_unstructure_hook(Schema, lambda schema: schema.to_json())
    converter.register_structure_hook(Schema, lambda values, _: Schema.from_json(values))
    return converter
