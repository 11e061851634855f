"""Memory and speed of an import that is far larger than memory may be.

    python benchmarks/import_memory.py [--gigabytes 20] [--json FILE]

A historian export is generated, one CSV with a time stamp and 24 tags per second of logging, and imported by `tacit import` in a process of
its own. The peak is the largest resident set that the kernel counted for it (VmHWM), libraries and mapped pages included. The tags are
noise that repeats every 200,000 rows: what is measured is reading, aligning and storing, not what the numbers mean.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore
from tacit.evaluation.machine import cpu_model

TAGS = 24
BLOCK = 200_000  # rows
LIMIT_MB = 500


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        gigabytes: Size of the CSV.
        folder: Where it is generated; a temporary folder when left out.
        json: Where the numbers go.
    """

    gigabytes: float = 20.0
    folder: Path | None = None
    json: Path = Path(__file__).parent / "results" / "import_memory.json"


def generate(path: Path, nbytes: float) -> int:
    """Write the CSV; the number of its rows."""
    rng = np.random.default_rng(0)
    table = rng.normal(50, 5, (BLOCK, TAGS)).round(4)
    bodies = [",".join(map(str, row)) for row in table.tolist()]
    rows = 0
    with path.open("w") as file:
        file.write("time," + ",".join(f"tag{n:02d}" for n in range(TAGS)) + "\n")
        while file.tell() < nbytes:
            file.write("".join(f"{rows + n},{body}\n" for n, body in enumerate(bodies)))
            rows += BLOCK
    return rows


def mapping() -> str:
    tags = ", ".join(f'"tag{n:02d}"' for n in range(TAGS - 4))
    commands = ", ".join(f'"tag{n:02d}"' for n in range(TAGS - 4, TAGS))
    return (
        'format = "table"\nperiod = 1.0\n[options]\ntime = "time"\ntime_unit = "s"\n'
        f'[signals.sensors]\nsource = [{tags}]\nrole = "observation"\n[signals.valves]\nsource = [{commands}]\nrole = "action"\n'
    )


def peak_mb(process: subprocess.Popen[bytes]) -> float:
    """Largest resident set of a process until it ends, in MB."""
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.2)
    return peak / 1024


def main(options: Options) -> None:
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        source, toml, out = Path(scratch) / "plant.csv", Path(scratch) / "mapping.toml", Path(scratch) / "store"
        rows = generate(source, 1e9 * options.gigabytes)
        toml.write_text(mapping())
        words = [sys.executable, "-m", "tacit.cli", "import", str(source), "--mapping", str(toml), "--out", str(out)]
        began = time.perf_counter()
        process = subprocess.Popen(words)
        peak = peak_mb(process)
        seconds = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"the import failed with {process.returncode}")
        store = EpisodeStore(out)
        stored = int(store.lengths.sum()) + len(store)
        numbers = {
            "input_gb": round(source.stat().st_size / 1e9, 2),
            "rows": rows,
            "moments": stored,
            "peak_mb": round(peak, 1),
            "limit_mb": LIMIT_MB,
            "seconds": round(seconds, 1),
            "mb_per_second": round(source.stat().st_size / 1e6 / seconds, 1),
            "machine": cpu_model(),
        }
    Console().print(numbers)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
