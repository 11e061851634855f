"""Perception: which observations are taken, in which shapes, and which are refused."""

from __future__ import annotations

import pytest
import torch

from tacit.models.encoders import EncoderConfig, ObservationEncoder, brightest, keypoints
from tacit.signals import Role, Schema, SchemaError, Signal, mask_of

CONFIG = EncoderConfig(channels=(8, 16), features=16)
MOVE = Signal(name="move", role=Role.ACTION, shape=(2,))


def image(height: int, width: int, name: str = "camera") -> Signal:
    return Signal(name=name, role=Role.OBSERVATION, shape=(height, width, 3), dtype="uint8")


def encoder_of(*signals: Signal) -> ObservationEncoder:
    torch.manual_seed(0)
    return ObservationEncoder(Schema(signals=(*signals, MOVE)), 5, CONFIG)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 96), (64, 48), (48, 128), (8, 8), (16, 4)])
def test_images_of_many_sizes(height: int, width: int) -> None:
    encoder = encoder_of(image(height, width))
    frames = torch.randint(0, 256, (3, height, width, 3), dtype=torch.uint8)
    latents = encoder({"camera": frames})
    assert latents.shape == (3, 5)
    corner = frames.clone()
    corner[1, -1, -1] = 255 - corner[1, -1, -1]
    changed = (encoder({"camera": corner}) != latents).any(-1)
    assert changed.tolist() == [False, True, False], "every pixel counts, and only for its own frame"


@pytest.mark.parametrize(("height", "width"), [(65, 64), (64, 66), (3, 3)])
def test_images_that_do_not_split_into_patches_are_refused(height: int, width: int) -> None:
    with pytest.raises(SchemaError, match=rf"'camera' is {height} x {width}.*multiples of"):
        encoder_of(image(height, width))


def test_a_schema_without_observations_is_refused() -> None:
    with pytest.raises(SchemaError, match="no observation"):
        encoder_of(Signal(name="heat", role=Role.DISTURBANCE), Signal(name="pose", role=Role.LABEL, shape=(2,)))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool", "uint8"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_vectors_of_any_shape_and_dtype(shape: tuple[int, ...], dtype: str) -> None:
    encoder = encoder_of(Signal(name="gauge", role=Role.OBSERVATION, shape=shape, dtype=dtype))
    samples = torch.tensor([0, 1, 0, 1]).view(4, *(1 for _ in shape)).expand(4, *shape).to(getattr(torch, dtype))
    encoder.standardize({"gauge": samples})
    latents = encoder({"gauge": samples})
    assert latents.shape == (4, 5)
    assert not torch.equal(latents[0], latents[1])


def test_image_and_vectors_are_fused() -> None:
    encoder = encoder_of(
        image(16, 16), Signal(name="arm.angle", role=Role.OBSERVATION, shape=(3,)), Signal(name="heat", role=Role.OBSERVATION)
    )
    observations = {
        "camera": torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8),
        "arm.angle": torch.randn(4, 3),
        "heat": torch.randn(4),
        "wind": torch.randn(4),  # not of this schema: ignored
    }
    latents = encoder(observations)
    assert latents.shape == (4, 5)
    for name in ("camera", "arm.angle", "heat"):
        other = observations | {name: observations[name].flip(0)}
        assert not torch.allclose(encoder(other), latents), name
    assert torch.equal(encoder(observations | {"wind": torch.zeros(4)}), latents)


@pytest.mark.parametrize("name", ["values", "type", "training", "encoders", "a.b"])
def test_signals_may_have_any_name(name: str) -> None:
    encoder = encoder_of(Signal(name=name, role=Role.OBSERVATION, shape=(2,)))
    assert encoder({name: torch.randn(3, 2)}).shape == (3, 5)


