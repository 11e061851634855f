"""The suite: everything that is measured of a trained run, on one manifest, into results.json and what the report shows.

The planner under test, the same planner with plain latent distance (ablation), and what needs no planning (floors: the recorder's
random policy, no action, behaviour cloning) meet the same scenes. Latency is measured apart, one machine and one thread.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore
from tacit.evaluation.baselines import CloningPolicy, NoOpPolicy, PlannedPolicy, RandomPolicy
from tacit.evaluation.evidence import EVIDENCE, Evidence
from tacit.evaluation.filmstrips import Taped, filmstrips
from tacit.evaluation.held_out import LabelProbe, predicted_paths, probe_labels, read_logs, shown_data
from tacit.evaluation.machine import cpu_model, physical_cores, torch_threads
from tacit.evaluation.outcome import Outcome, compare, rates
from tacit.evaluation.protocol import Manifest, Policy, Protocol, run
from tacit.evaluation.scenery import Scenery, scenery
from tacit.evaluation.sections import Probes, Timing, Values
from tacit.planning import PlanSettings, Task
from tacit.run import CostFor, Run
from tacit.training.fit import Display, Silent
from tacit.training.folder import RESULTS, fingerprint, merge_results, read_results, versions
from tacit.worlds import world

# One wide throw of long, smooth candidates: what finds a door that the learned distance does not see.
PLAN = PlanSettings(horizon=40, candidates=128, iterations=1, replan_every=4, initial_std=1.2, noise_correlation=0.95, local_share=0.3)
# A few suggestions of the goal policy, verified in imagination and refined: for goals that the logs know a way to.
REACH = PlanSettings(
    planner="propose-verify",
    horizon=25,
    candidates=64,
    iterations=2,
    proposals=32,
    initial_std=0.8,
    noise_correlation=0.9,
)
# The same for what is moved by hand: nearly all are suggestions, because little between them and what was logged works out there.
HANDLE = replace(REACH, proposals=60)
# What the goal policy does, except where a detour is better beyond doubt: where nearly all that it does is right, and plans that promise
# more mislead. Which of the two a world is was seen on scenes of seed 2000.
FOLLOW = PlanSettings(planner="policy-rollout", horizon=25, candidates=64, proposals=64)
MANIFEST, REPORT = "manifest.json", "report.html"
REPLANS, WARM_UP = 200, 10  # calls whose latency is kept, and calls before them
SECTIONS = ("floors", "ablation", "probe", "plan", "protocol", "machine", "model")  # of results.json, besides the success rates

Numbers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A policy that was tried: how it went, and what it did."""

    outcome: Outcome
    actions: NDArray[np.float32]
    verdicts: Mapping[str, int] = field(default_factory=dict)


