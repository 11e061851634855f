"""What is measured, moved and disturbed in the Tennessee Eastman process: names, units, ranges and the base case.

Downs, Vogel, A plant-wide industrial process control problem, Computers & Chemical Engineering 17(3), 1993: tables 3 to 8; the base case
to more digits, and the disturbances 21 to 28, after Bathelt, Ricker, Jelali, Revision of the Tennessee Eastman process model,
IFAC-PapersOnLine 48(8), 2015. Ranges of flows are those of the paper's valves; those of other transmitters are ours and wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STEP_SECONDS = 180.0  # of a supervisor: the control step


@dataclass(frozen=True, kw_only=True)
class Tag:
    """One number of the plant.

    Attributes:
        name: Of the signal.
        unit: Of its value.
        low: End of its range.
        high: End of its range.
        base: Value in the base case.
        every: Control steps between two samples; more than 1 for an analyser.
    """

    name: str
    unit: str
    low: float
    high: float
    base: float
    every: int = 1


@dataclass(frozen=True, kw_only=True)
class Handle:
    """What a supervisor moves: the setpoint of a loop of the regulatory layer, or an actuator that the layer leaves alone.

    Attributes:
        name: Of the action.
        unit: Of its value.
        low: Smallest value.
        high: Largest value.
        hourly: Largest change per hour.
        base: Value in the base case.
        inner: What tep-studio calls the setpoint or the actuator.
    """

    name: str
    unit: str
    low: float
    high: float
    hourly: float
    base: float
    inner: str

    @property
    def is_setpoint(self) -> bool:
        return self.name.endswith("_setpoint")


def _measured(rows: str, *, every: int = 1) -> tuple[Tag, ...]:
    """Rows of name, unit, low, high, base."""
    tags = []
    for row in rows.strip().splitlines():
        name, unit, low, high, base = row.split()
        tag = Tag(
            name=name,
            unit=unit.replace("_", " "),
            low=float(low),
            high=float(high),
            base=float(base),
            every=every,
        )
        tags.append(tag)
    return tuple(tags)


# XMEAS(1) to XMEAS(41), in their order.
SENSORS = _measured(
    """
    a_feed                        kscmh    0     1.017    0.25052
    d_feed                        kg/h     0  5811     3664.0
    e_feed                        kg/h     0  8354     4509.3
    ac_feed                       kscmh    0    15.25     9.3477
    recycle_flow                  kscmh    0    60       26.902
    reactor_feed                  kscmh    0    80       42.339
    reactor_pressure              kPa   2000  3200     2705.0
    reactor_level                 %       -5   120       75.000
    reactor_temperature           degC    80   180      120.40
    purge_flow                    kscmh    0     1.6      0.33712
    separator_temperature         degC    30   140       80.109
    separator_level               %       -5   140       50.000
    separator_pressure            kPa   2000  3200     2633.7
    separator_underflow           m3/h     0    65.71    25.160
    stripper_level                %      -30   135       50.000
    stripper_pressure             kPa   2400  3600     3102.2
    product_flow                  m3/h     0    49.10    22.949
    stripper_temperature          degC    30   140       65.731
    steam_flow                    kg/h     0   500      230.31
    compressor_work               kW       0   800      341.43
    reactor_coolant_temperature   degC    30   180       94.599
    separator_coolant_temperature degC    30   140       77.297
    """,
)
GAS_ANALYSERS = _measured(
    """
    reactor_feed_A mol_% 0 100 32.188
    reactor_feed_B mol_% 0 100  8.8933
    reactor_feed_C mol_% 0 100 26.383
    reactor_feed_D mol_% 0 100  6.8820
    reactor_feed_E mol_% 0 100 18.776
    reactor_feed_F mol_% 0 100  1.6567
    purge_A        mol_% 0 100 32.958
    purge_B        mol_% 0 100 13.823
    purge_C        mol_% 0 100 23.978
    purge_D        mol_% 0 100  1.2565
    purge_E        mol_% 0 100 18.579
    purge_F        mol_% 0 100  2.2633
    purge_G        mol_% 0 100  4.8436
    purge_H        mol_% 0 100  2.2986
    """,
    every=2,
)
PRODUCT_ANALYSERS = _measured(
    """
    product_D      mol_% 0 100  0.017866
    product_E      mol_% 0 100  0.83570
    product_F      mol_% 0 100  0.098577
    product_G      mol_% 0 100 53.724
    product_H      mol_% 0 100 43.828
    """,
    every=5,
)
MEASURED = SENSORS + GAS_ANALYSERS + PRODUCT_ANALYSERS

# Commands of the regulatory layer, by their place among the twelve manipulated variables.
VALVES: Mapping[int, Tag] = {
    number - 1: Tag(name=name, unit="%", low=0.0, high=100.0, base=base)
    for number, name, base in (
        (1, "d_feed_valve", 63.053),
        (2, "e_feed_valve", 53.980),
        (3, "a_feed_valve", 24.644),
        (4, "ac_feed_valve", 61.302),
        (6, "purge_valve", 40.064),
        (7, "separator_valve", 38.100),
        (8, "stripper_valve", 46.534),
        (10, "reactor_coolant_valve", 41.106),
        (11, "condenser_coolant_valve", 18.114),
    )
}


def _handles(rows: str) -> tuple[Handle, ...]:
    """Rows of name, unit, low, high, largest change per hour, base, and what tep-studio calls it."""
    handles = []
    for row in rows.strip().splitlines():
        name, unit, low, high, hourly, base, inner = row.split()
        handle = Handle(
            name=name,
            unit=unit.replace("_", " "),
            low=float(low),
            high=float(high),
            hourly=float(hourly),
            base=float(base),
            inner=inner,
        )
        handles.append(handle)
    return tuple(handles)


HANDLES = _handles(
    """
    product_flow_setpoint        m3/h    18   26     0.5    22.949  production_rate
    product_G_setpoint           mol_%   44   62     2.0    53.724  pct_g
    reactor_pressure_setpoint    kPa   2600 2850    60    2705.0    reactor_pressure
    reactor_level_setpoint       %       60   85     2      75.0    reactor_level
    reactor_temperature_setpoint degC   118  123     1     120.40   reactor_temperature
    separator_level_setpoint     %       40   60    10      50.0    separator_level
    stripper_level_setpoint      %       40   65    10      50.0    stripper_level
    feed_ratio_setpoint          %       50   62     2      54.955  ya
    feed_AC_setpoint             mol_%   54   62     2      58.571  yac
    recycle_valve                %        5   40     8      22.210  compressor_recycle_valve
    steam_valve                  %        0  100    60      47.446  stripper_steam_valve
    agitator                     %       40  100    60      50.0    reactor_agitator_speed
    """
)

DISTURBANCES = (
    "A/C ratio of the A and C feed, step",
    "B in the A and C feed, step",
    "temperature of the D feed, step",
    "inlet temperature of the reactor's cooling water, step",
    "inlet temperature of the condenser's cooling water, step",
    "loss of the A feed, step",
    "loss of header pressure of the A and C feed, step",
    "composition of the A and C feed, random",
    "temperature of the D feed, random",
    "temperature of the A and C feed, random",
    "inlet temperature of the reactor's cooling water, random",
    "inlet temperature of the condenser's cooling water, random",
    "reaction kinetics, slow drift",
    "reactor's cooling water valve sticks",
    "condenser's cooling water valve sticks",
    "heat transfer of the stripper, random",
    "heat transfer of the reactor, random",
    "heat transfer of the condenser, random",
    "valves of recycle, separator, stripper and steam stick",
    "unknown, random",
    "temperature of the A feed, random",
    "temperature of the E feed, random",
    "flow of the A feed, random",
    "flow of the D feed, random",
    "flow of the E feed, random",
    "flow of the A and C feed, random",
    "flow of the reactor's cooling water, random",
    "flow of the condenser's cooling water, random",
)


# Disturbances that come and go while logs are written. A model never sees the others.
TRAINING = (1, 2, 4, 8, 10, 11, 12, 16, 17, 18)


def disturbance(number: int) -> str:
    """Name of a disturbance, IDV(1) to IDV(28)."""
    return f"idv_{number:02}"


@dataclass(frozen=True, kw_only=True)
class Trip:
    """Where the plant shuts down: outside `low` and `high` of a measured quantity.

    The paper's table 6 gives levels in m3 of liquid; here they are in the percent that the sensor shows.
    """

    name: str
    low: float | None
    high: float | None

    def margin(self, value: float) -> float:
        """How far a value is inside, in its unit."""
        ends = [] if self.low is None else [value - self.low]
        return min(ends + ([] if self.high is None else [self.high - value]))


TRIPS = (
    Trip(name="reactor_pressure", low=None, high=3000.0),
    Trip(name="reactor_level", low=-2.1, high=114.4),
    Trip(name="reactor_temperature", low=None, high=175.0),
    Trip(name="separator_level", low=2.7, high=136.6),
    Trip(name="stripper_level", low=-27.4, high=130.5),
)

# Normal operation of the paper's table 6: a supervisor stays inside, the plant does not shut down outside.
NORMAL: Mapping[str, tuple[float | None, float | None]] = {
    "reactor_pressure": (None, 2895.0),
    "reactor_level": (50.0, 100.0),
    "reactor_temperature": (None, 150.0),
    "separator_level": (30.0, 100.0),
    "stripper_level": (30.0, 100.0),
}
