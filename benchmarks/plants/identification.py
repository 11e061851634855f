"""A linear model of a plant from its logs: ARX, least squares on lagged outputs, actions and measured disturbances.

    y_{t+1} = y_t + W [y_t .. y_{t-p+1}, a_t .. a_{t-p+1}, d_t .. d_{t-p+1}] + c

Source: Ljung, System Identification, 2nd edition, 1999, section 4.2. Order p, ridge, and whether sensors that are not controlled are
outputs, too, are what forecasts the controlled ones best in the last logs, some steps ahead and with disturbances held where they were.

Dimensions: N outputs, M inputs (A actions, then disturbances), p order, B moments, H horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from tacit.evaluation.forecasters import ProcessLog

Floats = NDArray[np.float64]
ORDERS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)  # of the mean square of the inputs
VALIDATION = 0.2  # of the episodes, the last ones, decide
JUDGED = 400  # moments that do
AHEAD = 4  # steps of the forecasts that decide: errors of a plant that runs away grow too large behind


@dataclass(frozen=True, kw_only=True, eq=False)
class Arx:
    """An identified model, in physical units.

    Attributes:
        outputs: Names of the N sensors.
        order: p.
        of_outputs: Part of W, (N, p, N); the newest first.
        of_inputs: Part of W, (N, p, M); the newest first.
        constant: c, (N,).
        error: Of forecasts of the logs that decided; see `forecast_error`.
    """

    outputs: tuple[str, ...]
    order: int
    of_outputs: Floats
    of_inputs: Floats
    constant: Floats
    error: float = np.nan

    def step(self, outputs: Floats, inputs: Floats) -> Floats:
        """The next outputs (..., N) after the last p of them (..., p, N) and inputs (..., p, M), newest first."""
        change = np.einsum("npk,...pk->...n", self.of_outputs, outputs) + np.einsum("npk,...pk->...n", self.of_inputs, inputs)
        next_outputs: Floats = outputs[..., 0, :] + change + self.constant
        return next_outputs

    def free(self, outputs: Floats, inputs: Floats, ahead: Floats, drift: Floats) -> Floats:
        """Outputs 1 to H steps ahead, (..., H, N).

        Args:
            outputs: The last p, newest first, (..., p, N).
            inputs: The last p before now, (..., p, M), of which the oldest is not used.
            ahead: Inputs from now on, (..., H, M).
            drift: What is added to the change of the outputs at each step, (..., N): the estimated disturbance.
        """
        found = []
        for k in range(ahead.shape[-2]):
            inputs = np.concatenate((ahead[..., k, None, :], inputs[..., : self.order - 1, :]), axis=-2)
            newest = self.step(outputs, inputs) + drift
            outputs = np.concatenate((newest[..., None, :], outputs[..., : self.order - 1, :]), axis=-2)
            found.append(newest)
        return np.stack(found, axis=-2)

    def gain(self, horizon: int, actions: int) -> Floats:
        """What a unit of each action at each step adds to the outputs, (H N, H A), step after step."""
        size, outputs = actions, len(self.outputs)
        ahead = np.zeros((size, horizon, self.of_inputs.shape[2]))
        ahead[np.arange(size), 0, np.arange(size)] = 1.0
        at_rest = (np.zeros((size, self.order, outputs)), np.zeros((size, self.order, self.of_inputs.shape[2])))
        impulse = self.free(*at_rest, ahead, -self.constant[None])  # (A, H, N)
        found = np.zeros((horizon, outputs, horizon, size))
        for step in range(horizon):
            found[step:, :, step] = impulse[:, : horizon - step].transpose(1, 2, 0)
        return found.reshape(horizon * outputs, horizon * size)


def identified(log: ProcessLog, controlled: Sequence[str]) -> Arx:
    """The model that forecasts what is controlled best in the last episodes, fitted on all of them.

    Args:
        log: Of training episodes.
        controlled: Sensors that count; the others are outputs of the model only where that helps these.
    """
    found = [
        (forecast_error(fit(fitted, order, penalty), judged, controlled), chosen, order, penalty)
        for names in dict.fromkeys((log.names, tuple(name for name in log.names if name in controlled)))
        for chosen in (of_sensors(log, names),)
        for fitted, judged in (chosen.parts(VALIDATION),)
        for order in ORDERS
        for penalty in PENALTIES
    ]
    error, chosen, order, penalty = min(found, key=lambda one: one[0])
    return replace(fit(chosen, order, penalty), error=error)


def of_sensors(log: ProcessLog, names: Sequence[str]) -> ProcessLog:
    """The same log with some of its sensors only."""
    kept = [log.names.index(name) for name in names]
    return replace(
        log,
        seen=torch.cat((log.seen[:, kept], log.seen[:, log.sensors :]), 1),
        there=log.there[:, kept],
        names=tuple(names),
        units=tuple(log.units[place] for place in kept),
    )


def fit(log: ProcessLog, order: int, penalty: float) -> Arx:
    """The model of an order, by least squares with a ridge; rows before an episode's first p moments are left out."""
    outputs, inputs = _moments(log, order)
    target = outputs[1][:, 0] - outputs[0][:, 0]
    rows = np.concatenate((outputs[0].reshape(len(target), -1), inputs.reshape(len(target), -1)), axis=1)
    mean, centre = rows.mean(0), target.mean(0)
    spread = np.maximum(rows.std(0), 1e-9)
    x, y = (rows - mean) / spread, target - centre
    weights = np.linalg.solve(x.T @ x + penalty * len(x) * np.eye(x.shape[1]), x.T @ y).T / spread
    size = log.sensors
    return Arx(
        outputs=log.names,
        order=order,
        of_outputs=weights[:, : order * size].reshape(size, order, size),
        of_inputs=weights[:, order * size :].reshape(size, order, -1),
        constant=centre - weights @ mean,
    )


