"""The numbered files of a LeRobotDataset, each with many episodes one after the other, until it has its size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tacit.data.video_writing import write_video

MEGABYTE = 1024**2


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When the next file is begun.

    Attributes:
        chunks_size: Files per folder `chunk-NNN`.
        data_files_size_in_mb: Of a Parquet file, in MiB.
        video_files_size_in_mb: Of an mp4, in MiB.
    """

    chunks_size: int = 1000
    data_files_size_in_mb: float = 100
    video_files_size_in_mb: float = 200

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Number of a file, and of the chunk that it is in."""

    chunk: int = 0
    file: int = 0

    def following(self, chunks_size: int) -> Place:
        return Place(chunk=self.chunk + 1) if self.file == chunks_size - 1 else Place(chunk=self.chunk, file=self.file + 1)

    def path(self, folder: Path, suffix: str) -> Path:
        """Path of the file below `folder`, which is made."""
        path = folder / f"chunk-{self.chunk:03d}" / f"file-{self.file:03d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class ParquetFiles:
    """Parquet files with one row group per call; a new one is begun where, at the rate of the rows so far, this one would be too large.

    Args:
        folder: Where the chunks go.
        limits: When the next file is begun.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._place = Place()
        self._writer: pq.ParquetWriter | None = None
        self._path = folder
        self._rows = 0

    def add(self, rows: int, table: Callable[[Place], pa.Table]) -> Place:
        """Write rows that belong together into one file.

        Args:
            rows: How many there are.
            table: Makes them, when it is known where they go.
        """
        if self._writer is not None:
            size = self._path.stat().st_size
            if size + size / self._rows * rows >= self._limits.data_files_size_in_mb * MEGABYTE:
                self.close()
                self._place = self._place.following(self._limits.chunks_size)
        made = table(self._place)
        if self._writer is None:
            self._path = self._place.path(self._folder, ".parquet")
            self._writer = pq.ParquetWriter(self._path, made.schema, compression="snappy")
        self._writer.write_table(made)
        self._rows += rows
        return self._place

    def close(self) -> None:
        """Finish the last file."""
        if self._writer is not None:
            self._writer.close()
            self._writer, self._rows = None, 0


class VideoFiles:
    """mp4 files; each episode is encoded on its own, so that it begins with a key frame, and its packets are appended.

    Args:
        folder: Where the chunks go.
        limits: When the next file is begun.
        fps: Frames per second.
        codec: FFmpeg's name of the encoder.
        crf: Quality, lower is better.
    """

    def __init__(self, folder: Path, limits: Limits, *, fps: float, codec: str, crf: int) -> None:
        self._folder = folder
        self._limits = limits
        self._fps = Fraction(fps).limit_denominator(1001)
        self._codec = codec
        self._crf = crf
        self._place = Place()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._bytes = 0
        self._frames = 0

    def add(self, frames: NDArray[np.uint8]) -> tuple[Place, float, float]:
        """Write the frames of an episode.

        Args:
            frames: Images (N, height, width, 3).

        Returns:
            The file, and in it the time of the first of these frames and the end of the last one, in seconds.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        episode = self._folder / "episode.mp4"
        is_even = not (frames.shape[1] % 2 or frames.shape[2] % 2)
        pixels = "yuv420p" if is_even else "yuv444p"  # half the colours' resolution needs even sides
        write_video(
            episode, cast(Iterable[NDArray[np.uint8]], frames), fps=self._fps, codec=self._codec, crf=self._crf, gop=2, pixels=pixels
        )
        size = episode.stat().st_size
        if self._container is not None and self._bytes + size >= self._limits.video_files_size_in_mb * MEGABYTE:
            self.close()
            self._place = self._place.following(self._limits.chunks_size)
        first = self._frames
        self._append(episode)
        episode.unlink()
        self._bytes += size
        self._frames += len(frames)
        return self._place, float(first / self._fps), float(self._frames / self._fps)

    def _append(self, episode: Path) -> None:
        with av.open(str(episode)) as source:
            video = source.streams.video[0]
            if self._container is None or self._stream is None:
                self._container = av.open(str(self._place.path(self._folder, ".mp4")), "w")
                self._stream = self._container.add_stream_from_template(video)
            shift = round(self._frames / self._fps / (video.time_base or Fraction(1)))
            for packet in source.demux(video):
                if packet.pts is None or packet.dts is None:  # the end of the stream
                    continue
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = self._stream
                self._container.mux(packet)

    def close(self) -> None:
        """Finish the last file."""
        if self._container is not None:
            self._container.close()
            self._container, self._stream, self._bytes, self._frames = None, None, 0, 0


def video_entry(file: Path, fps: float) -> dict[str, object]:
    """What `info.json` says of the videos of a camera, from one of them."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": stream.codec.canonical_name,
            "video.pix_fmt": stream.pix_fmt,
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        }
