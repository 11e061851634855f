"""A frame of a video is asked for by number, and it is that frame that comes: each one carries its number as bars of black and white."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tacit.data import video
from tacit.data.images import ImageFrames
from tacit.data.streams import BadTake, Frames, scaled
from tacit.data.video import VideoFrames, write_video

BITS = 8
SHAPE = (32, 64, 3)
COUNT = 60
TICK = Fraction(1, 12800)


def numbered(number: int) -> NDArray[np.uint8]:
    bits = np.array([255 * (number >> bit & 1) for bit in range(BITS)], np.uint8)
    return np.broadcast_to(bits.repeat(SHAPE[1] // BITS)[None, :, None], SHAPE).copy()


def numbers(images: NDArray[np.uint8]) -> list[int]:
    bars = images.reshape(len(images), images.shape[1], BITS, -1).mean((1, 3)) > 127
    return (bars @ (1 << np.arange(BITS))).tolist()


def encode(
    path: Path,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    ticks: Callable[[int], int] = lambda n: n * 512,
    **container: str,
) -> Path:
    """A video of COUNT numbered frames with the time stamps that `ticks` says."""
    with av.open(str(path), "w", options=container) as file:
        stream = file.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width, stream.pix_fmt = SHAPE[0], SHAPE[1], "bgr0" if codec == "ffv1" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICK
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts, frame.time_base = ticks(number), TICK
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def uneven(number: int) -> int:
    return 40_000 + 300 * number + 900 * (number // 7)


B_FRAMES = {"bf": "3", "g": "12", "x264-params": "scenecut=0:b-adapt=0"}
FILES: dict[str, Callable[[Path], Path]] = {
    "b-frames": lambda d: encode(d / "b.mp4", options=B_FRAMES),
    "b-frames of one group": lambda d: encode(d / "one.mp4", options={"bf": "3", "g": "250", "x264-params": "scenecut=0"}),
    "short groups": lambda d: encode(d / "short.mp4", options={"g": "2", "bf": "2"}),
    "open groups": lambda d: encode(d / "open.mp4", options={"x264-params": "open-gop=1:keyint=12:bframes=4:b-pyramid=normal:scenecut=0"}),
    "refresh bit by bit": lambda d: encode(d / "refresh.mkv", options={"x264-params": "intra-refresh=1:keyint=12"}),
    "variable rate from 3 s": lambda d: encode(d / "vfr.mp4", options=B_FRAMES, ticks=uneven),
    "variable rate in Matroska": lambda d: encode(d / "vfr.mkv", options=B_FRAMES, ticks=uneven),
    "without loss": lambda d: encode(d / "ffv1.mkv", codec="ffv1"),
    "avi": lambda d: encode(d / "mpeg4.avi", codec="mpeg4", options={"g": "12", "b:v": "2M"}, ticks=lambda n: n * 512),
    "fragments": lambda d: encode(d / "frag.mp4", options=B_FRAMES, movflags="frag_keyframe+empty_moov"),
    "transport stream": lambda d: encode(d / "b.ts", options=B_FRAMES),
}


@pytest.fixture(scope="module", params=FILES)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FILES[request.param](tmp_path_factory.mktemp("video"))


def test_frames_are_exact_in_order_at_random_and_with_repeats(path: Path) -> None:
    frames = VideoFrames(path)
    assert isinstance(frames, Frames)
    assert (len(frames), frames.shape) == (COUNT, SHAPE)
    assert numbers(frames.read(np.arange(COUNT))) == list(range(COUNT))
    generator = np.random.default_rng(0)
    for _ in range(12):
        rows = np.sort(generator.integers(0, COUNT, 6))
        assert numbers(frames.read(rows)) == rows.tolist()
    for row in range(COUNT - 1, 0, -7):
        assert numbers(frames.read(np.array([row, row]))) == [row, row]


def test_frames_of_a_range_are_counted_from_its_start(path: Path) -> None:
    whole, part = VideoFrames(path), VideoFrames(path, start=17, count=20)
    assert len(part) == 20
    assert numbers(part.read(np.array([0, 3, 19]))) == [17, 20, 36]
    np.testing.assert_array_equal(part.times, whole.times[17:37])
    assert len(VideoFrames(path, start=50)) == COUNT - 50
    with pytest.raises(BadTake, match=f"{path.name}.* frame 37 .*outside 17 to 36"):
        part.read(np.array([20]))


def test_several_threads_decode_the_same(path: Path) -> None:
    rows = np.array([5, 6, 7, 30, 31, 59])
    assert numbers(VideoFrames(path, threads=3).read(rows)) == rows.tolist()


@pytest.mark.parametrize("name", ["b-frames", "variable rate from 3 s", "variable rate in Matroska", "avi"])
def test_times_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    file = FILES[name](tmp_path)
    ticks = np.array([uneven(n) if "variable" in name else 512 * n for n in range(COUNT)])
    times = VideoFrames(file).times
    assert times.dtype == np.float64
    np.testing.assert_allclose(times, ticks * float(TICK), atol=6e-4 if file.suffix == ".mkv" else 1e-9)


def test_times_do_not_need_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FILES["b-frames"](tmp_path)
    monkeypatch.setattr(video, "_decoded", None)
    assert len(VideoFrames(file).times) == COUNT


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=8).map(sorted), start=st.integers(0, COUNT - 1))
def test_any_rows_after_any_others(shared: VideoFrames, rows: list[int], start: int) -> None:
    shared.read(np.array([start]))
    assert numbers(shared.read(np.array(rows))) == rows


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> VideoFrames:
    return VideoFrames(FILES["open groups"](tmp_path_factory.mktemp("shared")))


def test_reading_in_order_never_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = VideoFrames(FILES["short groups"](tmp_path))
    monkeypatch.setattr(video._Decoder, "_jump", lambda self, key: pytest.fail("jumped"))
    for first in range(0, COUNT - 4, 2):
        assert numbers(frames.read(np.arange(first + 1, first + 4, 2))) == [first + 1, first + 3]


def test_far_frames_are_reached_by_a_jump(tmp_path: Path) -> None:
    frames = VideoFrames(FILES["b-frames"](tmp_path))
    frames.read(np.array([0]))
    frames.read(np.array([50]))
    assert frames._decoder is not None
    assert frames._decoder.first == 48


def test_scaling_takes_the_mean_over_areas(tmp_path: Path) -> None:
    steps = np.kron(np.random.default_rng(1).integers(0, 256, (8, 16, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    write_video(tmp_path / "a.mkv", [steps], fps=10, codec="ffv1")
    image = VideoFrames(tmp_path / "a.mkv").read(np.array([0]), (8, 16))
    expected = scaled(steps[None], (8, 16))
    assert image.shape == (1, 8, 16, 3)
    assert np.abs(image.astype(int) - expected).max() <= 8


def test_edit_lists_hide_frames(tmp_path: Path) -> None:
    source = FILES["b-frames"](tmp_path)
    with av.open(str(source)) as old, av.open(str(tmp_path / "cut.mp4"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - 5 * 512, packet.dts - 5 * 512, stream
                new.mux(packet)
    frames = VideoFrames(tmp_path / "cut.mp4")
    assert len(frames) == COUNT - 5
    assert numbers(frames.read(np.array([0, 1, 20, 54]))) == [5, 6, 25, 59]


def cut(path: Path, part: float) -> Path:
    cropped = path.with_stem(f"{path.stem}-cut")
    data = path.read_bytes()
    cropped.write_bytes(data[: int(len(data) * part)])
    return cropped


@pytest.mark.parametrize(("name", "part"), [("b-frames", 0.5), ("avi", 0.3), ("avi", 0.4), ("avi", 0.001), ("without loss", 0.5)])
def test_truncated_files_are_bad_takes(name: str, part: float, tmp_path: Path) -> None:
    frames = VideoFrames(cut(FILES[name](tmp_path), part))
    for use in (lambda: frames.times, lambda: len(frames), lambda: frames.read(np.array([0]))):
        with pytest.raises(BadTake, match=r"-cut\..*frame \d+ is missing.*copy the file again"):
            use()


def test_what_lies_before_the_cut_is_still_good(tmp_path: Path) -> None:
    file = cut(encode(tmp_path / "fast.mp4", options=B_FRAMES, movflags="+faststart"), 0.8)
    assert numbers(VideoFrames(file, count=10).read(np.arange(10))) == list(range(10))
    with pytest.raises(BadTake, match=r"fast-cut\.mp4 ends after \d+ frames.*is missing \(up to 59\)"):
        VideoFrames(file, start=40, count=20).read(np.array([0]))


@pytest.mark.parametrize("hit", [5, 24, 31, 59])
def test_a_lost_frame_takes_those_with_it_that_need_it_and_no_others(hit: int, tmp_path: Path) -> None:
    file = encode(tmp_path / "p.mp4", options={"g": "12", "bf": "0", "x264-params": "scenecut=0"})
    with av.open(str(file)) as container:
        place, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][hit]
    data = bytearray(file.read_bytes())
    data[place : place + size] = bytes(size)
    file.write_bytes(data)
    frames = VideoFrames(file)
    refused = []
    for row in [*range(COUNT), *range(COUNT - 1, -1, -1)]:
        try:
            assert numbers(frames.read(np.array([row]))) == [row]
        except BadTake:
            refused.append(row)
    until_key = list(range(hit, min(COUNT, (hit // 12 + 1) * 12)))
    assert refused == until_key + until_key[::-1]
    with pytest.raises(BadTake, match=rf"p\.mp4: frame {hit} cannot be decoded.*leave this take out"):
        frames.read(np.array([hit]))


def test_other_files_are_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video at all " * 50)
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.pts = 8000, 0
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    for name, message in (("text.mp4", "cannot be opened"), ("sound.mp4", "has no video"), ("none.mp4", "cannot be read: No such file")):
        with pytest.raises(BadTake, match=f"{name}.*{message}"):
            VideoFrames(tmp_path / name).times  # noqa: B018
    with pytest.raises(ValueError, match="must not be negative"):
        VideoFrames("a.mp4", start=-1)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    write_video(file, (numbered(n) for n in range(5)), fps=10)
    assert len(VideoFrames(file)) == 5
    write_video(file, (numbered(n) for n in range(9)), fps=10)
    assert len(VideoFrames(file)) == 9


def test_files_are_closed_without_the_collector(tmp_path: Path) -> None:
    file = FILES["without loss"](tmp_path)

    def handles() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()
    gc.disable()
    try:
        before = handles()
        with VideoFrames(file) as frames:
            frames.read(np.array([3]))
            assert handles() == before + 1
        assert handles() == before
        assert numbers(frames.read(np.array([4]))) == [4]
        del frames
        assert handles() == before
    finally:
        gc.enable()


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "ffv1"), ("a.avi", "mpeg4"), ("a.avi", "libx264")])
def test_writing(name: str, codec: str, tmp_path: Path) -> None:
    assert write_video(tmp_path / name, (numbered(n) for n in range(30)), fps=Fraction(30000, 1001), codec=codec, crf=None, gop=5) == 30
    assert [file.name for file in tmp_path.iterdir()] == [name]
    frames = VideoFrames(tmp_path / name)
    images = frames.read(np.arange(30))
    assert numbers(images) == list(range(30))
    np.testing.assert_allclose(frames.times - frames.times[0], np.arange(30) * 1001 / 30000, atol=6e-4)
    if codec == "ffv1":
        np.testing.assert_array_equal(images, [numbered(n) for n in range(30)])


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    write_video(file, [numbered(7)], fps=10)
    old = file.read_bytes()

    def failing() -> Iterator[NDArray[np.uint8]]:
        yield numbered(1)
        raise RuntimeError("camera gone")

    with pytest.raises(RuntimeError, match="camera gone"):
        write_video(file, failing(), fps=10)
    cases: list[tuple[list[NDArray[np.uint8]], dict[str, str], str]] = [
        ([], {}, "no frame"),
        ([numbered(1), numbered(2)[:16]], {}, "frame 1 is .16, 64, 3."),
        ([numbered(1)[:31]], {}, "needs even numbers"),
        ([numbered(1)[..., 0]], {}, "give .height, width, 3. uint8"),
        ([numbered(1)], {"codec": "h2640"}, "no encoder 'h2640'"),
        ([numbered(1)], {"codec": "libx264", "pixels": "gray16le"}, "refuses.*change codec"),
    ]
    for images, options, message in cases:
        with pytest.raises(ValueError, match=message):
            write_video(file, images, fps=10, **options)
    with pytest.raises(ValueError, match=r"use a name that ends in one of: \.mp4"):
        write_video(tmp_path / "a.gif", [numbered(1)], fps=10)
    assert file.read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    with pytest.raises(OSError, match="No such file"):
        write_video(tmp_path / "none" / "a.mp4", [numbered(1)], fps=10)


def test_image_files(tmp_path: Path) -> None:
    files = [tmp_path / f"{n}.png" for n in range(6)]
    for n, file in enumerate(files):
        Image.fromarray(numbered(n)).save(file)
    frames = ImageFrames(files)
    assert isinstance(frames, Frames)
    assert (len(frames), frames.shape) == (6, SHAPE)
    rows = np.array([0, 2, 2, 5])
    assert numbers(frames.read(rows)) == rows.tolist()
    np.testing.assert_array_equal(frames.read(rows, (16, 32)), scaled(np.stack([numbered(n) for n in rows]), (16, 32)))
    files[1].unlink()
    files[2].write_bytes(files[3].read_bytes()[:40])
    Image.fromarray(numbered(4)[:16]).save(files[4])
    Image.fromarray(np.zeros(SHAPE[:2], np.uint16)).save(files[5])
    for row, message in (
        (1, "is missing: restore"),
        (2, "cannot be decoded.*leave this take out"),
        (4, "64 x 16, and the first"),
        (5, "8 bits"),
    ):
        with pytest.raises(BadTake, match=rf"{row}\.png \(frame {row}\).*{message}"):
            frames.read(np.array([row]))
    assert numbers(frames.read(np.array([3]))) == [3]


def test_jpegs_are_scaled_while_they_are_decoded(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 160 * 120 * 3).reshape(120, 160, 3).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(smooth[..., 0]).save(tmp_path / "b.jpg", quality=95)
    frames = ImageFrames([tmp_path / "a.jpg", tmp_path / "b.jpg"])
    small = frames.read(np.array([0, 1]), (30, 40))
    assert np.abs(small[0].astype(int) - scaled(smooth[None], (30, 40))[0]).max() < 6
    assert (small[1][..., 0] == small[1][..., 2]).all()
    for row in ([-1], [2]):
        with pytest.raises(BadTake, match="there are 2 images"):
            frames.read(np.array(row))
    with pytest.raises(BadTake, match="there is no image"):
        ImageFrames([]).shape  # noqa: B018
