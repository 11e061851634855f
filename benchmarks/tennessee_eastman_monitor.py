"""How soon disturbances of the Tennessee Eastman process are detected, and how often something is seen where nothing is.

    python benchmarks/tennessee_eastman_monitor.py [--run RUN] [--seeds 3] [--hours 24] [--disturbances 1 2 3] [--work FOLDER]

The plant runs at its base case under its own decentralised control. Normal runs of other seeds make the monitors and their limits; then
each of IDV(1) to IDV(20) sets in after some hours. Monitors of single samples of all 41 measurements and 9 valve commands, as the field
does it: PCA with Hotelling's T² and Q (`tacit.evaluation.pca`). All are judged at the same limit, the 99th percentile of their score in
normal runs they were not made of, and an alarm is six samples above it in a row; the theoretical limits are told as well.

With --run, a run that was trained on logs of the plant stands beside them: how far the sensors are from its forecasts of one and of ten
steps before, as a Mahalanobis distance over the errors in the same normal runs. An analyser's error stays until its next sample.

Runs are kept in the work folder. Numbers go to docs/results/tennessee_eastman-monitor.json and a table with them. A monitor is a function
from normal runs to scores of a run: see `monitors`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.evaluation.detection import IN_A_ROW, detection
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.pca import fit_pca
from tacit.run import Run, load
from tacit.signals import MASK
from tacit.worlds.plants.tennessee_eastman import BASE, SCHEMA, TennesseeEastman, operating_cost
from tacit.worlds.plants.tennessee_eastman_tags import DISTURBANCES, MEASURED, STEP_SECONDS, VALVES, disturbance

RESULTS = Path(__file__).parents[1] / "docs" / "results"
Numbers = dict[str, Any]
Floats = NDArray[np.float64]
Scorer = Callable[[Floats], Mapping[str, Floats]]  # sensors of a run (T, S) -> scores (T,) by name

SENSORS = tuple(tag.name for tag in (*MEASURED, *VALVES.values()))
MADE_OF, CALIBRATION, TEST = 1000, 2000, 3000  # first seeds of normal runs
CONFIDENCE = 0.99
AHEAD = (1, 10)  # steps of a forecast


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        run: Folder of a run whose forecasts are a monitor, too.
        about: What to tell of that run, as a sentence.
        seeds: Runs of each disturbance.
        hours: Length of a run.
        onset: Hours after which the disturbance sets in.
        normal: Normal runs that monitors are made of, that limits are taken from, and that false alarms are counted in, each.
        disturbances: Numbers of those that are tried.
        work: Where runs are kept.
    """

    run: Path | None = None
    about: str = ""
    seeds: int = 3
    hours: float = 24.0
    onset: float = 2.0
    normal: int = 4
    disturbances: tuple[int, ...] = tuple(range(1, 21))
    work: Path = Path("benchmarks/work/tennessee_eastman")


def sensors_of(seed: int, number: int | None, options: Options) -> Floats:
    """Sensors (T, S) of a run in which a disturbance sets in, or none; up to a shutdown. Made once."""
    path = options.work / f"idv{number or 0:02}-{seed}-{options.hours:g}-{options.onset:g}.npy"
    if not path.exists():
        options.work.mkdir(parents=True, exist_ok=True)
        plant = TennesseeEastman(unrest=0.0)
        plant.reset(seed)
        rows = []
        for step in range(steps(options.hours)):
            if number is not None and step == steps(options.onset):
                plant.disturb({disturbance(number): 1.0})
            samples = plant.apply(BASE)
            if plant.tripped is not None:
                break
            rows.append([float(samples[name]) for name in SENSORS])
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.array(rows))
        partial.replace(path)
    sensors: Floats = np.load(path)
    return sensors


def steps(hours: float) -> int:
    """Control steps in so many hours."""
    return round(hours * 3600.0 / STEP_SECONDS)


def pca(normal: Sequence[Floats]) -> Scorer:
    """Hotelling's T² and Q."""
    made = fit_pca(np.concatenate(normal))
    return lambda sensors: dict(zip(("T²", "Q"), made.scores(sensors), strict=True))


