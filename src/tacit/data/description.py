"""The folder of a store: its file names and `store.json`, which says what the store is."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tacit.signals import Schema, SchemaError

FORMAT = "tacit-episodes"
VERSION = 1


class StoreError(Exception):
    """A folder is not a store, or cannot be used as one."""


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"{number:05d}.arrow"


def shard_files(path: Path) -> dict[int, Path]:
    """Shards of the store in `path` by number, ascending."""
    found = {int(file.stem): file for file in path.glob("*.arrow") if file.stem.isdecimal()}
    return dict(sorted(found.items()))


def description(schema: Schema, source: Mapping[str, Any]) -> str:
    """Contents of `store.json`."""
    values: dict[str, Any] = {"format": FORMAT, "version": VERSION, "schema": schema.to_json(), "source": dict(source)}
    return json.dumps({**values, "crc32": _checksum(values)}, indent=1) + "\n"


def read_description(path: Path) -> tuple[Schema, Mapping[str, Any]]:
    """Schema and source of the store in `path`.

    Raises:
        StoreError: It is not a store, its `store.json` is damaged, or a newer version wrote it.
    """
    file = path / "store.json"
    if not file.is_file():
        state = "has no store.json" if path.is_dir() else "does not exist"
        raise StoreError(f"{path} is not an episode store: it {state}. Create one with EpisodeWriter.create or import your logs")
    damaged = StoreError(f"{file} is damaged; restore it from a copy: the episodes beside it are readable only with their schema")
    try:
        values = json.loads(file.read_bytes())
        name, version, checksum = values["format"], values["version"], values.pop("crc32", None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged from error
    if name != FORMAT:
        raise StoreError(f"{file} says format {name!r}, not {FORMAT!r}: it is not an episode store")
    if isinstance(version, int) and version > VERSION:
        raise StoreError(f"{path} has version {version}, this Tacit reads up to {VERSION}: upgrade Tacit")
    if checksum != _checksum(values):
        raise damaged
    try:
        return Schema.from_json(values["schema"]), MappingProxyType(values["source"])
    except (SchemaError, KeyError, TypeError) as error:
        raise damaged from error


def index_bytes(path: Path) -> bytes:
    """Contents of the index of the store in `path`.

    Raises:
        StoreError: The index is missing.
    """
    try:
        return (path / "episodes.jsonl").read_bytes()
    except FileNotFoundError as error:
        raise StoreError(f"{path} has lost its episodes.jsonl, which says where each episode lies; restore it from a copy") from error


def _checksum(values: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