def _moments(log: ProcessLog, order: int) -> tuple[tuple[Floats, Floats], Floats]:
    """The last p outputs (B, p, N) of each moment and of the one after it, and inputs (B, p, M), all newest first."""
    episode, t = log.moments(1, past=order - 1)
    lags = -torch.arange(order)
    now, later = log.rows(episode, t, lags), log.rows(episode, t + 1, lags)
    seen = log.seen.double().numpy()
    given = _inputs(log)
    size = log.sensors
    return (seen[now.numpy()][..., :size], seen[later.numpy()][..., :size]), given[now.numpy()]


def _inputs(log: ProcessLog) -> Floats:
    """Actions and disturbances of each row, (F, M)."""
    return np.concatenate((log.actions.double().numpy(), log.seen[:, log.sensors :].double().numpy()), axis=1)


def forecast_error(model: Arx, log: ProcessLog, controlled: Sequence[str], horizon: int = AHEAD) -> float:
    """Squared errors of forecasts of some sensors, in units of what no change gets wrong; the mean over them and over steps ahead."""
    episode, t = log.moments(horizon, past=model.order)
    kept = torch.linspace(0, len(t) - 1, min(JUDGED, len(t))).long()
    episode, t = episode[kept], t[kept]
    seen, given, size = log.seen.double().numpy(), _inputs(log), log.sensors
    lags, actions = -torch.arange(model.order), log.actions.shape[1]
    outputs = seen[log.rows(episode, t, lags).numpy()][..., :size]
    ahead = given[log.rows(episode, t, torch.arange(horizon)).numpy()]
    ahead[..., actions:] = ahead[:, :1, actions:]
    with np.errstate(over="ignore", invalid="ignore"):
        predicted = model.free(outputs, given[log.rows(episode, t - 1, lags).numpy()], ahead, np.zeros(size))
    rows = log.rows(episode, t, torch.arange(1, horizon + 1)).numpy()
    true, there = seen[rows][..., :size], log.there.numpy()[rows]
    count = np.maximum(there.sum(0), 1)
    error = (there * np.square(np.clip(np.nan_to_num(predicted, nan=1e6), -1e6, 1e6) - true)).sum(0) / count
    usual = (there * np.square(outputs[:, :1] - true)).sum(0) / count
    counts = there.any(0) & np.isin(log.names, controlled)
    return float((error / np.maximum(usual, 1e-12))[counts].mean())
