"""Video files: frames by number, exactly.

Frame n is the n-th in the order of presentation. Its number is looked up by the time stamps of the packets, which are read once and
without decoding; a decoded frame is taken for frame n only when it carries that time stamp, and no frame was lost between it and the
key frame that it was predicted from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tacit.data.streams import BadTake
from tacit.data.video_index import REFUSED, REMEDY, VideoIndex, opened, reason_of
from tacit.data.video_writing import write_video

__all__ = ["VideoFrames", "write_video"]

FAR = 4  # frames that are decoded in vain rather than jump over them: a jump empties the decoder


class _Decoder:
    """An open file, and where in it the decoder stands."""

    def __init__(self, path: Path, index: VideoIndex, threads: int) -> None:
        self.path = path
        self.index = index
        self.threads = threads
        self.reason = ""
        self._start(*opened(path, threads), key=0)

    def frame(self, number: int) -> VideoFrame:
        """One frame; the next ones are at hand, and those before a key frame are reached by jumping there."""
        if number == self.number and self.last is not None:
            return self.last
        key = int(np.searchsorted(self.index.key_pts, self.index.pts[number], "right")) - 1
        key_number = int(np.searchsorted(self.index.pts, self.index.key_pts[max(key, 0)]))
        self.reason = ""
        is_ahead = self.number < number and key_number - self.number - 1 <= FAR
        if is_ahead and (found := self._advanced(number)) is not None:
            return found
        for start in dict.fromkeys((max(key, 0), max(key - 1, 0))):
            self._jump(start)
            if (found := self._advanced(number)) is not None:
                return found
        if self.first is None or self.first > number:  # the container led too far, or to what it only takes for a key frame
            self._restart()
            if (found := self._advanced(number)) is not None:
                return found
        reason = f" ({self.reason})" if self.reason else ""
        raise BadTake(f"{self.path}: frame {number} cannot be decoded{reason}: its data are damaged or missing; {REMEDY}")

    def _start(self, container: InputContainer, stream: VideoStream, key: int) -> None:
        self.container = container
        self.stream = stream
        self.frames = _decoded(container, stream)
        self.first: int | None = None  # key frame that came first since the file was opened or jumped in
        self.number = -1  # of the last frame
        self.last: VideoFrame | None = None  # None when it is not to be trusted
        # Something was lost, so what is predicted from it is wrong, up to the next key frame; one that an edit list hides never comes.
        self.is_broken = bool(self.index.key_pts[key] in self.index.pts)

    def _restart(self) -> None:
        self.container.close()
        self._start(*opened(self.path, self.threads), key=0)

    def _jump(self, key: int) -> None:
        try:
            self.container.seek(int(self.index.key_pts[key]), stream=self.stream, backward=True)
        except REFUSED:  # the container cannot be searched
            self._restart()
        else:
            self._start(self.container, self.stream, key)

    def _advanced(self, number: int) -> VideoFrame | None:
        for frame in self.frames:
            if isinstance(frame, av.FFmpegError):
                self.reason, self.is_broken = reason_of(frame), True
                continue
            if (at := self._number_of(frame)) is None:
                continue
            is_next = self.number < 0 or at == self.number + 1
            self.is_broken = frame.is_corrupt or (not frame.key_frame and (self.is_broken or not is_next))
            self.first = at if self.first is None and frame.key_frame else self.first
            self.number, self.last = at, None if self.is_broken else frame
            if at >= number:
                return self.last if at == number else None
        return None

    def _number_of(self, frame: VideoFrame) -> int | None:
        if frame.pts is None:
            return None
        pts = self.index.pts
        following = self.number + 1
        if self.number >= 0 and following < len(pts) and pts[following] == frame.pts:
            return following
        at = int(np.searchsorted(pts, frame.pts))
        return at if at < len(pts) and pts[at] == frame.pts else None


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame | av.FFmpegError]:
    """Frames in the order of presentation; a packet that cannot be decoded gives its error, and the next ones go on."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            yield error
            return
        try:
            yield from packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, av.EOFError):
                return
            yield error


