"""The logs as the model sees them: every frame encoded once, so that heads and calibration train in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tacit.contracts import WorldModel
from tacit.data import EpisodeStore
from tacit.models.jepa import before_each

CHUNK = 1024  # frames encoded at once


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentLog:
    """Encoded episodes, laid end to end. F frames in all, N episodes, D latent, A action.

    Attributes:
        latents: (F, D) float32.
        actions: (F, A) float32, physical units; the row of an episode's last frame is zero and means nothing.
        first: Row of each episode's first frame, (N,) int64, on the CPU: what to look at is drawn there, wherever the latents are.
        steps: Number of actions of each episode, (N,) int64, on the CPU; it has one frame more.
    """

    latents: Tensor
    actions: Tensor
    first: Tensor
    steps: Tensor

    def __len__(self) -> int:
        return len(self.first)

    @property
    def device(self) -> torch.device:
        """Where the latents and actions are."""
        return self.latents.device

    def to(self, device: torch.device) -> LatentLog:
        """The same log with latents and actions on a device."""
        return replace(self, latents=self.latents.to(device), actions=self.actions.to(device))

    def inside(self) -> Tensor:
        """Rows of all moments at which an action was applied: those of episodes' last frames are left out."""
        inside = torch.ones(len(self.latents), dtype=torch.bool)
        inside[self.first + self.steps] = False
        return inside.nonzero()[:, 0].to(self.device)

    def history(self, episode: Tensor, t: Tensor, length: int) -> Tensor:
        """The latest `length` latents at frame t, (B,) each on the CPU -> (B, h, D); the first frame stands for what was before it."""
        past = torch.arange(length - 1, -1, -1)
        rows = self.first[episode][:, None] + (t[:, None] - past).clamp(min=0)
        return self.latents[rows.to(self.device)]


@torch.no_grad()
def encode_log(
    store: EpisodeStore, episodes: Sequence[int], model: WorldModel, *, device: torch.device, progress: Callable[[int], None] | None = None
) -> LatentLog:
    """Encode every frame of some episodes, to a log on the CPU.

    Args:
        store: The logs; only the model's signals are read.
        episodes: Which episodes.
        model: Encodes.
        device: Where the model is.
        progress: Told the number of frames done.
    """
    view = store.view([s.name for s in model.schema.signals])
    latents, actions, lengths = [], [], []
    done = 0
    for index in episodes:
        episode = view[int(index)]
        frames = episode.steps + 1
        rows = [np.asarray(episode.signals[s.name], dtype=np.float32).reshape(episode.steps, -1) for s in model.schema.actions]
        applied = np.concatenate(rows, axis=1)
        before = before_each(torch.from_numpy(applied)[None])[0].to(device)
        for start in range(0, frames, CHUNK):
            now = slice(start, start + CHUNK)
            part = {s.name: torch.tensor(episode.signals[s.name][now], device=device)[None] for s in model.schema.seen}
            latents.append(model.encode(part, before[None, now])[0].float())
        actions.append(torch.from_numpy(np.pad(applied, ((0, 1), (0, 0)))))
        lengths.append(episode.steps)
        done += frames
        if progress:
            progress(done)
    steps = torch.tensor(lengths, dtype=torch.int64)
    first = torch.cat((torch.zeros(1, dtype=torch.int64), (steps + 1).cumsum(0)[:-1]))
    return LatentLog(latents=torch.cat(latents).cpu(), actions=torch.cat(actions), first=first, steps=steps)


def moments(log: LatentLog, horizon: int, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Moments with `horizon` steps after them in the chosen episodes: episode and time, (B,) each, in order."""
    room = (log.steps[chosen] - horizon + 1).clamp(min=0)
    return torch.repeat_interleave(chosen, room), torch.cat([torch.arange(int(n)) for n in room])


def spread_evenly(moments: tuple[Tensor, Tensor], count: int) -> tuple[Tensor, Tensor]:
    """At most `count` of some moments."""
    kept = torch.linspace(0, len(moments[0]) - 1, min(count, len(moments[0]))).long()
    return moments[0][kept], moments[1][kept]


def among(log: LatentLog, found: tuple[Tensor, Tensor], usual: Tensor, history: int, horizon: int) -> tuple[Tensor, Tensor]:
    """Those of some moments whose history and horizon lie in usual frames; all of them where there are none."""
    episode, t = found
    row = log.first[episode] + t
    before = torch.nn.functional.pad((~usual).long().cumsum(0), (1, 0))
    inside = before[row + horizon + 1] == before[row - t.clamp(max=history - 1)]
    return (episode[inside], t[inside]) if inside.any() else found
