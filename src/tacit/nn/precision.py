"""Which number format a machine multiplies matrices in fastest."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch


def multiplies_bfloat16(device_type: str = "cpu") -> bool:
    """Whether bfloat16 products are done by instructions of their own; a processor without them takes ten times as long as in float32.

    Args:
        device_type: "cpu", "cuda" ...; an accelerator is taken to have them.
    """
    if device_type != "cpu":
        return True
    try:
        found = torch.cpu.get_capabilities()
    except AttributeError:  # older than torch 2.13
        return False
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def fast_products(device_type: str, *, bfloat16: bool) -> AbstractContextManager[Any]:
    """A context in which products are made in bfloat16, if that is wanted and the machine has instructions for it; else in float32."""
    return torch.autocast(device_type, torch.bfloat16, enabled=bfloat16 and multiplies_bfloat16(device_type))


def products_dtype() -> torch.dtype:
    """The number format in which this processor multiplies matrices fastest."""
    return torch.bfloat16 if multiplies_bfloat16() else torch.float32
