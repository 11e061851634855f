"""Forecasts corrected by what they are wrong by: how far to trust a prediction so many steps ahead, and what the last errors add.

    ŷ_{t+k} = s_t + C_k (f_{t+k} - s_t) + Σ_j g_kj e_tj

s_t is what the sensors show, f the model's prediction, and e_tj averages of the model's last one-step errors, over short and long memories:
a disturbance that nobody measures shows in them, and so does what noise did to the history that the model began from. The weights are found
by least squares from forecasts of stretches of the training logs that the forecaster did not know, for every channel and step ahead.

With a diagonal C_k alone this is a forecast combined with "no change" (Bates and Granger, The combination of forecasts, Operational
Research Quarterly 20, 1969): where a plant cannot be foreseen, it is near 0. Of a slow sensor, which shows a staircase, the model predicts
a share of the next sample at every step: its own weight is above 1, and what is predicted of the quick sensors tells more of it. The
averages are those of exponential smoothing (Gardner, Journal of Forecasting 4, 1985).

Planning does not see this: it has its own estimate of disturbances, and needs the whole effect of an action.

Dimensions: F frames, B moments, H horizon, N channels, G channels measured together, J memories, h history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tacit.contracts import WorldModel
from tacit.models.readout import Readout
from tacit.training.checkpoint import CheckpointError, load_tensors, save_tensors
from tacit.training.folder import CORRECTION, RunError
from tacit.training.latents import LatentLog
from tacit.training.readouts import CONFIDENCE, conformal_half_widths
from tacit.training.usual import Usual

VERSION = 1
MEMORIES = (1.0, 4.0, 16.0, 64.0)  # steps, of the exponential averages
LOOKED_BACK = 3 * round(max(MEMORIES))  # moments that tell them
MOST_ERROR = 4.0  # a one-step error counts as at most so many of the usual ones
MOST_CHANGE = 20.0  # a predicted change counts as at most so many half-widths of what is usual
PENALTY = 50.0  # on the weights of errors and other channels, as much as so many moments of them
LEAST = 1e-3  # on the weight of a channel's own change, as a share of all moments
FEWEST = 20  # moments that a weight is found from
CHUNK = 4096  # frames at once
TENSORS = ("scale", "weights", "far", "half_widths")
BOUNDS = ("middle", "half", "limit")


@dataclass(frozen=True, kw_only=True, eq=False)
class Lately:
    """What forecasts are corrected by, at some moments.

    Attributes:
        now: What the sensors show, (B, N).
        errors: Averages of the last one-step errors, (B, N, J).
        is_usual: Whether the model's history lies where the plant usually is, (B,).
    """

    now: Tensor
    errors: Tensor
    is_usual: Tensor

    def at(self, rows: Tensor) -> Lately:
        """Some of the moments."""
        return Lately(now=self.now[rows], errors=self.errors[rows], is_usual=self.is_usual[rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class Correction:
    """How forecasts are corrected. Numbers are in the channels' units.

    Attributes:
        usual: Where the plant usually is.
        scale: Usual one-step errors, root mean square, (N,).
        weights: Of the predicted changes of all channels, C, and of the averages of the last errors of each, g, (H, N, N + J). Later steps
            have those of the last.
        far: The same where the plant is not as usual: those above, where the logs hold too little of that, else a diagonal C alone.
        half_widths: Half the width of the interval that holds `CONFIDENCE` of what is measured, (H, N).
    """

    usual: Usual
    scale: Tensor
    weights: Tensor
    far: Tensor
    half_widths: Tensor

    def __call__(self, predicted: Tensor, lately: Lately) -> Tensor:
        """Predictions (B, K, N) with what is known at their moments -> corrected ones, (B, K, N); any number of steps K."""
        steps = torch.arange(predicted.shape[1]).clamp(max=len(self.weights) - 1)
        change, channels = limited(self.usual, predicted, lately.now) - lately.now[:, None], predicted.shape[2]
        usual, far = (
            torch.einsum("knm,bkm->bkn", weights[steps, :, :channels], change)
            + torch.einsum("knj,bnj->bkn", weights[steps, :, channels:], lately.errors)
            for weights in (self.weights, self.far)
        )
        return lately.now[:, None] + torch.where(lately.is_usual[:, None, None], usual, far)

    def is_trusted(self, steps: int) -> Tensor:
        """Where predicted changes count for more than half, (steps, N), as they do not where a plant cannot be foreseen.

        The next step always does.
        """
        found = self.weights.diagonal(dim1=-2, dim2=-1)[torch.arange(steps).clamp(max=len(self.weights) - 1)] > 0.5
        found[0] = True
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """Forecasts from moments of a stretch of the logs that the forecaster did not know.

    Attributes:
        lately: At the moments.
        predicted: By the model, (B, H, N).
        truth: What was measured, (B, H, N); not finite where nothing was.
    """

    lately: Lately
    predicted: Tensor
    truth: Tensor


@torch.no_grad()
def one_step_errors(model: WorldModel, readouts: Sequence[Readout], log: LatentLog, shown: Tensor) -> Tensor:
    """How much more sensors showed than was predicted one step before, (F, N); 0 where nothing was measured or predicted.

    Args:
        model: Predicts.
        readouts: Of all N channels together.
        log: Encoded episodes.
        shown: What was measured, (F, N), not finite where nothing was.
    """
    episode = torch.repeat_interleave(torch.arange(len(log)), log.steps)
    t = torch.cat([torch.arange(int(n)) for n in log.steps])
    errors = torch.zeros_like(shown)
    for start in range(0, len(t), CHUNK):
        part = slice(start, start + CHUNK)
        row = log.first[episode[part]] + t[part]
        predicted = model.rollout(log.history(episode[part], t[part], model.history), log.actions[row][:, None, None])[:, 0, 0]
        errors[row + 1] = shown[row + 1] - torch.cat([readout(predicted) for readout in readouts], -1)
    return errors.nan_to_num(0.0)


@torch.no_grad()
def lately(model: WorldModel, readouts: Sequence[Readout], log: LatentLog, shown: Tensor, *, usual: Usual, scale: Tensor) -> Lately:
    """What forecasts from every frame of some episodes are corrected by; arguments as of `one_step_errors` and `Correction`."""
    from scipy.signal import lfilter  # it takes a while to load

    errors = one_step_errors(model, readouts, log, shown).clamp(-MOST_ERROR * scale, MOST_ERROR * scale)
    now = torch.cat([readout(log.latents) for readout in readouts], -1)
    averages, is_usual = errors.new_zeros(*errors.shape, len(MEMORIES)), usual.holds(now)
    for first, steps in zip(log.first.tolist(), log.steps.tolist(), strict=True):
        own = slice(first, first + steps + 1)
        for n, memory in enumerate(MEMORIES):
            averages[own, :, n] = torch.from_numpy(lfilter([1 / memory], [1, 1 / memory - 1], errors[own].numpy(), axis=0))
        strange = torch.nn.functional.pad((~is_usual[own]).float(), (model.history - 1, 0))
        is_usual[own] = strange.unfold(0, model.history, 1).amax(-1) == 0
    return Lately(now=now, errors=averages, is_usual=is_usual)


def fit_correction(usual: Usual, scale: Tensor, stretches: Sequence[Stretch]) -> Correction:
    """Find the weights by which stretches of the logs are forecast best.

    Half-widths are those of each stretch by the weights that the others give: of a single one, by its own.

    Args:
        usual: Where the plant usually is.
        scale: See `Correction`.
        stretches: Each forecast by what did not know it.
    """
    everyone = list(range(len(stretches)))
    kept = [[m for m in everyone if m != n] or everyone for n in everyone] + [everyone]  # the others of each stretch, and all
    steps, channels = stretches[0].truth.shape[1:]
    weights = torch.zeros(len(kept), steps, channels, channels + stretches[0].lately.errors.shape[-1])
    for alike in _measured_together(stretches):
        sums = [_sums(usual, stretch, alike) for stretch in stretches]
        for n, parts in enumerate(kept):
            weights[n, :, alike] = _solved(alike, *(torch.stack(part).sum(0) for part in zip(*(sums[m] for m in parts), strict=True)))
    beyond = [_sums_beyond(usual, stretch) for stretch in stretches]

    def found(n: int, half_widths: Tensor) -> Correction:
        sums = (torch.stack(part).sum(0) for part in zip(*(beyond[m] for m in kept[n]), strict=True))
        return Correction(usual=usual, scale=scale, weights=weights[n], far=_solved_beyond(weights[n], *sums), half_widths=half_widths)

    none = torch.zeros(steps, channels)
    wrong = [stretch.truth - found(n, none)(stretch.predicted, stretch.lately) for n, stretch in enumerate(stretches)]
    return found(len(stretches), conformal_half_widths(torch.cat(wrong), CONFIDENCE))


def limited(usual: Usual, predicted: Tensor, now: Tensor) -> Tensor:
    """Predictions (B, K, N) of which none is without bounds, whatever an unstable model says; now (B, N)."""
    most = MOST_CHANGE * usual.half
    return now[:, None] + (predicted - now[:, None]).nan_to_num(0.0).clamp(-most, most)


def _measured_together(stretches: Sequence[Stretch]) -> list[list[int]]:
    """Channels by when they were measured: for those of a group, which have the same moments, products of changes are summed once."""
    groups: dict[bytes, list[int]] = {}
    for n in range(stretches[0].truth.shape[2]):
        when = b"".join(stretch.truth[..., n].isfinite().numpy().tobytes() for stretch in stretches)
        groups.setdefault(hashlib.sha256(when).digest(), []).append(n)
    return list(groups.values())


def _sums(usual: Usual, stretch: Stretch, alike: Sequence[int]) -> tuple[Tensor, ...]:
    """What least squares need of usual moments, for G channels that were measured together: products of all changes (H, N, N), of changes
    with errors (H, G, N, J), of errors (H, G, J, J), of both with the truth (H, G, N + J), and the number of moments (H, G)."""
    lately = stretch.lately
    errors = lately.errors[:, alike].double()
    truth = (stretch.truth[..., alike] - lately.now[:, None, alike]).nan_to_num(0.0).double()
    change = (limited(usual, stretch.predicted, lately.now) - lately.now[:, None]).double()
    used = (stretch.truth[..., alike[0]].isfinite() & lately.is_usual[:, None]).double()
    counted = change * used[..., None]
    cross = (torch.einsum("bkd,bkg->kgd", counted, truth), torch.einsum("bk,bgj,bkg->kgj", used, errors, truth))
    return (
        counted.permute(1, 2, 0) @ change.transpose(0, 1),
        torch.einsum("bkd,bgj->kgdj", counted, errors),
        torch.einsum("bk,bgj,bgi->kgji", used, errors, errors),
        torch.cat(cross, -1),
        used.sum(0)[:, None].expand(-1, len(alike)),
    )


def _solved(alike: Sequence[int], changes: Tensor, mixed: Tensor, errors: Tensor, cross: Tensor, count: Tensor) -> Tensor:
    """Weights of least squares, of which none is negative that a channel's own predicted change has, (H, G, N + J); from `_sums`."""
    found = []
    for g, n in enumerate(alike):
        beside = mixed[:, g]
        gram = torch.cat((torch.cat((changes, beside), 2), torch.cat((beside.mT, errors[:, g]), 2)), 1)
        own = torch.arange(gram.shape[-1]) == n
        diagonal = gram.diagonal(dim1=-2, dim2=-1)
        penalty = torch.where(own, LEAST, PENALTY / count[:, g, None].clamp(min=1)) * diagonal
        penalty = penalty + 1e-9 * diagonal.amax(-1, keepdim=True) + 1e-30
        weights = torch.linalg.solve(gram + torch.diag_embed(penalty), cross[:, g])
        if (is_negative := weights[:, n] < 0).any():
            without = penalty + torch.where(own, 1e9 * diagonal, 0.0)
            alone = torch.linalg.solve(gram + torch.diag_embed(without), cross[:, g])
            weights = torch.where(is_negative[:, None], torch.where(own, 0.0, alone), weights)
        found.append(torch.where(count[:, g, None] < FEWEST, 0.0, weights))
    return torch.stack(found, 1).float()


