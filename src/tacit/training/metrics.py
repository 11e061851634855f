"""metrics.jsonl: one line per look at the losses or the latents, the same whether a training was interrupted or not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tacit.atomic import atomic_write
from tacit.training.distributed import Group

METRICS = "metrics.jsonl"


@contextmanager
def metrics_of(out: Path, step: int, group: Group) -> Iterator[TextIO]:
    """The file, open for appending; lines that a training resumed after `step` steps will write again are dropped.

    Args:
        out: Folder of the run.
        step: Optimizer steps done; 0 begins a new file.
        group: Only its first process writes.
    """
    path = out / METRICS if group.is_first else Path(os.devnull)
    if step and path.is_file():
        atomic_write(path, "".join(line + "\n" for line in path.read_text().splitlines() if _is_done(line, step)))
    with path.open("a" if step else "w") as file:
        yield file


def _is_done(line: str, step: int) -> bool:
    """Whether a line is of what came before `step` optimizer steps were done."""
    try:
        values = json.loads(line)
    except json.JSONDecodeError:  # the last line of a process that was killed
        return False
    of_loss = "loss/total" in values  # written during its step; a look at the latents is written after it
    return bool(values["step"] + of_loss <= step)
