"""What the logs can answer: how usual a question about other actions is among them, and how far wrong its answer may be.

A model that has seen an actuator between 2 and 4 volts says something about 9 volts as well, and nothing in the model warns. So a question
is held against the logs, along the whole way that it leads. Two kinds of points are looked at, each by its distance to the nearest point
of the training episodes after whitening:

    what is done         levels of all actuators, and how they came there from 1, 6 and 24 steps before
    where that leads     the predicted latent, which has sensors, measured disturbances and the action before in it, and the action

Both distances are in units of what is usual on held-out episodes; the score of a question is the largest one of its way. The same score of
held-out stretches of the logs, under their own actions, says what is usual: the conformal p-value (Vovk, Gammerman, Shafer, Algorithmic
Learning in a Random World, 2005, section 2.2; the distance to neighbours as nonconformity: Angiulli and Pizzuti, PKDD 2002) is the share of them
that are at least as strange. Stretches that overlap are not exchangeable, so false refusals are at the level asked for on average over logs
like these, and no guarantee.

Dimensions: R reference points, P features, W windows, K candidates, H horizon, D latent, A action, N channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from tacit.contracts import WorldModel
from tacit.models.readout import Readout
from tacit.training.checkpoint import CheckpointError, load_tensors, save_tensors
from tacit.training.folder import RunError
from tacit.training.latents import LatentLog

SUPPORT = "support.safetensors"
VERSION = 1
LONGEST = 360  # steps of a question, at most
WINDOWS = 240  # held-out stretches
REFERENCES = 2500  # points of the training episodes that are kept
LAGS = (1, 6, 24)  # steps back, of the moves of actions
STRIDE = 3  # steps between two points of a way that are looked at
SHRINK = 0.05  # added to the correlations before they are whitened: noise of small variance is no news
REFUSED = 0.05  # p-value, and the share of held-out stretches that would be refused
KINDS = ("actions", "states")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """Points of one kind in the training episodes.

    Attributes:
        mean: (P,).
        scale: Standard deviations, (P,).
        whiten: Of standardised points, (P, P).
        points: Whitened, (R, P).
        usual: Distance that half of the held-out points are within.
    """

    mean: Tensor
    scale: Tensor
    whiten: Tensor
    points: Tensor
    usual: Tensor

    def distance(self, features: Tensor) -> Tensor:
        """Of features (..., P) to the nearest point, in units of what is usual, (...)."""
        white = ((features - self.mean) / self.scale @ self.whiten).flatten(0, -2)
        nearest = [torch.cdist(part, self.points).amin(1) for part in white.split(2048)]
        return (torch.cat(nearest) / self.usual).view(features.shape[:-1])

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
        scores: Largest distance within the first 1..H steps of held-out stretches, (W, H).
        residuals: What was measured minus what was predicted on the same stretches, (W, H, N), not finite where nothing was measured.
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
        """Share of the held-out stretches of as many steps that are at least as strange as a question with this score."""
        usual = self.scores[:, min(steps, self.longest) - 1]
        return (1 + int((usual >= score).sum())) / (1 + len(usual))


def moves(actions: Tensor, first: int) -> Tensor:
    """Levels and moves of actions (..., T, A) from step `first` on, (..., T - first, A (1 + lags)); the first stands for those before it."""
    count = actions.shape[-2]
    now = torch.arange(first, count)
    level = actions[..., now, :]
    return torch.cat([level, *(level - actions[..., (now - lag).clamp(min=0), :] for lag in LAGS)], dim=-1)


def looked_at(steps: int) -> Tensor:
    """Steps of a way of H actions that are looked at, (M,): the first, every third and the last."""
    return torch.cat((torch.arange(0, steps - 1, STRIDE), torch.tensor([steps - 1])))


def way(trajectory: Tensor, previous: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Features of the looked-at moments of ways: what is done (K, M, P) and where it leads (K, M, P'). Arguments as of `Support.distances`."""
    steps = looked_at(actions.shape[1])
    past = previous[-max(LAGS) :]
    whole = torch.cat((past.expand(len(actions), -1, -1), actions), dim=1)
    done = moves(whole, len(past))[:, steps]
    led = torch.cat((trajectory[:, steps + 1], actions[:, steps]), dim=-1)
    return done, led


