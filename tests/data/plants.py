"""Machines with two actuators and three sensors, and logs of them whose worth for learning is known by construction.

Thresholds of the audit were chosen on linear plants with seeds from 1000 on; tests and the benchmark use seeds below 1000, and mildly
nonlinear plants besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.signals import Role, Schema, Signal

Floats = NDArray[np.float64]

PLANT = Schema(
    signals=(
        *(Signal(name=name, role=Role.OBSERVATION, dtype="float64") for name in ("temperature", "level", "flow")),
        *(Signal(name=name, role=Role.ACTION, dtype="float64", low=-1.0, high=1.0) for name in ("valve", "pump")),
    ),
    period=0.5,
)
ACTUATORS = ("valve", "pump")
Law = Callable[[int, Floats], Floats]  # from the step and all observations up to it, (t+1, 3), to the two commands


@dataclass(frozen=True, kw_only=True, eq=False)
class Plant:
    """x' = A f(x) + B u(t - dead time) + w, y = C x + v.

    Attributes:
        a: (4, 4).
        b: (4, 2).
        c: (3, 4).
        dead: Dead time of each actuator, steps.
        bend: 0 for a linear plant; the share of f that saturates.
        process: Standard deviation of w.
        sensing: Standard deviation of v.
        works: Whether each actuator is connected.
    """

    a: Floats
    b: Floats
    c: Floats
    dead: tuple[int, int]
    bend: float
    process: float
    sensing: float
    works: tuple[bool, bool] = (True, True)
    gain: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", self.c @ np.linalg.solve(np.eye(4) - self.a, self.b))

    def run(self, law: Law, steps: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Observations (T+1, 3) and commands (T, 2); the plant starts off its rest."""
        x = rng.normal(size=4) * 0.5
        y, u = np.empty((steps + 1, 3)), np.empty((steps, 2))
        y[0] = self.c @ x + self.sensing * rng.normal(size=3)
        for t in range(steps):
            u[t] = np.clip(law(t, y[: t + 1]), -1, 1)
            arriving = [u[t - d, i] if t >= d and works else 0.0 for i, (d, works) in enumerate(zip(self.dead, self.works, strict=True))]
            x = self.a @ ((1 - self.bend) * x + self.bend * np.tanh(x)) + self.b @ np.array(arriving) + self.process * rng.normal(size=4)
            y[t + 1] = self.c @ x + self.sensing * rng.normal(size=3)
        return y, u


def plant(seed: int, *, bend: float = 0.0, works: tuple[bool, bool] = (True, True)) -> Plant:
    """A stable plant with its own time constants, gains, dead times and noise."""
    rng = np.random.default_rng([seed, 1])
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    a = turn @ np.diag(rng.uniform(0.6, 0.95, 4)) @ turn.T
    b = rng.normal(size=(4, 2))
    b *= rng.uniform(0.15, 0.4, 2) / np.linalg.norm(b, axis=0)
    c = rng.normal(size=(3, 4)) / 2
    dead = (int(rng.integers(0, 5)), int(rng.integers(0, 5)))
    return Plant(a=a, b=b, c=c, dead=dead, bend=bend, process=rng.uniform(0.02, 0.08), sensing=rng.uniform(0.005, 0.03), works=works)


def held(rng: np.random.Generator, steps: int, low: int, high: int, size: float) -> Floats:
    """A random command that is held for `low` to `high` steps, (T, 2), each actuator on its own."""
    out = np.empty((steps, 2))
    for i in range(2):
        t = 0
        while t < steps:
            span = int(rng.integers(low, high + 1))
            out[t : t + span, i] = rng.uniform(-size, size)
            t += span
    return out


def wandering(rng: np.random.Generator, steps: int, memory: float, size: float, columns: int = 2) -> Floats:
    """An Ornstein-Uhlenbeck signal of standard deviation `size`, (T, columns)."""
    noise = rng.normal(size=(steps, columns)) * np.sqrt(1 - memory**2)
    out = np.empty((steps, columns))
    out[0] = rng.normal(size=columns)
    for t in range(1, steps):
        out[t] = memory * out[t - 1] + noise[t]
    return size * out


