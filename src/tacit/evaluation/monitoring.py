"""A run that is watched: moments recorded while it plans in a world or taken from its logs, a monitor made of them, and what it is worth.

Dimensions: N episodes, T moments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tacit.assurance.moments import Moment, Moments, Watch, senses, watched
from tacit.assurance.monitor import Calibration, MonitorError, calibrate, scored
from tacit.data import EpisodeStore
from tacit.evaluation.intervals import wilson
from tacit.evaluation.outcome import Outcome
from tacit.evaluation.protocol import Manifest, run
from tacit.evaluation.suites import cost_for, planning_for
from tacit.planning import Controller, Task
from tacit.planning.history import LatentHistory
from tacit.run import Run
from tacit.worlds import World

Samples = Mapping[str, NDArray[Any]]
Numbers = dict[str, Any]

LOG_EPISODES = 60  # that the logs are summed up from
LOG_STEPS = 100  # of each, at most


@final
class WatchedPolicy:
    """A planning controller whose moments are kept; nothing is done about them.

    Args:
        controller: Whose decisions to apply.
        watch: Makes the moments.
    """

    def __init__(self, controller: Controller, watch: Watch) -> None:
        self._controller = controller
        self._watch = watch
        self._goals: Samples = {}
        self._batches: list[list[Moment]] = []

    def reset(self, goals: Samples, seed: int) -> None:
        self._controller.reset(goals)
        self._watch.reset()
        self._goals = goals
        self._batches.append([])

    def act(self, observations: Samples) -> NDArray[np.float32]:
        decisions = self._controller.act_batch(observations)
        self._batches[-1].append(self._watch.moment(observations, decisions, self._controller.goal, self._goals))
        return decisions.actions

    def moments(self) -> Moments:
        """Of all episodes since the policy was made."""
        parts = [watched(batch) for batch in self._batches]
        return Moments(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def recorded(
    trained: Run, manifest: Manifest, *, arena: World | None = None, progress: Callable[[int, int], None] | None = None
) -> tuple[Outcome, Moments]:
    """Let a run plan, and keep what a monitor would be told.

    Args:
        trained: The run.
        manifest: The scenes.
        arena: Where they are played; None for the world of the manifest.
        progress: Told the number of actions that are done, and of all.
    """
    protocol = manifest.protocol
    controller = trained.controller(Task(plan=planning_for(trained, protocol)), cost_for=cost_for(trained, protocol), seed=protocol.seed)
    policy = WatchedPolicy(controller, trained.watch())
    outcome = run(manifest, policy, arena=arena, progress=progress)
    return outcome, policy.moments()


@torch.no_grad()
def logged(trained: Run, store: EpisodeStore, episodes: Sequence[int], *, steps: int = LOG_STEPS) -> Moments:
    """Moments of logs, as if they were watched; there is no goal in them. Episodes that are shorter than `steps` are left out.

    Args:
        trained: The run.
        store: The logs.
        episodes: Which of them.
        steps: T, the first moments of each.

    Raises:
        MonitorError: No episode is that long.
    """
    view = store.view([s.name for s in trained.schema.signals])
    chosen = [view[int(n)] for n in episodes if view[int(n)].steps >= steps]
    if not chosen:
        raise MonitorError(f"{store.path}: no episode has {steps} steps; a monitor is made of longer ones")
    samples = {s.name: np.stack([np.asarray(e.signals[s.name][:steps]) for e in chosen]) for s in trained.schema.seen}
    actions = np.stack(
        [
            np.concatenate([np.asarray(e.signals[s.name][:steps], np.float32).reshape(steps, -1) for s in trained.schema.actions], axis=1)
            for e in chosen
        ]
    )
    history: LatentHistory | None = None
    moments = []
    for t in range(steps):
        now = {name: value[:, t] for name, value in samples.items()}
        applied = None if t == 0 else torch.from_numpy(actions[:, t - 1, None])
        latent = trained.model.encode({name: torch.tensor(value)[:, None] for name, value in now.items()}, applied)[:, 0]
        history = history or LatentHistory(trained.model, latent)
        before = torch.from_numpy(actions[:, max(t - 1, 0)])
        history.advance(before, latent, torch.ones(len(latent), dtype=torch.bool))
        seen = senses(trained.schema, now)
        unknown = np.full_like(seen, np.nan)
        moments.append(
            Moment(
                latent=latent.numpy(),
                expected=history.predicted.numpy(),
                action=actions[:, t],
                steps_to_go=np.full(len(latent), np.nan, np.float32),
                distance=np.full(len(latent), np.nan, np.float32),
                senses=seen,
                is_same=np.logical_and.reduce(
                    [(value[:, t] == value[:, t - 1]).reshape(len(latent), -1).all(1) & (t > 0) for value in samples.values()]
                ),
                goal_senses=unknown,
            )
        )
    return watched(moments)


def monitor_of(
    trained: Run,
    episodes: Moments,
    success: NDArray[np.bool_],
    *,
    logs: Moments | None,
    false_alarms: float = 0.04,
    passing: bool = False,
    seed: int = 0,
) -> Calibration:
    """A monitor of episodes in which the run planned; those that failed say nothing of what is usual.

    Args:
        trained: The run.
        episodes: What was recorded.
        success: Which episodes went well, (N,).
        logs: Moments of the logs; None to take a third of the episodes for them.
        false_alarms: Share of episodes that go well in which there may be an alarm.
        passing: Whether it is enough to have been at the goal once.
        seed: Of what is drawn.
    """
    good = episodes.among(success)
    if logs is None:
        third = len(good) // 3
        logs, good = good.among(np.arange(third)), good.among(np.arange(third, len(good)))
    return calibrate(logs, good, schema=trained.schema, weights=trained.fingerprint, false_alarms=false_alarms, passing=passing, seed=seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class Warned:
    """What a monitor said in episodes whose end is known.

    Attributes:
        success: Whether the episode went well, (N,).
        statistic: The combined statistic at each moment, (N, T); above 1 there is an alarm.
        doubt: How far the goal is in the end, (N,), as a multiple of what it may be where it is sure that it is reached.
        singles: The single scores in each episode, (N, S): the largest value, and of arrival the one in the end.
    """

    success: NDArray[np.bool_]
    statistic: NDArray[np.float32]
    doubt: NDArray[np.float32]
    singles: NDArray[np.float32]

    @property
    def in_time(self) -> NDArray[np.bool_]:
        """Whether there was an alarm before the last action, (N,)."""
        return np.asarray(self.statistic.max(1) > 1.0)

    @property
    def warned(self) -> NDArray[np.bool_]:
        """Whether there was an alarm or, in the end, no confirmed arrival, (N,)."""
        return self.in_time | (self.doubt > 1.0)

    @property
    def last_word(self) -> NDArray[np.float32]:
        """One number for a whole episode, (N,): the larger of the alarms and the doubt; above 1 there was a warning."""
        last: NDArray[np.float32] = np.maximum(self.statistic.max(1), self.doubt)
        return last

    @property
    def lead(self) -> NDArray[np.int64]:
        """Steps from the first alarm to the end, (N,); -1 without one."""
        first = np.asarray(self.statistic > 1.0).argmax(1)
        return np.where(self.in_time, self.statistic.shape[1] - first, -1)

    def among(self, rows: NDArray[Any]) -> Warned:
        """Some of the episodes."""
        return Warned(**{name: value[rows] for name, value in vars(self).items()})


def judged(calibration: Calibration, episodes: Moments, success: NDArray[np.bool_]) -> Warned:
    """What a monitor says of recorded episodes. What is seen after the last action is not judged: every warning comes before the end."""
    scores = scored(calibration.reference, episodes)
    singles = calibration.reached(scores)
    return Warned(success=success, statistic=calibration.statistic(scores), doubt=singles[:, -1] / calibration.levels[-1], singles=singles)


def joined(*parts: Warned) -> Warned:
    """The episodes of all of them."""
    return Warned(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def matrix_row(warned: Warned) -> Numbers:
    """How episodes ended, with a supervisor that lets go at the first alarm, and a person who believes an arrival that is confirmed:
    shares with 95 % Wilson intervals."""
    good = warned.success
    count = len(good)

    def share(which: NDArray[np.bool_]) -> Numbers:
        hits = int(which.sum())
        low, high = wilson(hits, count)
        return {"rate": round(hits / count, 4), "low": round(low, 4), "high": round(high, 4), "episodes": hits}

    lead = warned.lead[warned.in_time & ~good]
    return {
        "episodes": count,
        "failed": share(~good),
        "success": share(good & ~warned.warned),
        "warned": share(warned.warned),
        "warned_though_it_went_well": share(warned.warned & good),
        "warned_in_time": share(warned.in_time),
        "failed_without_alarm_in_time": share(~good & ~warned.in_time),
        "silent_failure": share(~good & ~warned.warned),
        "lead_steps": None if not len(lead) else {f"p{q}": float(np.percentile(lead, q)) for q in (10, 50, 90)},
    }


def auroc(values: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> float | None:
    """Chance that a positive has the larger value of a random positive and a random negative; a tie counts half. None without both.

    Source:
        J. A. Hanley and B. J. McNeil, The meaning and use of the area under a ROC curve, Radiology 143 (1982), 29-36.
    """
    positives, negatives = values[positive], np.sort(values[~positive])
    if not len(positives) or not len(negatives):
        return None
    below, upto = (np.searchsorted(negatives, positives, side=side) for side in ("left", "right"))
    return float(((below + upto) / 2).mean() / len(negatives))