def test_statistics_are_those_of_each_signal() -> None:
    """Pressures of 1e5 Pa and a dark camera are seen as clearly as unit-free numbers: the latent does not depend on the unit."""
    gauge, bar = (Signal(name="p", role=Role.OBSERVATION, shape=(2,), unit=unit) for unit in ("Pa", "bar"))
    pressure = 1.0 + 0.1 * torch.randn(64, 2)
    in_bar, in_pascal = encoder_of(bar), encoder_of(gauge)
    in_bar.standardize({"p": pressure})
    in_pascal.standardize({"p": pressure * 1e5})
    torch.testing.assert_close(in_pascal({"p": pressure * 1e5}), in_bar({"p": pressure}), rtol=1e-3, atol=1e-4)

    camera = encoder_of(image(8, 8))
    frames = torch.randint(0, 10, (32, 8, 8, 3), dtype=torch.uint8)
    camera.standardize({"camera": frames})
    seen = camera.encoders[0].standardize(frames)
    torch.testing.assert_close(seen.mean((0, 1, 2)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std((0, 1, 2)), torch.ones(3), atol=1e-3, rtol=0)


def masked_machine() -> ObservationEncoder:
    tank, camera = Signal(name="tank", role=Role.OBSERVATION, shape=(3,)), image(16, 16)
    return encoder_of(tank, mask_of(tank), camera, mask_of(camera))


def masked_samples(n: int = 4) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "tank": torch.randn(n, 3) * 5 + 20,
        "tank.valid": torch.ones(n, 3, dtype=torch.bool),
        "camera": torch.randint(0, 256, (n, 16, 16, 3), dtype=torch.uint8),
        "camera.valid": torch.ones(n, dtype=torch.bool),
    }


def test_what_is_missing_cannot_be_seen_but_that_it_is_missing_can() -> None:
    encoder, seen = masked_machine(), masked_samples()
    encoder.standardize(seen)
    whole = encoder(seen)
    for name, place in (("tank", (1, 2)), ("camera", (1,))):
        mask = seen[f"{name}.valid"].clone()
        mask[place] = False
        other = seen[name].clone()
        other[place] = 77
        without = encoder(seen | {f"{name}.valid": mask})
        assert torch.equal(without, encoder(seen | {f"{name}.valid": mask, name: other}))
        assert (without != whole).any(-1).tolist() == [False, True, False, False]
        assert not torch.equal(encoder(seen | {name: other}), whole)


def test_statistics_are_those_of_what_was_there() -> None:
    encoder, seen = masked_machine(), masked_samples(40)
    seen["tank.valid"][::2, 1] = False
    seen["tank"][::2, 1] = 1e6
    seen["camera.valid"][:10] = False
    encoder.standardize(seen)
    vector, camera = encoder.encoders
    torch.testing.assert_close(vector.standardize.mean[1], seen["tank"][1::2, 1].mean())
    torch.testing.assert_close(vector.standardize.std[1], seen["tank"][1::2, 1].std())
    torch.testing.assert_close(camera.standardize.mean, seen["camera"][10:].float().mean((0, 1, 2)))


RAIN = Signal(name="rain", role=Role.DISTURBANCE, shape=(2,))
GAUGE = Signal(name="gauge", role=Role.OBSERVATION)


def test_measured_disturbances_are_seen_and_may_be_unknown() -> None:
    encoder = encoder_of(GAUGE, RAIN)
    seen = {"gauge": torch.randn(4), "rain": torch.randn(4, 2)}
    encoder.standardize(seen)
    assert not torch.allclose(encoder(seen), encoder(seen | {"rain": seen["rain"].flip(0)}))
    unknown = encoder(seen | {"rain": torch.full((4, 2), torch.nan)})
    assert unknown.isfinite().all(), "a goal does not say which disturbances there will be"
    assert not torch.allclose(unknown, encoder(seen))
    masked = encoder_of(GAUGE, RAIN, mask_of(RAIN))
    hidden = seen | {"rain.valid": torch.zeros(4, 2, dtype=torch.bool)}
    assert torch.equal(masked(hidden), masked(hidden | {"rain": seen["rain"] + 7}))


def test_the_action_before_is_seen_where_the_settings_say_so() -> None:
    torch.manual_seed(0)
    encoder = ObservationEncoder(Schema(signals=(GAUGE, MOVE)), 5, CONFIG, sees_action=True)
    seen, applied = {"gauge": torch.randn(4)}, 100 + 10 * torch.randn(4, 2)
    encoder.standardize(seen, applied)
    latents = encoder(seen, applied)
    other = applied.clone()
    other[2] += 10
    assert (encoder(seen, other) != latents).any(-1).tolist() == [False, False, True, False]
    assert encoder(seen).isfinite().all()
    assert torch.equal(encoder(seen), encoder(seen, torch.full_like(applied, torch.nan))), "nobody said what was done"
    blind = encoder_of(GAUGE)
    assert torch.equal(blind(seen, applied), blind(seen))


