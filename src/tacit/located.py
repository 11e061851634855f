"""Where the entries of a file that a person writes stand, so that a mistake is named with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Error = TypeVar("Error", bound="EntryError")
Value = TypeVar("Value")


class EntryError(ValueError):
    """An entry of a file is not well-formed, or does not fit what it speaks of.

    Attributes:
        reason: What is wrong and what to do.
        key: Path of the entry at fault, such as `("plan", "horizon")`.
    """

    def __init__(self, reason: str, *key: str, where: str = "") -> None:
        self.reason = reason
        self.key = key
        super().__init__(": ".join(part for part in (where, ".".join(key), reason) if part))


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the entries of a file stand.

    Attributes:
        name: The file, as messages call it.
        lines: Line number, from 1, by path of the entry.
    """

    name: str
    lines: Mapping[tuple[str, ...], int]

    def located(self, error: Error) -> Error:
        """The same error with the line of its entry, or of the nearest table around it."""
        key = error.key
        while key and key not in self.lines:
            key = key[:-1]
        return type(error)(error.reason, *error.key, where=f"{self.name}:{self.lines.get(key, 1)}")


def text_of(path: Path, error: type[Error]) -> str:
    """The text of a file; one that cannot be read is an error of the given kind, which names the file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"cannot be read: {cause}", where=str(path)) from cause


def read_toml(text: str, name: str, error: type[Error], read: Callable[[dict[str, Any], Source], Value]) -> Value:
    """Read TOML so that every mistake has its line.

    Args:
        text: TOML.
        name: What messages call the file.
        error: Kind of a mistake.
        read: Makes a value of the tables, told where their entries stand; raises `error` without a line.

    Raises:
        EntryError: Of the given kind: the text is not TOML, or `read` refused an entry.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise error(f"is not TOML: {cause}", where=name) from cause
    source = Source(name=name, lines=key_lines(text))
    try:
        return read(tables, source)
    except error as mistake:
        raise source.located(mistake) from mistake.__cause__


_TOKEN = re.compile(
    r'''(?P<string>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')'''
    r"""|(?P<comment>\#[^\n]*)|(?P<newline>\n)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<equals>=)|(?P<bare>[\w-]+)|.""",
    re.DOTALL,
)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Line of every table and key of a TOML text, which `tomllib` does not tell.

    Args:
        text: TOML that `tomllib` has accepted. Keys inside inline tables are left out: they share their table's entry.

    Returns:
        Line number, from 1, by path; of an entry that is written in parts, the first. Of an array of tables, each has its number, from
        1, in the path.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    path: list[str] = []
    line, depth, is_header, is_listed, is_value = 1, 0, False, False, False
    counts: dict[tuple[str, ...], int] = {}
    for token in _TOKEN.finditer(text + "\n"):
        kind, word = token.lastgroup, token.group()
        if kind == "open":
            depth += 1
            is_header = is_header or not (is_value or path)
            is_listed = is_listed or (is_header and depth == 2)
        elif kind == "close":
            depth -= 1
        elif kind in ("bare", "string") and not is_value:
            path.append(word if kind == "bare" else tomllib.loads(f"key = {word}")["key"])
        elif (kind == "equals" and not is_value) or (kind == "newline" and is_header):
            if is_listed:
                counts[tuple(path)] = counts.get(tuple(path), 0) + 1
            table, entry = (_numbered(path, counts),) * 2 if is_header else (table, table + tuple(path))
            for length in range(1, len(entry) + 1):
                lines.setdefault(entry[:length], line)
            is_value = not is_header
        if kind == "newline" and depth == 0:
            path, is_header, is_listed, is_value = [], False, False, False
        line += word.count("\n")
    return lines


def _numbered(path: list[str], counts: Mapping[tuple[str, ...], int]) -> tuple[str, ...]:
    """The path of a table, with the number that each array of tables on the way has reached."""
    numbered: list[str] = []
    for length, name in enumerate(path, 1):
        numbered.append(name)
        if number := counts.get(tuple(path[:length])):
            numbered.append(str(number))
    return tuple(numbered)
