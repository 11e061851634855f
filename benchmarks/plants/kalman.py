"""States and disturbances of a simulated plant from what its sensors show, by its true equations: an extended Kalman filter.

What the simulator knows besides is not used: neither states, nor disturbances that nobody measures, nor noise. Equations, how noisy and how
late sensors are, and how much each disturbance varies count as known; a disturbance is a random walk with the variance per second that its
jumps and its wandering have together. Samples that come late belong to a moment that is past: the filter stands where all of them have
come, and goes on from there to now at every step with those that are there.

Source: Simon, Optimal State Estimation, Wiley 2006, sections 13.2 and 10.5. Dimensions: n states, k disturbances, p sensors.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import final

import numpy as np
from benchmarks.plants.aims import Floats
from benchmarks.plants.equations import NUDGE, one_step

from tacit.evaluation.closed_loop import Samples
from tacit.signals import MASK
from tacit.worlds.plants import Process

START = 1e-6  # variance of the first states, in squares of their ranges: runs begin at the operating point
SLACK = 1e-12  # variance that each step adds to the states, likewise: equations are integrated, too
# Disturbances walk so many times faster than their statistics say: a step of one is rare, but far beyond a walk of that variance, and a
# filter that does not expect it takes it for others. Of 1, 10, 100 and 1,000, tried in scenarios of seed 2000.
AGILE = 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Belief:
    """What is known of a moment.

    Attributes:
        mean: States and disturbances, (n + k,).
        cov: Their covariance, (n + k, n + k).
    """

    mean: Floats
    cov: Floats


@final
class Estimator:
    """Follows a plant from its operating point on.

    Args:
        process: Its equations.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        states, disturbances = process.states, process.disturbances
        self._n = len(states)
        ranges = [(each.low, each.nominal, each.high) for each in states] + [(each.low, each.nominal, each.high) for each in disturbances]
        self._low, mean, self._high = np.array(ranges).T
        width, seconds = self._high - self._low, process.step_seconds
        self._nudges = NUDGE * width
        walk = [AGILE * 2 * seconds * (d.wander**2 / d.wander_seconds + d.jump**2 / d.jump_seconds) for d in disturbances]
        self._drift = np.diag(np.concatenate((SLACK * width[: self._n] ** 2, walk)))
        self._late = max(s.dead_steps for s in process.sensors)
        spread = [d.wander**2 + d.jump**2 for d in disturbances]
        self._known = Belief(mean=mean, cov=np.diag(np.concatenate((START * width[: self._n] ** 2, spread))))
        # Since then: what was applied before each moment, and what was shown of it.
        self._moments: deque[tuple[Floats, dict[str, float]]] = deque()
        self._now = self._known

    @property
    def states(self) -> Floats:
        """States as they probably are now, (n,)."""
        return self._now.mean[: self._n]

    @property
    def disturbances(self) -> Floats:
        """Disturbances as they probably are now, (k,)."""
        return self._now.mean[self._n :]

    def begin(self, samples: Samples) -> None:
        """Take in the first samples: nothing was applied before."""
        fresh, prompt = self._fresh(samples), [name for name, late in self._sources() if not late]
        self._now = self._known = self._updated(self._known, {name: fresh[name] for name in prompt if name in fresh})

    def advance(self, applied: Floats, samples: Samples) -> None:
        """Take in what is shown after a step.

        Args:
            applied: Manipulated variables as they really were, (m,).
            samples: What is seen.
        """
        self._moments.append((applied, {}))
        fresh = self._fresh(samples)
        for name, late in self._sources():
            if name in fresh and late < len(self._moments):
                self._moments[-1 - late][1][name] = fresh[name]
        while len(self._moments) > self._late:
            self._known = self._updated(self._predicted(self._known, self._moments[0][0]), self._moments[0][1])
            self._moments.popleft()
        now = self._known
        for action, shown in self._moments:
            now = self._updated(self._predicted(now, action), shown)
        self._now = now

    def _sources(self) -> list[tuple[str, int]]:
        """What is shown, and by how many steps it is late."""
        measured = [(d.name, 0) for d in self._process.disturbances if d.measured]
        return [(s.name, s.dead_steps) for s in self._process.sensors] + measured

    def _fresh(self, samples: Samples) -> dict[str, float]:
        """What is new among what is seen."""
        return {name: float(samples[name]) for name, _ in self._sources() if bool(samples.get(name + MASK, True))}

    def _predicted(self, belief: Belief, applied: Floats) -> Belief:
        """What follows in one step, with what that adds to the covariance."""
        n, nudges = self._n, self._nudges
        moved = belief.mean + np.concatenate((np.zeros((1, len(nudges))), np.diag(nudges), -np.diag(nudges)))
        ends = one_step(self._process, moved[:, :n], applied, moved[:, n:])
        slopes = np.eye(len(nudges))
        slopes[:n] = ((ends[1 : 1 + len(nudges)] - ends[1 + len(nudges) :]) / (2 * nudges[:, None])).T
        mean = np.concatenate((ends[0], belief.mean[n:]))
        return Belief(mean=mean, cov=slopes @ belief.cov @ slopes.T + self._drift)

    def _updated(self, belief: Belief, shown: dict[str, float]) -> Belief:
        """What is known after some samples, in the form that stays symmetric (Joseph's)."""
        if not shown:
            return belief
        process, n, nudges = self._process, self._n, self._nudges
        rows, news, noise = [], [], []
        at = np.concatenate((np.zeros((1, n)), np.diag(nudges[:n]), -np.diag(nudges[:n]))) + belief.mean[:n]
        outputs = process.outputs(at)
        slopes = (outputs[1 : 1 + n] - outputs[1 + n :]) / (2 * nudges[:n, None])
        for place, sensor in enumerate(process.sensors):
            if sensor.name in shown:
                rows.append(np.concatenate((slopes[:, place], np.zeros(len(nudges) - n))))
                news.append(shown[sensor.name] - outputs[0, place])
                noise.append(sensor.noise**2 + sensor.resolution**2 / 12)
        for place, disturbance in enumerate(process.disturbances):
            if disturbance.name in shown:
                rows.append(np.eye(len(nudges))[n + place])
                news.append(shown[disturbance.name] - belief.mean[n + place])
                noise.append(disturbance.noise**2 + disturbance.resolution**2 / 12)
        of, error = np.array(rows), np.diag(noise)
        gain = np.linalg.solve(of @ belief.cov @ of.T + error, of @ belief.cov).T
        mean = belief.mean + gain @ np.array(news)
        rest = np.eye(len(nudges)) - gain @ of
        return Belief(mean=np.clip(mean, self._low, self._high), cov=rest @ belief.cov @ rest.T + gain @ error @ gain.T)
