"""What a monitor is told."""

from __future__ import annotations

import numpy as np
import torch

from tacit.assurance.moments import Watch, senses
from tacit.planning import Decision, Evidence, Verdict
from tacit.signals import Role, Schema, Signal, mask_of

LEVEL = Signal(name="level", role=Role.OBSERVATION, unit="m")
SLOW = Schema(signals=(LEVEL, mask_of(LEVEL), Signal(name="pump", role=Role.ACTION, low=0.0, high=1.0)))


def decision() -> Decision:
    evidence = Evidence(cost=None, surprise=None, surprise_p=None, encode_ms=0.0, plan_ms=0.0)
    latents = torch.zeros(1, 1, 2)
    return Decision(action=np.zeros(1, np.float32), verdict=Verdict.ACT, reason="", plan=None, evidence=evidence, latents=latents)


def test_masks_can_be_left_out_of_a_goal() -> None:
    for goal in ({"level": np.array([5.0])}, {"level": np.array([5.0]), "level.valid": np.array([True])}):
        assert Watch(SLOW).moment({"level": 3.0}, decision(), torch.ones(1, 2), goal).goal_senses.tolist() == [[5.0, 1.0]]
    for nothing in (None, {}, {"level.valid": np.array([True])}):
        assert np.isnan(Watch(SLOW).moment({"level": 3.0}, decision(), None, nothing).goal_senses).all()


def test_a_sensor_that_is_read_now_and_then_shows_its_last_sample_between() -> None:
    watch = Watch(SLOW)
    seen = [
        watch.moment(samples, decision(), None).senses[0].tolist()
        for samples in (
            {"level": 3.0, "level.valid": True},
            {"level": None},
            {"level": float("nan")},
            {"level": 7.0, "level.valid": False},
            {"level": 4.0},
        )
    ]
    assert seen == [[3.0, 1.0], [3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [4.0, 1.0]]


def test_senses_are_block_means_and_plain_numbers() -> None:
    schema = Schema(
        signals=(
            Signal(name="image", role=Role.OBSERVATION, shape=(32, 48, 3), dtype="uint8"),
            Signal(name="level", role=Role.OBSERVATION, shape=(2,)),
            Signal(name="valve", role=Role.ACTION, shape=(1,), low=0.0, high=1.0),
        )
    )
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3)).astype(np.uint8)
    found = senses(schema, {"image": image, "level": np.array([[1.0, 2.0], [3.0, 4.0]])})
    assert found.shape == (2, 16 * 16 * 3 + 2)
    assert found[1, -2:].tolist() == [3.0, 4.0]
    assert np.allclose(found[0, :3], image[0, :2, :3].reshape(-1, 3).mean(0), atol=1e-3)
