"""Recordings: what an accelerator is asked for again and again, asked for at once.

A step of a small model is some thousand small operations. An accelerator does each in a few microseconds, and waits ten times as long for
the host to ask for the next one. Recorded as one graph (Gray, "Getting Started with CUDA Graphs", 2019) they are asked for at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

WARM_UP = 3  # times before it is recorded: libraries choose their ways then


def record(compute: Callable[[], Tensor], module: nn.Module, device: torch.device) -> Callable[[], Tensor]:
    """Record a computation that leaves gradients in a module, on an accelerator.

    Args:
        compute: It reads the same memory each time, decides nothing by values, and never makes the host wait.
        module: Its gradients are the recording's from now on, until another one is made.
        device: Where it is computed.

    Returns:
        What computes it again, of what is in that memory by then.
    """
    beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside):
        for _ in range(WARM_UP):
            compute()
    torch.cuda.current_stream(device).wait_stream(beside)
    module.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = compute()

    def play() -> Tensor:
        graph.replay()
        return found.clone()

    return play