def test_numbers_go_straight_into_the_latent_and_what_is_missing_is_held() -> None:
    config = EncoderConfig(features=16, linear=True, held=True)
    encoder = ObservationEncoder(Schema(signals=(GAUGE, mask_of(GAUGE), RAIN, MOVE)), 5, config, sees_action=True)
    seen = {"gauge": 300 + 20 * torch.randn(64), "gauge.valid": torch.ones(64, dtype=torch.bool), "rain": torch.randn(64, 2)}
    applied = torch.randn(64, 2)
    encoder.standardize(seen, applied)
    latents = encoder(seen, applied)
    torch.testing.assert_close(
        latents[:, 0] - latents[:, 0].mean(), (seen["gauge"] - seen["gauge"].mean()) / seen["gauge"].std(), rtol=1e-3, atol=1e-3
    )
    stale = seen | {"gauge.valid": torch.zeros(64, dtype=torch.bool)}
    assert torch.equal(encoder(stale, applied), latents), "the last good value stands there"
    never = encoder(stale | {"gauge": torch.full((64,), torch.nan)}, applied)
    torch.testing.assert_close(never[:, 0], latents[:, 0].mean().expand(64), rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("exact", [False, True])
def test_measured_disturbances_are_put_into_a_latent_as_if_they_had_been_seen(exact: bool) -> None:
    torch.manual_seed(0)
    config = EncoderConfig(channels=(8, 16), features=16, linear=True, exact=exact, held=True, peaks=2)
    seen = {"gauge": 300 + 20 * torch.randn(64), "rain": 5 + torch.randn(64, 2), "rain.valid": torch.ones(64, 2, dtype=torch.bool)}
    signals, latent = (GAUGE, RAIN, mask_of(RAIN), MOVE), 5
    if exact:
        signals, latent = (image(16, 16), *signals), 14
        seen["camera"] = torch.randint(0, 256, (64, 16, 16, 3), dtype=torch.uint8)
    encoder = ObservationEncoder(Schema(signals=signals), latent, config, sees_action=True)
    applied = torch.randn(64, 2)
    encoder.standardize(seen, applied)
    for parameter in encoder.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    other = seen | {"rain": seen["rain"] + 3 * torch.randn(64, 2)}
    told = encoder.as_measured(encoder(seen, applied)[:, None], other)[:, 0]
    torch.testing.assert_close(told, encoder(other, applied), rtol=1e-4, atol=1e-4)
    assert (told - encoder(seen, applied)).abs().max() > 0.5, "or there was nothing to see"
    hidden = other | {"rain.valid": torch.zeros(64, 2, dtype=torch.bool)}
    torch.testing.assert_close(encoder.as_measured(told[:, None], hidden)[:, 0], told, msg="what was not measured stays")


def test_through_a_network_disturbances_stay_as_they_were_predicted() -> None:
    encoder = encoder_of(GAUGE, RAIN)
    latents = torch.randn(4, 3, 5)
    assert encoder.as_measured(latents, {"gauge": torch.zeros(4), "rain": torch.zeros(4, 2)}) is latents


def test_the_brightest_patch_is_the_same_number_wherever_it_is() -> None:
    frames = torch.full((3, 16, 16, 3), 20, dtype=torch.uint8)
    frames[1, 4:8, 4:8] = 200
    frames[2, 8:12, 12:16] = 200
    assert brightest(frames, 2)[:, 0].tolist() == [20.0, 200.0, 200.0]
    assert brightest(frames, 2)[:, 1:].tolist() == [[20.0] * 4, [200.0, 20.0, 20.0, 20.0], [20.0, 20.0, 20.0, 200.0]]


def test_numbers_and_peaks_of_an_image_go_straight_into_the_first_dimensions() -> None:
    """The camera comes first in the schema, but what its network makes of a picture goes into the dimensions that are left."""
    config = EncoderConfig(channels=(8, 16), features=16, linear=True, held=True, peaks=2)
    camera = image(16, 16)
    encoder = ObservationEncoder(Schema(signals=(camera, mask_of(camera), GAUGE, mask_of(GAUGE), MOVE)), 12, config)
    seen = {
        "camera": torch.randint(0, 256, (64, 16, 16, 3), dtype=torch.uint8),
        "camera.valid": torch.ones(64, dtype=torch.bool),
        "gauge": 300 + 20 * torch.randn(64),
        "gauge.valid": torch.ones(64, dtype=torch.bool),
    }
    seen["camera.valid"][:8] = False
    encoder.standardize(seen)
    latents = encoder(seen)
    lit = slice(8, None)
    numbers = torch.cat((brightest(seen["camera"], 2), seen["gauge"][:, None]), 1)[lit]
    numbers = numbers - numbers.mean(0)
    straight = (latents[lit, :6] - latents[lit, :6].mean(0)).detach()
    correlation = (straight * numbers).mean(0) / (straight.std(0) * numbers.std(0))
    torch.testing.assert_close(correlation, torch.ones(6), atol=0.03, rtol=0)
    torch.testing.assert_close(straight[:, :5].std(0), torch.ones(5), atol=0.02, rtol=0)
    assert (latents[:, 6:].std(0) > 0).all(), "the network's features"
    darker = seen | {"camera": seen["camera"] // 2}
    assert torch.equal(encoder(darker)[:8], latents[:8]), "a dark camera has no peaks"


def test_exact_numbers_stay_what_they_are_whatever_is_learned() -> None:
    config = EncoderConfig(channels=(8, 16), features=16, linear=True, exact=True, held=True, peaks=2)
    camera = image(16, 16)
    encoder = ObservationEncoder(Schema(signals=(camera, GAUGE, MOVE)), 12, config, sees_action=True)
    seen = {"camera": torch.randint(0, 256, (64, 16, 16, 3), dtype=torch.uint8), "gauge": 300 + 20 * torch.randn(64)}
    applied = torch.randn(64, 2)
    encoder.standardize(seen, applied)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    latents = encoder(seen, applied)
    numbers = torch.cat((brightest(seen["camera"], 2), seen["gauge"][:, None], applied), 1)
    torch.testing.assert_close(latents[:, :8], (numbers - numbers.mean(0)) / numbers.std(0), rtol=1e-4, atol=1e-4)
    assert (latents[:, 8:].std(0) > 0).all()
    assert encoder.pictured.tolist() == [True] * 5 + [False] * 3 + [True] * 4


def test_a_keypoint_is_where_its_feature_is() -> None:
    maps = torch.zeros(4, 2, 8, 5)
    maps[0, 0, 7, 0] = 20.0
    maps[1, 0, 7, 0] = maps[1, 0, 7, 1] = 20.0
    maps[2, 1] = 3.0
    rows, columns = keypoints(maps)[:, :2], keypoints(maps)[:, 2:]
    torch.testing.assert_close(rows[:2, 0], torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(columns[:2, 0], torch.tensor([-1.0, -0.75]), msg="halfway between two places that share it")
    torch.testing.assert_close(rows[2:], torch.zeros(2, 2), msg="in the middle where it is everywhere, however strong")


def test_keypoints_tell_places_to_a_fraction_of_a_pixel_before_any_training() -> None:
    """A dark square that moves by an eighth of a patch at a time, drawn with smooth edges: a linear map reads its place."""
    torch.manual_seed(0)
    place = torch.rand(400, 2) * 40 + 4
    pixel = torch.arange(64)
    down, across = ((pixel + 1 - first).clamp(0, 1) * (first + 16 - pixel).clamp(0, 1) for first in place[:, :, None].unbind(1))
    frames = (230 - 200 * down[:, :, None, None] * across[:, None, :, None]).expand(-1, -1, -1, 3).to(torch.uint8)
    errors: list[float] = []
    for told in (False, True):
        config = EncoderConfig(channels=(8, 16), features=16, keypoints=told)
        encoder = ObservationEncoder(Schema(signals=(image(64, 64), MOVE)), 32, config)
        encoder.standardize({"camera": frames})
        with torch.no_grad():
            latents = torch.nn.functional.pad(encoder({"camera": frames}), (0, 1), value=1.0).double()
        read = torch.linalg.lstsq(latents[:300], place[:300].double()).solution
        errors.append(float((latents[300:] @ read - place[300:]).square().mean().sqrt()))
    assert errors[1] < 0.8
    assert errors[1] < 0.3 * errors[0]
