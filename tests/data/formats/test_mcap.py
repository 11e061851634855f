"""Bags: every topic on its own clock, as it was recorded, up to the break if there is one."""

from __future__ import annotations

import builtins
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as PlainWriter
from mcap_ros2.writer import Writer
from PIL import Image

from tacit.data.formats import mcap, mcap_file
from tacit.data.formats.mcap import MCAP
from tacit.data.streams import BadTake, Format, Frames, Piece, SourceError, Stream

HEADER = "std_msgs/Header header\n"
HEADER_DEFINITION = """
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
VECTOR = "================\nMSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z\n"
DEFINITIONS = {
    "std_msgs/msg/Float64": "float64 data",
    "std_msgs/msg/Float64MultiArray": "float64[] data",
    "geometry_msgs/msg/Twist": "geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular\n" + VECTOR,
    "sensor_msgs/msg/JointState": HEADER + "string[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort" + HEADER_DEFINITION,
    "sensor_msgs/msg/CompressedImage": HEADER + "string format\nuint8[] data" + HEADER_DEFINITION,
    "sensor_msgs/msg/Image": HEADER
    + "uint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data"
    + HEADER_DEFINITION,
    "plant_msgs/msg/Level": HEADER + "float32 level\nfloat64[9] covariance\nbool ok\nstring text" + HEADER_DEFINITION,
    "plant_msgs/msg/Late": "float32 level\n" + HEADER + HEADER_DEFINITION,
}
Row = tuple[str, str, float, Any]  # topic, kind, log time, message
START = 1_700_000_000.0
BASE = int(START) * 10**9


def header(seconds: float) -> dict[str, Any]:
    nanoseconds = BASE + round(seconds * 1e9)
    return {"stamp": {"sec": nanoseconds // 10**9, "nanosec": nanoseconds % 10**9}, "frame_id": "base"}


def write(path: Path, rows: Iterable[Row], published: float = 0.0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream, Writer(stream, **options) as writer:
        schemas = {}
        for topic, kind, seconds, message in rows:
            if kind not in schemas:
                schemas[kind] = writer.register_msgdef(kind, DEFINITIONS[kind])
            logged = BASE + round(seconds * 1e9)
            writer.write_message(topic, schemas[kind], message, log_time=logged, publish_time=logged - round(published * 1e9))
    return path


def write_json(path: Path, rows: Iterable[tuple[str, float, Any]], encoding: str = "json", **options: Any) -> Path:
    with path.open("wb") as stream:
        writer = PlainWriter(stream, **options)
        writer.start()
        kind = {"json": "jsonschema"}.get(encoding, encoding)
        schema = writer.register_schema("plant.State", kind, b"{}")
        channels: dict[str, int] = {}
        for topic, seconds, message in rows:
            if topic not in channels:
                channels[topic] = writer.register_channel(topic, encoding, schema)
            logged = BASE + round(seconds * 1e9)
            writer.add_message(channels[topic], log_time=logged, publish_time=0, data=json.dumps(message).encode())
        writer.finish()
    return path


def numbers(topic: str, times: Sequence[float], values: Sequence[float]) -> list[Row]:
    return [(topic, "std_msgs/msg/Float64", t, {"data": float(v)}) for t, v in zip(times, values, strict=True)]


def levels(count: int, lag: float = 0.0, topic: str = "/tank") -> list[Row]:
    return [
        (
            topic,
            "plant_msgs/msg/Level",
            0.1 * i + lag,
            {"header": header(0.1 * i), "level": i, "covariance": [0.5 * i] * 9, "ok": i % 2 == 0},
        )
        for i in range(count)
    ]


def jpeg(value: int, size: tuple[int, int] = (16, 12), kind: str = "JPEG") -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(target, kind)
    return target.getvalue()


def pieces(path: Path, *names: str, take: str | None = None, **options: object) -> list[Piece]:
    return list(MCAP.read(path, take or path.name, names, options))


def whole(path: Path, name: str, take: str | None = None, **options: object) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Times since the start and values of one channel of numbers, all pieces together."""
    streams = [p.streams[name] for p in pieces(path, name, take=take, **options) if name in p.streams]
    return np.concatenate([s.time for s in streams]) - START, np.concatenate([np.asarray(s.values) for s in streams])


