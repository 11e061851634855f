"""HDF5: the layouts that episodes are kept in, each with the right rows at the right times."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tacit.data.formats import hdf5
from tacit.data.formats.hdf5 import HDF5
from tacit.data.streams import BadTake, Description, Format, Frames, Piece, SourceError

Array = np.ndarray[Any, Any]
IMAGES = np.random.default_rng(0).integers(0, 255, (12, 10, 16, 3), np.uint8)


def write(path: Path, datasets: dict[str, Any], attrs: dict[str, dict[str, Any]] | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values, **(options if np.ndim(values) > 1 else {}))
        for name, values in (attrs or {}).items():
            file.require_group(name).attrs.update(values) if name not in file else file[name].attrs.update(values)
    return path


def pieces(path: Path, take: str, *names: str, **options: object) -> list[Piece]:
    return list(HDF5.read(path, take, names, options))


def column(path: Path, take: str, name: str, **options: object) -> tuple[Array, Array]:
    """Times and values of one dataset of numbers, all pieces together."""
    streams = [p.streams[name] for p in pieces(path, take, name, **options)]
    return np.concatenate([s.time for s in streams]), np.concatenate([np.asarray(s.values) for s in streams])


def frames(path: Path, take: str, name: str, **options: object) -> Frames:
    values = pieces(path, take, name, **options)[0].streams[name].values
    assert isinstance(values, Frames)
    return values


def hints(description: Description) -> dict[str, str | None]:
    return {c.name: c.hint for c in description.channels}


def robomimic(path: Path, lengths: tuple[int, ...] = (5, 3), **attrs: Any) -> Path:
    datasets: dict[str, Any] = {}
    for demo, steps in enumerate(lengths):
        group = f"data/demo_{demo}"
        datasets |= {
            f"{group}/obs/agentview_image": IMAGES[:steps],
            f"{group}/obs/joint": np.arange(steps * 2.0).reshape(steps, 2) + 100 * demo,
            f"{group}/next_obs/joint": np.arange(2.0, steps * 2 + 2).reshape(steps, 2) + 100 * demo,
            f"{group}/actions": np.full((steps, 7), demo, np.float32),
            f"{group}/rewards": np.zeros(steps),
            f"{group}/states": np.zeros((steps, 9)),
        }
    env = json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": 20}})
    return write(path, datasets, {"data": {"env_args": env, **attrs}})


def flat(path: Path, **extra: Any) -> Path:
    return write(path, {"observations": np.arange(24.0).reshape(12, 2), "actions": np.arange(12.0).reshape(12, 1), **extra})


def test_it_is_a_format_and_knows_its_files(tmp_path: Path) -> None:
    known: Format = HDF5
    assert (known.name, known.extra) == ("hdf5", "formats")
    path = robomimic(tmp_path / "some" / "a.hdf5")
    (tmp_path / "b.h5").write_text("no")
    assert HDF5.recognises(path)
    assert HDF5.recognises(path.parent)
    assert not HDF5.recognises(tmp_path / "b.h5")
    assert not HDF5.recognises(tmp_path / "missing")
    with pytest.raises(SourceError, match=r"b.h5: is not an HDF5 file"):
        HDF5.describe(tmp_path / "b.h5", {})


def test_robomimic(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "a.hdf5", lengths=(5, 3, *[1] * 9))
    description = HDF5.describe(path, {})
    assert description.takes == tuple(f"data/demo_{i}" for i in range(11)), "in the order of their numbers"
    assert description.options == {"layout": "robomimic", "period": 0.05, "time_unit": "s"}
    assert description.seconds == pytest.approx(17 * 0.05)
    found = {c.name: c for c in description.channels}
    assert found["obs/agentview_image"].camera
    assert found["obs/agentview_image"].shape == (10, 16, 3)
    assert (found["obs/joint"].shape, found["obs/joint"].rate) == ((2,), 20)
    assert hints(description) == {
        "obs/agentview_image": "observation",
        "obs/joint": "observation",
        "next_obs/joint": None,
        "actions": "action",
        "rewards": "label",
        "states": "label",
    }
    time, values = column(path, "data/demo_1", "obs/joint")
    np.testing.assert_allclose(time, [0, 0.05, 0.1])
    np.testing.assert_array_equal(values, np.arange(6.0).reshape(3, 2) + 100)
    time, after = column(path, "data/demo_1", "next_obs/joint")
    np.testing.assert_allclose(time, [0.05, 0.1, 0.15])
    np.testing.assert_array_equal(after[:-1], values[1:])
    np.testing.assert_array_equal(column(path, "data/demo_1", "actions", period=0.5)[0], [0, 0.5, 1])


def test_minari_has_one_observation_more_than_actions(tmp_path: Path) -> None:
    datasets: dict[str, Any] = {}
    for number, steps in enumerate((4, 2)):
        datasets |= {
            f"episode_{number}/observations/pose/_index_0": np.arange(steps + 1.0),
            f"episode_{number}/actions": np.zeros((steps, 2)),
            f"episode_{number}/rewards": np.zeros(steps),
            f"episode_{number}/infos": ["{}"] * steps,
        }
    path = write(tmp_path / "door" / "data" / "main_data.hdf5", datasets, {"episode_0": {"total_steps": 4}})
    description = HDF5.describe(path, {"period": 0.1})
    assert description.takes == ("episode_0", "episode_1")
    assert description.seconds == pytest.approx(0.6)
    assert hints(description)["observations/pose/_index_0"] == "observation"
    (piece,) = pieces(path, "episode_0", "observations/pose/_index_0", "actions", period=0.1)
    np.testing.assert_allclose(piece.streams["observations/pose/_index_0"].time, [0, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(piece.streams["actions"].time, [0, 0.1, 0.2, 0.3])
    assert piece.until == math.inf
    folder = tmp_path / "door"
    assert HDF5.describe(folder, {}).takes == ("data/main_data.hdf5/episode_0", "data/main_data.hdf5/episode_1")
    assert len(column(folder, "data/main_data.hdf5/episode_1", "actions", period=0.1)[0]) == 2


def test_minari_text_is_refused_with_its_reason(tmp_path: Path) -> None:
    datasets = {"episode_0/observations": np.zeros((4, 2)), "episode_0/actions": np.zeros((3, 2)), "episode_0/infos": ["{}"] * 3}
    path = write(tmp_path / "a.hdf5", datasets)
    notes = {c.name: c.note for c in HDF5.describe(path, {"period": 1.0}).channels}
    assert notes == {"observations": "", "actions": "", "infos": notes["infos"]}
    assert notes["infos"].startswith("cannot be read: holds values of variable length, or text; write it again as an array")
    with pytest.raises(SourceError, match=r"a.hdf5, episode_0: dataset infos holds values of variable length"):
        pieces(path, "episode_0", "infos", period=1.0)


def jpegs(images: Array) -> Array:
    encoded = []
    for image in images:
        target = io.BytesIO()
        Image.fromarray(image).save(target, "JPEG", quality=95)
        encoded.append(np.frombuffer(target.getvalue(), np.uint8))
    length = max(map(len, encoded))
    return np.stack([np.pad(e, (0, length - len(e))) for e in encoded])


def test_aloha_with_compressed_images(tmp_path: Path) -> None:
    smooth = np.repeat(np.arange(6, dtype=np.uint8)[:, None, None, None] * 40, 10, 1).repeat(16, 2).repeat(3, 3)
    encoded = jpegs(smooth)
    for number in range(3):
        datasets = {
            "observations/qpos": np.full((6, 14), number),
            "observations/images/top": smooth,
            "observations/images/wrist": np.where(np.arange(6)[:, None] == 4, 0, encoded) if number == 2 else encoded,
            "action": np.zeros((6, 14)),
            "compress_len": np.zeros((1, 6)),
        }
        write(tmp_path / f"episode_{number}.hdf5", datasets, {"/": {"sim": False, "compress": True}})
    description = HDF5.describe(tmp_path, {"period": 0.02})
    assert description.takes == ("episode_0.hdf5", "episode_1.hdf5", "episode_2.hdf5")
    found = {c.name: c for c in description.channels}
    assert set(found) == {"action", "observations/qpos", "observations/images/top", "observations/images/wrist"}
    assert found["observations/images/wrist"].shape == (10, 16, 3)
    assert (found["action"].hint, found["observations/images/top"].hint) == ("action", "observation")
    wrist = frames(tmp_path, "episode_1.hdf5", "observations/images/wrist", period=0.02)
    assert np.abs(wrist.read(np.array([1, 4])).astype(int) - smooth[[1, 4]]).max() < 4
    damaged = frames(tmp_path, "episode_2.hdf5", "observations/images/wrist", period=0.02)
    with pytest.raises(BadTake, match=r"episode_2.hdf5, dataset /observations/images/wrist: frame 4 is neither JPEG nor PNG"):
        damaged.read(np.array([3, 4]))
    with pytest.raises(SourceError, match=r"says nothing of its rate: set period = .* under \[options\]; ALOHA records at 50 Hz"):
        pieces(tmp_path, "episode_1.hdf5", "action")
    assert "set period" in HDF5.describe(tmp_path, {}).channels[0].note


@pytest.mark.parametrize("kind", ["lengths", "index", "terminals", "ends", "numbers"])
def test_flat_arrays_are_cut_into_episodes(tmp_path: Path, kind: str) -> None:
    ends = np.zeros(12, bool)
    ends[[4, 5]] = True
    extra: dict[str, Any] = {
        "lengths": {"ep_len": [5, 1, 6], "ep_offset": [0, 5, 6], "ep_idx": np.zeros(12, int), "step_idx": np.arange(12)},
        "index": {"ep_idx": [7] * 5 + [3] + [9] * 6},
        "terminals": {"terminals": ends},
        "ends": {"meta/stops": [5, 6, 12]},
        "numbers": {"which": [[0]] * 5 + [[1]] + [[2]] * 6},
    }
    own = {"ends": {"episode_ends": "meta/stops"}, "numbers": {"episode_index": "which"}}
    options: dict[str, Any] = {"period": 0.1, **({"layout": "custom", **own[kind]} if kind in own else {})}
    path = flat(tmp_path / "a.h5", **extra[kind], pixels=IMAGES)
    description = HDF5.describe(path, options)
    assert description.takes == ("episode_0", "episode_1", "episode_2")
    assert description.seconds == pytest.approx(1.2)
    assert {"observations", "actions", "pixels"} <= set(hints(description))
    assert not {"ep_len", "ep_offset", "ep_idx", "step_idx"} & set(hints(description))
    for take, start, stop in (("episode_0", 0, 5), ("episode_1", 5, 6), ("episode_2", 6, 12)):
        time, values = column(path, take, "observations", **options)
        np.testing.assert_allclose(time, 0.1 * np.arange(stop - start))
        np.testing.assert_array_equal(values, np.arange(24.0).reshape(12, 2)[start:stop])
    (piece,) = pieces(path, "episode_2", "actions", "pixels", **options)
    np.testing.assert_array_equal(np.asarray(piece.streams["actions"].rows), range(6, 12))
    images = piece.streams["pixels"].values
    assert isinstance(images, Frames)
    np.testing.assert_array_equal(images.read(np.array([0, 2, 2, 3, 5])), IMAGES[[6, 8, 8, 9, 11]])


def test_flat_arrays_whose_lists_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="rows of episode 1 in ep_idx are not together; sort"):
        HDF5.describe(flat(tmp_path / "a.h5", ep_idx=[1] * 5 + [2] * 5 + [1] * 2), {})
    with pytest.raises(SourceError, match="ep_offset and ep_len do not fit together: 2 and 1 values"):
        HDF5.describe(flat(tmp_path / "b.h5", ep_len=[3], ep_offset=[0, 3]), {})
    beyond = flat(tmp_path / "c.h5", ep_len=[6, 9], ep_offset=[0, 6])
    assert len(column(beyond, "episode_0", "actions", period=1.0)[0]) == 6
    with pytest.raises(BadTake, match=r"c.h5, episode_1: dataset actions has 12 rows where 15 or more belong"):
        pieces(beyond, "episode_1", "actions", period=1.0)
    with pytest.raises(SourceError, match=r"dataset which is missing"):
        HDF5.describe(beyond, {"layout": "custom", "episode_index": "which"})


def test_a_layout_of_your_own_with_times(tmp_path: Path) -> None:
    stamps = np.array([0, 10, 10, 130, 140], np.int64) * 1_000_000
    values = np.array([1.0, math.nan, math.nan, 4.0, 5.0])
    datasets = {
        "runs/day 1/stamps": stamps,
        "runs/day 1/flow": values,
        "runs/day 1/next_flow": values,
        "runs/day 1/valve": np.zeros(4),
        "runs/day 1/intrinsics": np.zeros((9, 3)),
        "runs/day 2/stamps": stamps,
        "runs/day 2/flow": values,
    }
    path = write(tmp_path / "a.h5", datasets)
    options = {"layout": "custom", "episodes": "runs/*", "time": "stamps", "time_unit": "ns"}
    description = HDF5.describe(path, options)
    assert description.takes == ("runs/day 1", "runs/day 2")
    assert (description.seconds, description.options) == (None, options)
    assert set(hints(description)) == {"stamps", "flow", "next_flow", "valve"}
    assert hints(description)["flow"] is None
    time, found = column(path, "runs/day 1", "flow", **options)
    np.testing.assert_allclose(time, [0, 0.01, 0.01, 0.13, 0.14])
    np.testing.assert_array_equal(found, values)
    np.testing.assert_allclose(column(path, "runs/day 1", "valve", **options)[0], [0, 0.01, 0.01, 0.13])
    np.testing.assert_allclose(column(path, "runs/day 1", "next_flow", **options)[0], [0.01, 0.01, 0.13, 0.14, math.nan])
    with pytest.raises(SourceError, match=r"dataset stamp, options.time, is missing; did you mean stamps"):
        pieces(path, "runs/day 1", "flow", **(options | {"time": "stamp"}))


def test_the_rate_may_stand_in_the_attributes(tmp_path: Path) -> None:
    datasets = {"a/x": np.zeros(3), "b/x": np.zeros(3)}
    path = write(tmp_path / "a.h5", datasets, {"/": {"fps": 10.0}, "b": {"sampling_rate": np.array([50])}})
    options = {"layout": "custom", "episodes": "*"}
    np.testing.assert_allclose(column(path, "a", "x", **options)[0], [0, 0.1, 0.2])
    np.testing.assert_allclose(column(path, "b", "x", **options)[0], [0, 0.02, 0.04])
    assert HDF5.describe(path, options).channels[0].rate == pytest.approx(10)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2)])
def test_images_are_read_in_slices_whatever_their_axes(tmp_path: Path, axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = {"e/rgb": IMAGES.transpose(axes), "e/grey": IMAGES[..., 0], "e/x": np.zeros(12)}
    path = write(tmp_path / "a.h5", datasets, compression="gzip", chunks=True)
    options = {"layout": "custom", "episodes": "e", "period": 1.0}
    asked: list[Any] = []
    getitem = h5py.Dataset.__getitem__

    def counted(self: h5py.Dataset, key: Any, **options: Any) -> Any:
        asked.append(key)
        return getitem(self, key, **options)

    colour, grey = frames(path, "e", "rgb", **options), frames(path, "e", "grey", **options)
    assert (len(colour), colour.shape, grey.shape) == (12, (10, 16, 3), (10, 16, 1))
    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    rows = np.array([1, 2, 2, 3, 7, 8])
    np.testing.assert_array_equal(colour.read(rows), IMAGES[rows])
    assert asked == [slice(1, 4), slice(7, 9)]
    np.testing.assert_array_equal(grey.read(rows)[..., 0], IMAGES[rows, ..., 0])
    assert colour.read(rows, size=(5, 8)).shape == (6, 5, 8, 3)
    assert colour.read(np.array([], np.int64)).shape == (0, 10, 16, 3)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 7), max_size=12).map(sorted), start=st.integers(0, 4))
def test_any_rows_come_as_they_lie(tmp_path_factory: pytest.TempPathFactory, rows: list[int], start: int) -> None:
    path = flat(tmp_path_factory.mktemp("any") / "a.h5", pixels=IMAGES, ep_len=[8], ep_offset=[start])
    read = frames(path, "episode_0", "pixels", period=1.0).read(np.array(rows, np.int64))
    np.testing.assert_array_equal(read, IMAGES[start:][rows])


def test_pieces_are_bounded_and_say_what_no_later_one_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "PIECE_BYTES", 3 * 8)
    time = np.array([0.0, 1.0, 2.0, 1.5, 4.0, 5.0, 6.0, 7.0])
    path = write(tmp_path / "a.h5", {"e/x": np.arange(8.0), "e/t": time, "e/rgb": IMAGES[:7]})
    found = pieces(path, "e", "x", "rgb", layout="custom", episodes="e", time="t")
    assert [len(p.streams["x"]) for p in found] == [3, 3, 2]
    assert [p.until for p in found] == [1.5, 6.0, math.inf]
    assert [len(p.streams["rgb"]) for p in found] == [3, 3, 1]
    last = found[-1].streams["rgb"].values
    assert isinstance(last, Frames)
    np.testing.assert_array_equal(last.read(np.array([0]))[0], IMAGES[6])


def test_names_that_are_not_there(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "a.hdf5")
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs/joint"]
    with pytest.raises(SourceError, match=r"no dataset 'obs/joints'; did you mean obs/joint") as error:
        pieces(path, "data/demo_0", "obs/joints")
    assert not isinstance(error.value, BadTake)
    with pytest.raises(BadTake, match=r"take data/demo_1 of .*a.hdf5: there is no dataset 'obs/joint'; did you mean"):
        pieces(path, "data/demo_1", "obs/joint")
    assert len(column(path, "data/demo_0", "obs/joint")[0]) == 5
    with pytest.raises(SourceError, match=r"no take 'demo_0'; did you mean"):
        pieces(path, "demo_0", "actions")
    with pytest.raises(SourceError, match=r"no take 'b.hdf5/data/demo_0'; did you mean a.hdf5/data/demo_0"):
        pieces(tmp_path, "b.hdf5/data/demo_0", "actions")


def test_an_empty_or_short_episode_is_a_bad_take(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "a.hdf5", lengths=(0, 4, 3))
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs/joint"]
        file["data/demo_1/obs/joint"] = np.zeros((2, 2))
    with pytest.raises(BadTake, match=r"a.hdf5, data/demo_0: is empty"):
        pieces(path, "data/demo_0", "actions")
    with pytest.raises(BadTake, match=r"data/demo_1: dataset obs/joint has 2 rows where 4 or 5 belong"):
        pieces(path, "data/demo_1", "obs/joint")
    assert len(column(path, "data/demo_2", "obs/joint")[0]) == 3
    assert "obs/joint" in hints(HDF5.describe(path, {}))


def test_damaged_files_leave_their_neighbours_alone(tmp_path: Path) -> None:
    for name in ("a.hdf5", "b.hdf5", "c.hdf5"):
        robomimic(tmp_path / name, lengths=(3,))
    data = (tmp_path / "b.hdf5").read_bytes()
    (tmp_path / "b.hdf5").write_bytes(data[: len(data) // 2])
    (tmp_path / "c.hdf5").write_bytes(b"")
    assert HDF5.describe(tmp_path, {}).takes == ("a.hdf5/data/demo_0", "b.hdf5", "c.hdf5")
    for bad in ("b.hdf5", "c.hdf5"):
        with pytest.raises(BadTake, match=rf"{bad}: cannot be read as HDF5 \(.*truncated or damaged"):
            pieces(tmp_path, bad, "actions")
    assert len(column(tmp_path, "a.hdf5/data/demo_0", "actions")[0]) == 3
    with pytest.raises(SourceError, match=r"b.hdf5: cannot be read as HDF5"):
        HDF5.describe(tmp_path / "b.hdf5", {})


def test_overwritten_chunks_name_their_dataset(tmp_path: Path) -> None:
    datasets = {"e/rgb": IMAGES, "e/x": np.zeros((12, 40))}
    path = write(tmp_path / "a.h5", datasets, compression="gzip", chunks=True)
    with h5py.File(path) as file:
        places = [file[name].id.get_chunk_info(0) for name in datasets]
    data = bytearray(path.read_bytes())
    for place in places:
        data[place.byte_offset : place.byte_offset + place.size] = b"\xff" * place.size
    path.write_bytes(data)
    options = {"layout": "custom", "episodes": "e", "period": 1.0}
    with pytest.raises(BadTake, match=r"a.h5: cannot be read as HDF5"):
        pieces(path, "e", "x", **options)
    with pytest.raises(BadTake, match=r"a.h5, dataset /e/rgb: frames 0 to 1 cannot be read"):
        frames(path, "e", "rgb", **options).read(np.array([0, 1]))


def test_nothing_leads_out_of_the_file(tmp_path: Path) -> None:
    secret = write(tmp_path / "other" / "secret.h5", {"x": np.zeros(3)})
    path = write(tmp_path / "a.h5", {"e/y": np.zeros(3)})
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource(secret, "x", shape=(3,))
    with h5py.File(path, "r+") as file:
        file["e/linked"] = h5py.ExternalLink(str(secret), "x")
        file["e/soft"] = h5py.SoftLink("/e/y")
        file["e/itself"] = file["e"]
        file.create_virtual_dataset("e/virtual", layout)
        file.create_dataset("e/raw", (3,), "u1", external=[(str(secret), 0, 3)])
        file.create_dataset("e/pair", data=np.zeros(3, [("a", "f8"), ("b", "f8")]))
    options = {"layout": "custom", "episodes": "e", "period": 1.0}
    notes = {c.name: c.note for c in HDF5.describe(path, options).channels}
    assert set(notes) == {"y", "linked", "soft", "virtual", "raw", "pair"}
    for name, why in (
        ("linked", "link into another file .*copy it into this one"),
        ("soft", "is a link to /e/y, which is not followed; use that name"),
        ("virtual", "keeps its values in other files, which are not followed; copy"),
        ("raw", "keeps its values in other files"),
        ("pair", "holds values of type"),
    ):
        with pytest.raises(SourceError, match=why):
            pieces(path, "e", name, **options)
        assert notes[name].startswith("cannot be read: ")
    assert notes["y"] == ""


def test_options_that_are_wrong(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "a.hdf5")
    for options, why in (
        ({"perod": 1.0}, "options.perod: unknown; the format hdf5 has: layout, episodes"),
        ({"period": -1.0}, "options.period: must be a positive number"),
        ({"period": True}, "options.period: must be a positive number"),
        ({"period": 1.0, "time": "t"}, "not both"),
        ({"layout": "zarr"}, "'zarr' is none of: robomimic, minari"),
        ({"layout": "custom"}, "exactly one of episodes"),
        ({"episodes": "data/*"}, "exactly one of episodes"),
        ({"layout": "custom", "episodes": "runs/*"}, "no group fits episodes = 'runs/\\*'; at the top there are: data"),
        ({"time_unit": "h"}, "'h' is none of: s, ms, us, ns"),
    ):
        with pytest.raises(SourceError, match=why):
            HDF5.describe(path, options)
    unknown = write(tmp_path / "b.hdf5", {"runs/1/x": np.zeros(3)})
    with pytest.raises(SourceError, match=r"b.hdf5: none of the layouts .*\(runs at the top\).*episodes = "):
        HDF5.describe(unknown, {})


def test_a_filter_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.h5", {"ep_len": [12], "ep_offset": [0], "pixels": IMAGES}, compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(SourceError, match=r"dataset pixels is compressed with deflate, which h5py lacks: pip install hdf5plugin"):
        pieces(path, "episode_0", "pixels", period=1.0)


def test_frames_outlive_the_reading(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "a.hdf5")
    reading = HDF5.read(path, "data/demo_0", ("obs/agentview_image",), {})
    images = next(reading).streams["obs/agentview_image"].values
    assert list(reading) == []
    assert isinstance(images, Frames)
    np.testing.assert_array_equal(images.read(np.array([4]))[0], IMAGES[4])


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = robomimic(tmp_path / "a.hdf5")

    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'tacit\[formats\]'"):
        HDF5.describe(path, {})


def test_lists_of_ends_that_do_not_fit_are_named(tmp_path: Path) -> None:
    ends = np.zeros(8, bool)
    path = write(
        tmp_path / "a.hdf5", {"observations": np.zeros((8, 2)), "actions": np.zeros((8, 1)), "terminals": ends, "timeouts": ends[:7]}
    )
    with pytest.raises(SourceError, match=r"a\.hdf5: terminals and timeouts have 8 and 7 rows; was its recording cut short"):
        HDF5.describe(path, {"period": 0.1})
    lone = write(tmp_path / "b.hdf5", {"observations": np.zeros((8, 2)), "actions": np.zeros((8, 1)), "ends": np.int64(8)})
    with pytest.raises(SourceError, match=r"b\.hdf5"):
        HDF5.describe(lone, {"period": 0.1, "layout": "custom", "episode_ends": "ends"})
