"""What goes into a store comes out of it: without copies, to any Arrow reader, and never with what a view leaves out."""

from __future__ import annotations

import json
import mmap
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_machine import MACHINE, assert_same, episode_of, make_store

from tacit.data import EpisodeStore, EpisodeWriter, StoreError
from tacit.data.description import read_description
from tacit.signals import DTYPES, Role, Schema, SchemaError, Signal

LENGTHS = [1, 7, 3, 12, 2, 30, 5]


def test_episodes_come_back_as_they_went_in(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS)
    assert len(store) == len(LENGTHS)
    assert store.schema == MACHINE
    assert store.source == {"world": "bench", "seed": 3}
    np.testing.assert_array_equal(store.lengths, LENGTHS)
    assert store.lengths.dtype == np.int64
    for number, episode in enumerate(store):
        assert_same(episode, episode_of(number, LENGTHS[number]))
        assert episode.steps == LENGTHS[number]
    assert_same(store[-1], store[len(LENGTHS) - 1])
    spans = [episode_of(i, t).time for i, t in enumerate(LENGTHS)]
    assert store.seconds == pytest.approx(sum(t[-1] - t[0] for t in spans))
    files = sum(f.stat().st_size for f in store.path.glob("*.arrow"))
    assert sum(sum(a.nbytes for a in e.signals.values()) for e in store) < store.nbytes < files
    assert store.verify() == ()
    np.testing.assert_array_equal(store.healthy(), np.arange(len(LENGTHS)))
    for wrong in (len(LENGTHS), -len(LENGTHS) - 1):
        with pytest.raises(IndexError, match="of 7"):
            store[wrong]


@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    kinds=st.lists(
        st.tuples(st.sampled_from(list(Role)), st.sampled_from(DTYPES), st.lists(st.integers(1, 3), max_size=3)), min_size=1, max_size=4
    ),
)
def test_any_schema_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kinds: list[tuple[Role, str, list[int]]]
) -> None:
    signals = (Signal(name=f"s{i}", role=role, dtype=dtype, shape=tuple(shape)) for i, (role, dtype, shape) in enumerate(kinds))
    schema = Schema(signals=tuple(signals))
    lengths = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=4))
    path = tmp_path_factory.mktemp("any") / "store"
    with EpisodeWriter.create(path, schema, shard_bytes=data.draw(st.integers(1, 5_000))) as writer:
        for number, steps in enumerate(lengths):
            assert writer.add(episode_of(number, steps, schema)) == number
    store = EpisodeStore(path)
    assert store.verify() == ()
    for number, steps in enumerate(lengths):
        assert_same(store[number], episode_of(number, steps, schema))


def test_reading_copies_nothing(tmp_path: Path) -> None:
    store = make_store(tmp_path, [9, 4], shard_bytes=1 << 20)
    first, again = store[0], store[0]
    for name, values in first.signals.items():
        assert np.shares_memory(values, again.signals[name]), "one mapping, not two copies"
        assert not values.flags.writeable
        root: Any = values
        while isinstance(root, np.ndarray):
            root = root.base
        assert isinstance(root, mmap.mmap | memoryview)
        assert isinstance(root.obj if isinstance(root, memoryview) else root, mmap.mmap)
    with pytest.raises(ValueError, match="read-only"):
        first.signals["camera"][0] = 0  # type: ignore[index]
    with pytest.raises(TypeError):
        first.signals["camera"] = first.time  # type: ignore[index]
    # The bytes are those of the file: writing into the file shows through the view.
    place = store[1].signals["pressure"]
    whole = np.frombuffer(store._map(0), np.uint8)
    offset = place.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    with (store.path / "00000.arrow").open("r+b") as file:
        file.seek(offset)
        file.write(np.float32(123.5).tobytes())
    assert place[0] == 123.5