def frames_of(stream: Stream) -> Frames:
    assert isinstance(stream.values, Frames)
    return stream.values


def test_it_is_a_format_and_knows_its_files(tmp_path: Path) -> None:
    described: Format = MCAP
    assert (described.name, described.extra) == ("mcap", "formats")
    bag = write(tmp_path / "bags" / "a.mcap", numbers("/x", [0.0], [1.0]))
    (tmp_path / "note.mcap").write_text("not a bag")
    assert MCAP.recognises(bag)
    assert MCAP.recognises(bag.parent)
    assert not MCAP.recognises(tmp_path / "note.mcap")
    assert not MCAP.recognises(tmp_path / "missing")
    with pytest.raises(SourceError, match=r"note.mcap: is not an MCAP file"):
        MCAP.describe(tmp_path / "note.mcap", {})


def test_two_rates_a_gap_and_a_late_clock_pass_as_they_are(tmp_path: Path) -> None:
    fast = [0.01 * i for i in range(40) if not 10 <= i < 25]
    slow = [0.05 * i + 0.12 for i in range(8)]
    rows = sorted([*numbers("/fast", fast, fast), *numbers("/slow", slow, range(8))], key=lambda row: row[2])
    bag = write(tmp_path / "a.mcap", rows)
    for name, times, values in (("/fast.data", fast, fast), ("/slow.data", slow, range(8))):
        time, found = whole(bag, name)
        np.testing.assert_allclose(time, times, atol=1e-6)
        np.testing.assert_array_equal(found, values)
    both = pieces(bag, "/fast.data", "/slow.data")
    assert set(both[0].streams) == {"/fast.data", "/slow.data"}
    assert both[-1].until == math.inf
    np.testing.assert_array_equal(np.asarray(both[0].streams["/slow.data"].rows), range(8))


@pytest.mark.parametrize(("option", "shift"), [("header", 0.0), ("publish", 0.07), ("log", 0.12)])
def test_each_message_has_three_times(tmp_path: Path, option: str, shift: float) -> None:
    bag = write(tmp_path / "a.mcap", levels(6, lag=0.12), published=0.05)
    time, values = whole(bag, "/tank.level", time=option)
    np.testing.assert_allclose(time, 0.1 * np.arange(6) + shift, atol=1e-6)
    np.testing.assert_array_equal(values, range(6))


def test_a_topic_without_stamps_has_its_publish_time_and_says_so(tmp_path: Path) -> None:
    unset = [("/tank", "plant_msgs/msg/Level", t, {"level": 1.0}) for t in (0.0, 0.1)]
    bag = write(tmp_path / "a.mcap", [*numbers("/x", [0.0, 0.1], [1, 2]), *unset], published=0.03)
    for name in ("/x.data", "/tank.level"):
        np.testing.assert_allclose(whole(bag, name)[0], [-0.03, 0.07], atol=1e-6)
    notes = {c.name: c.note for c in MCAP.describe(bag, {}).channels}
    assert notes["/x.data"] == notes["/tank.level"] == "no stamp of its own"


def test_a_header_that_is_not_first_is_found(tmp_path: Path) -> None:
    rows = [("/late", "plant_msgs/msg/Late", 0.1 * i + 0.2, {"level": i, "header": header(0.1 * i)}) for i in range(5)]
    np.testing.assert_allclose(whole(write(tmp_path / "a.mcap", rows), "/late.level")[0], 0.1 * np.arange(5), atol=1e-6)


