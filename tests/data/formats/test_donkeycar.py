"""Tubs of a Donkey Car come in session by session, without what the driver deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tacit.data.formats.donkeycar import DONKEYCAR
from tacit.data.formats.video import VIDEO
from tacit.data.streams import BadTake, Format, Frames, SourceError, Stream

TYPES = {
    "cam/image_array": "image_array",
    "user/angle": "float",
    "user/throttle": "float",
    "user/mode": "str",
    "imu": "vector",
    "lap": "int",
}
SIZE = (24, 32)
SESSIONS = ("24-05-01_0", "24-05-01_1")
PER_CATALOG = 10


def record(index: int, **changed: Any) -> dict[str, Any]:
    values = {
        "_index": index,
        "_session_id": SESSIONS[index // 15],
        "_timestamp_ms": 1_700_000_000_000 + 50 * index,
        "cam/image_array": f"{index}_cam_image_array_.jpg",
        "user/angle": index / 100,
        "user/throttle": 0.5,
        "user/mode": "user",
        "imu": [index, 0.0, 9.81],
        "lap": index // 10,
    }
    return {name: value for name, value in {**values, **changed}.items() if value is not None}


def make_tub(path: Path, records: list[dict[str, Any]], deleted: tuple[int, ...] = ()) -> Path:
    """The files of a tub as the car writes them: CRLF, a catalog manifest beside each catalog."""
    (path / "images").mkdir(parents=True)
    names = []
    for start in range(0, len(records), PER_CATALOG):
        name = f"catalog_{start // PER_CATALOG}"
        lines = [json.dumps(values, sort_keys=True) for values in records[start : start + PER_CATALOG]]
        (path / f"{name}.catalog").write_text("".join(f"{line}\n" for line in lines), newline="\r\n")
        about = {
            "path": f"{name}.catalog_manifest",
            "start_index": start,
            "line_lengths": [len(line) + 2 for line in lines],
            "created_at": 1.0,
        }
        (path / f"{name}.catalog_manifest").write_text(json.dumps(about))
        names.append(f"{name}.catalog")
    for values in records:
        if "cam/image_array" in values:
            grey = np.full((*SIZE, 3), 5 * values["_index"], np.uint8)
            Image.fromarray(grey).save(path / "images" / values["cam/image_array"], quality=95)
    catalogs = {"paths": names, "current_index": len(records), "max_len": PER_CATALOG, "deleted_indexes": list(deleted)}
    lines = [list(TYPES), list(TYPES.values()), {}, {"created_at": 1.0, "sessions": {"all_full_ids": list(SESSIONS)}}, catalogs]
    (path / "manifest.json").write_text("".join(json.dumps(line) + "\n" for line in lines), newline="\r\n")
    return path


def read(path: Path, take: str, *names: str) -> dict[str, Stream]:
    (piece,) = DONKEYCAR.read(path, take, names, {})
    return dict(piece.streams)


def test_sessions_are_takes_and_deleted_records_are_gone(tmp_path: Path) -> None:
    tub = make_tub(tmp_path / "tub", [record(index) for index in range(30)], deleted=(3, 4, 20))
    as_format: Format = DONKEYCAR
    assert as_format.recognises(tub)
    assert not VIDEO.recognises(tub)
    found = DONKEYCAR.describe(tub, {})
    assert found.takes == SESSIONS
    assert found.seconds == pytest.approx(2 * 14 * 0.05)
    channels = {channel.name: channel for channel in found.channels}
    assert list(channels) == ["cam/image_array", "user/angle", "user/throttle", "imu", "lap"]
    assert channels["cam/image_array"].camera
    assert [channel.shape for channel in found.channels] == [(*SIZE, 3), (), (), (3,), ()]
    assert [channel.hint for channel in found.channels] == ["observation", "action", "action", None, None]
    assert [channel.rate for channel in found.channels] == pytest.approx([20] * 5, abs=1e-3)

    kept = [index for index in range(15) if index not in (3, 4)]
    streams = read(tub, SESSIONS[0], "user/angle", "imu", "cam/image_array")
    np.testing.assert_allclose(np.asarray(streams["user/angle"].values), np.array(kept) / 100)
    np.testing.assert_allclose(np.asarray(streams["imu"].values)[:, 0], kept)
    images = streams["cam/image_array"].values
    assert isinstance(images, Frames)
    np.testing.assert_allclose(images.read(np.arange(13)).mean((1, 2, 3)) / 5, kept, atol=0.3)
    assert images.read(np.array([2, 2]), (6, 8)).shape == (2, 6, 8, 3)
    for stream in streams.values():
        np.testing.assert_allclose(stream.time, 1_700_000_000 + 0.05 * np.array(kept))
        assert [stream.row(sample) for sample in range(13)] == kept
    assert len(read(tub, SESSIONS[1], "lap")["lap"]) == 14


def test_commands_of_the_pilot_are_not_valid_commands_of_the_person(tmp_path: Path) -> None:
    modes = ["user", "local_angle", "local"]
    tub = make_tub(tmp_path / "tub", [record(index, **{"user/mode": modes[index % 3]}) for index in range(6)])
    streams = read(tub, SESSIONS[0], "user/angle", "user/throttle", "lap")
    assert streams["user/angle"].valid is not None
    assert streams["user/angle"].valid.tolist() == [True, False, False] * 2
    assert streams["user/throttle"].valid is not None
    assert streams["user/throttle"].valid.tolist() == [True, True, False] * 2
    assert streams["lap"].valid is None
    notes = {channel.name: channel.note for channel in DONKEYCAR.describe(tub, {}).channels}
    assert notes["user/angle"].startswith("in 4 records the pilot")
    assert notes["user/throttle"].startswith("in 2 records the pilot")
    assert notes["lap"] == ""


def test_a_damaged_line_costs_its_session_only(tmp_path: Path) -> None:
    tub = make_tub(tmp_path / "tub", [record(index) for index in range(30)])
    catalog = tub / "catalog_2.catalog"
    lines = catalog.read_text().splitlines()
    lines[-1] = lines[-1][:25]
    catalog.write_text("\n".join(lines))
    assert DONKEYCAR.describe(tub, {}).takes == SESSIONS
    assert len(read(tub, SESSIONS[0], "lap")["lap"]) == 15
    with pytest.raises(BadTake, match=r"catalog_2\.catalog, line 10 is not a record.*deleted_indexes"):
        read(tub, SESSIONS[1], "lap")
    manifest = tub / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"deleted_indexes": []', '"deleted_indexes": [29]'))
    assert len(read(tub, SESSIONS[1], "lap")["lap"]) == 14


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user/angle": "left"}, r"catalog_0\.catalog, line 3: user/angle is 'left', not a number"),
        ({"imu": [1.0]}, r"catalog_0\.catalog, line 3: imu has shape \(1,\), at first \(3,\)"),
        ({"imu": None}, r"catalog_0\.catalog, line 3 has no 'imu'"),
        ({"cam/image_array": None}, r"catalog_0\.catalog, line 3 has no 'cam/image_array'"),
        ({"_timestamp_ms": None}, r"catalog_0\.catalog, line 3: _timestamp_ms is None"),
    ],
)
def test_damaged_records_are_named_with_their_line(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    tub = make_tub(tmp_path / "tub", [record(index, **(change if index == 2 else {})) for index in range(20)])
    with pytest.raises(BadTake, match=message):
        read(tub, SESSIONS[0], *(name for name in TYPES if name != "user/mode"))
    assert len(read(tub, SESSIONS[1], "imu")["imu"]) == 5


def test_a_number_that_was_not_recorded_is_missing(tmp_path: Path) -> None:
    tub = make_tub(tmp_path / "tub", [record(index, **({"lap": None} if index == 1 else {})) for index in range(3)])
    np.testing.assert_array_equal(np.asarray(read(tub, SESSIONS[0], "lap")["lap"].values), [0, np.nan, 0])


def test_missing_and_broken_images(tmp_path: Path) -> None:
    tub = make_tub(tmp_path / "tub", [record(index) for index in range(5)])
    (tub / "images" / "1_cam_image_array_.jpg").unlink()
    broken = tub / "images" / "2_cam_image_array_.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    images = read(tub, SESSIONS[0], "cam/image_array")["cam/image_array"].values
    assert isinstance(images, Frames)
    for row, message in (
        (1, r"1_cam_image_array_\.jpg \(frame 1\) is missing"),
        (2, r"2_cam_image_array_\.jpg \(frame 2\) cannot be decoded"),
    ):
        with pytest.raises(BadTake, match=message + ".*delete its record in the tub"):
            images.read(np.array([row]))
    assert images.read(np.array([3])).mean() == pytest.approx(15, abs=1)


def test_old_tubs_have_no_sessions(tmp_path: Path) -> None:
    tub = make_tub(tmp_path / "tub", [record(index, _session_id=None) for index in range(5)])
    assert DONKEYCAR.describe(tub, {}).takes == ("tub",)
    assert len(read(tub, "tub", "lap")["lap"]) == 5


def test_nothing_to_read(tmp_path: Path) -> None:
    tub = make_tub(tmp_path / "tub", [record(index) for index in range(20)], deleted=tuple(range(15)))
    with pytest.raises(BadTake, match=f"all 15 records of session {SESSIONS[0]} were deleted"):
        read(tub, SESSIONS[0], "lap")
    assert DONKEYCAR.describe(tub, {}).channels
    with pytest.raises(SourceError, match=f"no session 'x'; it has: {SESSIONS[0]}, {SESSIONS[1]}"):
        read(tub, "x", "lap")
    for name in ("user/mode", "speed"):
        with pytest.raises(SourceError, match=f"no input '{name}' of numbers or images; it has: cam/image_array, user/angle"):
            read(tub, SESSIONS[1], name)
    with pytest.raises(SourceError, match=r"options\.fps is unknown"):
        DONKEYCAR.describe(tub, {"fps": 3})
    (tub / "catalog_1.catalog").unlink()
    with pytest.raises(SourceError, match=r"catalog_1\.catalog cannot be read.*records from 10 on are missing; copy the tub again"):
        DONKEYCAR.describe(tub, {})
    (tub / "manifest.json").write_text('{"version": 3}')
    assert not DONKEYCAR.recognises(tub)
    with pytest.raises(SourceError, match=r"manifest\.json is not the manifest of a tub.*5 lines of JSON"):
        DONKEYCAR.describe(tub, {})
    assert not DONKEYCAR.recognises(tmp_path)
    empty = make_tub(tmp_path / "empty", [])
    with pytest.raises(SourceError, match="no session can be read"):
        DONKEYCAR.describe(empty, {})


def test_a_record_without_a_time_spoils_its_session_only(tmp_path: Path) -> None:
    records = [record(index) for index in range(30)]
    del records[20]["_timestamp_ms"]
    tub = make_tub(tmp_path / "tub", records)
    found = DONKEYCAR.describe(tub, {})
    assert found.takes == SESSIONS
    assert found.seconds == pytest.approx(0.05 * 14)
    assert len(read(tub, SESSIONS[0], "lap")["lap"]) == 15
    with pytest.raises(BadTake):
        read(tub, SESSIONS[1], "lap")
