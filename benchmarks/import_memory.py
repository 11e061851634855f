"""Memory and speed of an import that is far larger than memory may be, and that is killed on the way.

    python benchmarks/import_memory.py [--gigabytes 20] [--json FILE]

A historian export is generated, one CSV with a time stamp and 24 tags per second of logging, and imported by `tacit import` in a process of
its own. When half of the store is written the process gets SIGKILL, and the same command is given again: it goes on after the last episode
that was written, and in the end every row of the CSV must be in the store once.

`peak_mb` is the largest resident set that the kernel counted for either process (VmHWM), libraries and mapped pages of the store included;
`peak_anonymous_mb` the largest that was seen of what is neither (RssAnon, five times a second). The tags are noise that repeats every
200,000 rows: what is measured is reading, aligning and storing, not what the numbers mean.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A process that has ended.

    Attributes:
        code: Its exit status; minus the number of the signal that ended it.
        seconds: From its start to its end.
        peak_mb: Its largest resident set.
        anonymous_mb: The largest that was seen of its anonymous memory.
    """

    code: int
    seconds: float
    peak_mb: float
    anonymous_mb: float


def ran(words: list[str], kill_when: Callable[[], bool]) -> Ran:
    """Run a command to its end, or until it is to be killed."""
    began = time.perf_counter()
    process = subprocess.Popen(words)
    peak = anonymous = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        kilobytes = {
            name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in status.splitlines()) if " kB" in value
        }
        peak, anonymous = max(peak, kilobytes.get("VmHWM", 0)), max(anonymous, kilobytes.get("RssAnon", 0))
        if kill_when():
            process.send_signal(signal.SIGKILL)
        time.sleep(0.2)
    return Ran(code=process.wait(), seconds=time.perf_counter() - began, peak_mb=peak * 1.024e-3, anonymous_mb=anonymous * 1.024e-3)


def nbytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*"))


def main(options: Options) -> None:
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        source, toml, out = Path(scratch) / "plant.csv", Path(scratch) / "mapping.toml", Path(scratch) / "store"
        rows = generate(source, 1e9 * options.gigabytes)
        toml.write_text(mapping())
        words = [sys.executable, "-m", "tacit.cli", "import", str(source), "--mapping", str(toml), "--out", str(out)]
        half = rows * (8 + 4 * TAGS) / 2
        killed = ran(words, kill_when=lambda: nbytes(out) > half)
        left = len(EpisodeStore(out))
        resumed = ran(words, kill_when=lambda: False)
        if killed.code != -signal.SIGKILL or resumed.code:
            raise SystemExit(f"the imports ended with {killed.code} and {resumed.code}")
        store = EpisodeStore(out)
        stored = int(store.lengths.sum()) + 1  # two episodes share the moment between them
        if stored != rows:
            raise SystemExit(f"{rows} rows went in and {stored} moments came out")
        gigabytes = source.stat().st_size / 1e9
        numbers = {
            "input_gb": round(gigabytes, 2),
            "store_gb": round(nbytes(out) / 1e9, 2),
            "rows": rows,
            "episodes": len(store),
            "peak_mb": round(max(killed.peak_mb, resumed.peak_mb), 1),
            "peak_anonymous_mb": round(max(killed.anonymous_mb, resumed.anonymous_mb), 1),
            "limit_mb": LIMIT_MB,
            "killed": {"seconds": round(killed.seconds, 1), "episodes": left, "peak_mb": round(killed.peak_mb, 1)},
            "resumed": {"seconds": round(resumed.seconds, 1), "peak_mb": round(resumed.peak_mb, 1)},
            "machine": cpu_model(),
        }
    Console().print(numbers)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
