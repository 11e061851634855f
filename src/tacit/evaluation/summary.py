"""From a run's folder to the values of its report: nothing is measured here, so a report can be drawn again at any time."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tacit.evaluation.evidence import EVIDENCE, Evidence
from tacit.evaluation.page import interval, percent
from tacit.evaluation.scores import Kind, Results, Score
from tacit.evaluation.sections import Curve, HorizonError, Provenance, Report, Training
from tacit.evaluation.suites import describes
from tacit.run import Run, load
from tacit.training.folder import RESULTS, read_results
from tacit.training.metrics import METRICS

METHODS = {
    "planner": ("Tacit planner", Kind.PLANNER),
    "latent_l2": ("same, on latent distance", Kind.ABLATION),
    "random": ("random actions", Kind.FLOOR),
    "noop": ("no action", Kind.FLOOR),
    "cloning": ("behaviour cloning", Kind.FLOOR),
}
LOSSES = ("total", "prediction", "sigreg", "covariance", "inverse", "contrast", "shape")

Numbers = Mapping[str, Any]


def report_of(folder: str | Path) -> Report:
    """Everything that is known of a run, as the values of its report.

    Numbers of an evaluation whose model is no longer in the folder are left out, and the page then says that they were not measured.

    Args:
        folder: The run.

    Raises:
        RunError: It is not a complete run.
        ReportError: The evidence of the evaluation is damaged.
    """
    trained = load(folder)
    results = read_results(trained.path)
    is_current = describes(trained.path, results)
    found = is_current and (trained.path / EVIDENCE).is_file()
    evidence = Evidence.load(trained.path / EVIDENCE) if found else Evidence()
    scores = results_section(results) if is_current else None
    subject = results.get("protocol", {}).get("world") or trained.config.source.get("world") or Path(trained.config.store).name
    return Report(
        title=f"A world model of {subject}",
        verdict=verdict(scores),
        date=_date(results),
        data=evidence.data,
        training=training_section(trained, results),
        probes=evidence.probes,
        dynamics=evidence.dynamics,
        planning=evidence.planning,
        values=evidence.values,
        results=scores,
        timing=evidence.timing,
        provenance=provenance_section(trained, results, scores),
    )


def verdict(results: Results | None) -> str:
    """What a person should remember, in one sentence, with its interval and its floor."""
    if results is None:
        return "Trained, and not evaluated yet: `tacit eval` measures what it is worth."
    ours, floor = results.total(results.methods[0]), results.best(Kind.FLOOR)
    text = f"The planner reached {percent(ours.rate)} of {ours.episodes} goals ({interval(ours.interval)})"
    hard = None if results.hard_split is None else results.score(ours.method, results.hard_split)
    if hard is not None:
        text += f" and {percent(hard.rate)} of those in the {hard.split} ({interval(hard.interval)})"
    return text + (f"; the best floor, {floor.method}, reached {percent(floor.rate)}." if floor else ".")


def results_section(results: Numbers) -> Results:
    """Who reached how many goals, from results.json."""
    protocol, success = results["protocol"], results["success"]
    hard, easy = protocol["hard"], protocol["easy"]
    keys = {name: name.replace(" ", "_") for name in (hard, easy)}
    planner = {key: results[f"success_{key}"] for key in keys.values() if f"success_{key}" in results}
    found = {"planner": planner, **results["ablation"], **results["floors"]}
    scores = tuple(
        Score(method=METHODS[name][0], kind=METHODS[name][1], split=split, successes=rate["successes"], episodes=rate["episodes"])
        for name, rates in found.items()
        for split, rate in ((split, rates[key]) for split, key in keys.items() if key in rates)
    )
    words = (
        f"{protocol['episodes']} scenes of the world {protocol['world']}, drawn with seed {protocol['seed']} from random numbers that no "
        f"recording uses, and written down before any policy ran. A goal is reached at a distance of at most {success['tolerance']:g} "
        f"{success['unit']} {when_counted(protocol)}. "
        f"Digest of protocol and scenes: {protocol['digest'][:16]}."
    )
    return Results(scores=scores, protocol=words, hard_split=hard if hard in {s.split for s in scores} else None)


def training_section(trained: Run, results: Numbers) -> Training | None:
    """Curves from metrics.jsonl, the held-out error from the calibration, and what was set."""
    if "train" not in results:
        return None
    config, calibration, train = trained.config, trained.calibration, results["train"]
    jepa = config.recipe.jepa
    metrics = read_metrics(trained.path / METRICS)
    curves = {name: curve(metrics, f"loss/{name}", name) for name in LOSSES}
    parameters = sum(p.numel() for module in (trained.model, trained.distance, trained.policy) for p in module.parameters())
    return Training(
        losses=tuple(c for c in curves.values() if c is not None),
        minutes=train["seconds"] / 60,
        frames_per_second=train["frames_per_second"],
        effective_rank=curve(metrics, "watch/effective_rank", "effective rank"),
        min_std=curve(metrics, "watch/min_std", "smallest standard deviation"),
        held_out=HorizonError(model=np.array(calibration.prediction), floor=np.array(calibration.stay), episodes=calibration.episodes),
        config={
            "size": config.recipe.size,
            "parameters": f"{parameters:,}",
            **({"models asked together": str(config.recipe.members)} if config.recipe.members > 1 else {}),
            "latent dimensions, state and context": f"{jepa.state} · {jepa.context}",
            "optimiser steps": f"{train['steps']:,}",
            "batch": f"{config.recipe.train.batch} windows of {config.recipe.train.window} frames",
            "learning rate": f"{config.recipe.train.learning_rate:g}",
            "weights of SIGReg, covariance, inverse, contrast, shape": " · ".join(
                f"{weight:g}"
                for weight in (jepa.sigreg_weight, jepa.covariance_weight, jepa.inverse_weight, jepa.contrast_weight, jepa.shape_weight)
            ),
            "precision": train.get("precision", "not recorded"),
            "threads": str(train["threads"]),
            "episodes, trained and held out": f"{config.train_episodes:,} · {config.held_out_episodes:,}",
            **{f"phase {name}": f"{seconds:.1f} s" for name, seconds in results.get("phases", {}).items()},
        },
    )


def provenance_section(trained: Run, results: Numbers, scores: Results | None) -> Provenance:
    """Where the numbers come from and what they do not show."""
    machine, protocol = results.get("machine", {}), results.get("protocol", {})
    seeds = {"training": trained.config.seed} | ({"scenes": protocol["seed"]} if protocol else {})
    recorded = trained.config.source.get("seed")
    commands = results.get("commands", {})
    return Provenance(
        cpu=machine.get("cpu", "not measured"),
        cores=machine.get("cores", 0),
        versions=results.get("versions") or trained.config.versions,
        seeds=({"recording": recorded} if isinstance(recorded, int) else {}) | seeds,
        command=" && ".join(dict.fromkeys(commands.values())) or "not recorded",
        results=RESULTS,
        limits=limits(results, scores),
    )


def limits(results: Numbers, scores: Results | None) -> tuple[str, ...]:
    """What the numbers do not show, one sentence each."""
    if scores is None:
        return ("Nothing on this page says how well the model plans: it has not been evaluated.",)
    protocol = results["protocol"]
    found = [
        "One training run with one seed: the intervals cover the choice of scenes, not the luck of training.",
        f"One simulated world, {protocol['world']}, with the appearance and the dynamics of the logs: no disturbance, no sensor fault "
        "and no change of lighting was tried.",
        "Latency is that of deciding, in one process on one thread; a real loop adds camera, bus and actuator.",
    ]
    fewer = results["ablation"]["latent_l2"]["episodes"]
    if fewer < protocol["episodes"]:
        found.append(f"The ablation met the first {fewer} of the {protocol['episodes']} scenes only.")
    if fallbacks := results["success"]["verdicts"].get("fallback", 0):
        found.append(f"In {fallbacks:,} decisions there was no sound plan and the controller fell back to holding its last action.")
    return tuple(found)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl; a last line that was cut off by a crash is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


def curve(metrics: list[dict[str, Any]], key: str, name: str) -> Curve | None:
    """One quantity over training; None when it was never noted."""
    noted = [(line["step"], line[key]) for line in metrics if key in line and math.isfinite(line[key])]
    if not noted:
        return None
    steps, values = zip(*noted, strict=True)
    return Curve(name=name, steps=np.array(steps), values=np.array(values))


def _date(results: Numbers) -> datetime.date:
    """Day of the evaluation; today when there was none."""
    day = results.get("protocol", {}).get("date")
    return datetime.date.fromisoformat(day) if day else datetime.date.today()


def when_counted(protocol: Mapping[str, Any]) -> str:
    """At which moments of a scene a goal counts as reached, in words."""
    hold, budget = protocol.get("hold", 1), protocol["budget"]
    if hold == 0:
        return f"at some moment of {budget} actions: passing through is enough"
    moments = "" if hold == 1 else f", and at the {hold - 1} moments before it"
    return f"after action {budget}{moments}: passing through is not enough"
