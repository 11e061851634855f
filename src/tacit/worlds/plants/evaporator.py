"""A forced-circulation evaporator: a liquor is concentrated by steam under vacuum, and the vapour condensed by cooling water.

Newell and Lee, Applied Process Control: A Case Study, Prentice Hall 1989, chapter 2, with its operating point: balances of mass, of solids
and of vapour, and the heat that steam brings and the condenser takes. Variables have the book's names in brackets.

Ours: the product's composition is analysed once a minute and 90 s late. Flow, composition and temperature of the feed and the temperature
of the cooling water are measured; the circulating flow and the fouling of heater and condenser are not. The level is an integrator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from tacit.worlds.plants.plant import Floats, Loop
from tacit.worlds.plants.process import Actuator, Camera, Disturbance, Sensor, State, Truth

HOLDUP = 20.0  # kg/m of level; the same number of kg holds the composition
VAPOUR = 4.0  # kg/kPa
LATENT_PRODUCT, LATENT_STEAM = 38.5, 36.6  # kW min/kg
HEAT_CAPACITY = 0.07  # kW min/(kg K)
CONDENSER = 6.84  # kW/K
MINUTE = 60.0


@final
@dataclass(frozen=True, kw_only=True)
class Evaporator:
    """The equations of the evaporator. States: level (L2) in m, product composition (X2) in %, pressure (P2) in kPa.

    Attributes:
        name: Name in the registry.
    """

    name: str

    step_seconds: ClassVar[float] = 10.0
    substeps: ClassVar[int] = 1
    cameras: ClassVar[tuple[Camera, ...]] = ()
    states: ClassVar[tuple[State, ...]] = (
        State(name="level", unit="m", low=0.0, high=2.0, nominal=1.0),
        State(name="composition", unit="%", low=0.0, high=60.0, nominal=25.0),
        State(name="pressure", unit="kPa", low=10.0, high=120.0, nominal=50.5),
    )
    sensors: ClassVar[tuple[Sensor, ...]] = (
        Sensor(name="level", unit="m", low=0.0, high=2.0, noise=0.002, resolution=0.001),
        Sensor(name="composition", unit="%", low=0.0, high=50.0, noise=0.08, resolution=0.05, every=6, dead_steps=9),
        Sensor(name="pressure", unit="kPa", low=0.0, high=100.0, noise=0.03, resolution=0.02),
        Sensor(name="product_temperature", unit="degC", low=40.0, high=140.0, noise=0.05, resolution=0.05),
    )
    actuators: ClassVar[tuple[Actuator, ...]] = (
        Actuator(name="product_flow", unit="kg/min", low=0.0, high=6.0, rate=0.05, nominal=2.0),
        Actuator(name="steam_pressure", unit="kPa", low=50.0, high=400.0, rate=2.0, nominal=194.7),
        Actuator(name="water_flow", unit="kg/min", low=50.0, high=400.0, rate=2.0, nominal=208.0, static=2.0, dynamic=1.0),
    )
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance(
            name="feed_composition",
            unit="%",
            nominal=5.0,
            low=4.0,
            high=6.0,
            wander=0.05,
            wander_seconds=900.0,
            jump=0.15,
            jump_seconds=3600.0,
            measured=True,
            noise=0.01,
            resolution=0.01,
        ),
        Disturbance(
            name="feed_temperature",
            unit="degC",
            nominal=40.0,
            low=30.0,
            high=50.0,
            wander=0.7,
            wander_seconds=1200.0,
            jump=1.5,
            jump_seconds=3600.0,
            measured=True,
            noise=0.05,
            resolution=0.05,
        ),
        Disturbance(
            name="feed_flow",
            unit="kg/min",
            nominal=10.0,
            low=8.0,
            high=12.0,
            wander=0.08,
            wander_seconds=300.0,
            jump=0.35,
            jump_seconds=2400.0,
            measured=True,
            noise=0.02,
            resolution=0.01,
        ),
        Disturbance(
            name="water_temperature",
            unit="degC",
            nominal=25.0,
            low=15.0,
            high=35.0,
            wander=1.0,
            wander_seconds=2 * 3600.0,
            measured=True,
            noise=0.05,
            resolution=0.05,
        ),
        Disturbance(name="circulation", unit="kg/min", nominal=50.0, low=40.0, high=60.0, wander=0.7, wander_seconds=1800.0),
        Disturbance(name="heater", unit="1", nominal=1.0, low=0.7, high=1.2, wander=0.02, wander_seconds=4 * 3600.0),
        Disturbance(name="condenser", unit="1", nominal=1.0, low=0.7, high=1.2, wander=0.02, wander_seconds=4 * 3600.0),
    )
    truths: ClassVar[tuple[Truth, ...]] = (
        Truth(name="level.true", unit="m"),
        Truth(name="composition.true", unit="%"),
        Truth(name="pressure.true", unit="kPa"),
        Truth(name="steam_flow", unit="kg/min"),
        Truth(name="evaporation", unit="kg/min"),
        Truth(name="cost", unit="$/h"),
    )
    loops: ClassVar[tuple[Loop, ...]] = (
        Loop(controlled="level", manipulated="product_flow", low=0.8, high=1.2, hold_seconds=3600.0),
        Loop(controlled="composition", manipulated="steam_pressure", low=23.0, high=28.0, hold_seconds=2400.0),
        Loop(controlled="pressure", manipulated="water_flow", low=47.0, high=54.0, hold_seconds=3600.0),
    )

    def derivative(self, t: float, x: Floats, u: Floats, d: Floats) -> Floats:
        """The three balances, per second; `heater` and `condenser` are factors of both heat transfers."""
        composition, product = x[..., 1], u[..., 0]
        evaporated, condensed, _ = self.flows(x, u, d)
        feed = d[..., 2]
        change = (
            (feed - evaporated - product) / HOLDUP,
            (feed * d[..., 0] - product * composition) / HOLDUP,
            (evaporated - condensed) / VAPOUR,
        )
        return np.stack(np.broadcast_arrays(*change), axis=-1) / MINUTE

    def flows(self, x: Floats, u: Floats, d: Floats) -> tuple[Floats, Floats, Floats]:
        """Vapour (F4), condensate (F5) and steam (F100) in kg/min, each (...); the arguments are those of `derivative`."""
        pressure, steam_pressure, water = x[..., 2], u[..., 1], u[..., 2]
        feed_temperature, feed, water_temperature, circulation = (d[..., i] for i in (1, 2, 3, 4))
        product_temperature = boiling(x)
        steam_temperature = 0.1538 * steam_pressure + 90.0
        steam_heat = d[..., 5] * 0.16 * (feed + circulation) * (steam_temperature - product_temperature)
        evaporated = (steam_heat - HEAT_CAPACITY * feed * (product_temperature - feed_temperature)) / LATENT_PRODUCT
        transfer = d[..., 6] * CONDENSER
        vapour_temperature = 0.507 * pressure + 55.0
        water_heat = transfer * (vapour_temperature - water_temperature) / (1 + transfer / (2 * HEAT_CAPACITY * water))
        return evaporated, water_heat / LATENT_PRODUCT, steam_heat / LATENT_STEAM

    def outputs(self, x: Floats) -> Floats:
        return np.concatenate([x, boiling(x)[..., None]], axis=-1)

    def truth(self, x: Floats, u: Floats, d: Floats) -> Floats:
        """The cost is that of Govatsmark and Skogestad, Control structure selection for an evaporation process (ESCAPE-11, 2001):
        600 $ per unit of steam, 0.6 $ of water and 1.009 $ of pumping."""
        evaporated, _, steam = self.flows(x, u, d)
        return np.array((*x, steam, evaporated, 600 * steam + 0.6 * u[2] + 1.009 * (u[0] + d[4])))

    def pictures(self, x: Floats, d: Floats) -> tuple[Floats, ...]:
        return ()


def boiling(x: Floats) -> Floats:
    """Temperature of the product (T2) in degC, of states (..., 3)."""
    temperature: Floats = 0.5616 * x[..., 2] + 0.3126 * x[..., 1] + 48.43
    return temperature


EVAPORATOR = Evaporator(name="evaporator")