def evaluate(
    trained: Run,
    manifest: Manifest,
    *,
    store: EpisodeStore | None = None,
    ablation_episodes: int | None = None,
    display: Display | None = None,
) -> Numbers:
    """Measure a run, and write manifest.json, results.json and the evidence for the report into its folder.

    Nothing is replaced before everything is measured.

    Args:
        trained: The run.
        manifest: Scenes that every policy meets.
        store: The logs it was trained on, checked for damage; without them nothing is probed.
        ablation_episodes: Scenes for the ablation, the first ones; None for all.
        display: Where progress goes.

    Returns:
        Everything in results.json.

    Raises:
        SchemaError: The world or the store is of another machine than the run.
        ValueError: `ablation_episodes` is not between 1 and the number of scenes.
        OSError: A file cannot be written.
    """
    display = display or Silent()
    protocol = manifest.protocol
    arena, look = world(protocol.world), scenery(protocol.world)
    trained.schema.require_same(arena.schema, f"the world {protocol.world}")
    fewer = protocol.episodes if ablation_episodes is None else ablation_episodes
    if not 1 <= fewer <= protocol.episodes:
        raise ValueError(f"ablation_episodes {fewer} must be between 1 and the {protocol.episodes} episodes of the manifest")
    first = Manifest(protocol=replace(protocol, episodes=fewer), scenes=manifest.scenes[:fewer])

    settings = planning_for(trained, protocol)
    timing = replanning_times(trained, manifest, display)
    planned = _tried(manifest, _planner(trained, cost_for(trained, protocol), settings, protocol.seed), "plan", display)
    flat = _tried(first, _planner(trained, trained.latent_cost, settings, protocol.seed), "plan on latent distance", display)
    floors = {
        "random": _tried(manifest, RandomPolicy(arena), "random actions", display, camera=False),
        "noop": _tried(manifest, NoOpPolicy(arena.schema), "no action", display, camera=False),
        "cloning": _tried(manifest, CloningPolicy(trained.model, trained.policy), "behaviour cloning", display),
    }
    probes: tuple[LabelProbe, ...] = ()
    evidence = Evidence()
    if store is not None:
        logs = read_logs(trained, store, display)
        display.phase("probe")
        probes = probe_labels(logs, seed=protocol.seed)
        sections = tuple(section for probe in probes for section in probe.sections())
        evidence = Evidence(
            data=shown_data(store),
            dynamics=predicted_paths(trained, logs),
            probes=Probes(probes=sections, episodes=len(logs.held_out)) if sections else None,
        )
    display.phase("draw maps and strips")
    maps = look.maps(trained, manifest)
    strips = filmstrips(manifest, planned.outcome, planned.actions)
    evidence = replace(evidence, planning=strips, timing=timing, values=Values(maps=maps) if maps else None)

    success = _numbers(planned.outcome, look)
    splits = {f"success_{_key(name)}": success.pop(_key(name)) for name in (look.hard, look.easy) if _key(name) in success}
    values = {
        "success": success | {"unit": arena.unit, "tolerance": arena.tolerance, "verdicts": dict(planned.verdicts)},
        **splits,
        "floors": {name: _numbers(trial.outcome, look) | _behind(planned.outcome, trial.outcome) for name, trial in floors.items()},
        "ablation": {"latent_l2": _numbers(flat.outcome, look)},
        "probe": {probe.label.name: probe.numbers() for probe in probes},
        "plan": plan_numbers(timing, settings) | {"cost": cost_name(trained, protocol)},
        "protocol": asdict(protocol)
        | {"digest": manifest.digest, "hard": look.hard, "easy": look.easy, "date": str(datetime.date.today())},
        "machine": {"cpu": cpu_model(), "cores": physical_cores()},
        "model": {"sha256": fingerprint(trained.path)},
        "versions": versions(),
    }
    manifest.save(trained.path / MANIFEST)
    evidence.save(trained.path / EVIDENCE)
    _forget_numbers(trained.path)  # of another world, too, whose splits have other names
    return merge_results(trained.path, values)


def replanning_times(trained: Run, manifest: Manifest, display: Display | None = None) -> Timing:
    """Latency of one machine on one thread: the first scene, every call encodes an image and makes a new plan."""
    shown = (display or Silent()).phase("latency")
    arena, scene = world(manifest.protocol.world), manifest.scenes[0]
    settings = planning_for(trained, manifest.protocol)
    controller = trained.controller(
        Task(plan=replace(settings, replan_every=1)), cost_for=cost_for(trained, manifest.protocol), seed=manifest.protocol.seed
    )
    names = [s.name for s in trained.schema.observations]
    env = arena.make()
    spent = []
    try:
        with torch_threads(1):
            goal = arena.goal(env, scene)
            controller.reset({name: np.asarray(goal[name])[None] for name in names})
            observation, _ = arena.start(env, scene)
            for call in range(WARM_UP + REPLANS):
                decision = controller.act({name: observation[name] for name in names})
                spent.append((decision.evidence.plan_ms, decision.evidence.encode_ms))
                observation, *_ = env.step(decision.action)
                shown((call + 1) / (WARM_UP + REPLANS), f"{call + 1} plans")
    finally:
        env.close()
    plan_ms, encode_ms = np.array(spent[WARM_UP:], dtype=np.float64).T
    return Timing(plan_ms=plan_ms.copy(), encode_ms=encode_ms.copy(), threads=1, deadline_ms=settings.deadline_ms)


def planning_for(trained: Run, protocol: Protocol) -> PlanSettings:
    """How a run plans in the scenes of a protocol; one that was trained for pushing (`tacit train --pushes`) tries what hands would do."""
    if protocol.offset is None and protocol.world.startswith("two_room"):
        return PLAN
    if not trained.config.recipe.pushes:
        return REACH
    return FOLLOW if protocol.world == "cube" else HANDLE


