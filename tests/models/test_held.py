"""A model for planning holds what nobody can foresee, and is else the same."""

from __future__ import annotations

import torch

from tacit.models.encoders import EncoderConfig
from tacit.models.held import holding_disturbances
from tacit.models.jepa import JEPA, JEPAConfig
from tacit.models.predictor import PredictorConfig
from tacit.signals import Role, Schema, Signal

GAUGE = Signal(name="gauge", role=Role.OBSERVATION, unit="K")
RAIN = Signal(name="rain", role=Role.DISTURBANCE, shape=(2,), unit="mm")
MOVE = Signal(name="move", role=Role.ACTION, shape=(2,))
STEPS = 6


def model_of(*signals: Signal, leading: int = 3) -> JEPA:
    torch.manual_seed(0)
    numbers = sum(signal.size for signal in signals)
    config = JEPAConfig(
        state=numbers,
        context=0,
        encoder=EncoderConfig(features=16, linear=True, held=True),
        predictor=PredictorConfig(history=3, width=16, depth=1, leading=leading),
        sees_action=True,
    )
    made = JEPA(Schema(signals=signals), config)
    for parameter in made.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    made.standardize({s.name: torch.randn(64, *s.shape) for s in signals if s.role is not Role.ACTION}, torch.randn(64, 2))
    return made.requires_grad_(False)


@torch.no_grad()
def test_measured_disturbances_stay_and_all_else_changes_as_before() -> None:
    model = model_of(GAUGE, RAIN, MOVE)
    held = holding_disturbances(model)
    read, drift, _ = model.encoder.disturbance_map()
    history, actions = torch.randn(2, 3, 5), torch.randn(2, 4, STEPS, 2)

    def rain(latents: torch.Tensor) -> torch.Tensor:
        return (latents.double() - drift) @ read.T

    plain, kept = model.rollout(history, actions), held.rollout(history, actions)
    now = rain(history[:, None, None, -1])
    assert (rain(plain) - now).abs().max() > 0.01, "or there was nothing to hold"
    assert (rain(kept) - now).abs().max() < 1e-4
    first = torch.cat((kept[:, :, 0], plain[:, :, 0]), 1)
    back = first.double() - rain(first) @ model.encoder.disturbance_map()[2].T
    torch.testing.assert_close(back[:, :4], back[:, 4:], rtol=1e-4, atol=1e-4, msg="the first step differs in the rain alone")
    assert torch.equal(model.rollout(history, actions), plain), "the model itself is left alone"


def test_a_model_without_measured_disturbances_is_itself() -> None:
    model = model_of(GAUGE, MOVE)
    assert holding_disturbances(model) is model
