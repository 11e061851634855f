"""Forecast skill on plants: every sensor and step ahead, beside no change, a linear model and a recurrent network.

    python -m benchmarks.tables.forecasts [four_tank evaporator reactor] [--seeds 0 1 2] [--minutes 3] [--work DIR]

Each plant's operation is recorded for 8 hours, and a run is trained on them for every seed. The same recording goes on: forecast are the
hours from `FIRST_JUDGED` on, after all that anybody was fitted on or chosen by. The other forecasters learn from the run's training
episodes; the LSTM has as many weights and early stopping on the last of them. What was finished is not done again; with
other code than it was begun with, it begins anew. Numbers go to docs/results/forecasts.json after every run, with a table and a plot.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
import tyro
from benchmarks.tables.plants import FILE_MINUTES, FILES, HOUSE, code, svg
from matplotlib.figure import Figure
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.evaluation.figures import BLUE, GREEN, ORANGE, PURPLE, STYLE
from tacit.evaluation.forecast_skill import validate
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.validation import ARX, LSTM, NO_CHANGE, RUN
from tacit.run import load
from tacit.training.fit import fit
from tacit.training.recipes import Size, for_minutes
from tacit.worlds.plants import plant, record_plant

mpl.use("Agg")

RESULTS = HOUSE / "docs" / "results"
DECISIVE = (
    *(f"src/tacit/{room}" for room in ("data", "models", "nn", "objectives", "training", "worlds/plants")),
    *(f"src/tacit/evaluation/{name}.py" for name in ("forecast_skill", "forecasters")),
)
FIRST_JUDGED, JUDGED = 48, 32  # files of the recording: 16 hours, a day after it began
NAMES = {RUN: "Tacit", ARX: "ARX", LSTM: "LSTM", NO_CHANGE: "no change"}
COLOURS = {RUN: BLUE, ARX: PURPLE, LSTM: ORANGE, NO_CHANGE: GREEN}
INTERVALS = {"as trained": "coverage", "following": "followed"}
SHOWN = -0.5  # the least skill in the plot

Numbers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        plants: Which.
        seeds: Of training.
        minutes: Of training.
        size: Of the models.
        work: Where logs and runs are kept, in a folder for each state of the code.
    """

    plants: tyro.conf.Positional[tuple[str, ...]] = ("four_tank", "evaporator", "reactor")
    seeds: tuple[int, ...] = (0, 1, 2)
    minutes: float = 3.0
    size: Size = "s"
    work: Path = Path("data/forecasts")


def measured(options: Options, work: Path, name: str, seed: int) -> Numbers:
    """What `validate` finds for one run, which is trained now or before."""
    made = plant(name)
    steps = round(FILE_MINUTES * 60 / made.step_seconds)
    logs = record_plant(made, work / name, episodes=FILES, steps=steps, seed=0)
    later = record_plant(made, work / f"{name}-later", episodes=FIRST_JUDGED + JUDGED, steps=steps, seed=0)
    out = work / f"{name}-{options.size}-{options.minutes:g}-{seed}"
    if not (out / "config.json").is_file():
        resume = (out / "checkpoints").is_dir()
        fit(logs, out, for_minutes(options.size, options.minutes, schema=logs.schema), seed=seed, resume=resume)
    judged = range(FIRST_JUDGED, FIRST_JUDGED + JUDGED)
    return validate(load(out), later, logs, episodes=judged, seed=seed).to_json()


def over_seeds(found: Mapping[str, Numbers], *path: str) -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """An estimate of every seed -> the mean, the lowest lower end and the highest upper end, by step ahead and channel."""
    each = []
    for numbers in found.values():
        for key in path:
            numbers = numbers[key]
        each.append(numbers)
    value, low, high = (np.array([e[end] for e in each], np.float64) for end in ("value", "low", "high"))
    return value.mean(0).tolist(), low.min(0).tolist(), high.max(0).tolist()


def cells(found: tuple[list[list[float]], list[list[float]], list[list[float]]], channel: int, scale: float = 1.0) -> str:
    """A row of a table: one number with its interval for every step ahead."""
    digits = 1 if scale > 1 else 2
    rows = zip(*(np.array(part)[:, channel] * scale for part in found), strict=True)
    return " | ".join(f"{v:.{digits}f} ({a:.{digits}f} to {b:.{digits}f})" for v, a, b in rows)


def behind(found: Mapping[str, Numbers]) -> Iterator[str]:
    """Where another forecaster is better, in words: with every seed the interval of the error that the run takes away lies below zero."""
    first = next(iter(found.values()))
    for method in (ARX, LSTM, NO_CHANGE):
        highest = np.array([each["methods"][method]["lead"]["high"] for each in found.values()], np.float64).max(0)
        for n, name in enumerate(first["names"]):
            if steps := [str(step) for k, step in enumerate(first["steps_ahead"]) if highest[k, n] < 0]:
                yield f"`{name}`, {', '.join(steps)} step{'s' if steps != ['1'] else ''} ahead: {NAMES[method]} is better"


def unclear(found: Mapping[str, Numbers]) -> tuple[int, int]:
    """Comparisons of every sensor and step ahead with the three others in which the run is not better beyond its interval, and all."""
    lowest = np.array(
        [[each["methods"][method]["lead"]["low"] for method in (ARX, LSTM, NO_CHANGE)] for each in found.values()], np.float64
    ).min(0)
    return int((lowest <= 0).sum()), lowest.size


