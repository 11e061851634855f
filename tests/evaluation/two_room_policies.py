"""Hand-written eyes and hands for Two Rooms: what a perfect perception and a perfect plan would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.evaluation.protocol import Manifest
from tacit.signals import Schema
from tacit.worlds.two_room import MAX_NORM, SCHEMA, SIZE, Layout

CENTRES = np.arange(SIZE) + 0.5


def seen_position(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Centroid of the red dot, (..., 64, 64, 3) -> (..., 2) pixels."""
    red = np.clip(images[..., 0].astype(float) - images[..., 1] - 4.0, 0.0, None)
    total = red.sum((-2, -1))
    return np.stack([red.sum(-2) @ CENTRES / total, red.sum(-1) @ CENTRES / total], axis=-1)


class Oracle:
    """Walks through the door: sees the dot, and knows the layouts of the manifest in the order of its episodes."""

    def __init__(self, manifest: Manifest) -> None:
        self.scenes = list(manifest.scenes)
        self.begun = 0

    def reset(self, goals: Mapping[str, NDArray[Any]], seed: int) -> None:
        self.goals = seen_position(goals["image"])
        scenes = self.scenes[self.begun : self.begun + len(self.goals)]
        self.layouts = [Layout(**scene.layout) for scene in scenes]
        self.begun += len(scenes)

    def act(self, observations: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        positions = seen_position(observations["image"])
        targets = [self.target(*each) for each in zip(positions, self.goals, self.layouts, strict=True)]
        return shortened(np.array(targets) - positions)

    @staticmethod
    def target(position: NDArray[Any], goal: NDArray[Any], layout: Layout) -> NDArray[Any]:
        side = 1.0 if goal[0] > layout.wall else -1.0
        beyond = side * (position[0] - layout.wall)  # how far past the wall's middle
        is_in_doorway = -4.5 < beyond < 4.5 and abs(position[1] - layout.door) < 3.6
        if beyond > 0 and (not is_in_doorway or abs(goal[1] - layout.door) < 3.0):
            return goal
        if is_in_doorway or abs(position[1] - layout.door) < 1.0:
            return np.array([layout.wall + 7 * side, layout.door])
        return np.array([layout.wall - 6 * side, layout.door])


def shortened(moves: NDArray[Any]) -> NDArray[np.float32]:
    """Moves (B, 2), none longer than a step may be."""
    length = np.linalg.norm(moves, axis=1, keepdims=True)
    return (moves * np.minimum(1.0, MAX_NORM * (1 - 1e-6) / np.maximum(length, 1e-9))).astype(np.float32)


class OpenFloor:
    """A world model whose latent is the dot's position and that has never heard of walls."""

    schema: Schema = SCHEMA.without_labels()
    latent_size = 2
    history = 1

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        assert set(observations) == {"image"}
        return torch.tensor(seen_position(observations["image"].numpy()), dtype=torch.float32)

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        return history[:, -1] + action

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        return history[:, None, -1:] + actions.cumsum(2)
