"""Milliseconds for SIGReg forward and backward, by rotation and by a cosine and a sine at every knot.

    python benchmarks/sigreg.py [--rounds 9] [--threads 1] [--json FILE]

Both compute the same statistic of the same float32 latents; the plain version leaves the backward pass to autograd. They run in turns,
the median round counts, and the numbers only stand when both agree.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from torch import Tensor

from tacit.atomic import atomic_write
from tacit.objectives.sigreg import SIGRegConfig, sigreg, unit_directions


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        groups: G, groups of latents.
        samples: N, samples per group.
        latent: D.
        directions: M.
        knots: K.
        repeats: Passes per round.
        rounds: Rounds per version.
        threads: Torch threads.
        json: Where the numbers go.
    """

    groups: int = 8
    samples: int = 64
    latent: int = 64
    directions: int = 256
    knots: int = 16
    repeats: int = 10
    rounds: int = 9
    threads: int = 1
    json: Path = Path(__file__).parent / "results" / "sigreg.json"


def plain(latents: Tensor, directions: Tensor, config: SIGRegConfig) -> Tensor:
    """The statistic as it is written down, (G, N, D) and (D, M) -> scalar."""
    t = torch.arange(1, config.knots + 1) * (config.reach / config.knots)
    normal = torch.exp(-t.square() / 2)
    weights = normal * (config.reach / config.knots)
    weights[-1] /= 2
    angle = (latents @ directions)[..., None] * t
    gap = (torch.cos(angle).mean(1) - normal).square() + torch.sin(angle).mean(1).square()
    return (gap @ weights).mean() * latents.shape[1]


Version = Callable[[Tensor, Tensor, SIGRegConfig], Tensor]


def gradient(version: Version, latents: Tensor, directions: Tensor, config: SIGRegConfig) -> Tensor:
    """One forward and backward pass."""
    (found,) = torch.autograd.grad(version(latents, directions, config), latents)
    return found


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = SIGRegConfig(directions=options.directions, knots=options.knots, reach=3.0)
    latents = torch.randn(options.groups, options.samples, options.latent, requires_grad=True)
    directions = unit_directions(options.latent, options.directions, torch.Generator().manual_seed(0))
    versions: dict[str, Version] = {"rotation": sigreg, "plain": plain}
    torch.testing.assert_close(*(gradient(version, latents, directions, config) for version in versions.values()), rtol=1e-3, atol=1e-6)

    rounds: dict[str, list[float]] = {name: [] for name in versions}
    for _ in range(options.rounds):
        for name, version in versions.items():
            begun = time.perf_counter()
            for _ in range(options.repeats):
                gradient(version, latents, directions, config)
            rounds[name].append((time.perf_counter() - begun) / options.repeats * 1e3)
    medians = {name: statistics.median(values) for name, values in rounds.items()}

    numbers = {
        "milliseconds": {name: round(value, 3) for name, value in medians.items()},
        "fastest_round": {name: round(min(values), 3) for name, values in rounds.items()},
        "times_faster": round(medians["plain"] / medians["rotation"], 2),
        "settings": {key: value for key, value in vars(options).items() if key != "json"},
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps(numbers, indent=2) + "\n")
    words = ", ".join(f"{name} {value:.2f} ms" for name, value in medians.items())
    Console().print(f"SIGReg forward and backward: {words}; {numbers['times_faster']} times faster. Written to {options.json.name}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