def test_any_arrow_reader_opens_every_shard(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS)
    shards = sorted(store.path.glob("*.arrow"))
    assert len(shards) > 2, "the test needs several shards"
    number = 0
    for shard in shards:
        with pa.memory_map(str(shard)) as file, pa.ipc.open_file(file) as reader:
            assert reader.schema.names == ["time", *MACHINE.by_name]
            assert reader.schema.field("camera").type == pa.binary(60)
            assert reader.schema.field("camera").metadata[b"shape"] == b"[4, 5, 3]"
            assert reader.schema.field("motor").type.list_size == 2
            assert reader.schema.field("pressure").metadata[b"unit"] == b"bar"
            for i in range(reader.num_record_batches):
                batch, episode = reader.get_batch(i), episode_of(number, LENGTHS[number])
                batch.validate(full=True)
                assert batch.num_rows == LENGTHS[number] + 1
                assert batch.column("time").to_pylist() == episode.time.tolist()
                assert batch.column("motor").to_pylist() == [*episode.signals["motor"].tolist(), None]
                assert batch.column("valve").to_pylist() == [*episode.signals["valve"].tolist(), None]
                assert batch.column("weather").to_pylist() == episode.signals["weather"].tolist()
                assert batch.column("camera").to_pylist() == [frame.tobytes() for frame in episode.signals["camera"]]
                values = batch.column("motor").buffers()[-1]
                assert values.to_pybytes()[-8:] == bytes(8), "zeros lie under the null"
                number += 1
    assert number == len(LENGTHS)


def test_a_view_cannot_return_a_label(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS)
    view = store.without_labels()
    assert list(view[0].signals) == [s.name for s in MACHINE.signals if s.role is not Role.LABEL]
    assert view.schema == MACHINE.without_labels()
    assert list(view.view(["motor"])[0].signals) == ["motor"]
    with pytest.raises(SchemaError, match="no signal 'pose'"):
        view.view(["camera", "pose"])
    assert list(store[0].signals) == list(MACHINE.by_name), "the store itself is as it was"


def test_an_empty_store_opens(tmp_path: Path) -> None:
    EpisodeWriter.create(tmp_path / "empty", MACHINE).close()
    store = EpisodeStore(tmp_path / "empty")
    assert (len(store), store.nbytes, store.seconds, store.verify()) == (0, 0, 0, ())
    assert store.lengths.shape == store.healthy().shape == (0,)
    assert list(store) == []


def rewrite_description(path: Path, **changes: object) -> None:
    values = {**json.loads(path.read_text()), **changes}
    values.pop("crc32")
    checksum = zlib.crc32(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
    path.write_text(json.dumps({**values, "crc32": checksum}))


def test_what_is_not_a_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere is not an episode store: it does not exist"):
        EpisodeStore(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"has no store\.json"):
        EpisodeStore(tmp_path)
    description = make_store(tmp_path, [2]).path / "store.json"
    good = description.read_text()
    rewrite_description(description, source={"by": "hand"})
    assert read_description(description.parent)[1] == {"by": "hand"}, "the helper of this test writes what the store accepts"
    rewrite_description(description, version=2)
    with pytest.raises(StoreError, match=r"version 2.*upgrade"):
        EpisodeStore(description.parent)
    rewrite_description(description, format="zarr")
    with pytest.raises(StoreError, match="not an episode store"):
        EpisodeStore(description.parent)
    for damaged in (good.replace("4,", "5,"), good[:-9], "", "[]", good.replace("bench", "bunch")):
        assert damaged != good
        description.write_text(damaged)
        with pytest.raises(StoreError, match=r"store\.json is damaged"):
            EpisodeStore(description.parent)
    description.write_text(good)
    (description.parent / "episodes.jsonl").unlink()
    with pytest.raises(StoreError, match=r"lost its episodes\.jsonl"):
        EpisodeStore(description.parent)


def test_a_forked_process_reads_the_same(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS)
    expected = zlib.crc32(store[5].signals["camera"].tobytes()) & 0x7F
    child = os.fork()
    if child == 0:
        os._exit(zlib.crc32(store[5].signals["camera"].tobytes()) & 0x7F)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == expected
