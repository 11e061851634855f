"""The furnace against the heat equation, and what each of its sensors can see."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.worlds.plants import SimulatedPlant
from tacit.worlds.plants.heater import (
    AMBIENT,
    CELLS,
    COLDEST,
    CONDUCTIVITY,
    CONVECTION,
    EMISSIVITY,
    FIELD,
    FOOTPRINTS,
    HEATER,
    HOTTEST,
    SIDE,
    STEFAN_BOLTZMANN,
    THICKNESS,
    TICKS,
    ZERO,
    conducted,
)

U = np.array([a.nominal for a in HEATER.actuators])


def disturbed(**values: float) -> np.ndarray:
    return np.array([values.get(each.name, each.nominal) for each in HEATER.disturbances])


def settled(minutes: int, **values: float) -> SimulatedPlant:
    plant = SimulatedPlant(HEATER, unrest=0.0, noise=0.0)
    plant.disturb(values)
    for _ in range(12 * minutes):
        plant.apply(U)
    return plant


def test_a_wave_of_temperature_decays_as_the_heat_equation_says() -> None:
    wave = np.tile(np.cos(np.pi * TICKS / SIDE), (CELLS, 1))
    expected = -CONDUCTIVITY * THICKNESS * (np.pi / SIDE) ** 2 * wave
    assert conducted(wave) == pytest.approx(expected, abs=2e-3 * np.abs(expected).max())
    assert conducted(wave.T) == pytest.approx(conducted(wave).T)


def test_conduction_only_moves_heat_about() -> None:
    assert conducted(np.random.default_rng(0).normal(size=(CELLS, CELLS))).sum() == pytest.approx(0.0, abs=1e-6)


def test_every_burner_heats_with_all_its_power() -> None:
    assert FOOTPRINTS.mean(axis=(1, 2)) * SIDE**2 == pytest.approx(np.ones(4))


def test_at_rest_radiation_and_convection_carry_off_what_the_burners_bring() -> None:
    field = np.array([s.nominal for s in HEATER.states[:FIELD]])
    lost = EMISSIVITY * STEFAN_BOLTZMANN * ((field + ZERO) ** 4 - (AMBIENT + ZERO) ** 4) + CONVECTION * (field - AMBIENT)
    assert lost.mean() * SIDE**2 == pytest.approx(1000 * U.sum(), rel=1e-3)


def test_the_hot_spot_of_a_bent_flame_is_in_the_picture_and_not_in_the_thermocouples() -> None:
    calm, bent = settled(30), settled(30, flame_strength=1.0, flame_x=0.7, flame_y=0.3)
    for name in ("thermocouple_1", "thermocouple_2"):
        assert abs(float(bent.apply(U)[name]) - float(calm.apply(U)[name])) < 5.0
    seen, unlike = bent.apply(U), calm.apply(U)
    assert seen["hot_spot"] - unlike["hot_spot"] > 60.0
    assert (float(seen["hot_spot_x"]), float(seen["hot_spot_y"])) == pytest.approx((0.7, 0.3), abs=0.05)
    picture = seen["thermal"][..., 0].astype(float) - unlike["thermal"][..., 0]
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    assert (column / 64, row / 64) == pytest.approx((0.7, 0.3), abs=0.05)
    assert picture.max() > 25


def test_picture_and_thermocouples_together_tell_the_hot_spot_and_neither_does_alone() -> None:
    """The window's share is the quotient of what picture and thermocouple say of the same place."""
    off: dict[str, list[float]] = {"picture": [], "thermocouples": [], "both": []}
    for window, strength in ((0.93, 0.0), (1.05, 0.5), (0.97, 1.0)):
        seen = settled(15, window=window, flame_strength=strength, flame_x=0.6, flame_y=0.4).apply(U)
        picture = COLDEST + (HOTTEST - COLDEST) * seen["thermal"][..., 0].astype(float) / 255
        probes = [float(seen["thermocouple_1"]), float(seen["thermocouple_2"])]
        share = np.mean([picture[14:18, 14:18].mean() / probes[0], picture[46:50, 46:50].mean() / probes[1]])
        true = float(seen["hot_spot"])
        off["picture"].append(picture.max() - true)
        off["thermocouples"].append(max(probes) - true)
        off["both"].append(picture.max() / share - true)
    rms = {name: float(np.sqrt(np.mean(np.square(values)))) for name, values in off.items()}
    assert rms["both"] < 5.0
    assert rms["picture"] > 30.0
    assert rms["thermocouples"] > 30.0


def test_a_dirty_window_darkens_the_picture_and_nothing_else() -> None:
    clean, dirty = settled(1), settled(1, window=0.95)
    assert dirty.apply(U)["thermocouple_1"] == clean.apply(U)["thermocouple_1"]
    darker = clean.apply(U)["thermal"].astype(float).mean() - dirty.apply(U)["thermal"].mean()
    assert darker == pytest.approx(0.05 * 760 / 600 * 255, rel=0.1)


def test_a_load_travels_across_takes_heat_and_gets_warm() -> None:
    plant = SimulatedPlant(HEATER, unrest=0.0, noise=0.0)
    plant.disturb({"load_size": 1.0, "load_place": 0.3})
    middles, warm = [], []
    for _ in range(12 * 10):
        samples = plant.apply(U)
        dark = HEATER.covered(plant.state, plant.disturbances)
        middles.append((dark.sum(axis=0) @ TICKS / max(dark.sum(), 1e-9), dark.sum(axis=1) @ TICKS / max(dark.sum(), 1e-9)))
        warm.append(float(samples["load_temperature"]))
    x, y = np.array(middles).T
    assert (np.diff(x) >= 0).all()
    assert 1000 * np.diff(x[40:80]).mean() / 5 == pytest.approx(1.5, rel=0.02), "mm/s"
    assert y[40:80] == pytest.approx(np.full(40, 0.3), abs=0.01)
    assert (np.diff(warm) >= -1e-6).all()
    assert warm[-1] > 100.0
    assert float(samples["mean_temperature"]) < float(settled(10).apply(U)["mean_temperature"]) - 5.0


def test_a_load_that_has_left_is_followed_by_a_cold_one() -> None:
    plant = SimulatedPlant(HEATER, unrest=0.0, noise=0.0)
    plant.disturb({"load_size": 1.0, "conveyor_speed": 3.0})
    warm = [float(plant.apply(U)["load_temperature"]) for _ in range(round(2.0 / 0.003 / 5))]
    assert max(warm) > 100.0
    assert warm[-1] == pytest.approx(AMBIENT, abs=5.0)
