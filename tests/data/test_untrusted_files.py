"""A file says what it holds, never what is run or read besides it; and one that is damaged is named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tacit.data.formats.npz import NPZ
from tacit.data.images import ImageFrames
from tacit.data.streams import BadTake
from tacit.data.video import VideoFrames, write_video

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


def test_an_image_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would hand PostScript to Ghostscript, whatever the file is called."""
    (tmp_path / "bin").mkdir()
    gs = tmp_path / "bin/gs"
    gs.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "x.jpg").write_bytes(EPS)
    with pytest.raises(BadTake, match=r"x\.jpg"):
        ImageFrames([tmp_path / "x.jpg"]).read(np.array([0]))
    assert not (tmp_path / "ran").exists()


def test_a_playlist_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_video(tmp_path / "sub/other.mp4", (np.full((32, 32, 3), n, np.uint8) for n in range(9)), fps=10)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile sub/other.mp4\n")
    with pytest.raises(BadTake, match=r"list\.mp4 cannot be opened as a video"):
        len(VideoFrames(tmp_path / "list.mp4"))


def test_a_folder_may_be_called_by_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("2024-05-01T12:30:00")
    folder.mkdir()
    write_video(folder / "front.mp4", (np.full((32, 32, 3), n, np.uint8) for n in range(9)), fps=10)
    assert len(VideoFrames(folder / "front.mp4")) == 9


@pytest.mark.parametrize("byte", [10, 11, 20, 40])
def test_a_damaged_array_spoils_no_folder(tmp_path: Path, byte: int) -> None:
    for take in ("good", "hit"):
        (tmp_path / "takes" / take).mkdir(parents=True)
        np.save(tmp_path / "takes" / take / "a.npy", np.arange(20.0))
        np.save(tmp_path / "takes" / take / "time.npy", np.arange(20.0))
    hit = tmp_path / "takes/hit/a.npy"
    contents = bytearray(hit.read_bytes())
    contents[byte] = 0
    hit.write_bytes(contents)
    assert "good" in " ".join(NPZ.describe(tmp_path / "takes", {}).takes)