@torch.no_grad()
def fit_support(
    model: WorldModel, readouts: Sequence[Readout], log: LatentLog, held_out: LatentLog, shown: Tensor, *, longest: int = LONGEST
) -> Support:
    """Learn what the logs can answer.

    Args:
        model: On the CPU.
        readouts: Of it, N channels together.
        log: Encoded training episodes.
        held_out: Encoded other episodes.
        shown: What the channels showed in the held-out episodes, (F, N); not finite where nothing was measured.
        longest: H; shortened to half of the longest held-out episode.
    """
    steps = max(1, min(longest, int(held_out.steps.max()) // 2))
    rows = torch.cat([torch.arange(int(n)) + int(f) for f, n in zip(log.first, log.steps, strict=True)])
    rows = rows[torch.linspace(0, len(rows) - 1, min(REFERENCES, len(rows))).long()]
    done = torch.cat([moves(log.actions[int(f) : int(f + n)], 0) for f, n in zip(log.first, log.steps, strict=True)])
    inside = torch.cat([torch.arange(int(n)) + int(f) for f, n in zip(log.first, log.steps, strict=True)])
    place = torch.full((len(log.latents),), -1).index_copy(0, inside, torch.arange(len(inside)))
    done = done[place[rows]]
    led = torch.cat((log.latents[rows], log.actions[rows]), dim=-1)

    episode, t = _starts(held_out, steps)
    here = held_out.first[episode] + t
    ahead = held_out.actions[here[:, None] + torch.arange(steps)]
    history = held_out.history(episode, t, model.history)
    followed = _rolled(model, history, ahead)
    trajectory = torch.cat((held_out.latents[here][:, None], followed), dim=1)
    past = held_out.actions[held_out.first[episode][:, None] + (t[:, None] + torch.arange(-max(LAGS), 0)).clamp(min=0)]
    ways = [way(trajectory[w][None], past[w], ahead[w][None]) for w in range(len(t))]
    ways_done, ways_led = (torch.cat(part) for part in zip(*ways, strict=True))
    clouds = [_cloud(done, ways_done), _cloud(led, ways_led)]
    score = torch.maximum(clouds[0].distance(ways_done), clouds[1].distance(ways_led)).cummax(1).values
    moment = torch.searchsorted(looked_at(steps), torch.arange(steps), right=True) - 1

    predicted = torch.cat([readout(followed) for readout in readouts], -1)
    residuals = shown[here[:, None] + torch.arange(1, steps + 1)] - predicted
    still = _rolled(model, history, past[:, -1:].expand_as(ahead))
    effects = predicted - torch.cat([readout(still) for readout in readouts], -1)
    values = torch.cat([readout(log.latents) for readout in readouts], -1)
    both = torch.cat((log.actions[inside], values[inside]), dim=-1)
    whole = [log.actions[int(f) : int(f + n)] for f, n in zip(log.first, log.steps, strict=True)]
    moved = torch.stack(
        [
            torch.stack([(a[lag:] - a[:-lag]).abs().amax(0) for a in whole if len(a) > lag] or [both.new_zeros(ahead.shape[2])]).amax(0)
            for lag in LAGS
        ]
    )
    return Support(
        actions=clouds[0],
        states=clouds[1],
        scores=score[:, moment],
        residuals=residuals,
        gain=gain_errors(effects, residuals),
        low=both.amin(0),
        high=both.amax(0),
        moved=moved,
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


def _starts(log: LatentLog, steps: int) -> tuple[Tensor, Tensor]:
    """Episodes and times of stretches, spread evenly."""
    found = [(e, t) for e, n in enumerate(log.steps.tolist()) for t in range(n - steps + 1)]
    kept = torch.linspace(0, len(found) - 1, min(WINDOWS, len(found))).long()
    pairs = torch.tensor(found)[kept]
    return pairs[:, 0], pairs[:, 1]


def _rolled(model: WorldModel, history: Tensor, actions: Tensor) -> Tensor:
    """Latents after each action, (W, H, D), of histories (W, h, D) and actions (W, H, A)."""
    return model.rollout(history, actions[:, None])[:, 0]


def _cloud(points: Tensor, held_out: Tensor) -> Cloud:
    """Points (R, P), with what is usual from held-out ways (W, M, P)."""
    mean, scale = points.mean(0), points.std(0)
    scale = torch.where(scale > 1e-6 * points.abs().amax().clamp(min=1e-6), scale, scale.amax().clamp(min=1e-6))
    standard = (points - mean) / scale
    values, axes = torch.linalg.eigh((standard.T @ standard / len(points)).double() + SHRINK * torch.eye(points.shape[1]).double())
    whiten = (axes * values.rsqrt()).float() @ axes.T.float()
    cloud = Cloud(mean=mean, scale=scale, whiten=whiten, points=standard @ whiten, usual=torch.ones(()))
    usual = cloud.distance(held_out).median().clamp(min=1e-6)
    return Cloud(mean=mean, scale=scale, whiten=whiten, points=cloud.points, usual=usual)


def write_support(folder: Path, support: Support) -> None:
    """Write it into the folder of a run, atomically."""
    tensors = {name: getattr(support, name) for name in ("scores", "residuals", "gain", "low", "high", "moved")}
    tensors |= {f"{kind}.{name}": value for kind in KINDS for name, value in vars(getattr(support, kind)).items()}
    save_tensors(folder / SUPPORT, tensors, {"version": VERSION})


def read_support(folder: Path) -> Support:
    """Read what `write_support` wrote.

    Raises:
        RunError: There is none, it is damaged, or of another version.
    """
    path = folder / SUPPORT
    if not path.exists():
        raise RunError(f"{path}: no such file; a run of a machine with sensors gets it when it is trained with this version")
    try:
        tensors, meta = load_tensors(path)
        if meta.get("version") != VERSION:
            raise RunError(f"{path} has format version {meta.get('version')}; this Tacit reads version {VERSION}")
        clouds = {kind: Cloud(**{name: tensors.pop(f"{kind}.{name}") for name in Cloud.__dataclass_fields__}) for kind in KINDS}
        return Support(**clouds, **tensors)
    except CheckpointError as error:
        raise RunError(str(error)) from error
    except (KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged: {error}; train the run again") from error
