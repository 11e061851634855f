"""The training loop: windows in, a JEPA out, with everything that can go wrong on the way.

One pass of the loop is one optimizer step on one global batch. What a batch holds and which directions SIGReg looks along are
functions of (seed, step), so a resumed run repeats the interrupted one bit by bit on the CPU when it is told `steps`; with
`minutes` the learning rate follows the clock instead.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tacit.data import EpisodeStore, Prefetcher, StoreError, WindowReader, WindowSampler
from tacit.models.jepa import JEPA, Losses
from tacit.nn.precision import fast_products
from tacit.objectives.sigreg import unit_directions
from tacit.signals import Schema
from tacit.training.checkpoint import (
    CheckpointError,
    differences,
    load_strictly,
    load_tensors,
    optimizer_tensors,
    restore_optimizer,
    save_tensors,
    under,
    with_prefix,
)
from tacit.training.distributed import Group, from_first, sum_over_processes
from tacit.training.hiding import hidden
from tacit.training.interrupts import held_back
from tacit.training.metrics import metrics_of
from tacit.training.seed import generator
from tacit.training.watch import Health, health

CHECKPOINT = "checkpoints/latest.safetensors"
LOG_EVERY = 50  # steps


class TrainingStopped(RuntimeError):
    """Training ended before its time: a non-finite loss or collapsed latents."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of the loop.

    Attributes:
        batch: Windows per step over all processes, an even number: half of them are drawn, and the others are their partners from the
            same episodes.
        window: L, frames per window.
        steps: Optimizer steps; None when the clock decides.
        minutes: Wall minutes; None when the steps decide.
        learning_rate: Peak of the cosine schedule.
        weight_decay: AdamW's.
        warmup: Steps of linear warm-up.
        clip: Largest gradient norm.
        channel_dropout: Share of the windows in which an element of a signal that may be missing is hidden.
        watch_every: Steps between looks at the held-out latents.
        checkpoint_seconds: Wall seconds between checkpoints.
        bfloat16: Run encoder, predictor and inverse model in bfloat16 where the processor has instructions for it; losses and SIGReg stay
            in float32.

    Raises:
        ValueError: Not exactly one of steps and minutes is given, it is not positive, the batch is not an even number, or the channel
            dropout is not a share below 1.
    """

    batch: int = 128
    window: int = 4
    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup: int = 100
    clip: float = 1.0
    channel_dropout: float = 0.1
    watch_every: int = 250
    checkpoint_seconds: float = 60.0
    bfloat16: bool = True

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")
        if (self.steps or 0) < 0 or (self.minutes or 0) < 0:
            raise ValueError("steps and minutes must be positive")
        if not 0 <= self.channel_dropout < 1:
            raise ValueError(f"a channel dropout of {self.channel_dropout} is not a share of the windows; give 0 to below 1")
        if self.batch < 2 or self.batch % 2:
            raise ValueError(f"a batch of {self.batch} windows does not come in pairs; give an even number")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What a progress display is told after each step: step, share of the training done (0 to 1), total loss, frames per second."""

    step: int
    share: float
    loss: float
    frames_per_second: float


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training took: steps, frames seen by the encoder over all processes, seconds in the loop, and the last look at the latents."""

    steps: int
    frames: int
    seconds: float
    health: Health


def tensors(batch: Mapping[str, np.ndarray[Any, Any]], schema: Schema, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """A batch of windows as tensors: observations by name (B, L, *shape) and actions (B, L - 1, A)."""
    observations = {s.name: torch.from_numpy(batch[s.name]).to(device, non_blocking=True) for s in schema.observations}
    actions = [torch.from_numpy(batch[s.name]) for s in schema.actions]
    return observations, torch.cat([a.reshape(*a.shape[:2], -1).to(device, torch.float32) for a in actions], dim=-1)


def learning_rate(config: TrainConfig, step: int, share: float) -> float:
    """Linear warm-up by steps, then half a cosine down to 2 % by the share of the training that is done."""
    return config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup)) * (0.51 + 0.49 * math.cos(math.pi * min(share, 1.0)))


def train(
    store: EpisodeStore,
    episodes: Sequence[int],
    held_out: Sequence[int],
    model: JEPA,
    config: TrainConfig,
    out: Path,
    *,
    seed: int,
    group: Group | None = None,
    resume: bool = False,
    on_step: Callable[[Moment], None] | None = None,
    on_scalars: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Trained:
    """Train a model on the windows of some episodes, in place.

    Args:
        store: The logs. Only signals of the model's schema are read, never a label.
        episodes: Episodes to train on.
        held_out: Episodes that the collapse watch looks at.
        model: Fresh or partly trained; moved to the group's device.
        config: Settings.
        out: Run directory; gets metrics.jsonl and checkpoints/latest.safetensors.
        seed: Of batches and directions.
        group: Processes that train together; None for this one alone on the CPU.
        resume: Go on from the checkpoint in `out`.
        on_step: Told about every step.
        on_scalars: Told the scalars that also go to metrics.jsonl, for a tracker.

    Raises:
        TrainingStopped: A loss or gradient was not finite, or the latents collapsed. The last good checkpoint is kept.
        ValueError: The window is too short for the model's rollouts and inverse spans.
        StoreError: The logs hold too few windows.
        CheckpointError: `resume` finds a checkpoint of another model or of other settings.
        KeyboardInterrupt: Between two steps, after a checkpoint was written.
    """
    group = group or Group()
    _require_room(config, model)
    reader = WindowReader(store, length=config.window, episodes=episodes)
    pairs = config.batch // 2
    sampler = WindowSampler(reader.lengths, window=config.window, batch=pairs, seed=seed, rank=group.rank, world_size=group.world_size)
    watched = _watched(store, held_out, model.schema, config, seed)
    model.to(group.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay, fused=True
    )
    state = _Progress.resumed(out, model, optimizer, config, seed) if resume else _Progress()
    if state.step == 0:
        whole = WindowSampler(reader.lengths, window=config.window, batch=pairs, seed=seed)  # the same in every process
        sample, actions = tensors(reader.read(whole.pairs_at(0)), model.schema, group.device)
        model.standardize({k: v.flatten(0, 1) for k, v in sample.items()}, actions.flatten(0, 1))
    network: nn.Module = DistributedDataParallel(model) if group.world_size > 1 else model
    reduce = sum_over_processes if group.world_size > 1 else None
    check_every = _check_every(group.device)

    out.mkdir(parents=True, exist_ok=True)
    begun, saved = time.perf_counter() - state.seconds, time.perf_counter()
    pending: list[Tensor] = []
    latest = Health(effective_rank=math.nan, min_std=math.nan, mean_std=math.nan, action_r2=math.nan)
    steps = range(state.step, config.steps if config.steps is not None else 2**62)
    with (
        metrics_of(out, state.step, group) as metrics,
        Prefetcher(reader, sampler.pairs_at, steps) as batches,
        held_back() as interrupt_if_asked,
    ):

        def note(scalars: dict[str, float]) -> None:
            if group.is_first:
                metrics.write(json.dumps({"step": state.step, "seconds": round(state.seconds, 3), **scalars}) + "\n")
                metrics.flush()
                if on_scalars:
                    on_scalars(state.step, scalars)

        def save() -> None:
            if group.is_first:
                state.save(out, model, optimizer, config, seed)

        try:
            for batch in batches:
                share = from_first(state.share(config), group)
                if share >= 1.0:
                    break
                for parameters in optimizer.param_groups:
                    parameters["lr"] = learning_rate(config, state.step, share)
                observations, actions = tensors(batch, model.schema, group.device)
                hiding = generator(seed, f"hiding {group.rank}", state.step)
                observations = hidden(observations, model.schema, config.channel_dropout, hiding)
                directions = unit_directions(model.config.state, model.config.sigreg.directions, generator(seed, "directions", state.step))
                with fast_products(group.device.type, bfloat16=config.bfloat16):
                    losses: Losses = network(observations, actions, directions, reduce, group.rank, group.world_size, share)
                optimizer.zero_grad(set_to_none=True)
                losses.total.backward()  # type: ignore[no-untyped-call]
                norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip)
                pending.append(torch.stack((*losses, norm)).detach())
                if state.step % check_every == 0:
                    values = _checked(pending, state.step, out, group)
                    pending.clear()
                    if state.step % LOG_EVERY == 0:
                        note({f"loss/{name}": value for name, value in values.items()} | {"lr": optimizer.param_groups[0]["lr"]})
                optimizer.step()
                state.step += 1
                state.seconds = time.perf_counter() - begun
                if state.step % config.watch_every == 0:
                    latest = _look(model, watched, group)
                    note({f"watch/{name}": value for name, value in asdict(latest).items()})
                    if reason := state.collapsed(latest):
                        raise TrainingStopped(
                            f"stopped at step {state.step}: {reason}. Raise the SIGReg or inverse weight, lower the learning rate, "
                            f"or look at the logs: do the observations change at all?"
                        )
                if on_step and not pending:
                    frames = config.batch * config.window * state.step
                    on_step(
                        Moment(step=state.step, share=state.share(config), loss=values["total"], frames_per_second=frames / state.seconds)
                    )
                if not pending and time.perf_counter() - saved > config.checkpoint_seconds:
                    save()
                    saved = time.perf_counter()
                interrupt_if_asked()
        except KeyboardInterrupt:
            _checked(pending, state.step - 1, out, Group())  # alone: the others may be at another step
            save()
            raise
        _checked(pending, state.step - 1, out, group)
        save()
    latest = _look(model, watched, group)
    return Trained(steps=state.step, frames=state.step * config.batch * config.window, seconds=state.seconds, health=latest)


@dataclass(kw_only=True)
class _Progress:
    """Where a training stands."""

    step: int = 0
    seconds: float = 0.0
    bad_looks: int = 0

    def share(self, config: TrainConfig) -> float:
        if config.steps is not None:
            return self.step / config.steps if config.steps else 1.0
        assert config.minutes is not None
        return self.seconds / (60 * config.minutes) if config.minutes else 1.0

    def collapsed(self, seen: Health) -> str | None:
        """The reason to stop: two bad looks in a row."""
        reason = seen.collapse()
        self.bad_looks = self.bad_looks + 1 if reason else 0
        return reason if self.bad_looks >= 2 else None

    def save(self, out: Path, model: JEPA, optimizer: torch.optim.Optimizer, config: TrainConfig, seed: int) -> None:
        path = out / CHECKPOINT
        path.parent.mkdir(parents=True, exist_ok=True)
        everything = with_prefix("model", model.state_dict()) | with_prefix("optimizer", optimizer_tensors(optimizer))
        meta = {"step": self.step, "seconds": self.seconds, "bad_looks": self.bad_looks}
        save_tensors(path, everything, meta | {"settings": _fixed(model, config, seed)})

    @classmethod
    def resumed(cls, out: Path, model: JEPA, optimizer: torch.optim.Optimizer, config: TrainConfig, seed: int) -> _Progress:
        path = out / CHECKPOINT
        everything, meta = load_tensors(path)
        if different := differences(meta["settings"], _fixed(model, config, seed)):
            more = f" and {len(different) - 3} more" if len(different) > 3 else ""
            raise CheckpointError(
                f"{path} was written with {', '.join(different[:3])}{more}: resume with the same settings, or train anew in another folder"
            )
        load_strictly(model, under("model", everything), str(path))
        restore_optimizer(optimizer, under("optimizer", everything))
        return cls(step=meta["step"], seconds=meta["seconds"], bad_looks=meta["bad_looks"])


def _fixed(model: JEPA, config: TrainConfig, seed: int) -> dict[str, Any]:
    """Settings that must stay the same over a resume, as JSON values; how long to train may change."""
    changing = ("steps", "minutes", "watch_every", "checkpoint_seconds")
    loop = {key: value for key, value in asdict(config).items() if key not in changing}
    settings = {"schema": model.schema.digest()[:16], "seed": seed, "model": asdict(model.config), "loop": loop}
    values: dict[str, Any] = json.loads(json.dumps(settings))
    return values


def _check_every(device: torch.device) -> int:
    """Steps between looks at the losses, which make an accelerator wait; a divisor of LOG_EVERY."""
    return 1 if device.type == "cpu" else 25


def _checked(pending: Sequence[Tensor], step: int, out: Path, group: Group) -> dict[str, float]:
    """Mean of each loss over the pending steps and over all processes, so that all of them stop together.

    Args:
        pending: Losses and gradient norm of the latest steps, each (7,).
        step: The last of them.
        out: Run directory, for the message.
        group: Processes that train together.

    Raises:
        TrainingStopped: One is not finite; the message names the step and the loss.
    """
    if not pending:
        return {}
    steps = torch.stack(tuple(pending))
    values = (sum_over_processes(steps) / group.world_size if group.world_size > 1 else steps).double().cpu()
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        row = int(bad[0, 0])
        column = max(range(values.shape[1]), key=lambda c: (not values[row, c].isfinite(), 0 < c < len(Losses._fields), -c))
        name = "gradient norm" if column == len(Losses._fields) else f"{Losses._fields[column]} loss"  # a part, rather than the total
        raise TrainingStopped(
            f"stopped at step {step - len(pending) + 1 + row}: the {name} is {values[row, column].item()}. The last checkpoint in "
            f"{out / 'checkpoints'} is good; lower the learning rate, or look for extreme values in the logs (`tacit info`)."
        )
    return dict(zip(Losses._fields, values.mean(0).tolist(), strict=False))


def _require_room(config: TrainConfig, model: JEPA) -> None:
    longest = max(model.config.rollout, *model.config.inverse_spans)
    if config.window <= longest:
        raise ValueError(f"a window of {config.window} frames has no room for {longest} steps; take {longest + 1} frames or more")


def _watched(
    store: EpisodeStore, held_out: Sequence[int], schema: Schema, config: TrainConfig, seed: int
) -> tuple[dict[str, Tensor], Tensor]:
    """A fixed batch of held-out windows."""
    reader = WindowReader(store, length=config.window, episodes=held_out)
    windows = int((reader.lengths - config.window + 2).clip(min=0).sum())
    if windows < 2:
        raise StoreError(f"{store.path}: the held-out episodes hold only one window of {config.window} frames; hold out more of them")
    sampler = WindowSampler(reader.lengths, window=config.window, batch=min(128, windows), seed=seed)
    return tensors(reader.read(sampler.batch_at(0)), schema, torch.device("cpu"))


@torch.no_grad()
def _look(model: JEPA, watched: tuple[dict[str, Tensor], Tensor], group: Group) -> Health:
    observations, actions = watched
    latents = model.encode({name: value.to(group.device) for name, value in observations.items()})
    return health(latents[..., : model.config.state].cpu(), actions)
