"""Windows per second that one core copies out of an episode store, next to a raw memory map and HDF5.

    python benchmarks/store_reads.py [--frames 40000] [--rounds 5] [--json FILE]

The same frames lie in an `EpisodeStore`, in one raw file and in one contiguous HDF5 data set; the same windows of 8 frames
(64, 64, 3) uint8 are read from each into the same preallocated batch, in turns, with the page cache warm. The median round counts.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from tacit.atomic import atomic_write
from tacit.data import Episode, EpisodeStore, EpisodeWriter, WindowReader, WindowSampler
from tacit.signals import Role, Schema, Signal

FRAME = (64, 64, 3)
WINDOW = 8
SCHEMA = Schema(
    signals=(Signal(name="camera", role=Role.OBSERVATION, shape=FRAME, dtype="uint8"), Signal(name="move", role=Role.ACTION, shape=(2,)))
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        frames: Frames on disk, 12 KiB each; keep them well below the free memory.
        episode: Frames per episode.
        batch: Windows per batch.
        batches: Batches per round.
        rounds: Rounds per reader.
        folder: Where the files are made; the system's temporary folder when left out.
        json: Where the numbers go.
    """

    frames: int = 40_000
    episode: int = 100
    batch: int = 256
    batches: int = 40
    rounds: int = 5
    folder: Path | None = None
    json: Path = Path(__file__).parent / "results" / "store_reads.json"


def record(folder: Path, options: Options) -> None:
    """Write the same frames three times."""
    rng = np.random.default_rng(0)
    episodes = options.frames // options.episode
    with (
        EpisodeWriter.create(folder / "store", SCHEMA) as writer,
        (folder / "frames.raw").open("wb") as raw,
        h5py.File(folder / "frames.h5", "w") as file,
    ):
        dataset = file.create_dataset("camera", (episodes * options.episode, *FRAME), "uint8")
        for number in range(episodes):
            camera = rng.integers(0, 256, (options.episode, *FRAME), np.uint8)
            move = np.zeros((options.episode - 1, 2), np.float32)
            writer.add(Episode(signals={"camera": camera, "move": move}, time=np.arange(float(options.episode))))
            raw.write(camera.tobytes())
            dataset[number * options.episode : (number + 1) * options.episode] = camera


def readers(folder: Path, batch: np.ndarray, episode: int) -> dict[str, Callable[[np.ndarray], None]]:
    """Ways to read windows (B, 2) of (episode, first frame) into `batch`, by name."""
    store = WindowReader(EpisodeStore(folder / "store"), length=WINDOW, names=["camera"])
    raw = np.asarray(np.memmap(folder / "frames.raw", np.uint8, "r")).reshape(-1, *FRAME)  # slices of a plain array are cheaper
    dataset = h5py.File(folder / "frames.h5", "r")["camera"]

    def from_store(starts: np.ndarray) -> None:
        store.read(starts, {"camera": batch})

    def from_raw(starts: np.ndarray) -> None:
        for place, first in enumerate((starts[:, 0] * episode + starts[:, 1]).tolist()):
            batch[place] = raw[first : first + WINDOW]

    def from_hdf5(starts: np.ndarray) -> None:
        for place, first in enumerate((starts[:, 0] * episode + starts[:, 1]).tolist()):
            dataset.read_direct(batch, np.s_[first : first + WINDOW], np.s_[place])

    return {"episode store": from_store, "raw memory map": from_raw, "HDF5 contiguous": from_hdf5}


def measure(options: Options, folder: Path) -> dict[str, list[float]]:
    """Windows per second of each round, by reader."""
    record(folder, options)
    batch = np.empty((options.batch, WINDOW, *FRAME), np.uint8)
    ways = readers(folder, batch, options.episode)
    lengths = np.full(options.frames // options.episode, options.episode - 1)
    sampler = WindowSampler(lengths, window=WINDOW, batch=options.batch, seed=0)
    starts = [sampler.batch_at(step) for step in range(options.batches)]
    seen = set()
    for read in ways.values():  # warms the page cache, and proves that all read the same
        checksum = 0
        for s in starts:
            read(s)
            checksum = zlib.crc32(batch, checksum)
        seen.add(checksum)
    if len(seen) != 1:
        raise RuntimeError("the readers do not read the same windows")
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, read in ways.items():
            begun = time.perf_counter()
            for s in starts:
                read(s)
            found[name].append(options.batch * options.batches / (time.perf_counter() - begun))
    return found


def main(options: Options) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(options, Path(folder))
    table = Table("reader", "windows/s", "lowest", "highest", "GB/s", title=f"Windows of {WINDOW} frames {FRAME} on one core")
    for name, rates in found.items():
        rate = statistics.median(rates)
        table.add_row(name, f"{rate:,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}", f"{rate * WINDOW * np.prod(FRAME) / 1e9:.1f}")
    Console().print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    setting = {k: v for k, v in vars(options).items() if k not in ("folder", "json")}
    machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__, "load": os.getloadavg()[0]}
    atomic_write(options.json, json.dumps({"windows_per_second": found, **setting, **machine}, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
