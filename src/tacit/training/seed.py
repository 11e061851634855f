"""Random numbers that depend on what they are for, not on what was drawn before."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def generator(seed: int, purpose: str, step: int = 0) -> torch.Generator:
    """A CPU generator for one purpose at one step: the same after a resume, on every rank, in every order of calls."""
    return torch.Generator().manual_seed(_number(seed, purpose, step))


def random_numbers(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """The same for NumPy."""
    return np.random.default_rng(_number(seed, purpose, step))


def _number(seed: int, purpose: str, step: int) -> int:
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return int.from_bytes(digest[:7], "little")
