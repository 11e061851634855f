"""What `tacit eval` does where the world is a plant: closed loop against the plant's own controllers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tacit.cli.terminal import Stopped, Terminal, stoppable

if TYPE_CHECKING:
    from tacit.cli.evaluate import Evaluate
    from tacit.planning import Task
    from tacit.run import Run
    from tacit.worlds.plants import Plant

EPISODES, HOURS, SEED = 6, 1.0, 0
PAGE, RESULTS = "plant.html", "plant.json"


def run_plant(options: Evaluate, trained: Run, name: str, terminal: Terminal) -> int:
    """Drive a plant through scenarios with a run's controller, with PI control and with none, and write the page.

    Raises:
        ValueError: An option is of worlds with goal images, or the plant has no loop to take over.
        TaskError: The task does not fit the run.
    """
    import json

    from tacit.atomic import atomic_write
    from tacit.cli.train import set_threads
    from tacit.evaluation.closed_loop import WATCHED, Constant, PidControl, Planned, Policy, drive, scenarios
    from tacit.evaluation.plant_page import Result, headline, numbers, render_plant
    from tacit.evaluation.plant_score import score
    from tacit.planning import Task
    from tacit.worlds.plants import SimulatedPlant, gains_of, plant

    for option in ("protocol", "manifest", "ablation_episodes"):
        if getattr(options, option) is not None:
            raise ValueError(f"--{option.replace('_', '-')} is of worlds with goal images, and {name} is a plant")
    made = plant(name)
    if not made.loops:
        raise ValueError(f"{name} has its controllers inside, and no loop that a run could take over: there is nothing to drive")
    trained.schema.require_same(made.schema, f"the plant {name}")
    task = plant_task(made) if options.task is None else Task.from_toml(options.task)
    set_threads(options.threads, 1, terminal)
    steps = round(HOURS * 3600 / made.step_seconds) if options.budget is None else options.budget
    episodes, seed = options.episodes or EPISODES, options.seed or SEED
    gains = gains_of(made.process) if isinstance(made, SimulatedPlant) else None
    operator = None if gains is None else PidControl(gains)
    policies: list[Policy] = [Planned(trained.controller(task, seed=seed))]
    policies += [] if gains is None else [PidControl(gains)]
    policies.append(Constant())
    results = []
    with stoppable(lambda: Stopped(f"{options.run} is as it was before", terminal.command)), terminal.phases() as phases:
        chosen = scenarios(made, episodes=episodes, steps=steps, seed=seed, lead=task.plan.horizon + WATCHED)
        shown = phases.phase("drive the plant")
        for scenario in chosen:
            for policy in policies:
                trace = drive(plant(name), policy, scenario, operator=operator)
                results.append(Result(trace=trace, score=score(trace, made, task)))
                shown(len(results) / (len(chosen) * len(policies)), f"{scenario.name}, {policy.name}")
    render_plant(
        options.run / PAGE,
        results,
        made,
        task,
        run=options.run.name,
        spread={name: fitted.spread for name, fitted in trained.readouts.items()},
    )
    text = json.dumps({"plant": name, "command": terminal.command, "policies": numbers(results)}, indent=2, allow_nan=False) + "\n"
    for path in (options.run / RESULTS, options.json):
        if path is not None:
            atomic_write(path, text)
    for policy in policies:
        total = sum(r.score.tracking for r in results if r.trace.policy == policy.name)
        broken = sum(r.score.broken for r in results if r.trace.policy == policy.name)
        terminal.say(f"{policy.name:12} integrated squared error {total:10.4g}   hard limits broken at {broken} steps")
    terminal.say(headline(results, tuple(dict.fromkeys(r.trace.policy for r in results))))
    terminal.say(f"the page: {Path(options.run / PAGE)}")
    return 0


def plant_task(made: Plant) -> Task:
    """Hold every loop of a plant at its setpoint, inside what its actuators can do."""
    from tacit.planning import ActionLimit, Goal, SignalGoal, Task, for_signals

    return Task(
        goal=Goal(signals={loop.controlled: SignalGoal(value=made.operating_point[loop.controlled]) for loop in made.loops}),
        limits={name: ActionLimit(low=limit.low, high=limit.high, rate=limit.rate) for name, limit in made.action_limits.items()},
        plan=for_signals(),
    )
