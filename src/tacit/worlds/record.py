"""Recording: a world's goal-free policy fills an episode store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal

import numpy as np
from numpy.typing import NDArray

from tacit.data import Episode, EpisodeStore, EpisodeWriter, StoreError
from tacit.signals import Role, Schema
from tacit.worlds.world import Env, Purpose, Samples, World, stream

VISIBLE = 0.01  # of a label's largest change in an episode: a smaller one need not show


class FrozenCamera(RuntimeError):
    """A camera showed nothing, or the same image again and again while the world moved."""


def record(
    world: World,
    path: str | Path,
    *,
    episodes: int,
    steps: int = 100,
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> EpisodeStore:
    """Record episodes of a world's own policy, or go on with a recording that was interrupted.

    Episode i depends on the world, `seed`, `steps` and i alone: stopping, going on later, asking for more episodes and any number of jobs
    all lead to the same store. Whatever was closed when the recording stops stays.

    Args:
        world: Where to record.
        path: Folder of the store; a new one, or one that the same call began.
        episodes: Number of episodes in the finished store.
        steps: T, actions per episode.
        seed: Seed of the recording, at least 0.
        jobs: Processes that simulate at the same time. With more than one, call it where a new process may import the main module.
        progress: Called with the number of episodes in the store and the number asked for.

    Returns:
        The store.

    Raises:
        ValueError: A number is out of its domain.
        StoreError: The folder holds something else.
        FrozenCamera: A camera of the world does not work.
        MissingExtra: The world's simulator is not installed.
    """
    if episodes < 1 or steps < 1 or seed < 0 or jobs < 1:
        raise ValueError(f"record: episodes {episodes}, steps {steps} and jobs {jobs} must be at least 1, and seed {seed} at least 0")
    source = {"world": world.name, "policy": "recorder", "steps": steps, "seed": seed}
    path = Path(path)
    has_begun = (path / "store.json").exists()
    env = world.make()  # first: where the simulator is missing, nothing is written
    try:
        with EpisodeWriter.append(path) if has_begun else EpisodeWriter.create(path, world.schema, source=source) as writer:
            if dict(writer.source) != source or writer.schema != world.schema:
                raise StoreError(f"{path} holds another recording, {dict(writer.source)}, not {source}; choose another folder")
            missing = range(len(writer), episodes)
            parts = in_turn(world, env, steps, seed, missing) if jobs == 1 else in_processes(world, steps, seed, missing, jobs)
            with closing(parts):
                for episode in parts:
                    require_live_cameras(episode, world.schema)
                    writer.add(episode)
                    if progress is not None:
                        progress(len(writer), episodes)
    finally:
        env.close()
    return EpisodeStore(path)


Episodes = Generator[Episode, None, None]


def in_turn(world: World, env: Env, steps: int, seed: int, numbers: Iterable[int]) -> Episodes:
    """Episodes by their numbers, one after another."""
    for number in numbers:
        yield recorded(world, env, steps, stream(Purpose.RECORDING, seed, number))


def in_processes(world: World, steps: int, seed: int, numbers: Iterable[int], jobs: int) -> Episodes:
    """Episodes by their numbers, in order, simulated in processes of their own; few of them are ahead of what was taken."""
    ahead: deque[Future[Episode]] = deque()
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=(world,))
    try:
        for number in numbers:
            ahead.append(pool.submit(_recorded_here, steps, seed, number))
            if len(ahead) > 2 * jobs:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_here: tuple[World, Env]  # of a process that records for another one


def _begin(world: World) -> None:
    global _here
    signal(SIGINT, SIG_IGN)  # Ctrl-C is for the process that writes
    _here = world, world.make()


def _recorded_here(steps: int, seed: int, number: int) -> Episode:
    world, env = _here
    return recorded(world, env, steps, stream(Purpose.RECORDING, seed, number))


def recorded(world: World, env: Env, steps: int, rng: np.random.Generator) -> Episode:
    """One episode of the world's recorder: `steps` actions and the moments around them."""
    schema = world.schema
    actions = np.empty((steps, schema.action_size), np.float32)
    signals: Samples = {s.name: np.empty((steps + 1, *s.shape), s.dtype) for s in schema.signals if s.role is not Role.ACTION}
    recorder = world.recorder(steps, rng)
    observation, info = env.reset(seed=int(rng.integers(2**63)))
    for t in range(steps + 1):
        sample = {**info, **observation}
        for name, values in signals.items():
            values[t] = sample[name]
        if t < steps:
            actions[t] = recorder(env, sample)
            observation, _, _, _, info = env.step(actions[t])
    return Episode(signals=signals | by_signal(schema, actions), time=schema.period * np.arange(steps + 1, dtype=np.float64))


def by_signal(schema: Schema, actions: NDArray[np.float32]) -> Samples:
    """Actions (T, A), as a policy gives them, by action signal as an episode holds them, (T, *shape)."""
    ends = np.cumsum([s.size for s in schema.actions])
    parts = np.split(actions, ends[:-1], axis=1)
    return {s.name: part.reshape(-1, *s.shape).astype(s.dtype) for s, part in zip(schema.actions, parts, strict=True)}


def require_live_cameras(episode: Episode, schema: Schema) -> None:
    """Refuse an episode whose images cannot be of what happened; some simulators render black or stale frames without an error.

    Args:
        episode: As it is about to be stored.
        schema: Its signals.

    Raises:
        FrozenCamera: A frame has one colour only, or more than half of the moments at which a label changed repeat the frame before. What
            comes to rest, and changes by next to nothing beside what it did before, no camera sees.
    """
    changed = np.zeros(episode.steps, dtype=bool)
    for label in schema.labels:
        values = episode.signals[label.name].reshape(episode.steps + 1, -1).astype(np.float64)
        by = np.abs(values[1:] - values[:-1])
        changed |= (by > VISIBLE * by.max(axis=0, initial=0.0)).any(axis=1)
    for camera in (s for s in schema.observations if s.is_image):
        frames = episode.signals[camera.name].reshape(episode.steps + 1, -1)
        colours = camera.shape[-1]
        if len(blank := np.flatnonzero((frames[:, colours:] == frames[:, :-colours]).all(axis=1))):
            raise FrozenCamera(f"camera {camera.name!r}: frame {blank[0]} has one colour only; check how the simulator renders")
        repeated = (frames[1:] == frames[:-1]).all(axis=1) & changed
        if 2 * repeated.sum() > changed.sum():
            raise FrozenCamera(
                f"camera {camera.name!r}: {repeated.sum()} of {changed.sum()} frames repeat the one before although the labels moved; "
                "check that the simulator renders after every step"
            )
