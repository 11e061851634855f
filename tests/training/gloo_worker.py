"""One of the processes of `test_distributed.py`: trains with the others, then meets a fault that only one of them has.

python gloo_worker.py STORE OUT STEPS
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from trained import fresh, train_in

from point_world import loop_config, model_config
from tacit.data import EpisodeStore
from tacit.models import jepa
from tacit.training.checkpoint import save_tensors
from tacit.training.distributed import joined
from tacit.training.loop import TrainingStopped


def main(store: EpisodeStore, out: Path, steps: int) -> None:
    losses: list[float] = []
    with joined("cpu") as group:
        config = loop_config(steps=steps, watch_every=3)
        model, _ = train_in(store, out, config, group=group, on_step=lambda moment: losses.append(moment.loss))
        save_tensors(out / f"weights-{group.rank}", model.state_dict(), {})

        shapes = fresh(store.schema, replace(model_config(), shape_weight=1.0, shape_alone=0.5))
        train_in(store, out / "shapes", replace(config, views=64), model=shapes, group=group)
        save_tensors(out / f"shapes-{group.rank}", shapes.state_dict(), {})

        words = "nothing happened"
        original, calls = jepa.inverse_loss, []

        def faulty(*args: object, **named: object) -> torch.Tensor:
            calls.append(1)  # two a step
            return original(*args, **named) * (math.nan if group.rank == 1 and len(calls) > 4 else 1.0)

        jepa.inverse_loss = faulty
        try:
            train_in(store, out / "faulty", config, group=group)
        except TrainingStopped as stopped:
            words = str(stopped)
        (out / f"told-{group.rank}.json").write_text(json.dumps({"losses": losses, "world": group.world_size, "words": words}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(EpisodeStore(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