class VideoFrames:
    """The frames of a video file, or a range of them; a `tacit.data.streams.Frames`.

    Nothing is opened before it is needed, and the file stays open for the next read. Frames that are read in order are decoded once;
    others are reached from the key frame before them. Use one object per thread. A rotation noted in the file is not applied.

    >>> frames = VideoFrames("front.mp4")                     # doctest: +SKIP
    >>> frames.read(np.arange(8), (64, 64)).shape             # doctest: +SKIP
    (8, 64, 64, 3)

    Args:
        path: MP4, MKV, AVI or another file that FFmpeg reads.
        start: Number, in the file, of the first frame of the range.
        count: Number of frames, or None for all that follow.
        threads: Decoding threads; one is best for short clips, more help to read a large video from end to end. 0 for all cores.

    Raises:
        ValueError: `start` or `count` is negative.
    """

    def __init__(self, path: str | Path, *, start: int = 0, count: int | None = None, threads: int = 1) -> None:
        if start < 0 or (count is not None and count < 0):
            raise ValueError(f"{path}: start {start} and count {count} must not be negative")
        self.path = Path(path)
        self.start = start
        self.count = count
        self._threads = threads
        self._decoder: _Decoder | None = None
        self._reformatter = VideoReformatter()  # one for all frames: making the tables of a scaler takes longer than scaling

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels (3: red, green, blue) of one decoded frame."""
        return VideoIndex.of(self.path).shape

    def __len__(self) -> int:
        return len(self._whole_index().pts) - self.start if self.count is None else self.count

    @property
    def times(self) -> NDArray[np.float64]:
        """Presentation times of the frames of the range in seconds, float64 (N,), as the file has them: the first need not be 0.

        Raises:
            BadTake: The file is damaged, or ends before the range does.
        """
        index = self._whole_index()
        stop = None if self.count is None else self.start + self.count
        pts: NDArray[np.int64] = index.pts[self.start : stop]
        return pts * index.time_base.numerator / index.time_base.denominator

    def read(self, rows: NDArray[np.int64], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Decode frames.

        Args:
            rows: Numbers of frames in the range, (K,), ascending; repeats are allowed.
            size: Height and width to scale to, by the mean over the area of each pixel; None for the frame's own.

        Returns:
            (K, height, width, 3) uint8, red, green and blue.

        Raises:
            BadTake: A frame cannot be decoded; the message names the file and the frame's number in it.
        """
        index = self._whole_index()
        count = len(index.pts) - self.start if self.count is None else self.count
        height, width = size or index.shape[:2]
        images = np.empty((len(rows), height, width, 3), np.uint8)
        last = -1
        for place, row in enumerate(rows):
            if not 0 <= row < count:
                raise BadTake(f"{self.path}: frame {self.start + row} was asked for, outside {self.start} to {self.start + count - 1}")
            if row == last:
                images[place] = images[place - 1]
                continue
            if self._decoder is None:
                self._decoder = _Decoder(self.path, index, self._threads)
            frame = self._decoder.frame(self.start + int(row))
            scaled = self._reformatter.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA)
            images[place] = scaled.to_ndarray()
            last = row
        return images

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if self._decoder is not None:
            self._decoder.container.close()
            self._decoder = None

    def __del__(self) -> None:
        if getattr(self, "_decoder", None) is not None:  # a container and its streams know each other, so it would stay open
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _whole_index(self) -> VideoIndex:
        index = VideoIndex.of(self.path)
        available = len(index.pts)
        if self.count is None and not index.lost and self.start <= available:
            return index
        if self.count is not None and self.start + self.count <= available:
            return index
        why = f" and {index.lost}" if index.lost else ""
        needed = max(self.start, available) if self.count is None else max(self.start + self.count - 1, available)
        raise BadTake(f"{self.path} ends after {available} frames{why}; frame {available} is missing (up to {needed}): {REMEDY}")
