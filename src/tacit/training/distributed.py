"""Data-parallel training: one process per device, started by `torchrun` or alone."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process among the ones that train together.

    Attributes:
        rank: Its number.
        world_size: How many they are.
        device: Where it computes.
        sharing: Trainings that share this device, this one among them: those of other models, apart from this group.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    sharing: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0


@contextmanager
def joined(device: str | None = None) -> Iterator[Group]:
    """Join the group that `torchrun` describes in the environment; alone without one.

    Args:
        device: "cpu", "cuda" ...; None takes an accelerator when there is one.
    """
    world_size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    place = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if world_size == 1:
        yield Group(device=place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Group(rank=dist.get_rank(), world_size=world_size, device=place)
    finally:
        gc.collect()  # what still holds the group goes before it does: a process in some twenty aborted after its work was done
        dist.destroy_process_group()


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # Every process holds the same global loss. Summing their gradients here and averaging them over processes in
        # DistributedDataParallel gives the gradient of that one loss, once.
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


def sum_over_processes(x: Tensor) -> Tensor:
    """Differentiable sum of a tensor over all processes; the same result in each."""
    total: Tensor = _SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return total


def from_first(value: float, group: Group) -> float:
    """The first process's value, in every process."""
    if group.world_size == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=group.device)
    dist.broadcast(shared, 0)
    return float(shared)
