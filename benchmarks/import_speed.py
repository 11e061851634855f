"""Rows per second that `tacit import` brings from a CSV of 24 tags into a store, for logs as clean and as bad as historians export them.

    python benchmarks/import_speed.py [--rows 100000] [--rounds 3] [--before FILE] [--json FILE]

Seconds are those that one core was busy with the import (time of the process, user and system), so that what else runs on the machine
counts little; `wall` says how long it took by the clock. The median round counts. Beside each case stands the same file read by
Arrow alone, a block at a time on one thread, with the tags as numbers, or as text where they hold more than numbers: a floor that no
import of the file can reach.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import tyro
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.data.importing import prepare, run
from tacit.data.mapping import LogMapping
from tacit.evaluation.machine import cpu_model

TAGS = [f"tag{n:02d}" for n in range(24)]
BAD = 500  # one cell of so many is bad, where some are
Cells = list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        rows: Of each CSV; a twentieth of them where every row ends an episode.
        rounds: Imports of each.
        before: Result of this benchmark for another version, to stand beside the new numbers.
        json: Where the numbers go.
    """

    rows: int = 100_000
    rounds: int = 3
    before: Path | None = None
    json: Path = Path(__file__).parent / "results" / "import_speed.json"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of log.

    Attributes:
        name: In words.
        cells: What stands in the table, made of clean cells.
        time: Time stamps of some number of rows.
        options: Lines of the table `[options]`.
        rule: Lines of each signal.
        period: Of the control clock in seconds.
        share: Of the rows that are asked for.
        delimiter: Between cells.
        numeric: Are the tags nothing but numbers with a decimal point?
    """

    name: str
    cells: Callable[[Cells], Cells] = lambda cells: cells
    time: Callable[[int], list[str]] = lambda rows: [str(n) for n in range(rows)]
    options: str = ""
    rule: str = ""
    period: float = 1.0
    share: float = 1.0
    delimiter: str = ","
    numeric: bool = True

    def write(self, folder: Path, rows: int) -> tuple[Path, LogMapping]:
        rng = np.random.default_rng(0)
        clean = [[str(value) for value in row] for row in rng.normal(50, 5, (rows, len(TAGS))).round(4).tolist()]
        path = folder / "plant.csv"
        lines = zip(self.time(rows), self.cells(clean), strict=True)
        head = self.delimiter.join(["time", *TAGS])
        path.write_text("\n".join([head, *(self.delimiter.join([at, *cells]) for at, cells in lines)]) + "\n")
        sources = (("sensors", TAGS[:-4], "observation"), ("valves", TAGS[-4:], "action"))
        signals = "".join(f'[signals.{name}]\nsource = {json.dumps(tags)}\nrole = "{role}"\n{self.rule}' for name, tags, role in sources)
        options = f'[options]\ntime = "time"\n{self.options}'
        return path, LogMapping.from_text(f'format = "table"\nperiod = {self.period}\n{options}{signals}')


def iso(rows: int) -> list[str]:
    return [str(at) for at in np.datetime64("2024-01-01T00:00:00") + np.arange(rows).astype("timedelta64[s]")]


def uneven(rows: int) -> list[str]:
    late = np.random.default_rng(1).uniform(0, 0.2, rows).round(3)
    return [f"{1_700_000_000 + n + float(late[n]):.3f}" for n in range(rows)]


def some_bad(cells: Cells) -> Cells:
    bad = np.random.default_rng(2).random((len(cells), len(TAGS))) < 1 / BAD
    return [["Bad" if wrong else cell for cell, wrong in zip(*both, strict=True)] for both in zip(cells, bad.tolist(), strict=True)]


def with_commas(cells: Cells) -> Cells:
    return [[cell.replace(".", ",") for cell in row] for row in cells]


CASES = (
    Case(name="clean"),
    Case(name="clean, ISO 8601 times", time=iso),
    Case(name="clean, decimal comma", cells=with_commas, delimiter=";", options='decimal = ","\n', numeric=False),
    Case(name="bad cells, passed over", cells=some_bad, rule='align = "last_valid"\n', numeric=False),
    Case(name="bad cells, each ends an episode", cells=some_bad, numeric=False),
    Case(name="the same with uneven times", cells=some_bad, time=uneven, numeric=False),
    Case(name="every row ends an episode", period=0.1, share=0.05),
)


@dataclass(frozen=True, kw_only=True)
class Took:
    """Seconds: of a core, and by the clock."""

    busy: float
    wall: float


def took(work: Callable[[], object]) -> Took:
    wall, busy = time.perf_counter(), time.process_time()
    work()
    return Took(busy=time.process_time() - busy, wall=time.perf_counter() - wall)


def read_plainly(path: Path, case: Case) -> None:
    kinds = dict.fromkeys(TAGS, pa.float64() if case.numeric else pa.string())
    read = pa_csv.ReadOptions(use_threads=False, block_size=4 * 2**20)
    convert = pa_csv.ConvertOptions(column_types=kinds | {"time": pa.string()})
    with pa_csv.open_csv(path, read, pa_csv.ParseOptions(delimiter=case.delimiter), convert) as reader:
        for _ in reader:
            pass


def measured(case: Case, options: Options) -> dict[str, object]:
    rows = int(case.share * options.rows)
    with tempfile.TemporaryDirectory() as scratch:
        path, mapping = case.write(Path(scratch), rows)
        rounds, floors = [], []
        for number in range(options.rounds):
            out = Path(scratch) / f"store{number}"
            rounds.append(took(lambda out=out: run(prepare(path, mapping), out)))  # type: ignore[misc]
            floors.append(took(lambda: read_plainly(path, case)))
        made = len((out / "episodes.jsonl").read_text().splitlines())
        megabytes = path.stat().st_size / 1e6
    busy = statistics.median(one.busy for one in rounds)
    return {
        "rows": rows,
        "mb": round(megabytes, 1),
        "episodes": made,
        "rows_per_second": round(rows / busy),
        "mb_per_second": round(megabytes / busy, 1),
        "wall_rows_per_second": round(rows / statistics.median(one.wall for one in rounds)),
        "arrow_alone_rows_per_second": round(rows / statistics.median(one.busy for one in floors)),
    }


def main(options: Options) -> None:
    found = {case.name: measured(case, options) for case in CASES}
    numbers: dict[str, object] = {
        "machine": cpu_model(),
        "load": os.getloadavg()[0],
        "rounds": options.rounds,
        "cases": found,
    }
    if options.before is not None:
        earlier = json.loads(options.before.read_text())
        numbers["before"] = {name: earlier[name] for name in ("load", "cases")}
    Console().print(numbers)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
