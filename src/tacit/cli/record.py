"""`tacit record`: fill an episode store from a simulated world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tacit.cli.terminal import Stopped, Terminal, clock, counting, stoppable


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record episodes of a simulated world into an episode store; an interrupted recording goes on where it was.

    $ tacit record two_room --episodes 2000 --out data/rooms
    """

    world: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WORLD")]
    """World to record: two_room, two_room_fixed, reacher, point_maze, push_t, cube."""
    out: Path
    """Folder of the store."""
    episodes: int = 2000
    """Episodes in the finished store."""
    steps: int = 100
    """Actions per episode."""
    seed: int = 0
    """Seed of the recording."""


def run(options: Record, terminal: Terminal) -> int:
    from tacit.data import EpisodeStore
    from tacit.worlds import record, world

    arena = world(options.world)

    def state() -> Stopped:
        if not (options.out / "store.json").is_file():
            return Stopped("nothing was written", terminal.command)
        return Stopped(f"{len(EpisodeStore(options.out)):,} of {options.episodes:,} episodes are in {options.out}", terminal.command)

    with stoppable(state), terminal.phases() as phases:
        shown = counting(phases.phase("record"), "episodes")
        store = record(arena, options.out, episodes=options.episodes, steps=options.steps, seed=options.seed, progress=shown)
    terminal.say(
        f"{options.out}: {len(store):,} episodes, {int(store.lengths.sum()) + len(store):,} frames, {clock(store.seconds)} of logs, "
        f"{store.nbytes / 1e6:,.0f} MB"
    )
    return 0
