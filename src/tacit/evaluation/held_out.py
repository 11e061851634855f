"""What the logs say of a trained run: what can be read from its latents, and how long its predictions hold, on held-out episodes.

Dimensions: F frames, E episodes, T steps ahead, D latent, C label channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tacit.data import EpisodeStore
from tacit.evaluation.probes import Latents, Probe, linear_probe, mlp_probe
from tacit.evaluation.sections import Data, Dynamics
from tacit.evaluation.sections import Probe as ProbeSection
from tacit.run import Run
from tacit.signals import Signal
from tacit.training.fit import Display
from tacit.training.latents import LatentLog, encode_log

TRAIN_EPISODES = 150  # that probes are fitted on
HELD_OUT_EPISODES = 100  # at most
LARGEST_LABEL = 16  # elements: a label image is not probed
SAMPLES = 8  # frames shown
POINTS = 1500  # of a scatter plot
PATHS, STEPS_AHEAD = 3, 40


@dataclass(frozen=True, kw_only=True, eq=False)
class Logs:
    """Encoded episodes with their numbers in the store."""

    store: EpisodeStore
    train: LatentLog
    train_numbers: tuple[int, ...]
    held_out: LatentLog
    held_out_numbers: tuple[int, ...]


def read_logs(run: Run, store: EpisodeStore, display: Display) -> Logs:
    """Encode some of the episodes that a run was trained on and those that it was not.

    Args:
        run: Whose split of the store and whose encoder.
        store: The logs that the run was trained on, checked for damage.
        display: Where progress goes.

    Raises:
        SchemaError: The store is of another machine.
        ValueError: The store has too few healthy episodes to divide.
    """
    run.schema.require_same(store.schema, f"the store {store.path}")
    kept, apart = run.config.division(store)
    chosen = [tuple(kept[:TRAIN_EPISODES].tolist()), tuple(apart[:HELD_OUT_EPISODES].tolist())]
    shown = display.phase("encode held-out logs")
    total, cpu = sum(int(store.lengths[list(part)].sum()) + len(part) for part in chosen), torch.device("cpu")
    done = 0
    logs = []
    for part in chosen:
        before = done

        def progress(frames: int, before: int = before) -> None:
            nonlocal done
            done = before + frames
            shown(done / total, f"{done:,} of {total:,} frames")

        logs.append(encode_log(store, part, run.model, device=cpu, progress=progress))
    return Logs(store=store, train=logs[0], train_numbers=chosen[0], held_out=logs[1], held_out_numbers=chosen[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelProbe:
    """One label read from the latents.

    Attributes:
        label: The label.
        channels: Its elements that vary, (C,); a constant one cannot be probed.
        linear: The linear probe, C channels.
        mlp: The small network.
    """

    label: Signal
    channels: tuple[int, ...]
    linear: Probe
    mlp: Probe

    def numbers(self) -> dict[str, Any]:
        """What results.json keeps."""
        return {
            "r2": round(self.linear.r2_overall, 5),
            "r2_mlp": round(self.mlp.r2_overall, 5),
            "r2_per_channel": [round(v, 5) for v in self.linear.r2.tolist()],
            "r2_mlp_per_channel": [round(v, 5) for v in self.mlp.r2.tolist()],
            "mean_abs_error": [float(f"{v:.4g}") for v in self.linear.mean_abs_error.tolist()],
            "mean_abs_error_mlp": [float(f"{v:.4g}") for v in self.mlp.mean_abs_error.tolist()],
            "unit": self.label.unit,
            "episodes": self.linear.episodes,
        }

    def sections(self) -> list[ProbeSection]:
        """What the report shows, thinned to a number of points that an eye can tell apart."""
        kept = np.linspace(0, len(self.linear.true) - 1, min(POINTS, len(self.linear.true))).round().astype(int)
        return [
            ProbeSection(
                label=self.label.name if self.label.size == 1 else f"{self.label.name}[{channel}]",
                unit=self.label.unit,
                true=self.linear.true[kept, column].astype(np.float32),
                predicted=self.linear.predicted[kept, column].astype(np.float32),
                r2_linear=float(self.linear.r2[column]),
                r2_mlp=float(self.mlp.r2[column]),
            )
            for column, channel in enumerate(self.channels)
        ]


def probe_labels(logs: Logs, *, seed: int) -> tuple[LabelProbe, ...]:
    """Probe every label of the store that varies; none when there is no such label or only one training episode."""
    found = []
    for label in logs.store.schema.labels:
        if label.size > LARGEST_LABEL or len(logs.train) < 2:
            continue
        train, held_out = (_labels(logs.store, part, label) for part in (logs.train_numbers, logs.held_out_numbers))
        channels = [c for c in range(label.size) if np.ptp(train[:, c]) > 0 and np.ptp(held_out[:, c]) > 0]
        if not channels:
            continue
        fitted, scored = (
            Latents(latents=log.latents.numpy(), labels=labels[:, channels], episodes=_episodes(log, numbers))
            for log, labels, numbers in (
                (logs.train, train, logs.train_numbers),
                (logs.held_out, held_out, logs.held_out_numbers),
            )
        )
        linear, network = linear_probe(fitted, scored), mlp_probe(fitted, scored, seed=seed)
        found.append(LabelProbe(label=label, channels=tuple(channels), linear=linear, mlp=network))
    return tuple(found)


@torch.no_grad()
def predicted_paths(run: Run, logs: Logs) -> Dynamics:
    """Open-loop rollouts of the longest held-out episodes beside what happened: the state, on the two directions in which it moves most."""
    log = logs.held_out
    chosen = log.steps.argsort(descending=True, stable=True)[:PATHS]
    first = torch.full_like(chosen, run.model.history - 1).clamp(max=int(log.steps[chosen].min()) - 1)
    steps = min(STEPS_AHEAD, int((log.steps[chosen] - first).min()))
    rows = (log.first[chosen] + first)[:, None] + torch.arange(steps)
    states = run.model.predicted_part(log.latents)
    predicted = run.model.predicted_part(run.model.rollout(log.history(chosen, first, run.model.history), log.actions[rows][:, None])[:, 0])
    real = states[rows + 1]
    centre = states.mean(0)
    episodes = (states[a : a + n + 1] for a, n in zip(log.first.tolist(), log.steps.tolist(), strict=True))
    within = torch.cat([episode - episode.mean(0) for episode in episodes])
    _, spread, axes = torch.linalg.svd(within.double(), full_matrices=False)
    share = (spread.square() / spread.square().sum()).tolist()
    flat = axes[:2].T.float()
    return Dynamics(
        predicted=((predicted - centre) @ flat).numpy(),
        real=((real - centre) @ flat).numpy(),
        errors=(predicted - real).square().sum(-1).numpy(),
        explained=(share[0], share[1]),
    )


def shown_data(store: EpisodeStore) -> Data:
    """What the logs are, with frames of the first camera from all over them."""
    healthy = store.healthy()
    camera = next((s for s in store.schema.observations if s.is_image and s.shape[-1] in (1, 3)), None)
    samples = None
    if camera is not None and len(healthy):
        numbers = healthy[np.linspace(0, len(healthy) - 1, min(SAMPLES, len(healthy))).round().astype(int)]
        images = [store[int(n)].signals[camera.name] for n in numbers]
        samples = np.stack([np.asarray(image[len(image) // 2]) for image in images])
    return Data(
        store=store.path.name,
        episodes=len(store),
        frames=int(store.lengths.sum()) + len(store),
        seconds=float(store.seconds),
        schema=store.schema,
        samples=samples,
    )


def _labels(store: EpisodeStore, numbers: tuple[int, ...], label: Signal) -> NDArray[np.float64]:
    """Samples of a label, episode after episode, (F, elements)."""
    return np.concatenate([np.asarray(store[n].signals[label.name], dtype=np.float64).reshape(-1, label.size) for n in numbers])


def _episodes(log: LatentLog, numbers: tuple[int, ...]) -> NDArray[np.int64]:
    return np.repeat(np.array(numbers, dtype=np.int64), (log.steps + 1).numpy())
