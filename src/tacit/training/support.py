"""What the logs can answer: how usual a question about other actions is among them, and how far wrong its answer may be.

A model that has seen an actuator between 2 and 4 volts says something about 9 volts as well, and nothing in the model warns. So a question
is held against the logs, along the whole way that it leads. Two kinds of points are looked at, each by its distance to the nearest point
of the logs after whitening:

    what is done         levels of all actuators, and how they came there from 1, 6 and 24 steps before
    where that leads     the predicted latent, which has sensors, measured disturbances and the action before in it, and the action

Both distances are in units of what is usual; the score of a question is the largest one of its way. The same score of stretches of the
logs, under their own actions and beside all episodes but their own, says what is usual: the conformal p-value is the share of them that are
at least as strange (Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005, section 2.2; leaving out the own group: Barber
and others, Annals of Statistics 49, 2021). Stretches that overlap are not exchangeable, so false refusals are at the level asked for on
average over logs like these, and no guarantee.

What the logs do not show, this does not see: where a controller moved the actuators against what disturbed the plant, and little else moved
them, the effects that a model learned can be wrong although every step of a way looks usual.

Dimensions: R reference points, P features, W windows, K candidates, H horizon, D latent, A action, N channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.contracts import WorldModel
from tacit.models.readout import Readout
from tacit.training.correction import Correction, lately, limited
from tacit.training.latents import LatentLog
from tacit.training.readouts import bounds_of

LONGEST = 360  # steps of a question, at most
WINDOWS = 400  # stretches of the logs
REFERENCES = 2500  # points of the logs that are kept
LAGS = (1, 6, 24)  # steps back, of the moves of actions
STRIDE = 3  # steps between two points of a way that are looked at
SHRINK = 0.05  # added to the correlations before they are whitened: noise of small variance is no news
REFUSED = 0.05  # p-value, and the share of held-out stretches that would be refused


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """Points of one kind in the logs.

    Attributes:
        mean: (P,).
        scale: Standard deviations, (P,).
        whiten: Of standardised points, (P, P).
        points: Whitened, (R, P).
        usual: Distance within which half of the moments a step ahead are to the nearest of another episode. Further ahead predictions of a
            plant that cannot be foreseen would say it.
    """

    mean: Tensor
    scale: Tensor
    whiten: Tensor
    points: Tensor
    usual: Tensor

    def distance(self, features: Tensor) -> Tensor:
        """Of features (..., P) to the nearest point, in units of what is usual, (...); infinite of what a model without bounds predicts."""
        white = ((features - self.mean) / self.scale @ self.whiten).flatten(0, -2)
        nearest = [torch.cdist(part, self.points).amin(1) for part in torch.split(white, 2048)]
        return (torch.cat(nearest) / self.usual).nan_to_num(torch.inf, torch.inf).view(features.shape[:-1])

    def nearest(self, feature: Tensor) -> Tensor:
        """The point of the logs that is most like one feature (P,), as features, (P,)."""
        white = (feature - self.mean) / self.scale @ self.whiten
        point = self.points[torch.cdist(white[None], self.points)[0].argmin()]
        found: Tensor = torch.linalg.solve(self.whiten.T, point) * self.scale + self.mean
        return found


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Support:
    """What is known of the logs where questions are asked.

    Attributes:
        actions: Points of what is done.
        states: Points of where it leads.
        scores: Largest distance within the first 1..H steps of stretches of the logs, (W, H).
        residuals: What was measured minus what was predicted on held-out stretches, (W', H, N), not finite where nothing was measured.
        gain: How far wrong predicted effects of actions are, as a share of their size, one standard deviation, (N,).
        low: Smallest logged value of each action element and of each channel, (A + N,).
        high: Largest one, (A + N,).
        moved: Largest logged change of each action element within each of `LAGS` steps, (len(LAGS), A).
    """

    actions: Cloud
    states: Cloud
    scores: Tensor
    residuals: Tensor
    gain: Tensor
    low: Tensor
    high: Tensor
    moved: Tensor

    @property
    def longest(self) -> int:
        """H, steps of the longest question."""
        return self.scores.shape[1]

    def distances(self, trajectory: Tensor, previous: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """How unusual each looked-at moment of a way is, in what is done and in where it leads, (K, M) each, of M moments.

        Args:
            trajectory: Latents now and after each action, (K, 1 + H, D).
            previous: Actions before, oldest first, (T, A).
            actions: From now on, (K, H, A).
        """
        done, led = way(trajectory, previous, actions)
        return self.actions.distance(done), self.states.distance(led)

    def p_value(self, score: float, steps: int) -> float:
        """Share of the stretches of as many steps that are at least as strange as a question with this score."""
        usual = self.scores[:, min(steps, self.longest) - 1]
        return (1 + int((usual >= score).sum())) / (1 + len(usual))


def moves(actions: Tensor, first: int) -> Tensor:
    """Levels and moves of actions (..., T, A) from step `first` on, (..., T - first, P); the first action stands for those before it."""
    count = actions.shape[-2]
    now = torch.arange(first, count)
    level = actions[..., now, :]
    return torch.cat([level, *(level - actions[..., (now - lag).clamp(min=0), :] for lag in LAGS)], dim=-1)


def looked_at(steps: int) -> Tensor:
    """Steps of a way of H actions that are looked at, (M,): the first, every third and the last."""
    return torch.cat((torch.arange(0, steps - 1, STRIDE), torch.tensor([steps - 1])))


def way(trajectory: Tensor, previous: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """What is done, (K, M, P), and where it leads, (K, M, D + A), at the looked-at moments. Arguments as of `Support.distances`."""
    steps = looked_at(actions.shape[1])
    past = previous[-max(LAGS) :]
    whole = torch.cat((past.expand(len(actions), -1, -1), actions), dim=1)
    done = moves(whole, len(past))[:, steps]
    led = torch.cat((trajectory[:, steps + 1], actions[:, steps]), dim=-1)
    return done, led


@torch.no_grad()
def fit_support(
    model: WorldModel,
    readouts: Sequence[Readout],
    log: LatentLog,
    held_out: LatentLog,
    shown: Tensor,
    *,
    correction: Correction | None = None,
    longest: int = LONGEST,
) -> Support:
    """Learn what the logs can answer.

    Args:
        model: On the CPU.
        readouts: Of it, N channels together.
        log: Encoded training episodes.
        held_out: Encoded other episodes.
        shown: What the channels showed in the held-out episodes, (F, N); not finite where nothing was measured.
        correction: Of forecasts; None for none.
        longest: H; shortened to half of the longest held-out episode.
    """
    steps = max(1, min(longest, int(held_out.steps.max()) // 2))
    unseen = _stretches(model, held_out, steps)
    bounds = bounds_of(model.schema, readouts)
    predicted = torch.cat([readout(unseen.followed) for readout in readouts], -1)
    still = torch.cat([readout(_rolled(model, unseen.history, unseen.past[:, -1:].expand_as(unseen.ahead))) for readout in readouts], -1)
    measured = shown[unseen.rows[:, None] + torch.arange(1, steps + 1)]
    if correction is None:
        residuals = measured - predicted.clamp(*bounds)
        gain = gain_errors(predicted - still, residuals)
    else:
        known = lately(model, readouts, held_out, shown, usual=correction.usual, scale=correction.scale).at(unseen.rows)
        plain, still = (limited(correction.usual, each, known.now) for each in (predicted, still))
        residuals = measured - correction(predicted, known).clamp(*bounds)
        gain = gain_errors(plain - still, torch.where(correction.is_trusted(steps), measured - plain, torch.nan))

    whole = _joined(log, held_out)
    ways = _stretches(model, whole, steps)
    owner, rows = _acted(whole)
    each = [whole.actions[int(f) : int(f + n)] for f, n in zip(whole.first, whole.steps, strict=True)]
    done = torch.cat([moves(actions, 0) for actions in each])
    led = torch.cat((whole.latents[rows], whole.actions[rows]), dim=-1)
    kept = torch.linspace(0, len(rows) - 1, min(REFERENCES, len(rows))).long()
    trajectory = torch.cat((whole.latents[ways.rows][:, None], ways.followed), dim=1)
    features = [way(trajectory[w][None], ways.past[w], ways.ahead[w][None]) for w in range(len(ways.rows))]
    ways_done, ways_led = (torch.cat(part) for part in zip(*features, strict=True))
    actions, usual_done = _cloud(done[kept], owner[kept], ways_done, ways.episode)
    states, usual_led = _cloud(led[kept], owner[kept], ways_led, ways.episode)
    score = torch.maximum(usual_done, usual_led).cummax(1).values
    moment = torch.searchsorted(looked_at(steps), torch.arange(steps), right=True) - 1

    both = torch.cat((whole.actions[rows], *(readout(whole.latents[rows]) for readout in readouts)), dim=-1)
    changes = [
        torch.cat([(a[lag:] - a[:-lag]).abs() for a in each if len(a) > lag] or [done.new_zeros(1, whole.actions.shape[1])]) for lag in LAGS
    ]
    return Support(
        actions=actions,
        states=states,
        scores=score[:, moment],
        residuals=residuals,
        gain=gain,
        low=both.amin(0),
        high=both.amax(0),
        moved=torch.stack([change.amax(0) for change in changes]),
    )


def gain_errors(effects: Tensor, residuals: Tensor) -> Tensor:
    """How far wrong predicted effects are as a share of their size, by channel: effects and residuals (W, H, N) -> (N,).

    Nobody can do two things at the same moment, so that the error of an effect is never seen by itself. But where it is a share of the
    effect, stretches with larger effects have larger residuals: the slope c^2 >= 0 of residual^2 = s^2 + c^2 effect^2, over windows, by
    least squares. What the slope cannot tell from 0 counts as well: two standard errors are added.
    """
    there = residuals.isfinite()
    count = there.sum(1).clamp(min=1)
    size = (effects.square() * there).sum(1) / count  # (W, N)
    wrong = residuals.nan_to_num(0.0).square().sum(1) / count
    x, y = size - size.mean(0), wrong - wrong.mean(0)
    spread = x.square().sum(0).clamp(min=1e-12)
    slope = (x * y).sum(0) / spread
    independent = max(3.0, len(x) * 0.1)  # stretches overlap
    error = ((y - slope * x).square().sum(0) / spread / independent * len(x) / max(1, len(x) - 2)).sqrt()
    most = (wrong.sum(0) / size.sum(0).clamp(min=1e-12)).clamp(min=0)  # all that is wrong is the effect's
    return torch.minimum((slope.clamp(min=0) + 2 * error).clamp(min=0), most).sqrt()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Stretches:
    """Stretches of H steps under their own actions: W of them, spread evenly over the logs.

    Attributes:
        episode: Which episode each is of, (W,).
        rows: Of their first moments, (W,).
        history: Latents up to these, (W, h, D).
        past: Actions before, (W, max(LAGS), A).
        ahead: Actions from then on, (W, H, A).
        followed: Predicted latents after each, (W, H, D).
    """

    episode: Tensor
    rows: Tensor
    history: Tensor
    past: Tensor
    ahead: Tensor
    followed: Tensor


def _stretches(model: WorldModel, log: LatentLog, steps: int) -> _Stretches:
    found = [(e, t) for e, n in enumerate(log.steps.tolist()) for t in range(n - steps + 1)]
    kept = torch.linspace(0, len(found) - 1, min(WINDOWS, len(found))).long()
    episode, t = torch.tensor(found)[kept].unbind(1)
    rows = log.first[episode] + t
    ahead, history = log.actions[rows[:, None] + torch.arange(steps)], log.history(episode, t, model.history)
    past = log.actions[log.first[episode][:, None] + (t[:, None] + torch.arange(-max(LAGS), 0)).clamp(min=0)]
    return _Stretches(episode=episode, rows=rows, history=history, past=past, ahead=ahead, followed=_rolled(model, history, ahead))


def _joined(one: LatentLog, other: LatentLog) -> LatentLog:
    """Two logs end to end."""
    return LatentLog(
        latents=torch.cat((one.latents, other.latents)),
        actions=torch.cat((one.actions, other.actions)),
        first=torch.cat((one.first, other.first + len(one.latents))),
        steps=torch.cat((one.steps, other.steps)),
    )


def _acted(log: LatentLog) -> tuple[Tensor, Tensor]:
    """Episodes and rows of all frames with an action."""
    rows = torch.cat([torch.arange(int(n)) + int(f) for f, n in zip(log.first, log.steps, strict=True)])
    return torch.repeat_interleave(torch.arange(len(log)), log.steps), rows


def _rolled(model: WorldModel, history: Tensor, actions: Tensor) -> Tensor:
    """Latents after each action, (W, H, D), of histories (W, h, D) and actions (W, H, A)."""
    return model.rollout(history, actions[:, None])[:, 0]


def _cloud(points: Tensor, owner: Tensor, ways: Tensor, episode: Tensor) -> tuple[Cloud, Tensor]:
    """A cloud of points (R, P), and the distance of every moment of ways (W, M, P) to the points of all other episodes, (W, M).

    Args:
        points: Features.
        owner: Episode of each point, (R,).
        ways: Features.
        episode: Episode of each way, (W,).
    """
    mean, scale = points.mean(0), points.std(0)
    scale = torch.where(scale > 1e-6 * points.abs().amax().clamp(min=1e-6), scale, scale.amax().clamp(min=1e-6))
    standard = (points - mean) / scale
    values, axes = torch.linalg.eigh((standard.T @ standard / len(points)).double() + SHRINK * torch.eye(points.shape[1]).double())
    whiten = (axes * values.rsqrt()).float() @ axes.T.float()
    cloud = Cloud(mean=mean, scale=scale, whiten=whiten, points=standard @ whiten, usual=torch.ones(()))
    distance = ways.new_zeros(ways.shape[:-1])
    for number in sorted(set(episode.tolist())):
        others = owner != number
        distance[episode == number] = replace(cloud, points=cloud.points[others]).distance(ways[episode == number])
    usual = distance[:, 0].median().clamp(min=1e-6)
    return replace(cloud, usual=usual), distance / usual
