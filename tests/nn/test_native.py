"""Small networks in C say what torch says, and nothing is lost where there is no compiler."""

from __future__ import annotations

import copy
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tacit.models.heads import GoalPolicy, HeadConfig, TemporalDistance
from tacit.models.imagination import following
from tacit.models.jepa import JEPA, JEPAConfig
from tacit.models.predictor import PredictorConfig, ResidualPredictor
from tacit.nn import native
from tacit.nn.precision import products_dtype
from tacit.planning import ImaginedPolicy
from tacit.signals import Role, Schema, Signal

B, H, S, C, A = 3, 7, 5, 2, 2
D = S + C
compiled = pytest.mark.skipif(native.name(torch.float32) == "torch", reason="there is no C compiler")


def random(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    module.requires_grad_(False)


KINDS = ("plain", "residual", "linear")


def predictor(history: int = 2, depth: int = 2, width: int = 70, kind: str = "plain") -> ResidualPredictor:
    torch.manual_seed(0)
    linear = kind == "linear"
    settings = PredictorConfig(history=history, width=width, depth=1 if linear else depth, residual=kind == "residual", leading=4 * linear)
    made = ResidualPredictor(S, C, A, settings)
    random(made)
    if made.straight is not None:
        made.straight.spread.uniform_(0.5, 1.5)
    made.pack(torch.float32)
    return made


def distance() -> TemporalDistance:
    torch.manual_seed(0)
    made = TemporalDistance(D, HeadConfig(width=40, depth=2))
    random(made)
    made.pack(torch.float32)
    return made


@compiled
@torch.no_grad()
@pytest.mark.parametrize(("history", "depth", "width", "candidates"), [(1, 1, 16, 1), (2, 2, 70, 13), (4, 3, 33, 8)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_rollout_is_that_of_torch(history: int, depth: int, width: int, candidates: int, kind: str) -> None:
    model = predictor(history, depth, width, kind)
    past, actions = torch.randn(B, history, D), torch.randn(B, candidates, H, A)
    assert model.packed is not None
    assert model.packed.answers(past)
    found = model.unroll(past, actions)
    with native.without():
        torch.testing.assert_close(found, model.unroll(past, actions), rtol=1e-4, atol=1e-4)
    assert not torch.equal(found[..., :S], past[:, None, -1:, :S].expand(-1, candidates, H, -1)), "or there was nothing to compare"


@compiled
@torch.no_grad()
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_products_in_bfloat16_are_as_good_as_those_of_torch(kind: str) -> None:
    model, past, actions = predictor(kind=kind), torch.randn(B, 2, D), torch.randn(B, 9, H, A)
    with native.without():
        exact = model.unroll(past, actions)
        torchs = model.to(products_dtype()).unroll(past, actions)
    model.pack(products_dtype())

    def error(found: torch.Tensor) -> float:
        return float((found - exact).square().mean().sqrt())

    assert error(model.unroll(past, actions)) <= 1.2 * error(torchs) + 1e-5


@compiled
@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_those_beside_it_nor_on_threads(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, past, actions = predictor(kind=kind), torch.randn(B, 2, D), torch.randn(B, 21, H, A)
    found = model.unroll(past, actions)
    assert torch.equal(model.unroll(past[1:2], actions[1:2, 4:5]), found[1:2, 4:5])
    monkeypatch.setattr(native, "LEAST_ROWS", 10)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(model.unroll(past, actions), found)


def test_it_can_be_imported_where_there_are_no_forks() -> None:
    without = "import os, torch\nif hasattr(os, 'register_at_fork'):\n    del os.register_at_fork\nimport tacit.nn.native"
    done = subprocess.run([sys.executable, "-c", without], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


FORKED = """
import os, time, torch
from tacit.nn import native

def work(first, last):
    time.sleep(0.1)  # so that both threads have begun
    rows.append((first, last))

torch.set_num_threads(2)
rows = []
native._by_rows(1024, work)
if (child := os.fork()) == 0:
    native._by_rows(1024, work)
    os._exit(0 if len(rows) == 4 else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_process_plans_with_threads_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], timeout=30, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@compiled
@torch.no_grad()
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_stays_so_in_its_own_row(bad: float, kind: str) -> None:
    model, past, actions = predictor(kind=kind), torch.randn(B, 2, D), torch.randn(B, 9, H, A)
    found = model.unroll(past, actions)
    actions[1, 3, 2, 0] = bad
    worse = model.unroll(past, actions)
    assert not worse[1, 3, 2, :S].isfinite().any()
    worse[1, 3], found[1, 3] = 0.0, 0.0
    assert torch.equal(worse, found)
    here = torch.randn(B, 4, D)
    here[2, 1, 0] = bad
    assert distance()(here, torch.randn(B, 1, D)).isfinite().flatten().tolist() == [True] * 9 + [False] + [True] * 2


@compiled
@torch.no_grad()
def test_steps_to_go_are_those_of_torch() -> None:
    head, latents, goals = distance(), torch.randn(B, 6, H, D), torch.randn(B, 1, 1, D)
    for here, there in ((latents, goals), (latents[:, 0, 0], goals[:, 0, 0]), (latents[:0], goals[:0]), (latents, goals[0, 0, 0])):
        found = head(here, there)
        with native.without():
            torch.testing.assert_close(found, head(here, there), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(head(latents, latents), torch.full((B, 6, H), 0.01), rtol=1e-3, atol=1e-5)


@compiled
def test_a_policy_is_followed_as_in_turns() -> None:
    schema = Schema(
        signals=(
            Signal(name="seen", role=Role.OBSERVATION, shape=(3,)),
            Signal(name="push", role=Role.ACTION, shape=(A,), low=-1.0, high=1.0),
        )
    )
    torch.manual_seed(0)
    model = JEPA(schema, JEPAConfig(state=S, context=C, predictor=PredictorConfig(history=3, width=20)))
    policy = GoalPolicy(D, A, 3, HeadConfig(width=24))
    for part in (model.predictor, policy):
        random(part)
        part.pack(torch.float32)
    model.actions.set(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0]))
    policy.actions.set(torch.tensor([0.3, 2.0]), torch.tensor([2.0, 0.7]))
    past, goal = torch.randn(B, 3, D), torch.randn(B, D)
    past[..., S:] = past[:, -1:, S:]  # the context stays
    at_once = ImaginedPolicy(model=model, policy=policy.distribution, goal=goal, follow=following(model, policy))
    in_turns = ImaginedPolicy(model=model, policy=policy.distribution, goal=goal)
    assert at_once.follow is not None
    one, other = (made(past, H, 11, torch.Generator().manual_seed(1)) for made in (at_once, in_turns))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    with native.without():
        assert following(model, policy) is None


@compiled
def test_torch_is_asked_for_gradients_and_after_the_weights_have_changed() -> None:
    model, past, actions = predictor(), torch.randn(B, 2, D), torch.randn(B, 4, H, A, requires_grad=True)
    model.unroll(past, actions).sum().backward()
    assert actions.grad is not None
    with torch.no_grad():
        before = model.unroll(past, actions)
        copied = copy.deepcopy(model)
        assert torch.equal(copied.unroll(past, actions), before)
        copied.network[0].weight.mul_(2)
        assert not torch.allclose(copied.unroll(past, actions), before)
        assert torch.equal(model.unroll(past, actions), before), "only the copy has changed"
        model.network[0].weight.mul_(2)
        changed = model.unroll(past, actions)
        assert not torch.allclose(changed, before)
        assert torch.equal(copy.deepcopy(model).unroll(past, actions), changed)


@compiled
def test_in_inference_mode_weights_do_not_count_their_changes_so_torch_is_asked() -> None:
    past, actions = torch.randn(B, 2, D), torch.randn(B, 4, H, A)
    before = predictor()
    with torch.inference_mode():
        assert predictor().packed is None
        assert before.packed is not None
        assert before.packed.answers(past)
        copied = copy.deepcopy(before)
        assert copied.packed is not None
        assert not copied.packed.answers(past)
        torch.testing.assert_close(copied.unroll(past, actions), before.unroll(past, actions), rtol=1e-4, atol=1e-4)


@compiled
@torch.no_grad()
def test_shapes_that_do_not_fit_are_refused() -> None:
    model = predictor()
    assert model.packed is not None
    with pytest.raises(ValueError, match="takes 14 numbers"):
        model.unroll(torch.randn(B, 2, D), torch.randn(B, 4, H, A + 1))
    with pytest.raises(ValueError, match="shape"):
        native.unroll(model.packed, torch.randn(B + 1, 2, D), torch.randn(B, 4, H, A), S)
    for history in (torch.randn(B, 3, D - S), torch.randn(B, 0, D + 2 * S)):  # as many numbers for the network
        with pytest.raises(ValueError, match="a history has shape"):
            native.unroll(model.packed, history, torch.randn(B, 4, H, A), S)


@compiled
@torch.no_grad()
@pytest.mark.parametrize(("batch", "candidates", "horizon"), [(0, 4, H), (B, 0, H), (B, 4, 0)])
def test_nothing_is_done_for_nobody(batch: int, candidates: int, horizon: int) -> None:
    found = predictor().unroll(torch.randn(batch, 2, D), torch.randn(batch, candidates, horizon, A))
    assert found.shape == (batch, candidates, horizon, D)


@compiled
def test_a_layer_that_the_stack_does_not_hold_is_left_to_torch() -> None:
    assert native.packed(lambda: native.Network([torch.nn.Linear(3, native.WIDEST)], torch.float32)) is not None
    assert native.packed(lambda: native.Network([torch.nn.Linear(3, native.WIDEST + 1)], torch.float32)) is None


@compiled
@torch.no_grad()
def test_a_layer_as_wide_as_is_done_in_c_is_as_in_torch() -> None:
    model = predictor(history=2, depth=1, width=native.WIDEST)
    past, actions = torch.randn(1, 2, D), torch.randn(1, 9, 2, A)
    assert model.packed is not None
    found = model.unroll(past, actions)
    with native.without():
        torch.testing.assert_close(found, model.unroll(past, actions), rtol=1e-2, atol=1e-2)


@compiled
def test_another_processor_gets_code_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = native._library.__wrapped__(torch.float32).digest
    assert native._library.__wrapped__(torch.float32).digest == own
    run = subprocess.run

    def elsewhere(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return run([part.replace("-march=native", "-march=x86-64-v2") for part in command], **options)  # type: ignore[call-overload,no-any-return]

    if "x86" in platform.machine():
        monkeypatch.setattr(subprocess, "run", elsewhere)
        assert native._library.__wrapped__(torch.float32).digest != own


@torch.no_grad()
def test_without_a_compiler_torch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_library", native._library.__wrapped__)
    monkeypatch.setattr("shutil.which", lambda name: None)
    model = predictor()
    assert model.packed is None
    assert native.name(torch.float32) == "torch"
    assert model.unroll(torch.randn(B, 2, D), torch.randn(B, 4, H, A)).shape == (B, 4, H, D)


@compiled
def test_a_compiler_that_fails_is_no_error_but_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text('#!/bin/sh\ncase "$*" in *-dM*) exit 0 ;; esac\necho "no header" >&2\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(native.NativeError, match="no header"):
        native._library.__wrapped__(torch.float32)
    assert list((tmp_path / "cache" / "tacit").iterdir()) == [], "nothing half made is left"


@compiled
def test_nothing_is_loaded_from_where_others_can_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "tacit").mkdir()
    (tmp_path / "tacit").chmod(0o777)
    with pytest.raises(native.NativeError, match="others can write"):
        native._library.__wrapped__(torch.float32)


@compiled
def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_NATIVE", "0")
    with pytest.raises(native.NativeError, match="TACIT_NATIVE=0"):
        native._library.__wrapped__(torch.float32)