def test_joints_are_told_by_name_in_whatever_order(tmp_path: Path) -> None:
    def state(t: float, **position: float) -> Row:
        message = {"header": header(t), "name": list(position), "position": list(position.values()), "velocity": [], "effort": []}
        return "/joints", "sensor_msgs/msg/JointState", t, message

    first = write(tmp_path / "bags" / "1.mcap", [state(0.0, hip=1, knee=2), state(0.1, knee=4, hip=3), state(0.2, knee=6)])
    write(tmp_path / "bags" / "2.mcap", [state(0.0, knee=8, hip=7)])
    time, values = whole(first, "/joints.position")
    np.testing.assert_array_equal(values, [[1, 2], [3, 4], [math.nan, 6]])
    time, values = whole(first, "/joints.position.hip")
    np.testing.assert_allclose(time, [0.0, 0.1], atol=1e-6)
    np.testing.assert_array_equal(values, [1, 3])
    np.testing.assert_array_equal(whole(tmp_path / "bags", "/joints.position", take="2.mcap")[1], [[7, 8]])
    channels = {c.name: c for c in MCAP.describe(first, {}).channels}
    assert channels["/joints.position"].shape == (2,)
    assert "hip, knee" in channels["/joints.position"].note
    assert not [name for name in channels if "velocity" in name]
    broken = ("/joints", "sensor_msgs/msg/JointState", 1.2, {"header": header(1.2), "name": ["hip", "knee"], "position": [1.0]})
    odd = write(tmp_path / "odd.mcap", [*(state(0.1 * i, hip=1) for i in range(12)), broken])
    with pytest.raises(BadTake, match=r"odd.mcap, topic /joints: message 12.*1700000001.2.*position has 1 values for 2 joints"):
        pieces(odd, "/joints.position")


def test_every_number_of_a_message_is_a_channel(tmp_path: Path) -> None:
    twist = {"linear": {"x": 1.0, "y": 2.0, "z": 3.0}, "angular": {"x": 0.0, "y": 0.0, "z": -1.0}}
    changing = [("/points", "std_msgs/msg/Float64MultiArray", 0.6, {"data": [0.0] * count}) for count in (2, 3)]
    rows = [*levels(4), ("/cmd", "geometry_msgs/msg/Twist", 0.5, twist), *changing]
    bag = write(tmp_path / "a.mcap", rows)
    description = MCAP.describe(bag, {})
    channels = {c.name: c for c in description.channels}
    assert channels["/tank.covariance"].shape == (9,)
    assert channels["/tank.level"].rate == pytest.approx(4 / 0.6)
    assert description.seconds == pytest.approx(0.6)
    assert description.takes == ("a.mcap",)
    assert description.options == {"time": "header", "truncated": "refuse"}
    assert {"/cmd.linear.x", "/cmd.angular.z", "/tank.ok"} <= set(channels)
    assert "/tank.text" not in channels
    assert "/tank.header.stamp" not in channels
    np.testing.assert_array_equal(whole(bag, "/tank.covariance")[1], [[0.5 * i] * 9 for i in range(4)])
    np.testing.assert_array_equal(whole(bag, "/tank.ok")[1], [1, 0, 1, 0])
    np.testing.assert_array_equal(whole(bag, "/cmd.angular.z")[1], [-1])
    assert "changes from message to message (2 and 3)" in channels["/points.data"].note
    with pytest.raises(SourceError, match=r"/points.data cannot be read: its length changes"):
        pieces(bag, "/points.data")


def test_an_array_that_changes_its_length_later_names_the_message(tmp_path: Path) -> None:
    rows = [("/a", "std_msgs/msg/Float64MultiArray", 0.1 * i, {"data": [0.0] * (3 if i < 15 else 2)}) for i in range(20)]
    with pytest.raises(BadTake, match=r"topic /a: message 15, at 1700000001.5.*data has 2 where the first have 3"):
        pieces(write(tmp_path / "a.mcap", rows), "/a.data")


def test_nan_and_repeated_stamps_pass(tmp_path: Path) -> None:
    values = [1.0, math.nan, math.nan, 2.0, 2.0]
    times = [0.0, 0.1, 0.1, 0.1, 0.05]
    bag = write(tmp_path / "a.mcap", numbers("/x", times, values), chunk_size=1)
    time, found = whole(bag, "/x.data")
    assert sorted(time.round(6)) == sorted(times)
    assert np.isnan(found).sum() == 2
    assert (np.diff(whole(bag, "/x.data", time="log")[0]) >= 0).all(), "in the order of log time"


