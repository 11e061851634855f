"""Views: pictures of one scene, moved, from which only its things can be told, not their places.

Two moments of one episode, a few frames apart, are each cropped and put somewhere else on the canvas. What the two have in common then is
the shape of the things in them: which way each is turned, and how they lie to each other. Recognising one by the other among hundreds
(`JEPAConfig.shape_weight`) makes an encoder say that, which no other loss asks for: places are easier, and there are many ways to say
them. Random shifts as views are DrQ's (arXiv 2004.13649), moments of one episode CPC's (arXiv 1807.03748).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.data.windows import Batch
from tacit.signals import Schema

GAP = 20  # frames between the two moments, at most: a thing is hardly turned by then, and what moves by itself is elsewhere
CROP = 0.75  # of each side of the picture
EDGE = 0.05  # of each side is never in a crop: a border that is always there would give the place away


def moved(moments: Batch, schema: Schema, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Views of moments: each picture cropped and moved, all other signals those of another view.

    Args:
        moments: Windows of one frame, by signal name, (N, 1, *shape).
        schema: Says which signals are images, and which are masks of which.
        random: Of crops and places.

    Returns:
        Observations by signal name, (N, *shape).
    """
    other, images, kept = _what_moves(len(next(iter(moments.values()))), schema, random)
    found = {}
    for signal in schema.seen:
        value = moments[signal.name][:, 0]
        if signal.name in images:
            found[signal.name] = _moved_pictures(value, random)
        else:
            found[signal.name] = value if signal.name in kept else value[other]
    return found


def moved_there(moments: Mapping[str, Tensor], schema: Schema, random: np.random.Generator) -> dict[str, Tensor]:
    """The same views, made by a gather where the moments are: for an accelerator."""
    first = next(iter(moments.values()))
    other, images, kept = _what_moves(len(first), schema, random)
    partner = torch.from_numpy(other).to(first.device)
    found = {}
    for signal in schema.seen:
        value = moments[signal.name][:, 0]
        if signal.name in images:
            rows, columns = (at.to(value.device) for at in _sources(value.shape, random))
            found[signal.name] = value[torch.arange(len(value), device=value.device)[:, None, None], rows[:, :, None], columns[:, None]]
        else:
            found[signal.name] = value if signal.name in kept else value[partner]
    return found


def _what_moves(count: int, schema: Schema, random: np.random.Generator) -> tuple[NDArray[np.int64], set[str], set[str]]:
    """Whose numbers each of some moments is given; images; and masks of images, which stay."""
    images = {s.name for s in schema.seen if s.is_image}
    kept = {mask.name for name, mask in schema.masks.items() if name in images}
    return random.permutation(count), images, kept


def _crops(shape: tuple[int, ...], random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """For pictures of a shape (N, height, width, channels): first pixel of each crop and its place on the canvas, (N, 2) each, and sides of
    all, (2,)."""
    sides = np.array(shape[1:3])
    crop, edge = np.rint(CROP * sides).astype(int), np.rint(EDGE * sides).astype(int)
    firsts = random.integers(edge, sides - crop - edge + 1, (shape[0], 2))
    return firsts, random.integers(0, sides - crop + 1, (shape[0], 2)), crop


def _sources(shape: tuple[int, ...], random: np.random.Generator) -> list[Tensor]:
    """Which row, and which column, of a picture each one of its view shows: (N, height) and (N, width)."""
    firsts, places, crop = _crops(shape, random)
    return [
        torch.from_numpy((np.arange(side) - places[:, axis, None]).clip(0, crop[axis] - 1) + firsts[:, axis, None])
        for axis, side in enumerate(shape[1:3])
    ]


def _moved_pictures(pictures: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """Pictures (N, height, width, channels), a crop of each put somewhere on a canvas, its outermost pixels repeated around it."""
    firsts, places, crop = _crops(pictures.shape, random)
    height, width = crop.tolist()
    canvas = np.empty_like(pictures)
    for picture, moved, (row, column), (top, left) in zip(pictures, canvas, firsts.tolist(), places.tolist(), strict=True):
        bottom, right = top + height, left + width
        moved[top:bottom, left:right] = picture[row : row + height, column : column + width]
        moved[top:bottom, :left], moved[top:bottom, right:] = moved[top:bottom, left, None], moved[top:bottom, right - 1, None]
        moved[:top], moved[bottom:] = moved[top], moved[bottom - 1]
    return canvas
