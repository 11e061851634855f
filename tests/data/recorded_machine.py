"""A small machine with every kind of signal, and episodes of it whose contents follow from their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.data.episode import rows_of
from tacit.signals import Role, Schema, Signal

MACHINE = Schema(
    signals=(
        Signal(name="camera", role=Role.OBSERVATION, shape=(4, 5, 3), dtype="uint8"),
        Signal(name="pressure", role=Role.OBSERVATION, unit="bar"),
        Signal(name="motor", role=Role.ACTION, shape=(2,), unit="V"),
        Signal(name="valve", role=Role.ACTION, dtype="bool"),
        Signal(name="weather", role=Role.DISTURBANCE, shape=(3,), dtype="float64"),
        Signal(name="pose", role=Role.LABEL, shape=(2, 2), dtype="float32"),
        Signal(name="count", role=Role.LABEL, dtype="int64"),
    ),
    period=0.1,
)


def episode_of(number: int, steps: int, schema: Schema = MACHINE) -> Episode:
    """Episode whose every byte follows from `number` and `steps`."""
    rng = np.random.default_rng([number, steps])
    signals = {s.name: rng.integers(0, 2 if s.dtype == "bool" else 100, (rows_of(s, steps), *s.shape)) for s in schema.signals}
    return Episode(
        signals={name: values.astype(schema.by_name[name].dtype) for name, values in signals.items()},
        time=np.cumsum(0.1 + rng.random(steps + 1)),
    )


def assert_same(found: Episode, expected: Episode) -> None:
    assert list(found.signals) == list(expected.signals)
    for name, values in expected.signals.items():
        assert found.signals[name].dtype == values.dtype, name
        np.testing.assert_array_equal(found.signals[name], values, err_msg=name)
    np.testing.assert_array_equal(found.time, expected.time)


def make_store(folder: Path, lengths: list[int], *, schema: Schema = MACHINE, shard_bytes: int = 4_000) -> EpisodeStore:
    """A store of `episode_of(i, lengths[i])` in several shards."""
    with EpisodeWriter.create(folder / "store", schema, source={"world": "bench", "seed": 3}, shard_bytes=shard_bytes) as writer:
        for number, steps in enumerate(lengths):
            writer.add(episode_of(number, steps, schema))
    return EpisodeStore(folder / "store")


def plain_episodes(store: Path) -> int:
    """How many episodes plain pyarrow finds in the sealed shards of a store; every batch is checked by Arrow."""
    found = 0
    for shard in store.glob("*.arrow"):
        with pa.memory_map(str(shard)) as file:
            try:
                reader = pa.ipc.open_file(file)
            except pa.ArrowInvalid:
                continue
            for i in range(reader.num_record_batches):
                reader.get_batch(i).validate(full=True)
            found += reader.num_record_batches
    return found
