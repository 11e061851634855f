"""Writing video files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tacit.atomic import sync_folder
from tacit.data.video_index import reason_of

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
QUIET = {"libx265": {"x265-params": "log-level=error"}}  # it prints past FFmpeg's own log


def write_video(
    path: str | Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float | Fraction,
    codec: str = "libx264",
    crf: int | None = 18,
    gop: int = 10,
    pixels: str | None = None,
) -> int:
    """Write a video; a reader sees the old file or the whole new one.

    Args:
        path: File to write, .mp4, .mkv, .mov or .avi; its folder must exist.
        frames: Images (height, width, 3) uint8, red, green and blue, all of one size.
        fps: Frames per second.
        codec: FFmpeg's name of the encoder: `libx264` plays everywhere, `libsvtav1` is smaller, `ffv1` (.mkv) loses nothing.
        crf: Quality: lower is better and larger; None for the encoder's own, and for one that has no such dial.
        gop: Frames from one key frame to the next: fewer make random access faster and the file larger.
        pixels: FFmpeg's name of the pixel format; None for the one that plays everywhere, or `bgr0` for `ffv1`.

    Returns:
        Number of frames written.

    Raises:
        ValueError: There is no frame, a frame is not an image of the first one's size, the size is odd, or FFmpeg lacks the encoder or
            refuses an option.
        OSError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in CONTAINERS:
        raise ValueError(f"{path}: use a name that ends in one of: {', '.join(CONTAINERS)}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with av.open(str(temporary.absolute()), "w", format=CONTAINERS[path.suffix.lower()]) as container:
            count = _encode(container, frames, Fraction(fps).limit_denominator(1001), codec, crf, gop, pixels)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except av.FFmpegError as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, reason_of(error), str(path)) from error
        raise ValueError(f"{path}: the encoder {codec!r} refuses: {reason_of(error)}; change codec, crf, pixels or the size") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return count


def _encode(
    container: OutputContainer,
    frames: Iterable[NDArray[np.uint8]],
    fps: Fraction,
    codec: str,
    crf: int | None,
    gop: int,
    pixels: str | None,
) -> int:
    if codec not in av.codecs_available:
        raise ValueError(f"this FFmpeg has no encoder {codec!r}; use libx264, or ffv1 in an .mkv to lose nothing")
    lossless = codec == "ffv1"
    pixels = pixels or ("bgr0" if lossless else "yuv420p")
    stream: VideoStream | None = None
    shape: tuple[int, ...] = ()
    count = 0
    for image in frames:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"frame {count} is {image.dtype} {image.shape}; give (height, width, 3) uint8")
        if stream is None:
            shape = image.shape
            if "420" in pixels and (shape[0] % 2 or shape[1] % 2):
                raise ValueError(f"frames of {shape[0]} x {shape[1]}: {pixels} needs even numbers; crop a row, or set pixels to yuv444p")
            options = {} if crf is None or lossless else {"crf": str(crf)}
            stream = cast(VideoStream, container.add_stream(codec, rate=fps, options=options | QUIET.get(codec, {})))
            stream.height, stream.width, stream.pix_fmt, stream.gop_size = shape[0], shape[1], pixels, gop
            if container.format.name == "avi":  # it cannot say in which order frames are shown
                stream.codec_context.max_b_frames = 0
        elif image.shape != shape:
            raise ValueError(f"frame {count} is {image.shape}, the first one {shape}; all frames of a video have one size")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = count, 1 / fps
        container.mux(stream.encode(frame))
        count += 1
    if stream is None:
        raise ValueError("there is no frame to write")
    container.mux(stream.encode())
    return count
