"""`tacit export`: write an episode store in a format that other tools read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tacit.cli.info import say_damage
from tacit.cli.terminal import Stopped, Terminal, clock, counting, stoppable


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write an episode store as a LeRobotDataset v3.0; damaged episodes are named and left out, and the exit code is then 1.

    $ tacit export data/rooms --out exported/rooms
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Folder of the store."""
    out: Path
    """Folder to make."""
    format: Literal["lerobot"] = "lerobot"
    """What to write."""
    labels: bool = False
    """Export labels too."""
    task: str = "unknown"
    """What the machine does, in natural language."""
    robot: str = "unknown"
    """What the machine is."""
    codec: str = "libx264"
    """FFmpeg's name of the video encoder."""
    crf: int = 18
    """Quality of the videos: lower is better and larger."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: that of the control period)")] = None
    """Frames per second."""


def run(options: Export, terminal: Terminal) -> int:
    from tacit.data import EpisodeStore
    from tacit.data.export_lerobot import export_lerobot

    store = EpisodeStore(options.data)
    with stoppable(lambda: Stopped(f"nothing was written to {options.out}", terminal.command)), terminal.phases() as phases:
        damage = store.verify(counting(phases.phase("verify"), "episodes"))
        export_lerobot(
            store,
            options.out,
            fps=options.fps,
            codec=options.codec,
            crf=options.crf,
            robot_type=options.robot,
            task=options.task,
            include_labels=options.labels,
            progress=counting(phases.phase("export"), "episodes"),
        )
    if damage:
        say_damage(damage, terminal)
    kept = store.healthy()
    lengths = store.lengths[kept]
    nbytes = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    terminal.say(
        f"{options.out}: {len(kept):,} episodes, {int(lengths.sum()) + len(kept):,} rows, {clock(float(store.seconds))} of logs, "
        f"{nbytes / 1e6:,.1f} MB"
    )
    return 1 if damage else 0