def cost_for(trained: Run, protocol: Protocol) -> CostFor:
    """What a run minimises in the scenes of a protocol."""
    cost: CostFor = getattr(trained, cost_name(trained, protocol))
    return cost


def cost_name(trained: Run, protocol: Protocol) -> str:
    """The name of that cost among a run's (`tacit.run_costs.COSTS`)."""
    return {PLAN: "arrival_cost", REACH: "reaching_cost", HANDLE: "touching_cost", FOLLOW: "touching_cost"}[planning_for(trained, protocol)]


def plan_numbers(timing: Timing, settings: PlanSettings) -> Numbers:
    """Latencies as results.json keeps them."""
    found: Numbers = {"threads": timing.threads, "calls": len(timing.plan_ms), "settings": asdict(settings)}
    for name, values in (("ms", timing.plan_ms), ("encode_ms", timing.encode_ms), ("total_ms", timing.plan_ms + timing.encode_ms)):
        found |= {f"{name}_p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 99)}
    return found


def is_evaluated(trained: Run, manifest: Manifest, *, ablation_episodes: int) -> bool:
    """Whether this very suite has been measured on the model that is in the folder of the run now."""
    folder = trained.path
    results = read_results(folder)
    found = (
        results.get("protocol", {}).get("digest"),
        results.get("ablation", {}).get("latent_l2", {}).get("episodes"),
        results.get("plan", {}).get("settings"),
        results.get("plan", {}).get("cost"),
    )
    asked = asdict(planning_for(trained, manifest.protocol)), cost_name(trained, manifest.protocol)
    return found == (manifest.digest, ablation_episodes, *asked) and describes(folder, results) and (folder / EVIDENCE).is_file()


def describes(folder: Path, results: Mapping[str, Any]) -> bool:
    """Whether measured numbers are of the model that is in the folder now."""
    return bool(results.get("model", {}).get("sha256") == fingerprint(folder))


def forget(folder: Path) -> None:
    """Take the evaluation out of a run's folder, so that it does not outlive the model it was made of; the manifest stays."""
    _forget_numbers(folder)
    for name in (EVIDENCE, REPORT):
        (folder / name).unlink(missing_ok=True)


def _forget_numbers(folder: Path) -> None:
    if results := read_results(folder):
        kept = {name: value for name, value in results.items() if name not in SECTIONS and not name.startswith("success")}
        atomic_write(folder / RESULTS, json.dumps(kept, indent=2, allow_nan=False) + "\n")


def _planner(trained: Run, cost: CostFor, settings: PlanSettings, seed: int) -> PlannedPolicy:
    return PlannedPolicy(trained.controller(Task(plan=settings), cost_for=cost, seed=seed))


def _tried(manifest: Manifest, policy: Policy, name: str, display: Display, *, camera: bool = True) -> _Trial:
    shown = display.phase(name)
    began = time.perf_counter()

    def progress(done: int, total: int) -> None:
        shown(done / total, f"{done:,} of {total:,} actions, {done / max(time.perf_counter() - began, 1e-9):,.0f} per second")

    taped = Taped(policy)
    outcome = run(manifest, taped, progress=progress, camera=camera)
    verdicts = {str(v): n for v, n in policy.verdicts.items()} if isinstance(policy, PlannedPolicy) else {}
    return _Trial(outcome=outcome, actions=taped.actions(), verdicts=verdicts)


def _numbers(outcome: Outcome, look: Scenery) -> Numbers:
    """Rates of all scenes, and of the hard and the easy ones by their names."""
    found = rates(outcome)
    parts = {_key(name): rate.numbers() for name, rate in ((look.hard, found.hard), (look.easy, found.easy)) if rate is not None}
    return found.overall.numbers() | {"reached_ever": int(outcome.reached_ever.sum())} | parts


def _behind(planned: Outcome, floor: Outcome) -> Numbers:
    """How much better planning did on the same scenes, with a 95 % interval."""
    found = compare(planned, floor)
    low, high = found.interval
    return {"planner_ahead": {"difference": round(found.difference, 4), "low": round(low, 4), "high": round(high, 4)}}


def _key(name: str) -> str:
    return name.replace(" ", "_")