def _sums_beyond(usual: Usual, stretch: Stretch) -> tuple[Tensor, Tensor, Tensor]:
    """Of moments that are not usual, of each channel the square of its own predicted change, its product with the truth, and the number,
    (H, N) each."""
    lately = stretch.lately
    far = (stretch.truth.isfinite() & ~lately.is_usual[:, None, None]).double()
    change = (limited(usual, stretch.predicted, lately.now) - lately.now[:, None]).double()
    truth = (stretch.truth - lately.now[:, None]).nan_to_num(0.0).double()
    return (change.square() * far).sum(0), (change * truth * far).sum(0), far.sum(0)


def _solved_beyond(weights: Tensor, square: Tensor, cross: Tensor, count: Tensor) -> Tensor:
    """Weights of moments that are not usual, (H, N, N + J): those of usual ones, where there were too few; from `_sums_beyond`."""
    far = (cross / ((1 + LEAST) * square + 1e-30)).clamp(0.0, 1.0)
    own = torch.eye(*weights.shape[1:], dtype=torch.bool)
    is_known = count.amax(-1) >= FEWEST  # of a slow sensor alone there may be too little
    alone = torch.where(own, torch.where(count < FEWEST, 0.0, far)[..., None], 0.0).float()
    return torch.where(is_known[:, None, None], alone, weights)


