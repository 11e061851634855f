"""What happens to a plant while controllers are compared, the same for all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tacit.evaluation.closed_loop import SETTLE, Scenario, scenarios
from tacit.signals import Role
from tacit.worlds.plants import SimulatedPlant

SETPOINTS, UNMEASURED, MEASURED = "setpoints", "unmeasured disturbances", "measured disturbances"
KINDS = (SETPOINTS, UNMEASURED, MEASURED)
SPREADS = 2.0  # standard deviations of a measured disturbance, by which it steps


def scenes(plant: SimulatedPlant, *, episodes: int, steps: int, seed: int, lead: int = 0) -> list[tuple[str, Scenario]]:
    """Scenarios with their kinds: of five, two have setpoints that step while all disturbances go their way, two a disturbance that nobody
    measures, and one a disturbance that is measured; these two kinds have nothing else.

    Args:
        plant: Whose; it is not touched.
        episodes: How many, a multiple of 5; the first ones are the same however many there are.
        steps: T, of each.
        seed: Of what happens, at least 0.
        lead: Steps before, under an operator.
    """
    first = scenarios(plant, episodes=episodes - episodes // 5, steps=steps, seed=seed, lead=lead)
    found = [(UNMEASURED if scenario.disturbances else SETPOINTS, scenario) for scenario in first]
    found += [(MEASURED, scenario) for scenario in measured(plant, episodes=episodes // 5, steps=steps, seed=seed, lead=lead)]
    count, named = dict.fromkeys(KINDS, 0), []
    for kind, scenario in found:
        count[kind] += 1
        named.append((kind, replace(scenario, name=f"{kind[0]}{count[kind]}: {scenario.name}")))
    return named


def measured(plant: SimulatedPlant, *, episodes: int, steps: int, seed: int, lead: int = 0) -> list[Scenario]:
    """One measured disturbance steps, and all other disturbances stay as they are at the operating point; none where none is measured."""
    rng = np.random.default_rng((seed, 11))
    point = plant.operating_point
    home = {loop.controlled: point[loop.controlled] for loop in plant.loops}
    still = {s.name: point[s.name] for role in (Role.DISTURBANCE, Role.LABEL) for s in plant.schema.having(role) if s.name in point}
    shown = [d for d in plant.process.disturbances if d.measured]
    found = []
    for turn in range(episodes if shown else 0):
        one = shown[turn % len(shown)]
        side = 1 if one.high - one.nominal >= one.nominal - one.low else -1
        place = float(np.clip(one.nominal + side * SPREADS * np.hypot(one.wander, one.jump), one.low, one.high))
        found.append(
            Scenario(
                name=f"{one.name} {place - one.nominal:+.2g}{'' if one.unit == '1' else ' ' + one.unit}",
                seed=int(rng.integers(2**31)),
                steps=steps,
                setpoints={0: home},
                disturbances={0: still, int(SETTLE * steps): {one.name: place}},
                lead=lead,
            )
        )
    return found
