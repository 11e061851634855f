"""The linear map of a model of sensors, found by least squares of one step.

It is what the predictor's network is trained beside (`tacit.training.sensors`). Dimensions: R rows, M inputs of the predictor, S state,
P outputs, C columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tacit.models.jepa import JEPA
from tacit.training.latents import LatentLog, among, moments, spread_evenly

RIDGES = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)  # of the mean square of the inputs
SLACK = 0.02  # of a squared error
FAINT = 1e-9  # variance, as a share of the largest, below which differences of a history are not seen
PICTURED = 0.03  # weight of what pictures show: it changes much more from step to step than what sensors show, and most of that is noise
MOST_ROWS = 20_000  # that least squares look at


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """How much the linear map heeds levels beside differences, for each of its outputs.

    Attributes:
        outputs: Rows that make the outputs of a state, (P, S) float64: what each sensor shows, standardised, then all that is left beside.
        weights: Of levels, one for each output, (P,).
    """

    outputs: Tensor
    weights: Tensor


def one_step(model: JEPA, log: LatentLog, usual: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs of the predictor and changes of the state in usual frames of the chosen episodes, (R, M) and (R, S)."""
    episode, t = spread_evenly(among(log, moments(log, 1, chosen), usual, model.history, 1), MOST_ROWS)
    row, state = log.first[episode] + t, model.config.state
    history = log.history(episode, t, model.history)
    inputs = torch.cat((history[..., :state].flatten(-2), history[:, -1, state:], model.actions(log.actions[row])), dim=-1)
    return inputs, log.latents[row + 1, :state] - log.latents[row, :state]


@torch.no_grad()
def focus(model: JEPA, log: LatentLog, usual: Tensor) -> None:
    """Set the lens of the predictor: the principal components of its inputs, each with a variance of one."""
    straight = model.predictor.straight
    assert straight is not None, "the recipe gives the predictor a linear map"
    inputs, _ = one_step(model, log, usual, torch.arange(len(log)))
    mean = inputs.mean(0)
    values, axes = torch.linalg.eigh((inputs - mean).T.double().cov())
    lens = (axes * (values.clamp(min=0) + FAINT * values.max()).rsqrt()).flip(1).T.float()
    straight.set_lens(lens, -(lens @ mean))


@torch.no_grad()
def solve_straight(model: JEPA, log: LatentLog, usual: Tensor, chosen: Tensor, levels: Levels) -> None:
    """Let the linear map say what the network does not, by least squares of one step in the chosen episodes.

    It reads the differences between the moments of the history, the step of the action, and the newest levels, these multiplied by
    a weight: the smaller that is, the less the penalty allows them to say. A plant whose feed has changed holds other levels than the logs,
    but still answers to differences in the same way (as in Clarke, Mohtadi and Tuffs, Generalized predictive control, Automatica 23, 1987).
    Differences alone know of a level only what a short history sums up to, and small errors of theirs stay for ever.
    """
    predictor, straight = model.predictor, model.predictor.straight
    assert straight is not None
    inputs, change = (part.double() for part in one_step(model, log, usual, chosen))
    seen = straight.through(inputs.float())
    rest = change - straight.spread * predictor.bend(seen)
    wanted = rest @ levels.outputs.T
    weights, bias = inputs.new_zeros((wanted.shape[1], inputs.shape[1])), inputs.new_zeros(wanted.shape[1])
    for weight in sorted(set(levels.weights.tolist())):
        own = levels.weights == weight
        basis = differences(model, log, weight)
        features = inputs @ basis.T
        mean, drift = (features.mean(0), wanted[:, own].mean(0)) if weight else (features.new_zeros(len(basis)), bias[own])
        found = ridge(features - mean, wanted[:, own] - drift).double()
        weights[own], bias[own] = found @ basis, drift - found @ mean
    to_state = torch.linalg.pinv(levels.outputs)
    weights, bias = to_state @ weights, to_state @ bias
    if not two_layers(predictor.network)[1].weight.any():
        straight.spread.copy_((rest - inputs @ weights.T).std(0) + 1e-6)
    # The same map of what is seen through the lens, which is inverted by least squares: it is not square where inputs never vary.
    through = weights @ torch.linalg.pinv(straight.lens.weight.double())
    straight.map.weight.copy_(through / straight.spread[:, None])
    straight.map.bias.copy_((bias - through @ straight.lens.bias.double()) / straight.spread)


def differences(model: JEPA, log: LatentLog, levels: float) -> Tensor:
    """Rows that make differences, the step of the action and weighted levels out of the inputs of the predictor, (M, M) float64.

    What pictures show has a weight of its own, in differences and levels, so that a penalty which keeps its noise small leaves the small
    differences of what sensors show alone.
    """
    state, size, history = model.config.state, model.schema.action_size, model.history
    unit = torch.eye(history * state + model.config.context + size, dtype=torch.float64)
    states, context, action = unit[: history * state], unit[history * state : -size], unit[-size:]
    newest, changes = states[-state:], states[state:] - states[:-state]
    heed = torch.where(model.encoder.pictured[:state], PICTURED, 1.0)[:, None]
    # The action before is in the newest latent: what is left of the action once that is taken away is its step.
    episode, t = moments(log, 1, torch.arange(len(log)))
    row = (log.first[episode] + t)[t > 0]
    latents = torch.cat((log.latents[row, :state], torch.ones(len(row), 1)), 1).double()
    before = torch.linalg.lstsq(latents, model.actions(log.actions[row - 1]).double(), driver="gelsd").solution[:-1].T
    return torch.cat((heed.repeat(history - 1, 1) * changes, action - before @ newest, levels * heed * newest, levels * context))


def ridge(inputs: Tensor, targets: Tensor) -> Tensor:
    """Weights (M, C) of a linear map from inputs (R, C) to targets (R, M).

    Each output has the largest penalty that does as well on the last fifth of the rows as the best one, up to `SLACK` of its error: what
    comes after the logs is less like them than their own end is.
    """
    x, y = inputs.double(), targets.double()
    cut, size = max(1, int(0.8 * len(x))), x.square().mean()
    unit = torch.eye(x.shape[1], dtype=x.dtype)
    gram, cross = x[:cut].T @ x[:cut], x[:cut].T @ y[:cut]
    tried = [torch.linalg.solve(gram + penalty * size * cut * unit, cross) for penalty in RIDGES]
    errors = torch.stack([(x[cut:] @ weights - y[cut:]).square().sum(0) for weights in tried])
    fine = errors <= (1 + SLACK) * errors.amin(0)
    best = (fine * torch.arange(1, len(RIDGES) + 1)[:, None]).argmax(0)
    gram, cross = gram + x[cut:].T @ x[cut:], cross + x[cut:].T @ y[cut:]
    weights = torch.empty_like(cross)
    for n, penalty in enumerate(RIDGES):
        weights[:, best == n] = torch.linalg.solve(gram + penalty * size * len(x) * unit, cross[:, best == n])
    return weights.T.float()


def two_layers(network: nn.Sequential) -> tuple[nn.Linear, nn.Linear]:
    """The layers of a network with one hidden layer."""
    first, last = network[0], network[-1]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    return first, last