def test_compressed_images_are_decoded_when_they_are_asked_for(tmp_path: Path) -> None:
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)).save(noise, "JPEG", quality=95)
    cut = noise.getvalue()[:-200]
    rows = [
        ("/cam/image/compressed", "sensor_msgs/msg/CompressedImage", 0.1 * i, {"header": header(0.1 * i), "format": "jpeg", "data": data})
        for i, data in enumerate([jpeg(10), jpeg(200), cut, jpeg(30, kind="PNG"), jpeg(0, (8, 8)), b"junk"])
    ]
    bag = write(tmp_path / "a.mcap", rows)
    channel = MCAP.describe(bag, {}).channels[0]
    assert (channel.name, channel.shape, channel.camera) == ("/cam/image/compressed", (12, 16, 3), True)
    stream = pieces(bag, "/cam/image/compressed")[0].streams["/cam/image/compressed"]
    frames = frames_of(stream)
    assert (len(frames), frames.shape) == (6, (12, 16, 3))
    images = frames.read(np.array([0, 1, 1, 3]))
    assert np.abs(images.astype(int).mean(axis=(1, 2, 3)) - [10, 200, 200, 30]).max() < 3
    assert frames.read(np.array([1]), size=(6, 8)).shape == (1, 6, 8, 3)
    for row, why in ((2, "cannot be decoded"), (4, "is 8x8x3, the first is 12x16x3"), (5, "is neither JPEG nor PNG")):
        with pytest.raises(BadTake, match=rf"a.mcap, topic /cam/image/compressed: the image at 170000000\d.{row}00000 s {why}"):
            frames.read(np.array([row]))


@pytest.mark.parametrize(("encoding", "depth"), [("rgb8", 3), ("bgr8", 3), ("rgba8", 4), ("bgra8", 4), ("mono8", 1)])
def test_raw_images_lose_their_padding_and_their_order(tmp_path: Path, encoding: str, depth: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 5, 3), np.uint8)
    stored = image[..., ::-1] if encoding.startswith("bgr") else image
    stored = image[..., :1] if depth == 1 else np.concatenate([stored, np.full((3, 5, 1), 7, np.uint8)], axis=2)[..., :depth]
    padded = np.concatenate([stored.reshape(3, -1), np.full((3, 3), 99, np.uint8)], axis=1)
    message = {"header": header(0), "height": 3, "width": 5, "encoding": encoding, "step": padded.shape[1], "data": padded.tobytes()}
    short = message | {"data": padded.tobytes()[:-4]}
    bag = write(tmp_path / "a.mcap", [("/cam", "sensor_msgs/msg/Image", 0.0, message), ("/cam", "sensor_msgs/msg/Image", 0.1, short)])
    frames = frames_of(pieces(bag, "/cam")[0].streams["/cam"])
    np.testing.assert_array_equal(frames.read(np.array([0]))[0], image[..., :1] if depth == 1 else image)
    with pytest.raises(BadTake, match="too few for 3 rows"):
        frames.read(np.array([1]))


def test_depth_images_are_refused_by_their_encoding(tmp_path: Path) -> None:
    message = {"header": header(0), "height": 1, "width": 2, "encoding": "16UC1", "step": 4, "data": bytes(4)}
    bag = write(tmp_path / "a.mcap", [("/depth", "sensor_msgs/msg/Image", 0.0, message)])
    assert "'16UC1'" in MCAP.describe(bag, {}).channels[0].note
    with pytest.raises(SourceError, match=r"/depth cannot be read: an image has the encoding '16UC1'; only rgb8"):
        pieces(bag, "/depth")


@pytest.mark.parametrize(
    "options", [{}, {"use_chunking": False}, {"index_types": IndexType.NONE}, {"repeat_channels": False}, {"repeat_schemas": False}]
)
def test_json_messages_with_and_without_an_index(tmp_path: Path, options: dict[str, Any]) -> None:
    rows = [
        (
            "/state",
            0.1 * i + 0.3,
            {"speed": i, "pose": {"xy": [i, 2.0]}, "mode": "auto", "gone": None, "timestamp": {"sec": int(START), "nsec": i * 10**8}},
        )
        for i in range(30)
    ]
    bag = write_json(tmp_path / "a.mcap", rows, **options)
    assert {c.name: c.shape for c in MCAP.describe(bag, {}).channels} == {"/state.speed": (), "/state.pose.xy": (2,), "/state.gone": ()}
    time, values = whole(bag, "/state.pose.xy")
    np.testing.assert_allclose(time, 0.1 * np.arange(30), atol=1e-6)
    np.testing.assert_array_equal(values[:, 0], range(30))


