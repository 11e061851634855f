"""How each world is shown to a person: what its hard scenes are called, where its labels lie in the image, and what a map of it is.

Nothing here decides a number. Dimensions: H image height, W image width, D latent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tacit.evaluation.protocol import Manifest
from tacit.evaluation.sections import ValueMap
from tacit.run import Run
from tacit.worlds import Scene
from tacit.worlds.two_room import SIZE, Layout, background, draw_dot

Array = NDArray[Any]
CELL = 2  # pixels between two places on a value map


@dataclass(frozen=True, kw_only=True)
class Scenery:
    """Words and pictures of one world.

    Attributes:
        hard: What its hard scenes have in common, in two words.
        easy: The same of the others.
        path: Labels (M, *shape) by name -> the way in image pixels, x right and y down, (M, 2); None when it has no such way.
        maps: Value maps of a few scenes; none when the world has no map.
    """

    hard: str = "hard"
    easy: str = "easy"
    path: Callable[[Mapping[str, Array]], Array | None] = lambda labels: None
    maps: Callable[[Run, Manifest], tuple[ValueMap, ...]] = lambda run, manifest: ()


def scenery(world: str) -> Scenery:
    """How a world is shown; a plain one when nobody has said more."""
    return _SCENERY.get(world, Scenery())


def two_room_path(labels: Mapping[str, Array]) -> Array:
    # The world counts from the image's edge, an image from the centre of its first pixel.
    return np.asarray(labels["position"], dtype=np.float64) - 0.5


def two_room_maps(run: Run, manifest: Manifest, *, maps: int = 2) -> tuple[ValueMap, ...]:
    """Distance to the goal from every free place of the first hard scenes."""
    chosen = [scene for scene in manifest.scenes if scene.hard] or list(manifest.scenes)
    return tuple(two_room_map(run, scene) for scene in chosen[:maps])


@torch.no_grad()
def two_room_map(run: Run, scene: Scene) -> ValueMap:
    """Encode the dot at every free place of a grid and ask how far the goal is."""
    layout = Layout(**scene.layout)
    walls = background(layout)
    centres = np.arange(CELL / 2, SIZE, CELL)
    places = np.stack(np.meshgrid(centres, centres), axis=-1)
    is_free = np.array([[layout.is_free(place) for place in row] for row in places])
    frames = np.stack([draw_dot(walls, place) for place in (*places[is_free], np.array(scene.goal))])
    latents = run.model.encode({"image": torch.from_numpy(frames)[:, None]})[:, 0]
    here, goal = latents[:-1], latents[-1].expand(len(latents) - 1, -1)

    def on_grid(values: torch.Tensor) -> Array:
        grid = np.full(is_free.shape, np.nan, dtype=np.float32)
        grid[is_free] = values.float().numpy()
        return grid

    return ValueMap(
        name=f"Wall at {layout.wall:.0f} px, door at {layout.door:.0f} px, goal at ({scene.goal[0]:.0f}, {scene.goal[1]:.0f}) px",
        background=walls,
        steps_to_go=on_grid(run.distance(here, goal)),
        latent_distance=on_grid((here - goal).square().sum(-1).sqrt()),
        goal=(scene.goal[0] - 0.5, scene.goal[1] - 0.5),
    )


_TWO_ROOM = Scenery(hard="other room", easy="same room", path=two_room_path, maps=two_room_maps)
_SCENERY: Mapping[str, Scenery] = {"two_room": _TWO_ROOM, "two_room_fixed": _TWO_ROOM}
