"""Pictures of MuJoCo: the backend is chosen once, effects are off, and a finer drawing is averaged."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys

import numpy as np
import pytest

from tacit.extras import MissingExtra
from tacit.worlds.mujoco_camera import Camera, NoGraphics, choose_graphics, headless, switch_effects_off

BALL = """
<mujoco>
  <asset><material name="shiny" reflectance="0.5"/></asset>
  <worldbody>
    <light pos="0 0 3" dir="0 0 -1"/>
    <camera name="above" pos="0 0 2"/>
    <geom type="plane" size="1 1 0.1" material="shiny"/>
    <body pos="0 0 0.2"><joint type="slide" axis="1 0 0"/><geom type="sphere" size="0.2" rgba="1 0 0 1"/></body>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def ball() -> tuple[object, object]:
    """Model and data of a red ball that slides on a shiny floor."""
    with headless("a test"):
        import mujoco
    model = mujoco.MjModel.from_xml_string(BALL)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


@pytest.mark.parametrize(("libraries", "expected"), [({"EGL", "OSMesa"}, "egl"), ({"OSMesa"}, "osmesa")])
def test_an_unset_variable_becomes_what_the_machine_has(monkeypatch: pytest.MonkeyPatch, libraries: set[str], expected: str) -> None:
    monkeypatch.setenv("MUJOCO_GL", "x")
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: name if name in libraries else None)
    choose_graphics()
    assert os.environ["MUJOCO_GL"] == expected


def test_a_choice_of_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    choose_graphics()
    assert os.environ["MUJOCO_GL"] == "glfw"


def test_an_empty_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    with pytest.raises(NoGraphics, match=r"MUJOCO_GL is empty.*unset it"):
        choose_graphics()


def test_a_machine_that_cannot_render_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(NoGraphics, match="install EGL or OSMesa"):
        choose_graphics()


def test_a_missing_package_names_the_extra() -> None:
    with (
        pytest.raises(MissingExtra, match=r"reacher needs the extra: pip install 'tacit\[worlds\]' \(.*'no_such_simulator'\)"),
        headless("reacher"),
    ):
        import no_such_simulator  # noqa: F401


def test_effects_are_off(ball: tuple[object, object]) -> None:
    model, _ = ball
    switch_effects_off(model)
    assert model.vis.quality.shadowsize == model.vis.quality.offsamples == 0
    assert not model.light_castshadow.any()
    assert not model.mat_reflectance.any()


def test_an_image_follows_the_simulation(ball: tuple[object, object]) -> None:
    import mujoco

    model, data = ball
    camera = Camera(model, "above", size=32)
    images = []
    for x in (-0.4, 0.4):
        data.qpos[0] = x
        mujoco.mj_forward(model, data)
        images.append(camera.image(data))
    camera.close()
    assert images[0].shape == (32, 32, 3)
    assert images[0].dtype == np.uint8
    redness = [image[..., 0].astype(int) - image[..., 2] for image in images]
    left, right = ((weight.sum(0) @ np.arange(32)) / weight.sum() for weight in redness)
    assert left < 15.5 < right
    assert left + right == pytest.approx(31, abs=0.5)


def test_a_pixel_is_the_mean_of_a_finer_drawing(ball: tuple[object, object]) -> None:
    model, data = ball
    direct, fine = Camera(model, 0, size=48), Camera(model, 0, size=16, fineness=3)
    mean = direct.image(data).reshape(16, 3, 16, 3, 3).mean(axis=(1, 3))
    assert np.abs(fine.image(data) - mean).max() <= 0.5
    for camera in (direct, fine):
        camera.close()


def test_a_closed_camera_opens_again(ball: tuple[object, object]) -> None:
    model, data = ball
    camera = Camera(model, "above", size=16)
    camera.close()
    first = camera.image(data)
    camera.close()
    camera.close()
    assert np.array_equal(camera.image(data), first)
    camera.close()


@pytest.mark.parametrize("later", ["import mujoco", "import dm_control.suite"])
def test_a_process_that_leaves_a_camera_open_ends_in_silence(later: str) -> None:
    """Both packages end the display at exit; the one that is imported last does so first."""
    program = (
        "import sys\nfrom tacit.worlds.mujoco_camera import Camera, headless\nwith headless('a test'): import mujoco\n"
        "model = mujoco.MjModel.from_xml_string(sys.argv[1]); data = mujoco.MjData(model); mujoco.mj_forward(model, data);"
        "cameras = Camera(model, 0), Camera(model, 0, size=32); print([camera.image(data).any() for camera in cameras]);"
        "del cameras; last = Camera(model, 0); last.image(data); \n"
        f"with headless('a test'): {later}\n"
    )
    done = subprocess.run([sys.executable, "-c", program, BALL], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[np.True_, np.True_]"
    assert done.stderr == ""
