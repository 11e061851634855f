"""How fast a run plans, beside the fastest that its arithmetic could be.

The floor is what the products of one plan take at the rate at which one thread of this machine multiplies large matrices: everything
above it (small matrices, activations, sampling, sorting, Python) is the price of the method and of how it is written.
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
        flops: Floating-point operations of the products in one plan.
        flops_per_second: Of a product of large matrices, in the dtype of the predictor.
        settings: Of the planner.
    """

    plan_ms: NDArray[np.float64]
    encode_ms: NDArray[np.float64]
    flops: int
    flops_per_second: float
    settings: PlanSettings

    @property
    def floor_ms(self) -> float:
        """Milliseconds that the products alone would take."""
        return 1e3 * self.flops / self.flops_per_second

    @property
    def share_of_floor(self) -> float:
        """Floor over median: 1 is as fast as the arithmetic allows."""
        return self.floor_ms / float(np.median(self.plan_ms))

    def numbers(self) -> dict[str, Any]:
        """For a results file."""
        found: dict[str, Any] = {"threads": 1, "calls": len(self.plan_ms), "cpu": cpu_model(), "settings": asdict(self.settings)}
        for name, values in (("plan_ms", self.plan_ms), ("encode_ms", self.encode_ms)):
            found |= {f"{name}_p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 99)}
        rate = {"megaflops": round(self.flops / 1e6, 1), "gigaflops_per_second": round(self.flops_per_second / 1e9, 1)}
        return found | rate | {"floor_ms": round(self.floor_ms, 3), "share_of_floor": round(self.share_of_floor, 3)}


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
    with torch_threads(1):
        rate = multiplication_rate(next(run.model.predictor.parameters()).dtype)
        controller = run.controller(task, cost_for=cost_for)
        controller.reset({name: value[None] for name, value in noise(run.schema, rng).items()})
        for call in range(warm_up + calls):
            decision = controller.act(noise(run.schema, rng))
            spent.append((decision.evidence.plan_ms, decision.evidence.encode_ms))
            if progress is not None:
                progress(call + 1)
        seen = noise(run.schema, rng)
        with torch.no_grad(), FlopCounterMode(display=False) as encoding:
            run.model.encode({name: torch.from_numpy(np.asarray(value))[None, None] for name, value in seen.items()})
        with FlopCounterMode(display=False) as planning:
            controller.act(seen)
    plan_ms, encode_ms = np.array(spent[warm_up:], dtype=np.float64).T
    flops = int(planning.get_total_flops()) - int(encoding.get_total_flops())
    return PlanSpeed(plan_ms=plan_ms.copy(), encode_ms=encode_ms.copy(), flops=flops, flops_per_second=rate, settings=task.plan)


def multiplication_rate(dtype: torch.dtype) -> float:
    """Floating-point operations per second of a product of large matrices on the threads that torch has now; the median of some."""
    a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(TRIALS + 3):
        began = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - began)
    return 2 * SIDE**3 / float(np.median(seconds[3:]))


def noise(schema: Schema, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    """One sample of every observation signal: what is seen changes no plan's duration."""
    return {s.name: (rng.random(s.shape) * (255 if s.dtype == "uint8" else 1)).astype(s.dtype) for s in schema.seen}