def test_another_encoding_is_named_with_its_topic(tmp_path: Path) -> None:
    bag = write_json(tmp_path / "a.mcap", [("/state", 0.0, {"speed": 1})], encoding="protobuf")
    channel = MCAP.describe(bag, {}).channels[0]
    assert channel.name == "/state"
    assert channel.note.startswith("cannot be read: its messages are encoded as 'protobuf'")
    for name in ("/state", "/state.speed"):
        with pytest.raises(SourceError, match=r"topic /state cannot be read.*'protobuf'.*convert"):
            pieces(bag, name)


def test_pieces_are_small_and_say_what_no_later_one_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap, "PIECE_MESSAGES", 7)
    late = [("/slow", *row[1:]) for row in levels(20, lag=0.35)]
    rows = sorted([*levels(20, topic="/fast"), *late], key=lambda row: row[2])
    bag = write(tmp_path / "a.mcap", rows)
    found = pieces(bag, "/fast.level", "/slow.level")
    assert len(found) == 6
    assert sum(len(s) for p in found for s in p.streams.values()) == 40
    assert max(len(s) for p in found for s in p.streams.values()) <= 7
    assert [p.until for p in found] == sorted(p.until for p in found)
    for number, piece in enumerate(found[:-1]):
        rest = min(s.time.min() for p in found[number + 1 :] for s in p.streams.values())
        assert piece.until == rest
    np.testing.assert_array_equal(
        np.concatenate([np.asarray(p.streams["/slow.level"].rows) for p in found if "/slow.level" in p.streams]), range(20)
    )


def test_a_piece_of_images_is_bounded_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap, "PIECE_BYTES", 2_000)
    message = {"height": 10, "width": 30, "encoding": "rgb8", "step": 90, "data": bytes(900)}
    rows = [("/cam", "sensor_msgs/msg/Image", 0.1 * i, message | {"header": header(0.1 * i)}) for i in range(7)]
    found = pieces(write(tmp_path / "a.mcap", rows), "/cam")
    assert [len(p.streams["/cam"]) for p in found] == [3, 3, 1]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_killed_recorder_leaves_what_is_before_the_break(tmp_path: Path, chunked: bool) -> None:
    rows = [("/state", 0.1 * i, {"speed": i}) for i in range(60)]
    bag = write_json(tmp_path / "a.mcap", rows, use_chunking=chunked, chunk_size=200, compression=CompressionType.ZSTD)
    data = bag.read_bytes()
    end = len(data) // 2
    bag.write_bytes(data[:end])
    assert {c.name for c in MCAP.describe(bag, {}).channels} == {"/state.speed"}
    with pytest.raises(
        BadTake, match=rf'a.mcap: breaks off at byte \d+ of {end}.*logged at 170000000\d\.\d+ s.*truncated = "keep"'
    ) as error:
        pieces(bag, "/state.speed")
    last = float(str(error.value).split("logged at ")[1].split(" s")[0]) - START
    time, values = whole(bag, "/state.speed", truncated="keep")
    assert 5 < len(values) < 55
    np.testing.assert_array_equal(values, range(len(values)))
    assert time[-1] == pytest.approx(last)
    bag.write_bytes(data[:end] + bytes(4096))
    np.testing.assert_array_equal(whole(bag, "/state.speed", truncated="keep")[1], values)


def test_a_damaged_chunk_is_found_by_its_checksum(tmp_path: Path) -> None:
    rows = [("/state", 0.1 * i, {"speed": i}) for i in range(60)]
    bag = write_json(tmp_path / "a.mcap", rows, chunk_size=200, compression=CompressionType.NONE)
    data = bytearray(bag.read_bytes())
    at = data.index(b'{"speed": 30}')
    data[at + 10] ^= 1
    bag.write_bytes(data)
    with pytest.raises(BadTake, match=r'a.mcap: damaged: crc.*last message before it was logged at 170000000\d.*truncated = "keep"'):
        pieces(bag, "/state.speed")
    kept = whole(bag, "/state.speed", truncated="keep")[1]
    assert 20 <= len(kept) <= 30
    np.testing.assert_array_equal(kept, range(len(kept)))


