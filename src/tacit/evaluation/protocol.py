"""The protocol of an evaluation: which scenes, how long, and what a policy may know.

A protocol draws a manifest: scenes that are written down with a digest before any policy runs, so that every policy meets the same
ones. Scenes come from random streams that no recording uses, and no start is already solved. A policy sees observations and the
observation of the goal; where it is, and whether it has arrived, is kept for the score. It succeeds when it is within the world's
tolerance of the goal after its last action, or for as many of the last moments as the protocol says; where the protocol follows the
field's convention, having passed through is enough.

Dimensions: N episodes, B episodes side by side, A action.
"""

from __future__ import annotations

import hashlib
import json
import time
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.atomic import atomic_write
from tacit.evaluation.outcome import Outcome, Trace
from tacit.signals import Schema
from tacit.worlds import Env, Purpose, Scene, World, stream, world

FORMAT = "tacit-manifest"
VERSION = 1
LEAD = 100  # an excursion starts at most so many steps after its episode's first moment
DRAWS = 1000  # episodes tried for one excursion

Samples = dict[str, NDArray[Any]]


class ManifestError(ValueError):
    """A file is not a manifest, or not as it was saved."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How to evaluate.

    Attributes:
        world: Name of the world.
        episodes: N.
        budget: Actions per episode.
        seed: Seed of the scenes and of what policies draw, at least 0.
        hard_share: Least share of the episodes with a hard scene, 0 to 1; of scenes that the world draws.
        offset: Steps between start and goal, both moments of one episode that the world's recorder makes for this evaluation and nobody
            trains on; None when the world draws start and goal apart from each other.
        hold: Moments at the end at which the goal must be kept; 0 when having reached it once is enough.

    Raises:
        ValueError: A number is out of its domain, or there is no such world.
    """

    world: str
    episodes: int = 200
    budget: int = 200
    seed: int = 0
    hard_share: float = 0.5
    offset: int | None = None
    hold: int = 1

    def __post_init__(self) -> None:
        world(self.world)
        if self.episodes < 1 or self.budget < 1 or self.seed < 0:
            raise ValueError(f"protocol: episodes {self.episodes} and budget {self.budget} must be at least 1, seed {self.seed} at least 0")
        if not 0.0 <= self.hard_share <= 1.0:
            raise ValueError(f"protocol: hard_share {self.hard_share} must be a share between 0 and 1")
        if (self.offset is not None and self.offset < 1) or not 0 <= self.hold <= self.budget:
            raise ValueError(f"protocol: offset {self.offset} must be at least 1, and hold {self.hold} between 0 and the budget")

    @classmethod
    def standard(cls, world: str, *, episodes: int = 300, seed: int = 0) -> Protocol:
        """Get to where the recorder was 25 steps later, within 50: the field's usual protocol. Passing through counts."""
        return cls(world=world, episodes=episodes, seed=seed, budget=50, hard_share=0.0, offset=25, hold=0)

    @classmethod
    def long(cls, world: str, *, episodes: int = 300, seed: int = 0) -> Protocol:
        """Get to where the recorder was 75 steps later, within 150. Passing through counts."""
        return cls(world=world, episodes=episodes, seed=seed, budget=150, hard_share=0.0, offset=75, hold=0)

    @classmethod
    def strict(cls, world: str, *, episodes: int = 300, seed: int = 0) -> Protocol:
        """Get to a goal of another episode in another region, within 200, and stay there for the last five moments."""
        return cls(world=world, episodes=episodes, seed=seed, budget=200, hard_share=1.0, hold=5)


