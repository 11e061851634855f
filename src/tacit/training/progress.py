"""Where a training stands, and the checkpoint that it goes on from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tacit.models.jepa import JEPA
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
from tacit.training.settings import TrainConfig
from tacit.training.watch import Health

CHECKPOINT = "checkpoints/latest.safetensors"


@dataclass(kw_only=True)
class Progress:
    """Where a training stands: steps done, seconds in the loop, and bad looks at the latents in a row."""

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
    def resumed(cls, out: Path, model: JEPA, optimizer: torch.optim.Optimizer, config: TrainConfig, seed: int) -> Progress:
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
