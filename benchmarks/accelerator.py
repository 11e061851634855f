"""What training and planning do on an accelerator: frames per second, plans per second, and where the host has to wait.

    python benchmarks/accelerator.py [--steps 400] [--json FILE]

Two Rooms, recorded now. Training: sizes `s` and `m`, small and large batches, reading from the store included. Planning: one planner for
many machines at once, with proposals and the learned cost; waits are calls of CUDA that make the host wait for the device, counted while
one plan is made without a deadline. Without an accelerator the same is measured on the CPU, and there are no waits to count.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.contracts import Problem
from tacit.data import EpisodeStore
from tacit.data.sampler import split
from tacit.models.heads import GoalPolicy, TemporalDistance
from tacit.models.jepa import JEPA
from tacit.planning import ImaginedPolicy, ProposeVerify, ProposeVerifyConfig
from tacit.planning import TemporalDistance as Steps
from tacit.planning.action_limits import action_limits
from tacit.training.distributed import joined
from tacit.training.loop import Moment, train
from tacit.training.recipes import Size, for_steps
from tacit.worlds import record, world

RESULTS = Path(__file__).parent / "results" / "accelerator.json"
HORIZON, PROPOSALS = 25, 32

Numbers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        steps: Training steps per setting.
        machines: Machines that are planned for at once.
        plans: Plans per setting.
        json: Where the numbers go.
    """

    steps: int = 400
    machines: tuple[int, ...] = (1, 64, 512)
    plans: int = 20
    json: Path = RESULTS


def training(store: EpisodeStore, steps: int, folder: Path) -> list[Numbers]:
    """Frames per second of the JEPA's training loop; the first tenth of the steps is not counted."""
    found = []
    inside, outside = (part.tolist() for part in split(store, seed=0))
    sizes: tuple[Size, ...] = ("s", "m")
    for size in sizes:
        for batch in (128, 1024):
            recipe = for_steps(size, steps)
            config = replace(recipe.train, batch=batch, watch_every=10**9, checkpoint_seconds=1e9)
            moments: list[tuple[int, float]] = []
            with joined() as group:
                train(
                    store,
                    inside,
                    outside,
                    JEPA(store.schema, recipe.jepa),
                    config,
                    folder / f"{size}-{batch}",
                    seed=0,
                    group=group,
                    on_step=partial(_clocked, moments),
                )
            first = next(i for i, (step, _) in enumerate(moments) if step >= steps // 10)
            (began, since), (ended, until) = moments[first], moments[-1]
            rate = (ended - began) * batch * config.window / (until - since)
            found.append({"size": size, "batch": batch, "frames_per_second": round(rate)})
    return found


def _clocked(moments: list[tuple[int, float]], moment: Moment) -> None:
    moments.append((moment.step, time.perf_counter()))


def planning(store: EpisodeStore, options: Options, device: torch.device) -> list[Numbers]:
    """Milliseconds per plan for many machines, the median, and how often the host waits."""
    sizes: tuple[Size, ...] = ("s", "m")
    return [planned(store, size, machines, options.plans, device) for size in sizes for machines in options.machines]


def planned(store: EpisodeStore, size: Size, machines: int, plans: int, device: torch.device) -> Numbers:
    """One row of `planning`."""
    recipe = for_steps(size, 1)
    model = JEPA(store.schema, recipe.jepa).to(device).eval()
    distance = TemporalDistance(recipe.jepa.latent, recipe.head).to(device).eval()
    policy = GoalPolicy(recipe.jepa.latent, 2, model.history, recipe.head).to(device).eval()
    planner = ProposeVerify(model, ProposeVerifyConfig(candidates=64, iterations=2))
    history = torch.randn(machines, model.history, recipe.jepa.latent, device=device)
    goal = torch.randn(machines, recipe.jepa.latent, device=device)
    proposal = ImaginedPolicy(model=model, policy=policy.distribution, goal=goal)
    generator = torch.Generator(device).manual_seed(0)
    problem = Problem(
        history=history,
        previous=torch.zeros(machines, 2, device=device),
        cost=Steps(distance=distance, goal=goal, stride=5),
        action_limits=action_limits(store.schema).to(device),
        horizon=HORIZON,
    )

    def once() -> None:
        planner.plan(replace(problem, proposals=proposal(history, HORIZON, PROPOSALS, generator)))

    spent = []
    for _ in range(plans + 3):
        began = time.perf_counter()
        once()
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - began)
    milliseconds = statistics.median(spent[3:]) * 1e3
    row: Numbers = {"size": size, "machines": machines, "ms_per_plan": round(milliseconds, 2)}
    row["plans_per_second"] = round(1e3 * machines / milliseconds)
    return row | ({"waits": waits(once)} if device.type == "cuda" else {})


def waits(once: Callable[[], None]) -> int:
    """How often the host waits for the device in one call."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            once()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def main(options: Options) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    with tempfile.TemporaryDirectory() as folder:
        store = record(world("two_room"), Path(folder) / "logs", episodes=300, steps=100, seed=0)
        numbers = {
            "device": name,
            "torch": torch.__version__,
            "training": training(store, options.steps, Path(folder)),
            "planning": planning(store, options, device),
        }
    atomic_write(options.json, json.dumps(numbers, indent=1) + "\n")
    Console().print_json(data=numbers)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