def sines(rng: np.random.Generator, steps: int) -> Floats:
    """Seven sines per actuator with phases drawn for each episode, (T, 2)."""
    periods, phases = np.array([[5, 7, 11, 16, 23, 37, 61], [6, 8, 12, 17, 25, 41, 55]]), rng.uniform(0, 2 * np.pi, (2, 7))
    return 0.13 * np.sin(2 * np.pi * np.arange(steps)[:, None, None] / periods + phases).sum(axis=2)


def controller(p: Plant, rng: np.random.Generator, kind: str, steps: int, setpoint: Floats) -> Law:
    """A feedback law of the observations.

    Args:
        p: The plant, whose static gain sets the strength.
        rng: Nothing in a law is random but its strength.
        kind: `proportional`, `state` (of a filtered state), `pi`, `pid`, `saturated`, `curved`, `delayed` or `relay`.
        steps: T.
        setpoint: Of the three observations, (T, 3).
    """
    inverse = np.linalg.pinv(p.gain)
    inverse *= min(1.0, 4.0 / np.linalg.norm(inverse, 2))  # an actuator of little effect is not driven to its stops
    strength = rng.uniform(0.5, 0.9)
    total, state = np.zeros(3), np.zeros(3)

    def law(t: int, y: Floats) -> Floats:
        nonlocal total, state
        error = setpoint[t] - y[-1]
        change = y[-1] - y[-2] if t else np.zeros(3)
        total = total + error
        state = 0.7 * state + 0.3 * error
        match kind:
            case "proportional":
                return strength * inverse @ error
            case "state":
                return 1.2 * strength * inverse @ state
            case "pi":
                return inverse @ (0.5 * strength * error + 0.05 * total)
            case "pid":
                return inverse @ (0.5 * strength * error + 0.05 * total - 0.3 * change)
            case "saturated":
                return np.clip(1.5 * strength * inverse @ error, -0.2, 0.2)
            case "curved":
                return 0.5 * np.tanh(2 * strength * inverse @ error)
            case "delayed":
                return strength * inverse @ (setpoint[max(t - 2, 0)] - y[max(t - 2, 0)])
            case _:
                return 0.3 * np.sign(inverse @ error)

    return law


LAWS = ("proportional", "state", "pi", "pid", "saturated", "curved", "delayed", "relay")
OPEN = ("steps", "wandering", "white", "sines")
EXCITED = (*OPEN, "dithered pi", "dithered proportional", "setpoint steps")


def excited(p: Plant, rng: np.random.Generator, kind: str, steps: int) -> Law:
    """A law that holds an experiment."""
    still = np.zeros((steps, 3))
    signal = {
        "steps": lambda: held(rng, steps, 3, 15, 0.6),
        "wandering": lambda: wandering(rng, steps, 0.9, 0.3),
        "white": lambda: rng.uniform(-0.5, 0.5, (steps, 2)),
        "sines": lambda: sines(rng, steps),
        "dithered pi": lambda: held(rng, steps, 1, 4, 0.25),
        "dithered proportional": lambda: wandering(rng, steps, 0.5, 0.15),
        "setpoint steps": lambda: np.zeros((steps, 2)),
    }[kind]()
    if kind in OPEN:
        return lambda t, y: signal[t]
    setpoint = (p.gain @ held(rng, steps, 4, 16, 0.6).T).T if kind == "setpoint steps" else still
    inner = controller(p, rng, "proportional" if "proportional" in kind else "pi", steps, setpoint)
    return lambda t, y: inner(t, y) + signal[t]


def well_excited(seed: int, bend: float, kind: str, steps: int) -> tuple[Plant, Callable[[np.random.Generator], Law]]:
    p = plant(seed, bend=bend)
    return p, lambda rng: excited(p, rng, kind, steps)


CONSTANT = ("held", "held per episode", "readback", "regulated pi", "regulated proportional")


