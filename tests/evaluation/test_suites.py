"""What the suite measures and keeps: strips, maps, paths, probes, latencies, the machine, and the way from numbers to the page."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from two_room_policies import OpenFloor, Oracle

from point_world import SCHEMA as POINT_SCHEMA
from point_world import recipe, record
from tacit.evaluation import machine, suites
from tacit.evaluation.checks import ReportError
from tacit.evaluation.evidence import Evidence
from tacit.evaluation.filmstrips import Replay, Taped, arrival, filmstrips, worth_showing
from tacit.evaluation.held_out import predicted_paths, probe_labels, read_logs, shown_data
from tacit.evaluation.machine import torch_threads
from tacit.evaluation.outcome import Outcome
from tacit.evaluation.protocol import Manifest, Protocol, draw_manifest, run
from tacit.evaluation.scenery import scenery, two_room_maps
from tacit.evaluation.scores import Kind
from tacit.evaluation.sections import Data, Dynamics, Episode, Planning, Probe, Probes, Timing, ValueMap, Values
from tacit.evaluation.summary import limits, read_metrics, results_section, verdict, when_counted
from tacit.run import Run, load
from tacit.signals import SchemaError
from tacit.training.fit import Silent, fit
from tacit.training.folder import fingerprint, merge_results
from tacit.training.recipes import for_minutes
from tacit.worlds import Scene
from tacit.worlds.two_room import Layout


@pytest.fixture(scope="module")
def point_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a machine without a world: it can be probed, not planned with."""
    folder = tmp_path_factory.mktemp("point")
    fit(record(folder / "logs", episodes=40), folder / "run", recipe(steps=300, head_steps=5))
    return load(folder / "run")


def of(run: Run) -> Any:
    from tacit.data import EpisodeStore

    return EpisodeStore(run.config.store)


def outcome(success: list[bool], hard: list[bool]) -> Outcome:
    distance = np.where(np.array(success)[:, None], [[9.0, 1.0]], [[9.0, 8.0]])
    return Outcome(digest="d", hard=np.array(hard), distance=distance, tolerance=4.5, unit="px", seconds_per_action=0.0)


@pytest.mark.parametrize(("distance", "step"), [([9, 8, 3, 2], 2), ([9, 3, 8, 2], 3), ([3, 3], 0), ([9, np.nan, 3], 2)])
def test_arrival_is_the_step_after_which_it_never_leaves(distance: list[float], step: int) -> None:
    assert arrival(np.array(distance, dtype=float), 4.5) == step


def test_the_report_says_when_a_goal_counts() -> None:
    assert when_counted({"budget": 50, "hold": 0}) == "at some moment of 50 actions: passing through is enough"
    assert when_counted({"budget": 9}) == when_counted({"budget": 9, "hold": 1}) == "after action 9: passing through is not enough"
    assert when_counted({"budget": 9, "hold": 5}).startswith("after action 9, and at the 4 moments before it")


def test_passing_through_arrives_when_it_is_there_first() -> None:
    assert arrival(np.array([9.0, 4.0, 2.0, 8.0]), 4.5, hold=0) == 1


def test_the_strip_of_a_passage_ends_at_the_goal() -> None:
    scene = Scene(start=(10.0, 50.0), goal=(10.0, 30.0), layout={"wall": 32.0, "door": 24.0}, hard=False)
    manifest = Manifest(protocol=Protocol(world="two_room", episodes=1, budget=20, hold=0), scenes=(scene,))
    straight = np.tile(np.array([0.0, -2.4], np.float32), (1, 20, 1))
    found = run(manifest, Replay(straight))
    shown = filmstrips(manifest, found, straight)
    assert shown is not None
    assert shown.episodes[0].success
    assert shown.episodes[0].steps[-1] == 7, "within 4.5 px of a goal 20 px away, at 2.4 px per step"


def test_hard_episodes_are_shown_first_and_failures_are_never_left_out() -> None:
    found = worth_showing(outcome([True, True, False, True, True, False], [False, True, False, False, True, True]), shown=2)
    assert found == (1, 4, 5, 2)


def test_a_taped_policy_can_be_played_again() -> None:
    manifest = draw_manifest(Protocol(world="two_room", episodes=5, budget=30))
    taped = Taped(Oracle(manifest))
    first = run(manifest, taped, batch=2)
    assert taped.actions().shape == (5, 30, 2)
    again = run(manifest, Replay(taped.actions()))
    np.testing.assert_array_equal(again.distance, first.distance)


