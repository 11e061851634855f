"""Batches of windows as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacit.signals import Schema


def tensors(batch: Mapping[str, np.ndarray[Any, Any]], schema: Schema, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """A batch of windows as tensors: what is seen by name (B, L, *shape), and actions (B, L - 1, A)."""
    observations = observed({s.name: batch[s.name] for s in schema.seen}, device)
    actions = [torch.from_numpy(batch[s.name]) for s in schema.actions]
    return observations, torch.cat([a.reshape(*a.shape[:2], -1).to(device, torch.float32) for a in actions], dim=-1)


def observed(samples: Mapping[str, np.ndarray[Any, Any]], device: torch.device) -> dict[str, Tensor]:
    """Arrays by name as tensors."""
    return {name: torch.from_numpy(value).to(device, non_blocking=True) for name, value in samples.items()}
