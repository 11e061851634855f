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


def of_member(seed: int, member: int) -> int:
    """The seed of a member of an ensemble: the ensemble's own for the first one, and another one for each of the others."""
    return seed if member == 0 else _number(seed, "member", member) % 2**31


def _number(seed: int, purpose: str, step: int) -> int:
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return int.from_bytes(digest[:7], "little")