def test_strips_show_what_happened() -> None:
    manifest = draw_manifest(Protocol(world="two_room", episodes=4, budget=60))
    taped = Taped(Oracle(manifest))
    found = run(manifest, taped)
    planning = filmstrips(manifest, found, taped.actions())
    assert planning is not None
    assert [e.success for e in planning.episodes] == sorted((e.success for e in planning.episodes), reverse=True)
    first = planning.episodes[0]
    number = worth_showing(found)[0]
    scene = manifest.scenes[number]
    assert first.path is not None
    assert first.steps is not None
    np.testing.assert_allclose(first.path[0] + 0.5, scene.start, atol=1e-5)
    assert np.linalg.norm(first.path[-1] + 0.5 - scene.goal) <= 4.5
    assert len(first.path) == first.steps[-1] + 1 == arrival(found.distance[number], 4.5) + 1
    assert first.caption.startswith(scenery("two_room").hard)


def test_the_map_of_a_model_that_sees_positions_is_the_map_of_distances() -> None:
    seeing: Any = SimpleNamespace(model=OpenFloor(), distance=lambda here, goal: (here - goal).abs().sum(-1))
    manifest = draw_manifest(Protocol(world="two_room", episodes=6))
    maps = two_room_maps(seeing, manifest)
    hard = [scene for scene in manifest.scenes if scene.hard]
    assert len(maps) == 2
    for shown, scene in zip(maps, hard, strict=False):
        layout = Layout(**scene.layout)
        for (row, column), found in np.ndenumerate(shown.latent_distance):
            place = np.array([2 * column + 1.0, 2 * row + 1.0])
            assert np.isnan(found) == (not layout.is_free(place))
            if np.isfinite(found):
                # The dot is found to a tenth of a pixel; where it touches a wall, its colour does not tell so well.
                assert abs(found - np.linalg.norm(place - scene.goal)) < 1.0
                assert abs(shown.steps_to_go[row, column] - np.abs(place - scene.goal).sum()) < 1.5
        np.testing.assert_allclose(np.array(shown.goal) + 0.5, scene.goal)


def test_an_unknown_world_has_a_plain_look() -> None:
    look = scenery("elsewhere")
    assert (look.hard, look.easy, look.path({})) == ("hard", "easy", None)


def test_probes_read_held_out_episodes_only(point_run: Run) -> None:
    store = of(point_run)
    logs = read_logs(point_run, store, Silent())
    assert not set(logs.train_numbers) & set(logs.held_out_numbers)
    assert len(logs.held_out_numbers) == point_run.config.held_out_episodes
    (probe,) = probe_labels(logs, seed=0)
    numbers = probe.numbers()
    assert numbers["r2"] > 0.8  # sensors that bend a position, seen through a trained encoder
    assert numbers["r2"] == pytest.approx(np.mean(numbers["r2_per_channel"]), abs=1e-4)
    assert numbers["episodes"] == len(logs.held_out_numbers)
    poses = np.concatenate([store[n].signals["pose"] for n in logs.held_out_numbers])
    np.testing.assert_allclose(probe.linear.true, poses, rtol=1e-6)  # labels and latents of the same moments
    assert [section.label for section in probe.sections()] == ["pose[0]", "pose[1]"]


def test_paths_start_where_the_log_was_and_end_where_the_rollout_went(point_run: Run) -> None:
    logs = read_logs(point_run, of(point_run), Silent())
    shown = predicted_paths(point_run, logs)
    log, history = logs.held_out, point_run.model.history
    longest = int(log.steps.argmax())
    steps = shown.real.shape[1]
    assert steps == int(log.steps.sort(descending=True).values[:3].min()) - (history - 1)
    row = int(log.first[longest]) + history - 1
    with torch.no_grad():
        latents = log.latents[row - history + 1 : row + 1][None]
        predicted = [point_run.model.step(latents, log.actions[row][None])[0]]
    error = (predicted[0] - log.latents[row + 1])[: point_run.model.config.state]
    np.testing.assert_allclose(shown.errors[0, 0], float(error.square().sum()), rtol=1e-3)
    assert 0 < shown.explained[1] <= shown.explained[0] <= 1


def test_a_store_of_another_machine_is_refused(point_run: Run, tmp_path: Path) -> None:
    from tacit.worlds import record as record_world
    from tacit.worlds import world

    store = record_world(world("two_room"), tmp_path / "rooms", episodes=2, steps=3)
    with pytest.raises(SchemaError, match="lacks the signal 'sensors'"):
        read_logs(point_run, store, Silent())
    assert (shown := shown_data(store)).samples is not None
    assert (shown.frames, len(shown.samples)) == (8, 2)
    assert shown_data(of(point_run)).samples is None  # it has no camera


