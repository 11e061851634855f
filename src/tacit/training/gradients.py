"""Losses of a batch and their gradients: as they come, or, on one accelerator, as a recording that is played again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tacit.models.jepa import JEPA, Losses
from tacit.nn.precision import fast_products
from tacit.training.distributed import Group, sum_over_processes
from tacit.training.recorded import record
from tacit.training.settings import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a step is made from; see `JEPA.forward`.

    Attributes:
        observations: By signal name, (B, L, *shape).
        actions: (B, L - 1, A).
        directions: (S, M).
        joined: Scalar, 0 to 1.
        views: By signal name, (N, *shape); None for none.
        alone: Whether the loss of shapes is alone.
    """

    observations: dict[str, Tensor]
    actions: Tensor
    directions: Tensor
    joined: Tensor
    views: dict[str, Tensor] | None
    alone: bool

    def tensors(self) -> Iterator[Tensor]:
        """All of them, in a fixed order."""
        yield from (*self.observations.values(), self.actions, self.directions, self.joined, *(self.views or {}).values())

    def copy(self, device: torch.device) -> Given:
        """The same in memory of its own, on a device."""

        def own(value: Tensor) -> Tensor:
            return value.detach().to(device, copy=True)

        return Given(
            observations={name: own(value) for name, value in self.observations.items()},
            actions=own(self.actions),
            directions=own(self.directions),
            joined=own(self.joined),
            views=None if self.views is None else {name: own(value) for name, value in self.views.items()},
            alone=self.alone,
        )


Gradients = Callable[[Given], Tensor]
"""What a step is given -> losses and norm of the gradient, (8,); gradients are left in the parameters, cut to a norm."""


def gradients_of(model: JEPA, config: TrainConfig, group: Group) -> Gradients:
    """How the gradients of a model are found in this group."""
    alone = group.world_size == 1
    return Recorded(model, config, group) if alone and group.device.type == "cuda" else as_they_come(model, config, group)


def as_they_come(model: JEPA, config: TrainConfig, group: Group) -> Gradients:
    """Every operation when its turn comes."""
    network: nn.Module = model
    if group.world_size > 1:
        # With the loss of shapes alone, as at first, most of the model has no gradient.
        network = nn.parallel.DistributedDataParallel(model, find_unused_parameters=model.recognised_by is not None)
    reduce = sum_over_processes if group.world_size > 1 else None
    rank, size = group.rank, group.world_size

    def gradients(given: Given) -> Tensor:
        with fast_products(group.device.type, bfloat16=config.bfloat16):
            losses: Losses = network(
                given.observations, given.actions, given.directions, reduce, rank, size, given.joined, given.views, given.alone
            )
        model.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        return torch.stack((*losses, norm)).detach()

    return gradients


class Recorded:
    """Gradients of one process on one accelerator, recorded anew when other losses are there.

    Args:
        model: On the accelerator.
        config: Settings.
        group: This process alone.
    """

    def __init__(self, model: JEPA, config: TrainConfig, group: Group) -> None:
        self._model, self._device = model, group.device
        self._gradients = as_they_come(model, config, group)
        self._given: Given | None = None

    def __call__(self, given: Given) -> Tensor:
        if self._given is None or self._given.alone != given.alone:
            self._record(given)
        assert self._given is not None
        for place, value in zip(self._given.tensors(), given.tensors(), strict=True):
            place.copy_(value, non_blocking=True)
        return self._play()

    def _record(self, given: Given) -> None:
        own = self._given = given.copy(self._device)
        self._play = record(lambda: self._gradients(own), self._model, self._device)
