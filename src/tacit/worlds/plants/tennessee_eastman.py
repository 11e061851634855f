"""The Tennessee Eastman process under its regulatory layer, seen and moved as a supervisor does: the field's plant-wide benchmark.

The plant is `tep-studio`, which compiles the code of Bathelt, Ricker, Jelali (2015), itself Ricker's of the Fortran of Downs, Vogel, A
plant-wide industrial process control problem, Computers & Chemical Engineering 17(3), 1993. Open loop it shuts down within about an
hour, so nobody moves its valves by a slow clock: on top of it runs the decentralised control of Ricker, Decentralized control of the
Tennessee Eastman challenge process, Journal of Process Control 6(4), 1996, as tep-studio ships it, every 1.8 s and with both its
overrides. What is left to a supervisor, and what the actions are, is nine setpoints of that layer and the three actuators that it leaves
alone. Its valve commands are observations.

A control step is 180 s: what the field's data sets are sampled at (Chiang, Russell, Braatz, Fault detection and diagnosis in industrial
systems, 2001), a whole number of steps of the layer, and half of the period of the gas analysers and a fifth of the product's.

The layer's own ramps of production and product mix are off; the rate limits of the actions stand in their place.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.extras import extra
from tacit.signals import MASK, Role, Schema, Signal, mask_of
from tacit.worlds.plants.integrate import runge_kutta
from tacit.worlds.plants.plant import ActionLimits, Floats, Loop, Samples
from tacit.worlds.plants.tennessee_eastman_shift import SupervisoryShift, Weather
from tacit.worlds.plants.tennessee_eastman_tags import (
    DISTURBANCES,
    GAS_ANALYSERS,
    HANDLES,
    MEASURED,
    PRODUCT_ANALYSERS,
    SENSORS,
    STEP_SECONDS,
    TRIPS,
    VALVES,
    disturbance,
)

INNER_HOURS = 0.0005  # of the regulatory layer, and of integration
INNER_STEPS = round(STEP_SECONDS / 3600.0 / INNER_HOURS)
NO_RAMP = 1e9  # units per hour
FEATURES = 0x8F  # of the kernel: all its outputs, and disturbances between none and full


def _schema() -> Schema:
    def measured(role: Role, rows: tuple[tuple[str, str, float | None, float | None], ...]) -> list[Signal]:
        return [Signal(name=name, role=role, unit=unit, low=low, high=high) for name, unit, low, high in rows]

    signals = measured(Role.OBSERVATION, tuple((t.name, t.unit, t.low, t.high) for t in SENSORS))
    for tag in (*GAS_ANALYSERS, *PRODUCT_ANALYSERS):
        rate = 1.0 / (tag.every * STEP_SECONDS)
        signals.append(Signal(name=tag.name, role=Role.OBSERVATION, unit=tag.unit, low=tag.low, high=tag.high, rate=rate))
        signals.append(mask_of(signals[-1]))
    signals += measured(Role.OBSERVATION, tuple((t.name, t.unit, t.low, t.high) for t in VALVES.values()))
    signals += measured(Role.OBSERVATION, (("operating_cost", "$/h", None, None),))
    signals += measured(Role.ACTION, tuple((h.name, h.unit, h.low, h.high) for h in HANDLES))
    signals += measured(Role.LABEL, tuple((disturbance(k + 1), "1", 0.0, 1.0) for k in range(len(DISTURBANCES))))
    signals += measured(Role.LABEL, tuple((f"{trip.name}.margin", unit_of(trip.name), None, None) for trip in TRIPS))
    signals += measured(Role.LABEL, (("tripped", "1", 0.0, 1.0), ("operating_cost.true", "$/h", None, None)))
    signals += measured(Role.LABEL, (("product_G.true", "mol %", 0.0, 100.0), ("product_H.true", "mol %", 0.0, 100.0)))
    return Schema(signals=tuple(signals), period=STEP_SECONDS)


def unit_of(name: str) -> str:
    """Unit of a measurement."""
    return next(tag.unit for tag in MEASURED if tag.name == name)


def operating_cost(samples: Mapping[str, Any]) -> NDArray[np.float64]:
    """What the plant costs in $/h, from measurements alone: Downs and Vogel's objective (1993) with the prices of Bathelt's code.

    Compressor work and steam, what the purge carries away (44.79 kmol in 1000 standard m3), and reactants in the product (9.21 kmol/m3).

    Args:
        samples: Measurements by name, of any shape.
    """
    purge = {"A": 2.209, "C": 6.177, "D": 22.06, "E": 14.56, "F": 17.89, "G": 30.44, "H": 22.94}  # $/kmol
    product = {"D": 22.06, "E": 14.56, "F": 17.89}
    of = {name: np.asarray(samples[name], np.float64) for name in samples if not name.endswith(MASK)}
    purged = sum(price * of[f"purge_{part}"] / 100.0 for part, price in purge.items())
    lost = sum(price * of[f"product_{part}"] / 100.0 for part, price in product.items())
    energy = 0.0536 * of["compressor_work"] + 0.0318 * of["steam_flow"]
    cost: NDArray[np.float64] = energy + 44.791 * of["purge_flow"] * purged + 9.2075 * of["product_flow"] * lost
    return cost


SCHEMA = _schema()
BASE, LOW, HIGH = (np.array([getattr(handle, what) for handle in HANDLES]) for what in ("base", "low", "high"))
MOST = np.array([handle.hourly for handle in HANDLES]) * STEP_SECONDS / 3600.0  # change in a step
IDV = tuple(disturbance(k + 1) for k in range(len(DISTURBANCES)))
GAS = slice(len(SENSORS), len(SENSORS) + len(GAS_ANALYSERS))
LIQUID = slice(GAS.stop, len(MEASURED))
COST = 61  # place among the kernel's monitors: the cost without noise
PRODUCT = slice(94, 96)  # and among its compositions: G and H in the product now
ACTIONS = {handle.name: ActionLimits(low=handle.low, high=handle.high, rate=handle.hourly / 3600.0) for handle in HANDLES}


@final
class TennesseeEastman:
    """A `Plant`: the process, its regulatory layer, and the disturbances that act on it.

    After a shutdown nothing moves any more: the last samples stay, analysers send nothing, and the label `tripped` is 1.

    Args:
        unrest: Factor of the size of the disturbances that come and go by themselves, those of `TRAINING`; 0 for none.

    Raises:
        MissingExtra: tep-studio is not installed.
    """

    name = "tennessee_eastman"
    schema = SCHEMA
    step_seconds = STEP_SECONDS
    action_limits: Mapping[str, ActionLimits] = ACTIONS
    loops: tuple[Loop, ...] = ()  # they are inside

    def __init__(self, *, unrest: float = 1.0) -> None:
        with extra("worlds", "world 'tennessee_eastman'"):
            from tep_studio.control import RickerMultiLoopController
            from tep_studio.control.registry import RICKER_MODE1
            from tep_studio.simulation.native import NativeTEPKernel

        self._kernel = NativeTEPKernel()
        self._unrest = unrest
        self._hand: dict[str, float] = {}
        nominal = replace(RICKER_MODE1.nominal, static_mv=self._hand, production_sp_rate_limit=NO_RAMP, pct_g_sp_rate_limit=NO_RAMP)
        self._layer = RickerMultiLoopController(registry=replace(RICKER_MODE1, nominal=nominal), enable_overrides=True)
        self.reset(0)

    @property
    def operating_point(self) -> Mapping[str, float]:
        measured = {tag.name: tag.base for tag in (*MEASURED, *VALVES.values())}
        held = {handle.name: handle.base for handle in HANDLES}
        undisturbed = {disturbance(k + 1): 0.0 for k in range(len(DISTURBANCES))}
        return {**measured, "operating_cost": float(operating_cost(measured)), **held, **undisturbed}

    @property
    def tripped(self) -> str | None:
        """Why the plant has shut down, or None."""
        return self._tripped

    def reset(self, seed: int = 0) -> Samples:
        """Bring the plant to the base case; see `Plant.reset`."""
        static, weather = np.random.SeedSequence(seed).spawn(2)
        drawn = 1 + int(static.generate_state(1)[0]) % (2**32 - 1)  # the kernel's generator would stay at 0
        self._weather = Weather(np.random.Generator(np.random.Philox(weather)))
        self._held: dict[str, float] = {}
        self._state, self._hours = self._kernel.reset(seed=float(drawn), ms_flag=FEATURES), 0.0
        self._action = BASE.copy()
        self._disturbed = np.zeros(len(DISTURBANCES))
        self._valves = self._kernel.xmv.copy()
        self._tripped: str | None = None
        self._outputs = self._kernel.outputs(self._hours, self._state)
        self._layer.setpoints = None
        self._layer.reset(self._measured)
        self._set()
        return self._samples(gas=True, product=True)

    def apply(self, action: ArrayLike) -> Samples:
        """Run one control step; see `Plant.apply`."""
        wanted = np.asarray(action, np.float64)
        if wanted.shape != self._action.shape or not np.isfinite(wanted).all():
            raise ValueError(f"{self.name}: an action is {len(HANDLES)} finite numbers, not {action!r}")
        self._action = np.clip(np.clip(wanted, self._action - MOST, self._action + MOST), LOW, HIGH)
        if self._tripped is not None:
            return self._samples(gas=False, product=False)
        self._set()
        sizes = self._unrest * self._weather.next()
        self._disturbed = np.array([self._held.get(name, size) for name, size in zip(IDV, sizes, strict=True)])
        before = self._measured
        for _ in range(INNER_STEPS):
            self._inner()
            code, message = self._kernel.shutdown_status()
            if code:
                self._tripped = message
                break
        changed = self._measured != before
        return self._samples(gas=bool(changed[GAS].any()), product=bool(changed[LIQUID].any()))

    def disturb(self, values: Mapping[str, float | None]) -> None:
        """Hold disturbances, from 0 for none to 1 for the size that the paper gives them; see `Plant.disturb`."""
        for name, value in values.items():
            if name not in IDV:
                raise ValueError(f"{self.name}: there is no disturbance {name!r}; there are: {', '.join(IDV)}")
            if value is None:
                self._held.pop(name, None)
            else:
                self._held[name] = min(max(float(value), 0.0), 1.0)

    def operator(self, rng: np.random.Generator) -> SupervisoryShift:
        """People who move setpoints; see `Plant.operator`."""
        return SupervisoryShift(rng)

    def branch(self) -> TennesseeEastman:
        """Another plant that goes on from here; see `Plant.branch`."""
        other = TennesseeEastman(unrest=self._unrest)
        other._kernel.restore(self._kernel.snapshot())
        other.__dict__ |= copy.deepcopy({key: value for key, value in self.__dict__.items() if key != "_kernel"})  # which is native
        return other

    @property
    def _measured(self) -> Floats:
        """Measurements, (41,)."""
        measured: Floats = self._outputs["measurements"]
        return measured

    def _inner(self) -> None:
        """One step of the regulatory layer and of integration, as tep-studio's own process does it, without what nobody here looks at."""
        now, kernel = self._hours, self._kernel
        self._valves, _ = self._layer.compute_action(self._measured, time=now)
        kernel.set_inputs(self._valves, self._disturbed)
        self._state = runge_kutta(lambda t, x: kernel.derivatives(now + t, x), self._state, INNER_HOURS, 1)
        self._hours = now + INNER_HOURS
        self._outputs = kernel.outputs(self._hours, self._state)

    def _set(self) -> None:
        """Hand the actions to the regulatory layer."""
        moved = {handle: float(value) for handle, value in zip(HANDLES, self._action, strict=True)}
        setpoints = {handle.inner: value for handle, value in moved.items() if handle.is_setpoint}
        self._hand.update({handle.inner: value for handle, value in moved.items() if not handle.is_setpoint})
        self._layer.setpoints = replace(self._layer.setpoints, **setpoints)

    def _samples(self, *, gas: bool, product: bool) -> Samples:
        """What is seen now, by name of signal; `gas` and `product` say which analysers have a new sample."""
        found: dict[str, Any] = {tag.name: value for tag, value in zip(MEASURED, self._measured, strict=True)}
        found["operating_cost"] = operating_cost(found)
        found |= {tag.name: self._valves[k] for k, tag in VALVES.items()}
        found |= {tag.name + MASK: gas for tag in GAS_ANALYSERS} | {tag.name + MASK: product for tag in PRODUCT_ANALYSERS}
        found |= dict(zip(IDV, self._disturbed, strict=True))
        found |= {f"{trip.name}.margin": trip.margin(found[trip.name]) for trip in TRIPS}
        found["tripped"] = self._tripped is not None
        found["operating_cost.true"] = self._outputs["process_monitors"][COST]
        found["product_G.true"], found["product_H.true"] = 100.0 * self._outputs["concentration_monitors"][PRODUCT]
        return {s.name: np.asarray(found[s.name], s.dtype) for s in SCHEMA.signals if s.role is not Role.ACTION}
