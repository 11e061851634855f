"""How fast a run plans, beside the fastest that its arithmetic could be.

The floor is what the products of one plan take at the rate at which one thread of this machine multiplies large matrices in torch:
everything above it (small matrices, activations, sampling, sorting, Python) is the price of the method and of how it is written. Beside it
stands the rate of matrices as small as the plan's own, one product at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from tacit.evaluation.machine import cpu_model, torch_threads
from tacit.models.ensemble import members_of
from tacit.nn import native
from tacit.planning import PlanSettings, Task
from tacit.run import CostFor, Run
from tacit.signals import Schema

SIDE = 768  # of the large matrices
TRIALS = 15


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanSpeed:
    """What one plan of one machine takes on one thread.

    Attributes:
        plan_ms: Milliseconds of each plan, (calls,).
        encode_ms: Milliseconds of encoding each observation, (calls,).
        cpu_ms: Milliseconds that the thread was computing for each decision, less those of an encoding alone, (calls,): with other programs
            on the machine, what is nearest to the plan's own.
        flops: Floating-point operations of the products in one plan.
        flops_per_second: Of a product of large matrices, in the dtype of the predictor.
        small_flops_per_second: Likewise, of one as small as those of the plan: its candidates through a hidden layer of the predictor.
        products: What made the products of the plans, as `tacit.nn.native.name` says.
        settings: Of the planner.
    """

    plan_ms: NDArray[np.float64]
    encode_ms: NDArray[np.float64]
    cpu_ms: NDArray[np.float64]
    flops: int
    flops_per_second: float
    small_flops_per_second: float
    products: str
    settings: PlanSettings

    @property
    def floor_ms(self) -> float:
        """Milliseconds that the products alone would take."""
        return 1e3 * self.flops / self.flops_per_second

    @property
    def share_of_floor(self) -> float:
        """Floor over the median of `cpu_ms`: 1 is as fast as the arithmetic allows."""
        return self.floor_ms / float(np.median(self.cpu_ms))

    def numbers(self) -> dict[str, Any]:
        """For a results file."""
        found: dict[str, Any] = {"threads": 1, "calls": len(self.plan_ms), "cpu": cpu_model(), "settings": asdict(self.settings)}
        for name, values in (("plan_ms", self.plan_ms), ("encode_ms", self.encode_ms), ("cpu_ms", self.cpu_ms)):
            found |= {f"{name}_p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 99)}
        found |= {"products": self.products, "megaflops": round(self.flops / 1e6, 1)}
        rates = (("gigaflops_per_second", self.flops_per_second), ("small_gigaflops_per_second", self.small_flops_per_second))
        return (
            found
            | {name: round(rate / 1e9, 1) for name, rate in rates}
            | {"floor_ms": round(self.floor_ms, 3), "share_of_floor": round(self.share_of_floor, 3)}
        )


def plan_speed(
    run: Run,
    settings: PlanSettings,
    *,
    cost_for: CostFor | None = None,
    calls: int = 200,
    warm_up: int = 20,
    progress: Callable[[int], None] | None = None,
) -> PlanSpeed:
    """Measure planning on one thread: every call encodes a new observation and makes a new plan.

    Args:
        run: The run.
        settings: How to plan; every action is planned anew, and there is no deadline.
        cost_for: Makes the cost from the latent of a goal; None for the run's own.
        calls: Plans that are measured.
        warm_up: Plans before them.
        progress: Told the number of plans made.
    """
    task = Task(plan=PlanSettings(**asdict(settings) | {"replan_every": 1, "deadline_ms": None}))
    rng = np.random.default_rng(0)
    spent = []
    predictor = members_of(run.model)[0].predictor
    dtype, width = next(predictor.parameters()).dtype, predictor.width
    large, small = [], []  # before and after, as a busy machine is not always as busy
    with torch_threads(1):
        large += multiplication_seconds(dtype, SIDE, SIDE)
        small += multiplication_seconds(dtype, task.plan.candidates, width)
        controller = run.controller(task, cost_for=cost_for)
        controller.reset({name: value[None] for name, value in noise(run.schema, rng).items()})
        for call in range(warm_up + calls):
            seen = noise(run.schema, rng)
            before = time.thread_time()
            _encode(run, seen)
            between = time.thread_time()
            decision = controller.act(seen)
            computing = (time.thread_time() - between) - (between - before)
            spent.append((decision.evidence.plan_ms, decision.evidence.encode_ms, 1e3 * computing))
            if progress is not None:
                progress(call + 1)
        large += multiplication_seconds(dtype, SIDE, SIDE)
        small += multiplication_seconds(dtype, task.plan.candidates, width)
        flops = _flops(run, task, cost_for, rng)
    plan_ms, encode_ms, cpu_ms = np.array(spent[warm_up:], dtype=np.float64).T
    return PlanSpeed(
        plan_ms=plan_ms.copy(),
        encode_ms=encode_ms.copy(),
        cpu_ms=cpu_ms.copy(),
        flops=flops,
        flops_per_second=2 * SIDE**3 / float(np.median(large)),
        small_flops_per_second=2 * task.plan.candidates * width**2 / float(np.median(small)),
        products=run.planning,
        settings=task.plan,
    )


def _flops(run: Run, task: Task, cost_for: CostFor | None, rng: np.random.Generator) -> int:
    """Operations of the products of a second plan, as torch makes them: those in C are the same, and nobody counts them."""
    with native.without():
        controller = run.controller(task, cost_for=cost_for)
        controller.reset({name: value[None] for name, value in noise(run.schema, rng).items()})
        controller.act(noise(run.schema, rng))
        seen = noise(run.schema, rng)
        with FlopCounterMode(display=False) as encoding:
            _encode(run, seen)
        with FlopCounterMode(display=False) as planning:
            controller.act(seen)
    return int(planning.get_total_flops()) - int(encoding.get_total_flops())


def _encode(run: Run, seen: Mapping[str, NDArray[Any]]) -> None:
    with torch.no_grad():
        run.model.encode({name: torch.from_numpy(np.asarray(value))[None, None] for name, value in seen.items()})


def multiplication_seconds(dtype: torch.dtype, rows: int, side: int) -> list[float]:
    """Seconds that one thread computes for a product of (rows, side) and (side, side) matrices; the mean of some, several times."""
    a, b = (torch.randn(count, side).to(dtype) for count in (rows, side))
    at_once = max(1, SIDE**3 // (10 * rows * side**2))
    seconds = []
    for _ in range(TRIALS + 3):
        began = time.thread_time()
        for _ in range(at_once):
            torch.mm(a, b)
        seconds.append((time.thread_time() - began) / at_once)
    return seconds[3:]


def noise(schema: Schema, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    """One sample of every observation signal: what is seen changes no plan's duration."""
    return {s.name: (rng.random(s.shape) * (255 if s.dtype == "uint8" else 1)).astype(s.dtype) for s in schema.seen}