NAMED: Mapping[str, Callable[..., Protocol]] = {"standard": Protocol.standard, "long": Protocol.long, "strict": Protocol.strict}
"""Protocols that have a name: (world, episodes=, seed=) -> protocol."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The scenes of a protocol, one per episode."""

    protocol: Protocol
    scenes: tuple[Scene, ...]

    @property
    def hard(self) -> NDArray[np.bool_]:
        """Which episodes are hard, (N,)."""
        return np.array([scene.hard for scene in self.scenes])

    @property
    def digest(self) -> str:
        """SHA-256 of the protocol and the scenes, in hex: quote it beside every number."""
        text = json.dumps(self._contents(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the manifest as JSON, in one step.

        Raises:
            OSError: The file cannot be written.
        """
        atomic_write(path, json.dumps({**self._contents(), "digest": self.digest}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Manifest:
        """Read what `save` wrote.

        Raises:
            ManifestError: It is not a manifest, a newer version wrote it, or a value has changed since.
            OSError: The file cannot be read.
        """
        try:
            values = json.loads(Path(path).read_bytes())
            name, version, digest = values["format"], values["version"], values["digest"]
            if name != FORMAT or version != VERSION:
                raise ManifestError(f"{path} says {name!r} version {version}; this Tacit reads {FORMAT!r} version {VERSION}")
            scenes = tuple(Scene.from_json(scene) for scene in values["scenes"])
            manifest = cls(protocol=Protocol(**values["protocol"]), scenes=scenes)
        except ManifestError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(f"{path} is not a manifest: {error}; draw one with draw_manifest") from error
        if digest != manifest.digest or len(scenes) != manifest.protocol.episodes:
            raise ManifestError(f"{path} has changed since it was saved: its digest does not fit. Restore it, or draw a new one")
        return manifest

    def _contents(self) -> dict[str, Any]:
        scenes = [scene.to_json() for scene in self.scenes]
        protocol = asdict(self.protocol)
        # Left out where they are what every protocol was before they could be chosen: its manifests and digests stay what they were.
        for name, usual in (("offset", None), ("hold", 1)):
            if protocol[name] == usual:
                del protocol[name]
        return {"format": FORMAT, "version": VERSION, "protocol": protocol, "scenes": scenes}


def draw_manifest(protocol: Protocol) -> Manifest:
    """Draw the scenes of a protocol: the same for the same protocol, and the first N the same for more episodes."""
    arena = world(protocol.world)
    if protocol.offset is not None:
        return Manifest(protocol=protocol, scenes=_excursions(arena, protocol, protocol.offset))
    scenes: list[Scene] = []
    hard = 0
    for number in range(protocol.episodes):
        # Hard scenes are spread evenly; the small number keeps 0.1 * 30 from asking for a fourth one.
        is_hard = hard < protocol.hard_share * (number + 1) - 1e-9
        hard += is_hard
        scenes.append(arena.scene(stream(Purpose.SCENES, protocol.seed, number), hard=is_hard))
    return Manifest(protocol=protocol, scenes=tuple(scenes))


def _excursions(arena: World, protocol: Protocol, offset: int) -> tuple[Scene, ...]:
    """Stretches of new recorder episodes, each with its end as the goal; one that ends within the tolerance of its start is drawn again."""
    env = arena.make(camera=False)
    try:
        return tuple(_excursion(arena, env, stream(Purpose.SCENES, protocol.seed, n), offset) for n in range(protocol.episodes))
    finally:
        env.close()


def _excursion(arena: World, env: Env, rng: np.random.Generator, offset: int) -> Scene:
    for _ in range(DRAWS):
        lead = int(rng.integers(LEAD + 1))
        recorder = arena.recorder(lead + offset, rng)
        observation, info = env.reset(seed=int(rng.integers(2**63)))
        start, labels = None, info
        for t in range(lead + offset):
            if t == lead:
                start, labels = arena.snapshot(env), info
            observation, _, _, _, info = env.step(recorder(env, {**info, **observation}))
        assert start is not None
        scene = arena.between(start, arena.snapshot(env))
        if arena.distance(labels, scene) > arena.tolerance:
            return scene
    raise RuntimeError(f"world {arena.name!r}: in {DRAWS} episodes its recorder never got anywhere within {offset} steps")


class Policy(typing.Protocol):
    """What is evaluated. It never receives a label, a distance or a success."""

    def reset(self, goals: Mapping[str, NDArray[Any]], seed: int) -> None:
        """Begin B new episodes.

        Args:
            goals: Observations to reach, (B, *shape) by observation signal.
            seed: For whatever the policy draws.
        """

    def act(self, observations: Mapping[str, NDArray[Any]]) -> ArrayLike:
        """Observations (B, *shape) by signal -> actions (B, A), physical units, to apply now."""


def run(
    manifest: Manifest,
    policy: Policy,
    *,
    progress: Callable[[int, int], None] | None = None,
    keep: Collection[int] = (),
    batch: int = 100,
    arena: World | None = None,
    camera: bool = True,
) -> Outcome:
    """Let a policy try every scene.

    Args:
        manifest: The scenes.
        policy: Who tries them.
        progress: Called with the number of actions applied and the number of all.
        keep: Numbers of the episodes whose observations, labels and actions are kept.
        batch: B, episodes side by side; the last batch may be smaller.
        arena: Where the scenes are played; None for the world of the protocol. One that was changed on purpose is given here.
        camera: False for a policy that looks at nothing: images may then be black, where drawing them takes most of the time.

    Returns:
        How it went.

    Raises:
        ValueError: The policy gave actions of a wrong shape or a number that is not finite, `keep` names an episode that is not there,
            or `batch` is not positive.
    """
    protocol, scenes = manifest.protocol, manifest.scenes
    if batch < 1:
        raise ValueError(f"batch {batch} must be at least 1")
    if strange := sorted(set(keep) - set(range(len(scenes)))):
        raise ValueError(f"keep names episode {strange[0]}; the manifest has episodes 0 to {len(scenes) - 1}")
    arena = arena or world(protocol.world)
    distance = np.empty((len(scenes), protocol.budget + 1))
    traces: dict[int, Trace] = {}
    seconds = 0.0
    for first in range(0, len(scenes), batch):
        lanes = _Lanes(arena, scenes[first : first + batch], first, keep, camera)
        try:
            policy.reset(lanes.goals, int(stream(Purpose.POLICY, protocol.seed, first).integers(2**32)))
            distance[lanes.numbers, 0] = lanes.distances()
            for t in range(protocol.budget):
                observations = lanes.observations()
                began = time.perf_counter()
                actions = policy.act(observations)
                seconds += time.perf_counter() - began
                lanes.step(actions)
                distance[lanes.numbers, t + 1] = lanes.distances()
                if progress is not None:
                    progress(first * protocol.budget + (t + 1) * len(lanes.numbers), distance[:, 1:].size)
            traces |= lanes.traces()
        finally:
            lanes.close()
    return Outcome(
        digest=manifest.digest,
        hard=manifest.hard,
        distance=distance,
        tolerance=arena.tolerance,
        hold=protocol.hold,
        unit=arena.unit,
        seconds_per_action=seconds / distance[:, 1:].size,
        traces=tuple(traces[number] for number in sorted(traces)),
    )


@typing.final
class _Lanes:
    """Some episodes of one manifest, side by side and in step."""

    def __init__(self, arena: World, scenes: Sequence[Scene], first: int, keep: Collection[int], camera: bool) -> None:
        self._arena, self._scenes = arena, scenes
        self._schema: Schema = arena.schema
        self._envs = [arena.make(camera=camera) for _ in scenes]
        self.numbers = list(range(first, first + len(scenes)))
        pairs = list(zip(self._envs, scenes, strict=True))
        self.goals = self._stacked([arena.goal(env, scene) for env, scene in pairs])
        self._moments = [arena.start(env, scene) for env, scene in pairs]
        self._tapes: dict[int, list[tuple[Samples, Samples]]] = {n: [self._moments[n - first]] for n in self.numbers if n in keep}
        self._applied: list[NDArray[Any]] = []

    def observations(self) -> Samples:
        return self._stacked([observation for observation, _ in self._moments])

    def distances(self) -> list[float]:
        return [self._arena.distance(info, scene) for (_, info), scene in zip(self._moments, self._scenes, strict=True)]

    def step(self, actions: ArrayLike) -> None:
        given = np.array(actions, dtype=np.float32)  # a copy: the policy may use its buffer again
        if given.shape != (len(self._envs), self._schema.action_size):
            raise ValueError(f"the policy gave actions of shape {given.shape}, not (B, A) = {(len(self._envs), self._schema.action_size)}")
        if len(bad := np.flatnonzero(~np.isfinite(given).all(axis=1))):
            raise ValueError(f"the policy gave {given[bad[0]].tolist()} in episode {self.numbers[bad[0]]}; actions must be finite")
        self._moments = []
        for env, action in zip(self._envs, given, strict=True):
            observation, _, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                raise RuntimeError(f"world {self._arena.name!r} ended an episode; it must go on until the budget is spent")
            self._moments.append((observation, info))
        self._applied.append(given)
        for number, tape in self._tapes.items():
            tape.append(self._moments[number - self.numbers[0]])

    def traces(self) -> dict[int, Trace]:
        return {
            number: Trace(
                episode=number,
                goal={name: values[number - self.numbers[0]] for name, values in self.goals.items()},
                observations=self._stacked([observation for observation, _ in tape]),
                labels={label.name: np.stack([info[label.name] for _, info in tape]) for label in self._schema.labels},
                actions=np.stack([given[number - self.numbers[0]] for given in self._applied]),
            )
            for number, tape in self._tapes.items()
        }

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _stacked(self, samples: Sequence[Mapping[str, Any]]) -> Samples:
        """Observation signals only, whatever else an environment shows."""
        return {s.name: np.stack([sample[s.name] for sample in samples]) for s in self._schema.seen}