def forecasts(trained: Run) -> Callable[[Sequence[Floats]], Scorer]:
    """How far what happens is from what a run expected, a monitor of its own for each number of steps ahead."""

    def made(normal: Sequence[Floats]) -> Scorer:
        usual = {}
        for ahead in AHEAD:
            errors = np.concatenate([forecast_errors(trained, run, ahead)[ahead:] for run in normal])
            spread = np.cov(errors.T)
            usual[ahead] = errors.mean(0), np.linalg.inv(spread + 1e-6 * np.diag(np.diag(spread) + 1e-12))

        def scores(sensors: Floats) -> dict[str, Floats]:
            found = {}
            for ahead, (mean, inverse) in usual.items():
                off = forecast_errors(trained, sensors, ahead) - mean
                found[f"forecast of {ahead} step{'s' if ahead > 1 else ''}"] = np.einsum("ts,su,tu->t", off, inverse, off)
            return found

        return scores

    return made


@torch.no_grad()
def forecast_errors(trained: Run, sensors: Floats, ahead: int) -> Floats:
    """What the sensors (T, S) show minus what the run expected `ahead` steps before; 0 in the first ones, which nothing was expected of."""
    model, count = trained.model, len(sensors)
    moments: dict[str, NDArray[Any]] = {name: column.astype(np.float32) for name, column in zip(SENSORS, sensors.T, strict=True)}
    moments["operating_cost"] = operating_cost(moments).astype(np.float32)
    fresh = np.concatenate([np.ones((1, sensors.shape[1]), bool), sensors[1:] != sensors[:-1]])
    moments |= {name: fresh[:, SENSORS.index(name.removesuffix(MASK))] for name in (mask.name for mask in SCHEMA.masks.values())}
    actions = torch.tensor(BASE, dtype=torch.float32).expand(count, -1)
    seen = {signal.name: torch.from_numpy(np.ascontiguousarray(moments[signal.name]))[None] for signal in model.schema.seen}
    latents = model.encode(seen, actions[None])[0]
    past = (torch.arange(count - ahead)[:, None] + torch.arange(1 - model.history, 1)).clamp(min=0)
    rolled = model.rollout(latents[past], actions[None, None, :ahead].expand(len(past), -1, -1, -1))[:, 0, -1]
    expected = {
        name: column for each in trained.readouts.values() for name, column in zip(each.readout.names, each.readout(rolled).T, strict=True)
    }
    errors = np.zeros_like(sensors)
    errors[ahead:] = sensors[ahead:] - np.stack([expected[name].numpy() for name in SENSORS], axis=1)
    newest = np.maximum.accumulate(np.where(fresh, np.arange(count)[:, None], 0), axis=0)
    held: Floats = np.take_along_axis(errors, newest, axis=0)
    return held


def monitors(options: Options) -> Mapping[str, Callable[[Sequence[Floats]], Scorer]]:
    """All that are judged, by name."""
    known: dict[str, Callable[[Sequence[Floats]], Scorer]] = {"PCA": pca}
    return known if options.run is None else known | {"Tacit": forecasts(load(options.run))}


def judged(name: str, make: Callable[[Sequence[Floats]], Scorer], options: Options, console: Console) -> Numbers:
    """Limits, false alarms and detections of one monitor, by score."""
    onset, minutes = steps(options.onset), STEP_SECONDS / 60.0
    normal = {first: [sensors_of(first + i, None, options) for i in range(options.normal)] for first in (MADE_OF, CALIBRATION, TEST)}
    scorer = make(normal[MADE_OF])
    calibrated = [scorer(run) for run in normal[CALIBRATION]]
    numbers: Numbers = {}
    for score in calibrated[0]:
        limit = float(np.quantile(np.concatenate([one[score] for one in calibrated]), CONFIDENCE))
        calm = detection([scorer(run)[score] for run in normal[TEST]], limit, onset=0, step_minutes=minutes)
        numbers[f"{name} {score}"] = {"limit": limit, "normal": calm.numbers(), "disturbances": {}}
    for number in options.disturbances:
        runs = [scorer(sensors_of(seed, number, options)) for seed in range(options.seeds)]
        for score in calibrated[0]:
            entry = numbers[f"{name} {score}"]
            found = detection([run[score] for run in runs], entry["limit"], onset=onset, step_minutes=minutes)
            entry["disturbances"][str(number)] = found.numbers()
        cells = [f"{score} {told(entry['disturbances'][str(number)])}" for score, entry in numbers.items()]
        console.print(f"IDV({number}): {', '.join(cells)}")
    return numbers


