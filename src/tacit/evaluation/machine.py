"""The machine that numbers were measured on."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")
_STAT = Path("/proc/stat")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cpu_model() -> str:
    """Name of the processor as it names itself."""
    for processor in _processors():
        if name := processor.get("model name"):
            return name
    return platform.processor() or platform.machine()


def physical_cores() -> int:
    """Physical cores that this process may use: two threads of one core do not make training faster, and a container's quota counts."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    known = [p for p in _processors() if "core id" in p and p["processor"].isdecimal() and int(p["processor"]) in allowed]
    cores = len({(p.get("physical id"), p["core id"]) for p in known}) or len(allowed)
    return max(1, min(cores, _quota()))


def busy_cores(seconds: float = 0.3) -> float:
    """Cores that all programs together keep busy while this one waits for `seconds`; 0 where the kernel does not say."""
    before = _cpu_times()
    time.sleep(seconds)
    spent = [later - earlier for later, earlier in zip(_cpu_times(), before, strict=True)]
    idle = sum(spent[3:5])  # idle, and waiting for a disk
    return (os.cpu_count() or 1) * (1 - idle / sum(spent)) if sum(spent) else 0.0


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads, and as many as before when it is over."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _processors() -> list[dict[str, str]]:
    """What the kernel says of each logical processor; nothing where it says nothing."""
    try:
        blocks = _CPUINFO.read_text().strip().split("\n\n")
    except OSError:
        return []
    pairs = [[line.split(":", 1) for line in block.splitlines() if ":" in line] for block in blocks]
    return [{"processor": "", **{key.strip(): value.strip() for key, value in block}} for block in pairs]


def _cpu_times() -> list[int]:
    """Time units that all processors together have spent on each kind of work since the start; all 0 where the kernel does not say."""
    try:
        return [int(word) for word in _STAT.read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return [0] * 8


def _quota() -> int:
    """Processors that the container may keep busy, rounded up."""
    try:
        quota, period = _QUOTA.read_text().split()
    except (OSError, ValueError):
        return os.cpu_count() or 1
    return (os.cpu_count() or 1) if quota == "max" else math.ceil(int(quota) / int(period))
