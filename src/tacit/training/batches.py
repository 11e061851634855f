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
    observations = {s.name: torch.from_numpy(batch[s.name]).to(device, non_blocking=True) for s in schema.seen}
    actions = [torch.from_numpy(batch[s.name]) for s in schema.actions]
    return observations, torch.cat([a.reshape(*a.shape[:2], -1).to(device, torch.float32) for a in actions], dim=-1)
