"""`tacit record`: fill an episode store from a simulated world."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from tacit.cli.terminal import Stopped, Terminal, clock, counting, stoppable

EPISODES, STEPS = 2000, 100
PLANT_EPISODES, PLANT_SECONDS = 8, 3600.0


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record episodes of a simulated world into an episode store; an interrupted recording goes on where it was.

    $ tacit record two_room --episodes 2000 --out data/rooms

    A plant's operation is first written as its historian exports it, into the folder OUT-historian, and then imported.

    $ tacit record four_tank --out data/tanks
    """

    world: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WORLD")]
    """World to record: two_room, two_room_fixed, reacher, point_maze, push_t, cube; or plant: four_tank, four_tank_nonminimum, reactor,
    evaporator, heater, tennessee_eastman."""
    out: Path
    """Folder of the store."""
    episodes: int | None = None
    """Episodes in the finished store: 2000, or 8 of a plant."""
    steps: int | None = None
    """Actions per episode: 100, or an hour of a plant."""
    seed: int = 0
    """Seed of the recording."""
    jobs: int = 1
    """Processes that simulate at the same time; the store is the same. Plants are logged by one."""


def run(options: Record, terminal: Terminal) -> int:
    from tacit.data import EpisodeStore
    from tacit.worlds import WORLDS, record, world
    from tacit.worlds.plants import PLANTS, plant, record_plant

    if options.world in PLANTS:
        if options.jobs != 1:
            raise ValueError(f"--jobs {options.jobs}: {options.world} is a plant, which one process logs; leave the option out")
        process = plant(options.world)
        recording = partial(record_plant, process)
        episodes, steps = PLANT_EPISODES, round(PLANT_SECONDS / process.step_seconds)
    elif options.world in WORLDS:
        recording = partial(record, world(options.world), jobs=options.jobs)
        episodes, steps = EPISODES, STEPS
    else:
        raise ValueError(f"there is no world {options.world!r}; there are: {', '.join((*WORLDS, *PLANTS))}")
    episodes = episodes if options.episodes is None else options.episodes
    steps = steps if options.steps is None else options.steps

    def state() -> Stopped:
        if not (options.out / "store.json").is_file():
            return Stopped("no store was written so far", terminal.command)
        return Stopped(f"{len(EpisodeStore(options.out)):,} of {episodes:,} episodes are in {options.out}", terminal.command)

    with stoppable(state), terminal.phases() as phases:
        shown = counting(phases.phase("record"), "episodes")
        store = recording(options.out, episodes=episodes, steps=steps, seed=options.seed, progress=shown)
    terminal.say(
        f"{options.out}: {len(store):,} episodes, {int(store.lengths.sum()) + len(store):,} frames, {clock(store.seconds)} of logs, "
        f"{store.nbytes / 1e6:,.0f} MB"
    )
    return 0
