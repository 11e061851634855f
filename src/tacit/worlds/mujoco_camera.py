"""Pictures of a MuJoCo simulation without a screen: one setting, on a raw pair of model and data.

Software rendering is what most machines have, so everything that costs time and shows nothing that matters is off: shadows,
reflections and multisampling. They stay off throughout, because an image must not depend on who asked for it.
"""

from __future__ import annotations

import atexit
import ctypes.util
import itertools
import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tacit.extras import extra

Frame = NDArray[np.uint8]

OPEN: list[Any] = []  # renderers of this process that have not been closed


class NoGraphics(RuntimeError):
    """Nothing can be drawn without a screen here; the message says what to install or to set."""


@contextmanager
def headless(world: str) -> Iterator[None]:
    """Where `mujoco`, or a package that imports it, is imported such that it renders without a screen.

    MuJoCo chooses its graphics library from the environment variable MUJOCO_GL when it is first imported. Where the variable is unset,
    and only then, it becomes `egl`, or `osmesa` where there is no EGL.

    Args:
        world: Who needs it.

    Raises:
        MissingExtra: A package is not installed; the message names the extra.
        NoGraphics: MUJOCO_GL is empty, or this machine has no library that renders without a screen.
    """
    if "mujoco" not in sys.modules and sys.platform.startswith("linux"):
        choose_graphics()
    with extra("worlds", world):
        yield
    close_first()


def choose_graphics() -> None:
    """Set MUJOCO_GL where it is unset.

    Raises:
        NoGraphics: The variable is empty, or there is neither EGL nor OSMesa.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if chosen == "":
        raise NoGraphics("the environment variable MUJOCO_GL is empty: unset it, or set it to egl or osmesa")
    if chosen is None:
        found = [name for name, library in (("egl", "EGL"), ("osmesa", "OSMesa")) if ctypes.util.find_library(library)]
        if not found:
            raise NoGraphics("nothing renders without a screen here: install EGL or OSMesa (Debian: libegl1 or libosmesa6)")
        os.environ["MUJOCO_GL"] = found[0]


def switch_effects_off(model: Any) -> None:
    """Switch shadows, reflections and multisampling off in a `mujoco.MjModel`, before anything is rendered of it."""
    model.vis.quality.shadowsize = 0
    model.vis.quality.offsamples = 0
    model.light_castshadow[:] = 0
    model.mat_reflectance[:] = 0.0


def close(renderer: Any) -> None:
    """Close a `mujoco.Renderer` that is still open."""
    if renderer in OPEN:
        OPEN.remove(renderer)
        renderer.close()


def close_all() -> None:
    """Close every open `mujoco.Renderer`."""
    for renderer in OPEN.copy():
        close(renderer)


def close_first() -> None:
    """At exit, close renderers before anything else. MuJoCo and dm_control end the display that all of them draw on as their last act; a
    renderer that closes later complains.
    """
    atexit.unregister(close_all)
    atexit.register(close_all)


@final
class Camera:
    """What one camera of a model sees.

    Nothing is opened before the first image; the graphics context closes with `close`, or else with the camera's end. Environments
    may share a model and its camera, because a context takes time and memory; all images must then be taken in one thread.

    Args:
        model: A `mujoco.MjModel`; its effects are switched off.
        view: A `mujoco.MjvCamera`, or the number or the name of a camera of the model.
        size: Side of the square image, pixels.
        fineness: Each pixel is the mean of `fineness` squared ones of a finer drawing; 1 draws the image directly. What moves by less than
            a pixel shows only in a finer drawing, and it costs less than multisampling.
        hulls: Meshes that collide are drawn as their convex hulls, which have far fewer faces.
    """

    def __init__(self, model: Any, view: Any, *, size: int = 64, fineness: int = 1, hulls: bool = False) -> None:
        switch_effects_off(model)
        self._model, self._view, self._size, self._fineness, self._hulls = model, view, size, fineness, hulls
        self._option: Any = None  # a mujoco.MjvOption
        self._renderer: Any = None
        self._closing: weakref.finalize[[Any], Camera] | None = None

    def image(self, data: Any) -> Frame:
        """What the camera shows of a `mujoco.MjData` whose kinematics are up to date (`mj_forward`), (size, size, 3) RGB."""
        if self._renderer is None:
            import mujoco

            side = self._size * self._fineness
            self._renderer = mujoco.Renderer(self._model, side, side)
            OPEN.append(self._renderer)
            self._closing = weakref.finalize(self, close, self._renderer)
            close_first()
            self._option = mujoco.MjvOption()
            self._option.flags[mujoco.mjtVisFlag.mjVIS_CONVEXHULL] = self._hulls
        self._renderer.update_scene(data, self._view, scene_option=self._option)
        drawing: Frame = self._renderer.render()
        if self._fineness == 1:
            return drawing
        parts = range(self._fineness)
        total = np.full((self._size, self._size, 3), self._fineness**2 // 2, np.uint16)  # rounds to the nearest
        for i, j in itertools.product(parts, parts):
            total += drawing[i :: self._fineness, j :: self._fineness]
        return (total // self._fineness**2).astype(np.uint8)

    def close(self) -> None:
        """Free the graphics context; a later image opens a new one."""
        if self._closing is not None:
            self._closing()
        self._renderer = self._closing = None
