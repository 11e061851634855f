"""`tacit calibrate`: make the monitor of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tacit.cli.terminal import Stopped, Terminal, stoppable
from tacit.cli.train import set_threads, verify

EPISODES, BUDGET = 300, 200


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """Learn what is usual when a run plans and all is well, so that a supervisor can tell when it is not.

    With a world, the run plans in new scenes of it, and the episodes that reach their goal are what is usual. Without one, the held-out
    episodes of the logs are, in which there is no goal, so that missing progress is not noticed. The monitor is the file
    monitor.safetensors in the folder of the run.

    $ tacit calibrate runs/rooms --world two_room --episodes 300
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    world: Annotated[str | None, tyro.conf.arg(metavar="WORLD", help_behavior_hint="(default: none, the logs)")] = None
    """World to plan in."""
    episodes: Annotated[int, tyro.conf.arg(metavar="N")] = EPISODES
    """Scenes of the world, half of them hard, or most episodes of the logs."""
    budget: Annotated[int, tyro.conf.arg(metavar="N")] = BUDGET
    """Actions per scene, and most steps of an episode of the logs."""
    false_alarms: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.04
    """Share of episodes that go well in which there may be an alarm."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 1000
    """Seed of the scenes; not one that the run is evaluated with."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DATA", help_behavior_hint="(default: where it was)")] = None
    """Store that the run was trained on."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all physical cores)")] = None
    """Threads."""


def run(options: Calibrate, terminal: Terminal) -> int:
    import numpy as np

    from tacit.assurance.monitor import MONITOR
    from tacit.data import EpisodeStore
    from tacit.evaluation.monitoring import LOG_EPISODES, logged, monitor_of, recorded
    from tacit.evaluation.protocol import Protocol, draw_manifest
    from tacit.run import load
    from tacit.worlds import world

    trained = load(options.run)
    if options.world is not None:
        trained.schema.require_same(world(options.world).schema, f"the world {options.world}")
    store = EpisodeStore(options.data or Path(trained.config.store))
    trained.schema.require_same(store.schema, f"the store {store.path}")
    set_threads(options.threads, 1, terminal)
    with stoppable(lambda: Stopped(f"{options.run} is as it was before", terminal.command)), terminal.phases() as phases:
        verify(store, phases, terminal)
        train, held_out = (part.tolist() for part in trained.config.division(store))
        shown = phases.phase("logs")
        shown(0.0, "what they look like")
        steps = min(options.budget, int(np.median(store.lengths)))
        logs = logged(trained, store, train[:LOG_EPISODES], steps=steps)
        if options.world is None:
            episodes = logged(trained, store, held_out[: options.episodes], steps=steps)
            success = np.ones(len(episodes), np.bool_)
        else:
            shown = phases.phase("plan")
            manifest = draw_manifest(Protocol(world=options.world, episodes=options.episodes, budget=options.budget, seed=options.seed))
            outcome, episodes = recorded(trained, manifest, progress=lambda n, of: shown(n / of, f"{n:,} of {of:,} actions"))
            success = outcome.success
        calibration = monitor_of(trained, episodes, success, logs=logs, false_alarms=options.false_alarms)
        calibration.save(options.run / MONITOR)
    terminal.say(
        f"{options.run / MONITOR}: {int(success.sum())} episodes in which all was well, "
        f"warnings in at most {options.false_alarms:.1%} of such episodes"
    )
    return 0
