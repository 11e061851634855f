"""Corrections of forecasts: what they find in forecasts that are wrong in a known way, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tacit.training.correction import (
    MEMORIES,
    MOST_CHANGE,
    Correction,
    Lately,
    Stretch,
    fit_correction,
    lately,
    one_step_errors,
    read_correction,
    write_correction,
)
from tacit.training.folder import CORRECTION, RunError
from tacit.training.latents import LatentLog
from tacit.training.usual import Usual

H, N, J = 6, 2, len(MEMORIES)
USUAL = Usual(middle=torch.zeros(N), half=torch.ones(N), limit=torch.tensor(3.0))


def stretch(seed: int, count: int = 400, far: int = 0) -> Stretch:
    """A plant whose first sensor is foreseen at half of its change, and shifted by twice the last error; of the second nothing is known,
    and its predictions run away. Where it is not as usual, nothing changes."""
    rng = torch.Generator().manual_seed(seed)
    now, errors, change = (torch.randn(*shape, generator=rng) for shape in ((count, N), (count, N, J), (count, H, N)))
    is_usual = torch.arange(count) >= far
    truth = 2.0 * change + 2.0 * errors[:, None, :, 0] + 0.1 * torch.randn(count, H, N, generator=rng)
    truth[..., 1] = torch.randn(count, H, generator=rng)
    change[..., 1] = 1e20 * change[..., 1]
    truth[~is_usual] = 0.0
    truth[::3, :, 0] = torch.nan
    return Stretch(lately=Lately(now=now, errors=errors, is_usual=is_usual), predicted=now[:, None] + change, truth=now[:, None] + truth)


def mean_square(correction: Correction, found: Stretch) -> torch.Tensor:
    return (correction(found.predicted, found.lately) - found.truth).square().nanmean((0, 1))


def test_sensors_have_the_same_weights_in_any_order_and_whichever_are_measured_together() -> None:
    order, usual = torch.tensor([2, 0, 1]), Usual(middle=torch.zeros(3), half=torch.ones(3), limit=torch.tensor(3.0))

    def three(seed: int, order: torch.Tensor) -> Stretch:
        rng = torch.Generator().manual_seed(seed)
        now, errors, change = (torch.randn(*shape, generator=rng) for shape in ((200, 3), (200, 3, J), (200, H, 3)))
        truth = change + change.roll(1, -1) + errors[:, None, :, 1] + 0.1 * torch.randn(200, H, 3, generator=rng)
        truth[::4, :, [0, 2]] = torch.nan
        return Stretch(
            lately=Lately(now=now[:, order], errors=errors[:, order], is_usual=torch.arange(200) >= 30),
            predicted=(now[:, None] + change)[..., order],
            truth=(now[:, None] + truth)[..., order],
        )

    found, turned = (fit_correction(usual, torch.ones(3), [three(n, each) for n in range(3)]) for each in (torch.arange(3), order))
    columns = torch.cat((order, torch.arange(3, 3 + J)))
    for name in ("weights", "far"):
        torch.testing.assert_close(getattr(turned, name), getattr(found, name)[:, order][..., columns], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(turned.half_widths, found.half_widths[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.weights[:, 1], torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]).expand(H, -1), atol=0.2, rtol=0)


def test_predictions_are_trusted_as_far_as_they_are_good() -> None:
    found = fit_correction(USUAL, torch.ones(N), [stretch(n) for n in range(5)])
    fresh = stretch(9)
    errors = mean_square(found, fresh)
    assert errors[0] < 0.02, "the change twice, and the last error twice"
    assert errors[1] < 1.1, "of what cannot be foreseen the correction says that it does not change"
    torch.testing.assert_close(found.weights[:, 0, :3], torch.tensor([2.0, 0.0, 2.0]).expand(H, 3), atol=0.1, rtol=0)
    assert found.weights[:, 1].abs().max() < 0.2
    assert found.is_trusted(9).tolist() == [[True, True], *[[True, False]] * 8], "the next step always"
    inside = (found(fresh.predicted, fresh.lately) - fresh.truth).abs() <= found.half_widths
    assert 0.85 < inside[fresh.truth.isfinite()].float().mean() < 0.95
    longer = found(torch.zeros(1, 40, N), fresh.lately.at(torch.tensor([3])))
    assert longer.shape == (1, 40, N)
    torch.testing.assert_close(longer[:, -1], longer[:, H - 1])


def test_where_the_plant_is_not_as_usual_it_is_trusted_as_it_was_there() -> None:
    few = fit_correction(USUAL, torch.ones(N), [stretch(0, far=3), stretch(1)])
    assert torch.equal(few.far, few.weights), "too few moments tell of it"
    many = fit_correction(USUAL, torch.ones(N), [stretch(0, far=100), stretch(1)])
    assert many.far.abs().max() < 0.05
    away = stretch(2, far=10)
    torch.testing.assert_close(many(away.predicted, away.lately)[:10], away.lately.now[:10, None].expand(-1, H, -1), atol=0.5, rtol=0)


def test_a_prediction_without_bounds_is_none() -> None:
    found = fit_correction(USUAL, torch.ones(N), [stretch(0)])
    odd = Lately(now=torch.zeros(1, N), errors=torch.zeros(1, N, J), is_usual=torch.ones(1, dtype=torch.bool))
    wild = found(torch.tensor([torch.inf, torch.nan]).expand(1, H, N), odd)
    assert wild.isfinite().all()
    assert wild.abs().max() <= MOST_CHANGE * found.weights.abs().sum(-1).max()


class Still:
    """A model of which every latent stays as it is."""

    history = 3

    def rollout(self, history: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return history[:, None, -1:].expand(-1, actions.shape[1], actions.shape[2], -1)


class Same:
    """A readout that is the latent."""

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def test_errors_are_averaged_over_the_past_of_an_episode_alone() -> None:
    values = torch.cat((torch.zeros(5, 1), torch.full((5, 1), 1.0), torch.full((4, 1), 50.0)))
    log = LatentLog(latents=values, actions=torch.zeros(14, 1), first=torch.tensor([0, 10]), steps=torch.tensor([9, 3]))
    shown = values.clone()
    shown[7] = torch.nan
    errors = one_step_errors(Still(), [Same()], log, shown)  # type: ignore[arg-type, list-item]
    assert errors[:, 0].tolist() == [0.0] * 5 + [1.0] + [0.0] * 8, "one jump, and none from one episode to the next"
    usual = replace(USUAL, middle=torch.zeros(1), half=torch.ones(1))
    found = lately(Still(), [Same()], log, shown, usual=usual, scale=torch.tensor([0.2]))  # type: ignore[arg-type, list-item]
    memory = torch.tensor(MEMORIES)
    torch.testing.assert_close(found.errors[4, 0], torch.zeros(J))
    torch.testing.assert_close(found.errors[5, 0], 0.8 / memory), "four usual errors at most"
    torch.testing.assert_close(found.errors[8, 0], 0.8 / memory * (1 - 1 / memory) ** 3)
    torch.testing.assert_close(found.errors[10:], torch.zeros(4, 1, J))
    assert found.is_usual.tolist() == [True] * 10 + [False] * 4


def test_it_is_kept_with_the_run_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    assert read_correction(tmp_path) is None
    found = fit_correction(USUAL, torch.ones(N), [stretch(0)])
    write_correction(tmp_path, found)
    again = read_correction(tmp_path)
    assert again is not None
    assert torch.equal(again.weights, found.weights)
    assert torch.equal(again.usual.limit, found.usual.limit)
    written = (tmp_path / CORRECTION).read_bytes()
    (tmp_path / CORRECTION).write_bytes(written[:-1] + bytes([written[-1] ^ 1]))
    with pytest.raises(RunError, match="changed since it was written"):
        read_correction(tmp_path)


def test_one_of_other_shapes_is_told(tmp_path: Path) -> None:
    found = fit_correction(USUAL, torch.ones(N), [stretch(0)])
    for name, wrong in {"weights": found.weights[:, :, :-1], "scale": torch.ones(N + 1), "half_widths": torch.ones(H)}.items():
        write_correction(tmp_path, replace(found, **{name: wrong}))
        with pytest.raises(RunError, match="has shape"):
            read_correction(tmp_path)
