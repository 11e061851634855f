"""A small furnace: a steel hearth under four burners, seen by a thermal camera and two thermocouples.

The temperature T of the hearth, whose thickness is thin beside its sides, follows the heat equation in two dimensions with insulated edges
(Incropera, DeWitt, Fundamentals of Heat and Mass Transfer, chapter 2), in W/m2:

    density * specific heat * thickness * dT/dt = conductivity * thickness * laplacian(T) + flames - radiation - convection - loads

Everything about it is ours. The flames are wide, but for one that bends: a small spot of heat at a place that nobody chose, which neither
thermocouple sees. Loads travel across on a conveyor, at a place and of a size that are not measured; a cold load draws heat from what it
covers. The camera has one grey level per 2.4 K and looks through a window that gets dirty: it shows where the heat is, but not how hot it
is, which the thermocouples do. Measured are also the temperature of the combustion air and the speed of the conveyor.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from tacit.worlds.plants.integrate import runge_kutta
from tacit.worlds.plants.plant import Floats, Loop
from tacit.worlds.plants.process import Actuator, Camera, Disturbance, Sensor, State, Truth

CELLS = 32  # along a side of the hearth
SIDE = 1.0  # m
THICKNESS = 0.02  # m
CONDUCTIVITY = 40.0  # W/(m K)
STORED = 7850.0 * 650.0  # J/(m3 K), density times specific heat of hot steel
EMISSIVITY, STEFAN_BOLTZMANN = 0.8, 5.67e-8  # W/(m2 K4)
CONVECTION = 10.0  # W/(m2 K)
AMBIENT, ZERO = 30.0, 273.15  # degC, K

FLAME = 0.20  # m, standard deviation of a flame's footprint
SPOT = 0.07  # m, of the bent flame's
BURNERS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))  # m, x and y
THERMOCOUPLES = ((0.25, 0.25), (0.75, 0.75))
SHEATH = 20.0  # s, lag of a thermocouple

LOAD = (0.25, 0.20)  # m, along and across
LOAD_CONTACT = 200.0  # W/(m2 K)
LOAD_STORED = 1.2e5  # J/(m2 K)
CONVEYOR = 2.0  # m from one load to the next
OUTSIDE = 30.0  # s in which the place of a load on the conveyor is cold again, once the load has left

SIZE = 64  # side of the picture
COLDEST, HOTTEST = 500.0, 1100.0  # degC at grey levels 0 and 255
TICKS = (np.arange(CELLS) + 0.5) * SIDE / CELLS  # m, middles of the cells
FIELD = CELLS * CELLS


def bell(middle: Floats | float, width: float) -> Floats:
    """A Gaussian of height 1 along a side of the hearth, (..., CELLS)."""
    shape: Floats = np.exp(-0.5 * ((TICKS - np.asarray(middle)[..., None]) / width) ** 2)
    return shape


def box(low: Floats, high: Floats) -> Floats:
    """1 between two places along a side of the hearth and 0 elsewhere, with the share of cells on the edge, (..., CELLS)."""
    half = SIDE / CELLS / 2
    reached = np.minimum(TICKS + half, high[..., None]) - np.maximum(TICKS - half, low[..., None])
    shape: Floats = np.clip(reached / (2 * half), 0.0, 1.0)
    return shape


def footprints() -> Floats:
    """Heat of each burner by place, (4, CELLS, CELLS) with x last, in 1/m2: all of it falls on the hearth."""
    shapes = np.stack([np.outer(bell(y, FLAME), bell(x, FLAME)) for x, y in BURNERS])
    found: Floats = shapes / shapes.mean(axis=(1, 2), keepdims=True) / SIDE**2
    return found


def probes() -> Floats:
    """How much each cell counts for each thermocouple, (2, FIELD): the four cells around it."""
    near = np.stack([np.outer(np.abs(TICKS - y) < SIDE / CELLS, np.abs(TICKS - x) < SIDE / CELLS) for x, y in THERMOCOUPLES])
    weights: Floats = near.reshape(len(THERMOCOUPLES), FIELD) / near.sum(axis=(1, 2))[:, None]
    return weights


FOOTPRINTS, PROBES = footprints(), probes()


@final
@dataclass(frozen=True, kw_only=True)
class Heater:
    """The equations of the furnace.

    States: the hearth's temperatures in degC, row by row, then those of both thermocouples and of the load, and how far the conveyor has
    moved since a load came on, in m.

    Attributes:
        name: Name in the registry.
    """

    name: str

    step_seconds: ClassVar[float] = 5.0
    substeps: ClassVar[int] = 1
    cameras: ClassVar[tuple[Camera, ...]] = (Camera(name="thermal", shape=(SIZE, SIZE, 3), noise=2.0),)
    sensors: ClassVar[tuple[Sensor, ...]] = (
        Sensor(name="thermocouple_1", unit="degC", low=0.0, high=1200.0, noise=0.5, resolution=0.25),
        Sensor(name="thermocouple_2", unit="degC", low=0.0, high=1200.0, noise=0.5, resolution=0.25),
        Sensor(name="load_pyrometer", unit="degC", low=0.0, high=1200.0, noise=4.0, resolution=1.0, every=24),
    )
    actuators: ClassVar[tuple[Actuator, ...]] = (
        Actuator(name="burner_1", unit="kW", low=0.0, high=30.0, rate=0.5, nominal=15.0, static=0.15, dynamic=0.08),
        Actuator(name="burner_2", unit="kW", low=0.0, high=30.0, rate=0.5, nominal=15.0),
        Actuator(name="burner_3", unit="kW", low=0.0, high=30.0, rate=0.5, nominal=15.0),
        Actuator(name="burner_4", unit="kW", low=0.0, high=30.0, rate=0.5, nominal=15.0),
    )
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance(
            name="air_temperature",
            unit="degC",
            nominal=300.0,
            low=150.0,
            high=450.0,
            wander=15.0,
            wander_seconds=1800.0,
            jump=25.0,
            jump_seconds=3600.0,
            measured=True,
            noise=0.5,
            resolution=0.5,
        ),
        Disturbance(
            name="conveyor_speed",
            unit="mm/s",
            nominal=1.5,
            low=0.5,
            high=3.0,
            jump=0.4,
            jump_seconds=2400.0,
            measured=True,
            noise=0.01,
            resolution=0.01,
        ),
        Disturbance(name="load_size", unit="1", nominal=0.0, low=0.0, high=1.5, jump=1.0, jump_seconds=1800.0),
        Disturbance(name="load_place", unit="m", nominal=0.5, low=0.15, high=0.85, jump=0.25, jump_seconds=1800.0),
        Disturbance(name="flame_strength", unit="1", nominal=0.0, low=0.0, high=1.2, jump=0.7, jump_seconds=2400.0),
        Disturbance(
            name="flame_x", unit="m", nominal=0.5, low=0.1, high=0.9, wander=0.03, wander_seconds=600.0, jump=0.25, jump_seconds=2400.0
        ),
        Disturbance(
            name="flame_y", unit="m", nominal=0.5, low=0.1, high=0.9, wander=0.03, wander_seconds=600.0, jump=0.25, jump_seconds=2400.0
        ),
        Disturbance(name="fuel", unit="1", nominal=1.0, low=0.8, high=1.2, wander=0.02, wander_seconds=2 * 3600.0),
        Disturbance(name="window", unit="1", nominal=1.0, low=0.85, high=1.1, wander=0.03, wander_seconds=2 * 3600.0),
    )
    truths: ClassVar[tuple[Truth, ...]] = (
        Truth(name="hot_spot", unit="degC"),
        Truth(name="hot_spot_x", unit="m"),
        Truth(name="hot_spot_y", unit="m"),
        Truth(name="mean_temperature", unit="degC"),
        Truth(name="load_temperature", unit="degC"),
        Truth(name="load_position", unit="m"),
        Truth(name="fuel_power", unit="kW"),
    )
    loops: ClassVar[tuple[Loop, ...]] = (
        Loop(controlled="thermocouple_1", manipulated="burner_1", low=760.0, high=860.0, hold_seconds=1800.0),
        Loop(controlled="thermocouple_2", manipulated="burner_4", low=760.0, high=860.0, hold_seconds=1800.0),
    )

    @functools.cached_property
    def states(self) -> tuple[State, ...]:
        """The operating point is where the hearth comes to rest with all burners at 15 kW, without a load."""
        field = at_rest(self)
        cells = [State(name=f"hearth_{i}", unit="degC", low=0.0, high=2000.0, nominal=t) for i, t in enumerate(field.tolist())]
        probes = [
            State(name=f"thermocouple_{i + 1}", unit="degC", low=0.0, high=2000.0, nominal=t)
            for i, t in enumerate((PROBES @ field).tolist())
        ]
        load = State(name="load", unit="degC", low=0.0, high=2000.0, nominal=AMBIENT)
        return (*cells, *probes, load, State(name="moved", unit="m", low=0.0, high=1e9, nominal=0.0))

    def derivative(self, t: float, x: Floats, u: Floats, d: Floats) -> Floats:
        """The heat equation of the module's docstring on a grid, in K/s, and what stands around it."""
        field = x[..., :FIELD].reshape(*x.shape[:-1], CELLS, CELLS)
        air, speed = d[..., 0], d[..., 1]
        strength, flame_x, flame_y, fuel = (d[..., i] for i in (4, 5, 6, 7))
        power = 1000.0 * u * (fuel * (1 + 4e-4 * (air - 300.0)))[..., None]  # W that reach the hearth
        heat = (power @ FOOTPRINTS.reshape(len(BURNERS), FIELD)).reshape(*power.shape[:-1], CELLS, CELLS)
        spot = strength * power.sum(axis=-1) / SIDE**2
        heat = heat + (spot[..., None] * bell(flame_y, SPOT))[..., :, None] * bell(flame_x, SPOT)[..., None, :]
        kelvin = field + ZERO
        heat = (
            heat - EMISSIVITY * STEFAN_BOLTZMANN * (np.square(np.square(kelvin)) - (AMBIENT + ZERO) ** 4) - CONVECTION * (field - AMBIENT)
        )
        covered = self.covered(x, d)
        load = x[..., FIELD + 2]
        taken = LOAD_CONTACT * covered * (field - load[..., None, None])
        change = np.empty(np.broadcast_shapes(x.shape, (*heat.shape[:-2], x.shape[-1])))
        change[..., :FIELD] = ((heat - taken + conducted(field)) / (STORED * THICKNESS)).reshape(*change.shape[:-1], FIELD)
        change[..., FIELD : FIELD + 2] = (x[..., :FIELD] @ PROBES.T - x[..., FIELD : FIELD + 2]) / SHEATH
        area = LOAD[0] * LOAD[1] * CELLS**2 / SIDE**2  # cells
        warmed = taken.sum(axis=(-2, -1)) / (area * LOAD_STORED)
        is_outside = np.mod(x[..., FIELD + 3], CONVEYOR) > SIDE + LOAD[0]
        change[..., FIELD + 2] = np.where(is_outside, (AMBIENT - load) / OUTSIDE, warmed)
        change[..., FIELD + 3] = speed / 1000.0
        return change

    def covered(self, x: Floats, d: Floats) -> Floats:
        """How much of a load lies on each cell, (..., CELLS, CELLS)."""
        front = np.mod(x[..., FIELD + 3], CONVEYOR)
        size, place = d[..., 2], d[..., 3]
        along = box(front - LOAD[0], front)
        across = box(place - LOAD[1] / 2, place + LOAD[1] / 2)
        on_top: Floats = size[..., None, None] * across[..., :, None] * along[..., None, :]
        return on_top

    def outputs(self, x: Floats) -> Floats:
        return x[..., FIELD : FIELD + 3]

    def truth(self, x: Floats, u: Floats, d: Floats) -> Floats:
        hottest = int(np.argmax(x[:FIELD]))
        row, column = divmod(hottest, CELLS)
        position = x[FIELD + 3] % CONVEYOR
        return np.array((x[hottest], TICKS[column], TICKS[row], x[:FIELD].mean(), x[FIELD + 2], position, u.sum()))

    def pictures(self, x: Floats, d: Floats) -> tuple[Floats, ...]:
        """The hearth from above, x to the right and y down; what a load covers is as dark as the load is cold."""
        field = x[:FIELD].reshape(CELLS, CELLS)
        share = np.minimum(self.covered(x, d), 1.0)
        seen = d[8] * (field + share * (x[FIELD + 2] - field))
        grey = 255.0 * (seen - COLDEST) / (HOTTEST - COLDEST)
        return (grey.repeat(SIZE // CELLS, axis=0).repeat(SIZE // CELLS, axis=1),)


def conducted(field: Floats) -> Floats:
    """Heat that flows into each cell from its neighbours, in W/m2, of temperatures (..., CELLS, CELLS)."""
    into = np.zeros_like(field)
    rows = field[..., 1:, :] - field[..., :-1, :]
    columns = field[..., 1:] - field[..., :-1]
    into[..., :-1, :] += rows
    into[..., 1:, :] -= rows
    into[..., :, :-1] += columns
    into[..., :, 1:] -= columns
    return into * (CONDUCTIVITY * THICKNESS * CELLS**2 / SIDE**2)


def at_rest(heater: Heater) -> Floats:
    """Where the hearth comes to rest at the operating point, (FIELD,)."""
    u = np.array([a.nominal for a in heater.actuators])
    d = np.array([each.nominal for each in heater.disturbances])
    x = np.concatenate([np.full(FIELD + 2, 800.0), [AMBIENT, 0.0]])
    x = runge_kutta(lambda t, x: heater.derivative(t, x, u, d), x, 2 * 3600.0, 360)
    return x[:FIELD]


HEATER = Heater(name="heater")
