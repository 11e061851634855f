"""What the packets of a video file tell: which frames it has, when they are shown, and from where they can be reached."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tacit.data.streams import BadTake

REMEDY = "copy the file again from where it was recorded, or leave this take out"
REFUSED = (av.FFmpegError, OSError, ValueError)


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoIndex:
    """What the packets of a video file tell without decoding.

    Attributes:
        pts: Time stamps of the frames in the order of presentation, int64 (N,), in units of `time_base`.
        time_base: Seconds.
        key_pts: Time stamps of the key frames, int64 (K,), ascending.
        shape: Height, width and channels.
        lost: Why frames are missing at the end, or empty when the file is whole.
    """

    pts: NDArray[np.int64]
    time_base: Fraction
    key_pts: NDArray[np.int64]
    shape: tuple[int, int, int]
    lost: str

    @classmethod
    def of(cls, path: Path) -> VideoIndex:
        """The index of a file; kept, and read again when the file changes.

        Raises:
            BadTake: The file cannot be opened, has no video or carries no time stamps.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise BadTake(f"{path} cannot be read: {error.strerror}; {REMEDY}") from error
        return _index(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _index(path: Path, modified: int, size: int) -> VideoIndex:
    container, stream = opened(path)
    with container:
        lost = ""
        rows: list[tuple[int, int, bool, bool]] = []
        try:
            for packet in container.demux(stream):
                if packet.dts is None and packet.size == 0:  # the end
                    continue
                if packet.is_corrupt:
                    lost = "its data end within a frame"
                    break
                if packet.pts is None:
                    raise BadTake(
                        f"{path}: frame {len(rows)} has no time stamp; make a file that has them: "
                        f"ffmpeg -fflags +genpts -i {path.name} -c copy {path.stem}-timed.mp4"
                    )
                rows.append((packet.pts, packet.duration or 0, packet.is_keyframe, packet.is_discard))
        except av.FFmpegError as error:
            lost = f"its data end: {reason_of(error)}"
        if not rows:
            raise BadTake(f"{path}: frame 0 is missing, there is no frame in the file; {REMEDY}")
        pts, durations = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
        is_key, is_hidden = (np.array([row[i] for row in rows], np.bool_) for i in (2, 3))
        time_base = Fraction(stream.time_base.numerator, stream.time_base.denominator) if stream.time_base else Fraction(1)
        is_key[0] = True
        return VideoIndex(
            pts=np.sort(pts[~is_hidden]),
            time_base=time_base,
            key_pts=np.sort(pts[is_key]),
            shape=(stream.codec_context.height, stream.codec_context.width, 3),
            lost=lost or _broken_promise(stream, pts, durations, time_base),
        )


def _broken_promise(stream: VideoStream, pts: NDArray[np.int64], durations: NDArray[np.int64], time_base: Fraction) -> str:
    """What the container announces beyond its packets, or nothing."""
    if (announced := len(stream.index_entries)) > len(pts):
        return f"its index has {announced} frames"
    step = int(max(durations.max(), np.diff(np.sort(pts)).max(initial=0)))
    seconds = _seconds(stream.metadata.get("DURATION", ""))
    # An AVI header counts in ticks of its stream; what can be read of a file that was cut short is shorter, index or not.
    if stream.container.format.name == "avi" and stream.duration and stream.frames > stream.duration + step:
        return f"its header has {stream.frames} ticks of {time_base} s, the data {stream.duration}"
    if step and seconds > (int(pts.max()) + 2 * step) * time_base:
        return f"its header says {seconds:.3f} s"
    return ""


def _seconds(text: str) -> float:
    """What a Matroska tag such as 00:01:02.500000000 says; 0 for any other text."""
    clock = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text)
    return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3]) if clock else 0.0


# Containers that hold their own data: a playlist leads to other files.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg"


def opened(path: Path, threads: int = 1) -> tuple[InputContainer, VideoStream]:
    """A video file, open, and the first video in it.

    Raises:
        BadTake: It cannot be opened, or has no video.
    """
    try:
        options = {"fflags": "+genpts", "format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
        container = av.open(str(path.absolute()), "r", options=options)  # FFmpeg takes "12:30/" in a relative path for a protocol
    except REFUSED as error:
        raise BadTake(f"{path} cannot be opened as a video, so frame 0 is missing: {reason_of(error)}; {REMEDY}") from error
    if not container.streams.video:
        container.close()
        raise BadTake(f"{path} has no video in it; name the file that the camera wrote")
    stream = container.streams.video[0]
    stream.thread_count = threads
    stream.thread_type = "FRAME" if threads != 1 else "NONE"
    return container, stream


def reason_of(error: BaseException) -> str:
    """What FFmpeg says is wrong, without the name of the file."""
    return str(getattr(error, "strerror", None) or error)