def test_the_files_of_one_recording_are_one_take(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    for part in range(11):
        write(folder / f"drive_{part}.mcap", numbers("/x", [0.5 * part, 0.5 * part + 0.1], [part, part]))
    listed = "\n".join(f"    - drive_{part}.mcap" for part in range(11))
    (folder / "metadata.yaml").write_text(f"rosbag2_bagfile_information:\n  relative_file_paths:\n{listed}\n")
    assert MCAP.describe(folder, {}).takes == ("drive",)
    np.testing.assert_array_equal(whole(folder, "/x.data")[1], np.repeat(np.arange(11), 2))
    assert MCAP.describe(tmp_path, {}).takes == ("drive",)
    write(tmp_path / "other" / "1.mcap", numbers("/y", [0.0], [1]))
    assert MCAP.describe(tmp_path, {}).takes == ("drive", "other/1.mcap")
    (folder / "drive_3.mcap").unlink()
    with pytest.raises(BadTake, match=r"drive: metadata.yaml lists drive_3.mcap, not there"):
        pieces(folder, "/x.data")


def test_a_bad_take_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        write(tmp_path / f"{name}.mcap", numbers("/x", [0.0, 0.1], [1, 2]))
    (tmp_path / "1.mcap").write_bytes((tmp_path / "1.mcap").read_bytes()[:40])
    (tmp_path / "2.mcap").write_bytes(b"")
    description = MCAP.describe(tmp_path, {})
    assert description.takes == ("1.mcap", "2.mcap", "3.mcap")
    for bad in ("1.mcap", "2.mcap"):
        with pytest.raises(BadTake, match=f"{bad}: breaks off at byte .*it holds no whole message"):
            pieces(tmp_path, "/x.data", take=bad)
    np.testing.assert_array_equal(whole(tmp_path, "/x.data", take="3.mcap")[1], [1, 2])


def test_names_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path / "1.mcap", levels(3))
    write(tmp_path / "2.mcap", numbers("/x", [0.0], [1]))
    with pytest.raises(SourceError, match=r"no channel '/tank.levle'; did you mean /tank.level") as error:
        pieces(tmp_path, "/tank.levle", take="1.mcap")
    assert not isinstance(error.value, BadTake)
    with pytest.raises(SourceError, match=r"no take '3.mcap'; did you mean"):
        pieces(tmp_path, "/x.data", take="3.mcap")
    with pytest.raises(BadTake, match=r"take 2.mcap has no sample of /tank.level"):
        pieces(tmp_path, "/tank.level", take="2.mcap")
    assert set(pieces(tmp_path, "/tank.level", "/x.data", take="2.mcap")[0].streams) == {"/x.data"}
    with pytest.raises(SourceError, match=r"options.tiem: unknown; the format mcap has: time, truncated"):
        MCAP.describe(tmp_path, {"tiem": "log"})
    with pytest.raises(SourceError, match=r"options.time: 'arrival' is none of: header, publish, log"):
        pieces(tmp_path, "/x.data", take="2.mcap", time="arrival")


def test_an_empty_recording_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="empty or damaged"):
        MCAP.describe(write(tmp_path / "a.mcap", []), {})


def test_a_message_that_does_not_fit_its_definition_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with path.open("wb") as stream:
        writer = PlainWriter(stream)
        writer.start(profile="ros2")
        schema = writer.register_schema("std_msgs/msg/Float64", "ros2msg", b"float64 data")
        channel = writer.register_channel("/x", "cdr", schema)
        for number in range(15):
            data = b"\x00\x01\x00\x00" + bytes(8 if number < 14 else 3)
            writer.add_message(channel, log_time=BASE + number, publish_time=BASE + number, data=data)
        writer.finish()
    with pytest.raises(BadTake, match=r"a.mcap, topic /x: message 14, at 1700000000.0.* does not fit its definition"):
        pieces(path, "/x.data")


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bag = write(tmp_path / "a.mcap", numbers("/x", [0.0], [1]))
    present = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("mcap"):
            raise ImportError(name)
        return present(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"pip install 'tacit\[formats\]'"):
        MCAP.describe(bag, {})


def test_files_without_an_index_are_looked_through_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap_file, "SCAN", 5)
    rows = [("/a" if i < 8 else "/b", 0.1 * i, {"v": i}) for i in range(12)]
    bag = write_json(tmp_path / "a.mcap", rows, use_chunking=False)
    assert {c.name for c in MCAP.describe(bag, {}).channels} == {"/a.v"}
    assert {c.name for c in MCAP.describe(write_json(tmp_path / "b.mcap", rows), {}).channels} == {"/a.v", "/b.v"}
