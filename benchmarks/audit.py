"""Does `tacit audit` tell logs that can teach from logs that cannot? Plants whose logs are good or bad by construction.

    python benchmarks/audit.py [--seeds 20] [--json FILE]

Each kind of each case (tests/data/plants.py) with every seed, on a linear and on a mildly nonlinear plant in turn. The thresholds were
chosen on linear plants with seeds 1000 to 1007, 1010 and 1011; the seeds here begin at 0. One thing was not chosen apart: a shorter log
of seed 2 (a PI loop with dither) showed that single sensors miss a weak actuator, and the test of all sensors together was added.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.data.audit import Answer, Audit, Severity, audit
from tacit.evaluation.intervals import wilson
from tacit.evaluation.machine import cpu_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))
import plants  # type: ignore[import-not-found]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        seeds: Plants per kind of log.
        json: Where the numbers go.
    """

    seeds: int = 20
    json: Path = Path(__file__).parent / "results" / "audit.json"


def answered(found: Audit, seed: int) -> str:
    """The answer and its first reason, as one cell of the confusion table; in half of the dead cases the first actuator is dead."""
    if found.verdict.answer is not Answer.NOT_ENOUGH:
        return str(found.verdict.answer)
    first = found.verdict.reasons[0]
    if first.theme == "feedback" or first.subject not in plants.ACTUATORS:
        return f"not enough: {first.theme}"
    of = "one actuator" if first.subject == plants.ACTUATORS[plants.dead_of(seed)] else "the other actuator"
    return f"not enough: {first.theme} of {of}"


def is_right(case: str, found: Audit, seed: int) -> bool:
    """Whether the answer, its reason and the actuator it names are those that the logs were made for."""
    if case == "well excited":
        return found.verdict.answer is not Answer.NOT_ENOUGH
    stops = [f for f in found.verdict.reasons if f.severity is Severity.STOP]
    if not stops:
        return False
    if case == "constant":
        return stops[0].theme in ("excitation", "feedback", "effects")
    if case == "pure feedback":
        return stops[0].theme == "feedback"
    dead = plants.dead_of(seed)
    return stops[0].subject == plants.ACTUATORS[dead] and all(f.subject != plants.ACTUATORS[1 - dead] for f in stops)


def rate(right: int, n: int) -> dict[str, float]:
    low, high = wilson(right, n)
    return {"right": right, "logs": n, "rate": round(right / n, 4), "low": round(low, 4), "high": round(high, 4)}


def main(options: Options) -> None:
    cases = {}
    for case, (_, kinds) in plants.CASES.items():
        by_kind: dict[str, dict[str, float]] = {}
        answers: Counter[str] = Counter()
        wrong = []
        for kind in kinds:
            right = 0
            for seed in range(options.seeds):
                bend = 0.4 * (seed % 4 >= 2)  # apart from which actuator is dead, which follows from seed % 2
                with tempfile.TemporaryDirectory() as folder:
                    found = audit(plants.stored(Path(folder) / "logs", plants.episodes(case, kind, seed, bend=bend)))
                answers[answered(found, seed)] += 1
                if is_right(case, found, seed):
                    right += 1
                else:
                    wrong.append({"kind": kind, "seed": seed, "bend": bend, "answer": answered(found, seed)})
            by_kind[kind] = rate(right, options.seeds)
            Console().print(f"{case}, {kind}: {right} of {options.seeds}")
        total = rate(int(sum(r["right"] for r in by_kind.values())), len(kinds) * options.seeds)
        cases[case] = {"all": total, "kinds": by_kind, "answers": dict(answers.most_common()), "wrong": wrong}
        Console().print(f"{case}: {total['rate']:.1%} right ({total['low']:.1%} to {total['high']:.1%})")
    settings = {
        "seeds": f"0 to {options.seeds - 1}",
        "thresholds_chosen_on": "linear plants, seeds 1000 to 1007, 1010 and 1011; see the docstring for seed 2",
        "episodes": 30,
        "steps": 150,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps({"cases": cases, "settings": settings, "machine": cpu_model()}, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