@pytest.mark.parametrize(
    ("protocol", "cost", "planner"),
    [(Protocol(world="two_room", episodes=1), "arrival", "cem"), (Protocol.standard("two_room", episodes=1), "reaching", "propose-verify")],
)
def test_latency_is_that_of_what_is_evaluated_on_one_thread_and_leaves_the_others_as_they_were(
    protocol: Protocol, cost: str, planner: str
) -> None:
    seen, asked = [], []

    def controller(task: Any, *, cost_for: Any, seed: int) -> Any:
        asked.append((cost_for, task.plan.planner))
        return SimpleNamespace(
            reset=lambda goal: None,
            act=lambda observation: (
                seen.append(torch.get_num_threads()),
                SimpleNamespace(action=np.zeros(2), evidence=SimpleNamespace(plan_ms=len(seen), encode_ms=0.5)),
            )[1],
        )

    stub: Any = SimpleNamespace(
        controller=controller,
        schema=OpenFloor.schema,
        config=SimpleNamespace(recipe=for_minutes("xs", 1)),
        arrival_cost="arrival",
        reaching_cost="reaching",
        touching_cost="touching",
    )
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        timing = suites.replanning_times(stub, draw_manifest(protocol))
        assert torch.get_num_threads() == before + 1
    assert asked == [(cost, planner)]
    assert set(seen) == {1}
    np.testing.assert_array_equal(timing.plan_ms, suites.WARM_UP + 1 + np.arange(suites.REPLANS))  # warm-up calls are not counted
    assert suites.plan_numbers(timing, suites.PLAN)["total_ms_p50"] == pytest.approx(np.median(timing.plan_ms) + 0.5)


@pytest.mark.parametrize("pushes", [True, False])
def test_a_run_that_was_trained_for_pushing_tries_what_hands_would_do_and_its_best_moment_counts(pushes: bool) -> None:
    config = SimpleNamespace(recipe=for_minutes("xs", 1, pushes=pushes))
    run: Any = SimpleNamespace(config=config, arrival_cost="arrival", reaching_cost="reaching", touching_cost="touching")
    protocol = Protocol.standard("reacher", episodes=1)
    settings = suites.planning_for(run, protocol)
    assert (settings.proposals > 0.9 * settings.candidates) == pushes
    assert suites.cost_for(run, protocol) == ("touching" if pushes else "reaching")


def test_where_the_policy_knows_what_to_do_it_is_left_only_for_what_is_better_beyond_doubt() -> None:
    config = SimpleNamespace(recipe=for_minutes("xs", 1, pushes=True))
    run: Any = SimpleNamespace(config=config, touching_cost="touching")
    planners = {name: suites.planning_for(run, Protocol.standard(name, episodes=1)).planner for name in ("cube", "push_t")}
    assert planners == {"cube": "policy-rollout", "push_t": "propose-verify"}
    assert suites.cost_for(run, Protocol.standard("cube", episodes=1)) == "touching"


def test_what_was_measured_with_another_cost_or_plan_counts_no_more(point_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(point_run.path, folder)
    copied, manifest = load(folder), draw_manifest(Protocol.standard("reacher", episodes=1))
    (folder / suites.EVIDENCE).write_bytes(b"")
    asked = {"settings": asdict(suites.planning_for(copied, manifest.protocol)), "cost": "reaching_cost"}
    for plan, counts in ((asked, True), (asked | {"cost": "latent_cost"}, False), ({"settings": asked["settings"]}, False)):
        merge_results(
            folder,
            {
                "protocol": {"digest": manifest.digest},
                "ablation": {"latent_l2": {"episodes": 50}},
                "plan": plan,
                "model": {"sha256": fingerprint(folder)},
            },
        )
        assert suites.is_evaluated(copied, manifest, ablation_episodes=50) is counts
    assert not suites.is_evaluated(copied, manifest, ablation_episodes=10)


def evidence() -> Evidence:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (2, 8, 8, 3)).astype(np.uint8)
    grid = np.array([[1.0, np.nan], [0.5, 2.0]], dtype=np.float32)
    path = rng.normal(size=(1, 5, 2))
    return Evidence(
        data=Data(store="logs", episodes=2, frames=9, seconds=0.7, schema=POINT_SCHEMA, samples=image),
        probes=Probes(probes=(Probe(label="x", true=path[0, :, 0], predicted=path[0, :, 1], r2_linear=0.5),), episodes=2),
        dynamics=Dynamics(predicted=path, real=path, errors=path[..., 0], explained=(0.6, 0.3)),
        planning=Planning(episodes=(Episode(frames=image, goal=image[0], success=True, caption="✓", steps=(0, 4)),)),
        values=Values(maps=(ValueMap(name="m", background=image[0], steps_to_go=grid, latent_distance=grid, goal=(1.0, 2.0)),)),
        timing=Timing(plan_ms=np.arange(3.0), encode_ms=np.arange(3.0), threads=1),
    )


