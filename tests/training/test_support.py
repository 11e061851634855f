"""What the logs can answer: usual questions are not refused, and others are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacit.data import EpisodeStore
from tacit.models.jepa import JEPA
from tacit.run import Run
from tacit.training.latents import encode_log
from tacit.training.sensors import sensor_log
from tacit.training.support import fit_support, gain_errors, looked_at, moves
from tank_world import record, trained


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    return record(tmp_path_factory.mktemp("tank") / "store", episodes=12)


@pytest.fixture(scope="module")
def run(store: EpisodeStore) -> Run:
    return trained(store)


def test_moves_are_levels_and_differences_that_stop_at_the_beginning() -> None:
    actions = torch.arange(30.0)[:, None] ** 2
    found = moves(actions, 0)
    assert found.shape == (30, 4)
    assert found[0].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert found[25].tolist() == [625.0, 625.0 - 24**2, 625.0 - 19**2, 625.0 - 1]
    assert torch.equal(moves(actions, 25), found[25:])


def test_the_last_step_of_a_way_is_looked_at() -> None:
    assert looked_at(1).tolist() == [0]
    assert looked_at(8).tolist() == [0, 3, 6, 7]


def test_what_training_finds_is_of_its_logs(run: Run) -> None:
    support = run.support()
    assert support.longest == 45, "half of a held-out episode"
    assert support.residuals.shape[1:] == (45, 2)
    assert bool((support.scores[:, 1:] >= support.scores[:, :-1]).all()), "a longer way is at least as strange"


def test_one_in_twenty_of_the_held_out_stretches_would_be_refused(run: Run) -> None:
    support = run.support()
    for steps in (1, 20, support.longest):
        usual = support.scores[:, steps - 1]
        share = np.mean([support.p_value(float(score), steps) <= 0.05 for score in usual])
        assert share <= 0.05
    assert support.p_value(float("inf"), 10) == pytest.approx(1 / (1 + len(support.scores)))
    assert support.p_value(0.0, 10) == 1.0


def test_the_logs_themselves_are_near_and_what_they_never_held_is_far(run: Run) -> None:
    support = run.support()
    done = torch.cat((support.actions.nearest(support.actions.mean)[None], support.actions.mean[None] + torch.tensor([[9.0, 0, 0, 0]])))
    near, far = support.actions.distance(done).tolist()
    assert near < 0.05
    assert far > 5 * float(support.scores[:, -1].max())


class Unstable:
    """A model whose predictions grow without end, and beyond all numbers."""

    def __init__(self, model: JEPA) -> None:
        self._model, self.schema, self.history = model, model.schema, model.history

    def rollout(self, history: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        found = self._model.rollout(history, actions)
        return found * 1e6 ** torch.arange(found.shape[2])[:, None]


def test_predictions_without_bounds_do_not_decide_what_is_usual(run: Run, store: EpisodeStore) -> None:
    training, held_out = (part.tolist() for part in run.config.division(store))
    log, watched = (encode_log(store, episodes, run.model, device=torch.device("cpu")) for episodes in (training, held_out))
    shown = torch.cat(sensor_log(store, held_out, run.schema).by_sensor(), -1)
    readouts, known = [each.readout for each in run.readouts.values()], run.support()
    found = fit_support(Unstable(run.model), readouts, log, watched, shown)  # type: ignore[arg-type]
    torch.testing.assert_close(found.states.usual, known.states.usual)
    torch.testing.assert_close(found.scores[:, 0], known.scores[:, 0])
    assert found.scores[:, -1].isinf().all(), "strange beyond all numbers, but no reason to refuse what is asked of the next step"
    assert found.p_value(float(found.scores[:, 0].median()), 1) == pytest.approx(0.5, abs=0.01)


def test_how_wrong_effects_are_is_found_from_residuals() -> None:
    generator = torch.Generator().manual_seed(0)
    effects = torch.randn(400, 1, 1, generator=generator).expand(-1, 20, -1) * torch.tensor([1.0, 1.0])
    share = torch.randn(400, 1, 1, generator=generator).expand(-1, 20, 2) * torch.tensor([0.3, 0.0])
    residuals = share * effects + 0.1 * torch.randn(400, 1, 1, generator=generator)
    found = gain_errors(effects, residuals)
    assert float(found[0]) == pytest.approx(0.35, abs=0.1)
    assert float(found[1]) < 0.1
    residuals[:, ::2] = torch.nan
    assert float(gain_errors(effects, residuals)[0]) == pytest.approx(float(found[0]), abs=0.01)
