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

import torch
from torch import Tensor

from tacit.data import EpisodeStore
from tacit.models.jepa import JEPA, Losses
from tacit.objectives.sigreg import unit_directions
from tacit.training.distributed import Group, from_first, sum_over_processes
from tacit.training.gradients import Given, gradients_of
from tacit.training.hiding import hidden
from tacit.training.interrupts import held_back
from tacit.training.metrics import metrics_of
from tacit.training.progress import Progress
from tacit.training.resident import OnLoad
from tacit.training.seed import generator
from tacit.training.settings import TrainConfig, learning_rate
from tacit.training.supply import Supply
from tacit.training.watch import Health, look, watched

LOG_EVERY = 50  # steps


class TrainingStopped(RuntimeError):
    """Training ended before its time: a non-finite loss or collapsed latents."""


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
    on_load: OnLoad | None = None,
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
        on_load: Told while logs are copied to an accelerator, where they fit into its memory.
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
    supply = Supply(store, episodes, model, config, seed, group)
    seen = watched(store, held_out, model.schema, config, seed)
    model.to(group.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay, fused=True
    )
    state = Progress.resumed(out, model, optimizer, config, seed) if resume else Progress()
    if state.step == 0:
        sample, actions = supply.sample()
        model.standardize({k: v.flatten(0, 1) for k, v in sample.items()}, actions.flatten(0, 1))
    gradients = gradients_of(model, config, group)
    check_every = _check_every(group.device)

    out.mkdir(parents=True, exist_ok=True)
    pending: list[Tensor] = []
    latest = Health(effective_rank=math.nan, min_std=math.nan, mean_std=math.nan, action_r2=math.nan)
    steps = range(state.step, config.steps if config.steps is not None else 2**62)
    with (
        metrics_of(out, state.step, group) as metrics,
        supply.batches(steps, on_load) as batches,
        held_back() as interrupt_if_asked,
    ):
        begun, saved = time.perf_counter() - state.seconds, time.perf_counter()

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
            for observations, actions, views in batches:
                share = from_first(state.share(config), group)
                if share >= 1.0:
                    break
                for parameters in optimizer.param_groups:
                    parameters["lr"] = learning_rate(config, state.step, share)
                hiding = generator(seed, f"hiding {group.rank}", state.step)
                given = Given(
                    observations=hidden(observations, model.schema, config.channel_dropout, hiding),
                    actions=actions,
                    directions=unit_directions(
                        model.config.state, model.config.sigreg.directions, generator(seed, "directions", state.step)
                    ),
                    joined=torch.tensor(model.config.joined(share)),
                    views=views,
                    alone=model.config.is_alone(share),
                )
                pending.append(gradients(given))
                if state.step % check_every == 0:
                    values = _checked(pending, state.step, out, group)
                    pending.clear()
                    if state.step % LOG_EVERY == 0:
                        note({f"loss/{name}": value for name, value in values.items()} | {"lr": optimizer.param_groups[0]["lr"]})
                optimizer.step()
                state.step += 1
                state.seconds = time.perf_counter() - begun
                if state.step % config.watch_every == 0:
                    latest = look(model, seen, group.device)
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
    latest = look(model, seen, group.device)
    return Trained(steps=state.step, frames=state.step * config.batch * config.window, seconds=state.seconds, health=latest)


def _check_every(device: torch.device) -> int:
    """Steps between looks at the losses, which make an accelerator wait; a divisor of LOG_EVERY."""
    return 1 if device.type == "cpu" else 25


def _checked(pending: Sequence[Tensor], step: int, out: Path, group: Group) -> dict[str, float]:
    """Mean of each loss over the pending steps and over all processes, so that all of them stop together.

    Args:
        pending: Losses and gradient norm of the latest steps, each (8,).
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
    longest = max(model.config.rollout, 2, *model.config.inverse_spans)
    if config.window <= longest:
        raise ValueError(f"a window of {config.window} frames has no room for {longest} steps; take {longest + 1} frames or more")