def write_correction(folder: Path, correction: Correction) -> None:
    """Write it into the folder of a run, atomically."""
    tensors = {name: getattr(correction, name) for name in TENSORS} | {name: getattr(correction.usual, name) for name in BOUNDS}
    save_tensors(folder / CORRECTION, tensors, {"version": VERSION})


def read_correction(folder: Path) -> Correction | None:
    """Read what `write_correction` wrote; None where a run has none, as that of a machine with a scene.

    Raises:
        RunError: The file is damaged, or of another version.
    """
    path = folder / CORRECTION
    if not path.exists():
        return None
    try:
        tensors, meta = load_tensors(path)
        if meta.get("version") != VERSION:
            raise RunError(f"{path} has format version {meta.get('version')}; this Tacit reads version {VERSION}")
        usual = Usual(**{name: tensors[name] for name in BOUNDS})
        found = Correction(usual=usual, **{name: tensors[name] for name in TENSORS})
    except CheckpointError as error:
        raise RunError(str(error)) from error
    except KeyError as error:
        raise RunError(f"{path} is damaged: {error} is missing; train the run again") from error
    steps, channels = found.half_widths.shape if found.half_widths.ndim == 2 else (0, 0)
    wanted = dict.fromkeys(("scale", "middle", "half"), (channels,)) | {"limit": (), "half_widths": (steps, channels)}
    wanted |= dict.fromkeys(("weights", "far"), (steps, channels, channels + len(MEMORIES)))
    for name, shape in wanted.items():
        if 0 in shape or tensors[name].shape != shape:
            raise RunError(f"{path} is damaged: {name} has shape {tuple(tensors[name].shape)} instead of {shape}; train the run again")
    return found