def theoretical(options: Options) -> Numbers:
    """PCA at the limits of the books: how many components it has, and how often normal samples are above."""
    made = fit_pca(np.concatenate([sensors_of(MADE_OF + i, None, options) for i in range(options.normal)]))
    limits = made.limits(CONFIDENCE)
    test = np.concatenate([sensors_of(TEST + i, None, options) for i in range(options.normal)])
    above = {score: float((values > limit).mean()) for score, values, limit in zip(("T²", "Q"), made.scores(test), limits, strict=True)}
    return {"components": len(made.variances), "sensors": len(SENSORS), "limits": limits, "above": above}


def told(row: Numbers) -> str:
    """One cell: runs with an alarm, their median delay with its range in minutes, and the share of samples above the limit."""
    share = f"{100 * row['above']:.0f} %"
    if not row["detected"]:
        return f"0/{row['runs']} · {share}"
    delay = f"{row['delay']:.0f} ({row['delay_least']:.0f}–{row['delay_most']:.0f})"
    return f"{row['detected']}/{row['runs']}, {delay} · {share}"


def table(results: Numbers) -> str:
    """The results as a page of Markdown."""
    options, monitors, book = results["options"], results["monitors"], results["theory"]
    lines = [
        "# Tennessee Eastman: detection of disturbances",
        "",
        f"Base case under the plant's own decentralised control, {options['hours']:g} h per run, the disturbance sets in after "
        f"{options['onset']:g} h, {options['seeds']} seeds. Every score has its limit at the {100 * CONFIDENCE:g}th percentile of normal "
        f"runs that the monitor was not made of; an alarm is {IN_A_ROW} samples of 3 min in a row above it. A cell: runs with an alarm, "
        "median delay in minutes (least to most over the runs) · share of samples after the onset above the limit.",
        "",
        f"PCA keeps {book['components']} of {book['sensors']} directions. At the theoretical 99 % limits "
        + " and ".join(f"{100 * value:.1f} % of normal samples are above that of {score}" for score, value in book["above"].items())
        + f". {options['about']} {results['cpu']}.",
        "",
        "| | " + " | ".join(monitors) + " |",
        "|---" * (len(monitors) + 1) + "|",
    ]
    calm = [one["normal"] for one in monitors.values()]
    cells = [
        f"{c['detected']}/{c['runs']} · {100 * c['above']:.1f} % ({100 * c['above_low']:.1f}–{100 * c['above_high']:.1f})" for c in calm
    ]
    lines.append("| no disturbance: false alarms | " + " | ".join(cells) + " |")
    for number in options["disturbances"]:
        cells = [told(one["disturbances"][str(number)]) for one in monitors.values()]
        lines.append(f"| IDV({number}): {DISTURBANCES[number - 1]} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main(options: Options) -> None:
    console = Console()
    listed = {"about": options.about, "seeds": options.seeds, "hours": options.hours, "onset": options.onset, "normal": options.normal}
    results: Numbers = {"options": {**listed, "disturbances": list(options.disturbances)}, "cpu": cpu_model(), "monitors": {}}
    for name, make in monitors(options).items():
        results["monitors"] |= judged(name, make, options, console)
    results["theory"] = theoretical(options)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "tennessee_eastman-monitor.json"
    atomic_write(path, json.dumps(results, indent=1) + "\n")
    atomic_write(path.with_suffix(".md"), table(results))
    console.print(f"{path} ({len(SCHEMA.observations)} observation signals in the schema)")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
