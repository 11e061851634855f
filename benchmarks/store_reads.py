"""Windows per second that one core copies out of an episode store, next to a raw memory map, HDF5, zarr and Lance.

    python benchmarks/store_reads.py [--frames 40000] [--rounds 5] [--json FILE]

The same frames lie in every format; the same windows of 8 frames (64, 64, 3) uint8 are read from each into the same preallocated batch,
in turns, with the page cache warm. The median round counts. Nothing is compressed, and each format is laid out and asked as suits it:

- the episode store by `WindowReader`, the raw file by slices of a memory map;
- HDF5: one contiguous data set, read straight into the batch, a call per window;
- zarr: a local store with chunks of 8 frames along time, so a window lies in one or two chunks; a slice per window;
- Lance: one row per frame, fixed-size binary, its default file version; one `take` per batch, which it serves faster than one per window.

The process is pinned to one core before zarr and Lance start threads. They come with `pip install 'tacit[bench]'`; one that is not
installed is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pyarrow as pa
import tyro
from rich.console import Console
from rich.table import Table

from tacit.atomic import atomic_write
from tacit.data import Episode, EpisodeStore, EpisodeWriter, WindowReader, WindowSampler
from tacit.signals import Role, Schema, Signal

FRAME = (64, 64, 3)
WINDOW = 8
STORE = "episode store"
GOAL = 20_000  # windows per second out of the store
Read = Callable[[np.ndarray], object]
SCHEMA = Schema(
    signals=(Signal(name="camera", role=Role.OBSERVATION, shape=FRAME, dtype="uint8"), Signal(name="move", role=Role.ACTION, shape=(2,)))
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        frames: Frames on disk, 12 KiB each, whole episodes; each format has its copy, and all must fit into the free memory.
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


def recorded(options: Options) -> Iterator[np.ndarray]:
    """The frames of each episode, the same at every call."""
    rng = np.random.default_rng(0)
    for _ in range(options.frames // options.episode):
        yield rng.integers(0, 256, (options.episode, *FRAME), np.uint8)


def firsts(starts: np.ndarray, options: Options) -> np.ndarray:
    """First frame of each window (B,) in a file that holds one episode after the other."""
    first: np.ndarray = starts[:, 0] * options.episode + starts[:, 1]
    return first


def in_store(folder: Path, batch: np.ndarray, options: Options) -> Read:
    with EpisodeWriter.create(folder / "store", SCHEMA) as writer:
        for camera in recorded(options):
            move = np.zeros((options.episode - 1, 2), np.float32)
            writer.add(Episode(signals={"camera": camera, "move": move}, time=np.arange(float(options.episode))))
    store = WindowReader(EpisodeStore(folder / "store"), length=WINDOW, names=["camera"])
    return lambda starts: store.read(starts, {"camera": batch})


def in_raw_file(folder: Path, batch: np.ndarray, options: Options) -> Read:
    with (folder / "frames.raw").open("wb") as file:
        for camera in recorded(options):
            file.write(camera.tobytes())
    raw = np.asarray(np.memmap(folder / "frames.raw", np.uint8, "r")).reshape(-1, *FRAME)  # slices of a plain array are cheaper

    def read(starts: np.ndarray) -> None:
        for place, first in enumerate(firsts(starts, options).tolist()):
            batch[place] = raw[first : first + WINDOW]

    return read


def in_hdf5(folder: Path, batch: np.ndarray, options: Options) -> Read:
    import h5py

    with h5py.File(folder / "frames.h5", "w") as file:
        written = file.create_dataset("camera", (options.frames, *FRAME), "uint8")
        for number, camera in enumerate(recorded(options)):
            written[number * options.episode : (number + 1) * options.episode] = camera
    dataset = h5py.File(folder / "frames.h5", "r")["camera"]

    def read(starts: np.ndarray) -> None:
        for place, first in enumerate(firsts(starts, options).tolist()):
            dataset.read_direct(batch, np.s_[first : first + WINDOW], np.s_[place])

    return read


def in_zarr(folder: Path, batch: np.ndarray, options: Options) -> Read:
    import zarr

    shape = (options.frames, *FRAME)
    array = zarr.create_array(folder / "frames.zarr", shape=shape, dtype="uint8", chunks=(WINDOW, *FRAME), compressors=None)
    for number, camera in enumerate(recorded(options)):
        array[number * options.episode : (number + 1) * options.episode] = camera
    array = zarr.open_array(folder / "frames.zarr", mode="r")

    def read(starts: np.ndarray) -> None:
        for place, first in enumerate(firsts(starts, options).tolist()):
            batch[place] = array[first : first + WINDOW]

    return read


def in_lance(folder: Path, batch: np.ndarray, options: Options) -> Read:
    import lance

    kind = pa.binary(int(np.prod(FRAME)))
    schema = pa.schema([pa.field("camera", kind, nullable=False)])
    columns = (pa.FixedSizeBinaryArray.from_buffers(kind, len(camera), [None, pa.py_buffer(camera)]) for camera in recorded(options))
    rows = pa.RecordBatchReader.from_batches(schema, (pa.record_batch([column], schema=schema) for column in columns))
    lance.write_dataset(rows, folder / "frames.lance")
    dataset = lance.dataset(folder / "frames.lance")

    def read(starts: np.ndarray) -> None:
        frames = firsts(starts, options)[:, None] + np.arange(WINDOW)
        first = 0
        flat = batch.reshape(-1, *FRAME)
        for chunk in dataset.take(frames.reshape(-1), columns=["camera"]).column("camera").chunks:
            taken = np.frombuffer(chunk.buffers()[1], np.uint8).reshape(-1, *FRAME)[chunk.offset : chunk.offset + len(chunk)]
            flat[first : first + len(chunk)] = taken
            first += len(chunk)

    return read


FORMATS: dict[str, Callable[[Path, np.ndarray, Options], Read]] = {
    STORE: in_store,
    "raw memory map": in_raw_file,
    "HDF5 contiguous": in_hdf5,
    "zarr, chunks of 8": in_zarr,
    "Lance take": in_lance,
}
EXTRAS = {"h5py": "formats", "zarr": "bench", "lance": "bench"}


def readers(folder: Path, batch: np.ndarray, options: Options) -> dict[str, Read]:
    """Write the frames in every format, and return the ways to read windows (B, 2) of (episode, first frame) into `batch`."""
    ways = {}
    for name, make in FORMATS.items():
        try:
            ways[name] = make(folder, batch, options)
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS:
                raise
            Console().print(f"{name} is left out: {error.name} is not installed; pip install 'tacit\\[{EXTRAS[error.name]}]'")
    return ways


def measure(options: Options, folder: Path) -> dict[str, list[float]]:
    """Windows per second of each round, by reader."""
    batch = np.empty((options.batch, WINDOW, *FRAME), np.uint8)
    ways = readers(folder, batch, options)
    lengths = np.full(options.frames // options.episode, options.episode - 1)
    sampler = WindowSampler(lengths, window=WINDOW, batch=options.batch, seed=0)
    starts = [sampler.batch_at(step) for step in range(options.batches)]
    seen = set()
    for read in ways.values():  # warms the page cache, and proves that all read the same
        checksum = 0
        for s in starts:
            read(s)
            checksum = zlib.crc32(batch.data, checksum)
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
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(options, Path(folder))
    table = Table("reader", "windows/s", "lowest", "highest", "GB/s", title=f"Windows of {WINDOW} frames {FRAME} on one core")
    for name, rates in found.items():
        rate = statistics.median(rates)
        table.add_row(name, f"{rate:,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}", f"{rate * WINDOW * np.prod(FRAME) / 1e9:.1f}")
    Console().print(table)
    Console().print(f"the store: {statistics.median(found[STORE]):,.0f} windows/s, the goal is {GOAL:,} or more")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    setting = {k: v for k, v in vars(options).items() if k not in ("folder", "json")}
    machine = {"machine": platform.machine(), "cores": 1, "load": load, "python": platform.python_version(), "versions": versions()}
    atomic_write(options.json, json.dumps({"windows_per_second": found, "goal": GOAL, **setting, **machine}, indent=1) + "\n")


def versions() -> dict[str, str]:
    """Versions of what reads, as far as it is installed."""
    found = {}
    for package in ("numpy", "pyarrow", "h5py", "zarr", "pylance"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