def constant(seed: int, bend: float, kind: str, steps: int) -> tuple[Plant, Callable[[np.random.Generator], Law]]:
    """Nothing changes but noise: the command is held, or a controller holds the plant at one point."""
    p = plant(seed, bend=bend)
    point = np.random.default_rng([seed, 2]).uniform(-0.4, 0.4, 2)

    def law(rng: np.random.Generator) -> Law:
        if kind == "held":
            return lambda t, y: point
        if kind == "held per episode":
            own = rng.uniform(-0.4, 0.4, 2)
            return lambda t, y: own
        if kind == "readback":
            noise = 0.002 * rng.normal(size=(steps, 2))
            return lambda t, y: point + noise[t]
        setpoint = np.tile(p.gain @ point, (steps, 1))
        return controller(p, rng, kind.removeprefix("regulated "), steps, setpoint)

    return p, law


PURE = (*LAWS, "slow setpoint", "drifting setpoint")


def pure_feedback(seed: int, bend: float, kind: str, steps: int) -> tuple[Plant, Callable[[np.random.Generator], Law]]:
    """The command is a law of the observations and of nothing else, but for a setpoint that moves slowly."""
    p = plant(seed, bend=bend)
    strength = np.random.default_rng([seed, 3])

    def law(rng: np.random.Generator) -> Law:
        setpoint = np.zeros((steps, 3))
        if kind == "slow setpoint":
            phase = rng.uniform(0, 2 * np.pi, 2)
            setpoint = 0.25 * np.sin(2 * np.pi * np.arange(steps)[:, None] / 400 + phase) @ p.gain.T
        if kind == "drifting setpoint":
            setpoint = wandering(rng, steps, 0.998, 0.2) @ p.gain.T
        fixed = np.random.default_rng(strength.bit_generator.seed_seq.entropy)  # the same law in every episode
        return controller(p, fixed, kind if kind in LAWS else "pi", steps, setpoint)

    return p, law


DEAD = tuple(f"{how}, {kind}" for how in ("still", "disconnected") for kind in ("steps", "wandering", "dithered pi", "setpoint steps"))


def dead_of(seed: int) -> int:
    """Which actuator is dead in `dead_actuator`."""
    return seed % 2


def dead_actuator(seed: int, bend: float, kind: str, steps: int) -> tuple[Plant, Callable[[np.random.Generator], Law]]:
    """One actuator does nothing: its command is still, or moves and is not connected."""
    how, excitation = kind.split(", ")
    dead = dead_of(seed)
    works = (True, True) if how == "still" else (dead != 0, dead != 1)
    p = plant(seed, bend=bend, works=works)

    def law(rng: np.random.Generator) -> Law:
        inner = excited(p, rng, excitation, steps)
        if how == "disconnected":
            return inner

        def with_one_still(t: int, y: Floats) -> Floats:
            u = np.array(inner(t, y))
            u[dead] = 0.1
            return u

        return with_one_still

    return p, law


CASES = {
    "well excited": (well_excited, EXCITED),
    "constant": (constant, CONSTANT),
    "pure feedback": (pure_feedback, PURE),
    "dead actuator": (dead_actuator, DEAD),
}


def episodes(case: str, kind: str, seed: int, *, bend: float = 0.0, count: int = 30, steps: int = 150) -> Iterator[Episode]:
    """Logs of one plant."""
    make, _ = CASES[case]
    p, law = make(seed, bend, kind, steps)
    for number in range(count):
        rng = np.random.default_rng([seed, 4, number])
        y, u = p.run(law(rng), steps, rng)
        signals = {"temperature": y[:, 0], "level": y[:, 1], "flow": y[:, 2], "valve": u[:, 0], "pump": u[:, 1]}
        yield Episode(signals={name: np.ascontiguousarray(v) for name, v in signals.items()}, time=PLANT.period * np.arange(steps + 1.0))


def stored(folder: Path, logs: Iterator[Episode], schema: Schema = PLANT) -> EpisodeStore:
    """A store of some episodes."""
    with EpisodeWriter.create(folder, schema, source={"world": "plant"}) as writer:
        for episode in logs:
            writer.add(episode)
    return EpisodeStore(folder)