def table(results: Numbers) -> str:
    """Everything as tables of Markdown."""
    lines = [
        "# Forecasts of plants",
        "",
        f"{FILES * FILE_MINUTES / 60:g} hours of logged operation, of which the last fifth is held out; {results['minutes']:g} minutes of "
        f"training at size `{results['size']}` on a shared core. Judged on {JUDGED * FILE_MINUTES / 60:g} hours of the same recording, "
        f"from hour {FIRST_JUDGED * FILE_MINUTES / 60:g} on. {results['cpu']}.",
        "",
        "Skill is the share of the squared error of “no change” that is taken away: 1 is perfect. A number is the mean of the training "
        "seeds, and its interval goes from the lowest to the highest end of the seeds' 95 % intervals (bootstrap over blocks as long as "
        "the longest forecast). Actions to come are the logged ones, for everybody. Intervals that follow begin as trained at the first "
        "hour that is judged, and know at every moment what was measured until then.",
        "",
    ]
    for name, found in results["plants"].items():
        first = next(iter(found.values()))
        ahead = first["steps_ahead"]
        lines += [
            f"## {name}",
            "",
            f"Steps of {first['period_seconds']:g} s, training seeds {', '.join(found)}, {first['moments']:,} forecasts each. Tacit: "
            f"{first['methods'][RUN]['about']}; ARX: {first['methods'][ARX]['about']}; LSTM: "
            + "; ".join(each["methods"][LSTM]["about"] for each in found.values())
            + ".",
            "",
            "| skill | | " + " | ".join(f"{k} ahead" for k in ahead) + " |",
            "|---" * (2 + len(ahead)) + "|",
        ]
        for n, signal in enumerate([*first["names"], "mean"]):
            for method in (RUN, ARX, LSTM):
                estimate = over_seeds(found, "methods", method, "mean" if signal == "mean" else "skill")
                lines.append(f"| {signal} | {NAMES[method]} | {cells(estimate, 0 if signal == 'mean' else n)} |")
        lines += ["", f"| inside Tacit's {100 * first['confidence']:.0f} % intervals | | " + " | ".join(f"{k} ahead" for k in ahead) + " |"]
        lines.append("|---" * (2 + len(ahead)) + "|")
        for n, signal in enumerate([*first["names"], "mean"]):
            for what, which in INTERVALS.items():
                estimate = over_seeds(found, f"mean_{which}" if signal == "mean" else which)
                lines.append(f"| {signal} | {what} | {cells(estimate, 0 if signal == 'mean' else n, 100)} |")
        open_, every = unclear(found)
        lines += [
            "",
            "Where Tacit is worse with every seed:",
            "",
            *(f"- {line}." for line in list(behind(found)) or ["nowhere"]),
            "",
            f"In {open_} of {every} comparisons, of a sensor and step ahead with one of the three others, Tacit is not better beyond the "
            "interval.",
            "",
        ]
    return "\n".join([*lines, "![mean skill](forecasts.svg)", ""])


def draw(results: Numbers) -> Figure:
    """Mean skill by step ahead, one plant beside the other."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(results["plants"]), 3.0), layout="constrained")
        axes = figure.subplots(1, len(results["plants"]), squeeze=False, sharey=True)[0]
        for ax, (name, found) in zip(axes, results["plants"].items(), strict=True):
            ahead = next(iter(found.values()))["steps_ahead"]
            for method in (LSTM, ARX, RUN):
                value, low, high = (np.array(part)[:, 0].clip(SHOWN) for part in over_seeds(found, "methods", method, "mean"))
                ax.fill_between(ahead, low, high, color=COLOURS[method], alpha=0.15, linewidth=0)
                ax.plot(ahead, value, color=COLOURS[method], marker="o", markersize=3, label=NAMES[method] if ax is axes[0] else None)
            ax.axhline(0, color=COLOURS[NO_CHANGE], linewidth=0.9)
            ax.set_xscale("log", base=2)
            ax.set(xticks=ahead, xticklabels=ahead, ylim=(SHOWN, 1.0), title=name, xlabel="steps ahead")
        axes[0].set_ylabel("skill, mean of all sensors")
        figure.legend(loc="outside upper center", ncols=3)
        return figure


def main(options: Options) -> None:
    torch.set_num_threads(1)
    path = RESULTS / "forecasts.json"
    state = code(parts=DECISIVE)
    setting = {"minutes": options.minutes, "size": options.size, "code": state}
    results: Numbers = json.loads(path.read_text()) if path.is_file() else {}
    if {name: results.get(name) for name in setting} != setting:
        results = setting | {"plants": {}}
    results["cpu"] = cpu_model()
    for seed in options.seeds:
        for name in options.plants:
            found = results["plants"].setdefault(name, {})
            if str(seed) in found:
                continue
            found[str(seed)] = measured(options, options.work / state, name, seed)
            RESULTS.mkdir(parents=True, exist_ok=True)
            atomic_write(path, json.dumps(results) + "\n")
            atomic_write(path.with_suffix(".md"), table(results))
            atomic_write(path.with_suffix(".svg"), svg(draw(results)))
            Console().print(f"{name}, seed {seed}: done", highlight=False)
    Console().print(table(results), markup=False)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