def flat(value: Any) -> Any:
    """A section as nested lists, comparable although it holds arrays."""
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, repr(value.tolist()))
    if isinstance(value, tuple):
        return tuple(flat(v) for v in value)
    return {name: flat(getattr(value, name)) for name in value.__dataclass_fields__} if hasattr(value, "__dataclass_fields__") else value


def test_evidence_comes_back_as_it_was(tmp_path: Path) -> None:
    for kept in (evidence(), Evidence()):
        kept.save(tmp_path / "report.npz")
        assert flat(Evidence.load(tmp_path / "report.npz")) == flat(kept)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_damaged_evidence_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "report.npz"
    evidence().save(path)
    contents = path.read_bytes()
    path.write_bytes(contents[: int(share * len(contents))])
    with pytest.raises(ReportError, match="measure again"):
        Evidence.load(path)


RATE = {"rate": 0.5, "low": 0.3, "high": 0.7, "successes": 5, "episodes": 10}
RESULTS: dict[str, Any] = {
    "success": {**RATE, "tolerance": 4.5, "unit": "px", "verdicts": {"act": 90, "fallback": 10}},
    "success_other_room": RATE,
    "success_same_room": {**RATE, "successes": 9},
    "ablation": {"latent_l2": {**RATE, "episodes": 10, "other_room": {**RATE, "successes": 1}}},
    "floors": {"cloning": {**RATE, "other_room": RATE, "same_room": RATE}, "noop": {**RATE, "other_room": {**RATE, "successes": 0}}},
    "protocol": {
        "world": "two_room",
        "episodes": 20,
        "budget": 200,
        "seed": 0,
        "digest": "f" * 64,
        "hard": "other room",
        "easy": "same room",
    },
}


def test_scores_come_from_the_counts() -> None:
    scores = results_section(RESULTS)
    planner = scores.methods[0]
    assert scores.total(planner).successes == 14
    assert scores.score(planner, "other room") is not None
    assert scores.hard_split == "other room"
    assert {s.kind for s in scores.scores} == set(Kind)
    text = verdict(scores)
    assert text.startswith("The planner reached 70\u202f% of 20 goals")
    assert "the best floor, behaviour cloning, reached 50" in text


def test_what_the_numbers_do_not_show_is_said() -> None:
    text = " ".join(limits(RESULTS, results_section(RESULTS)))
    assert "first 10 of the 20 scenes only" in text
    assert "In 10 decisions there was no sound plan" in text
    assert "not been evaluated" in limits({}, None)[0]


def test_numbers_of_an_old_evaluation_are_taken_away_and_the_others_kept(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps({**RESULTS, "train": {"steps": 3}, "seed": 1}))
    (tmp_path / "report.npz").write_bytes(b"x")
    suites.forget(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == {"train": {"steps": 3}, "seed": 1}
    assert not (tmp_path / "report.npz").exists()
    suites.forget(tmp_path / "nowhere")


def test_metrics_of_a_process_that_was_killed_are_read_up_to_the_last_whole_line(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"step": 0, "loss/total": 1.0}\n{"step": 50, "lo')
    assert read_metrics(tmp_path / "m.jsonl") == [{"step": 0, "loss/total": 1.0}]
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_more_ablation_scenes_than_there_are_are_refused() -> None:
    stub: Any = SimpleNamespace(schema=OpenFloor.schema)
    manifest: Manifest = draw_manifest(Protocol(world="two_room", episodes=2))
    for count in (0, 3):
        with pytest.raises(ValueError, match="must be between 1 and the 2 episodes"):
            suites.evaluate(stub, manifest, ablation_episodes=count)


PROCESSOR = "processor\t: {}\nmodel name\t: Some CPU @ 2 GHz\nphysical id\t: {}\ncore id\t\t: {}\n"


def test_two_threads_of_a_core_are_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("\n".join(PROCESSOR.format(n, n // 4, n % 2) for n in range(8)))
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(8)))
    assert machine.cpu_model() == "Some CPU @ 2 GHz"
    assert machine.physical_cores() == 4
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: {0, 2})
    assert machine.physical_cores() == 1
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(8)))
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert machine.physical_cores() == 3
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.physical_cores() == 4


def test_busy_cores_are_what_was_not_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 0 100 0 0 0 0 0 0\ncpu0 1 1\n")
    monkeypatch.setattr(machine, "_STAT", stat)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: stat.write_text("cpu  125 0 0 150 25 0 0 0 0 0\n") and None)
    assert machine.busy_cores() == pytest.approx(1.0)
    monkeypatch.setattr(machine, "_STAT", tmp_path / "none")
    assert machine.busy_cores() == 0.0
