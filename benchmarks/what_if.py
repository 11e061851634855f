"""What the answers to what-if questions are worth: the ranking of ten interventions beside the simulator's, and what is refused.

    python -m benchmarks.what_if [RUN_OF_FOUR_TANK RUN_OF_REACTOR ...] [--seeds 0 1 2] [--questions 200] [--work FOLDER] [--json FILE]

Without runs eight hours of each plant are recorded, and runs of several training seeds are trained on them for three minutes each; what was
made is kept in the work folder.

The operation that a run was trained on goes on for some hours and is branched at 200 moments of them. Inside the logs' support: ten
interventions each, of one or two changes, whose size is that of moves in the training logs. The truth is the plant itself without sensor
noise, from its true hidden state, in several futures of its disturbances that are the same for all interventions.

What counts as agreement: **the intervention that is ranked first is the best one, or one that the simulator does not tell from it.** It
tells two apart where one is better in every future, and by more than what sensor noise hides in a mean over the horizon (two standard
deviations). Beside it stand the pairs that the simulator tells apart and Kendall's tau over all pairs, and the same for rankings by
chance, by a linear ARX model, by an LSTM, and by the plant's true equations, which begin where a Kalman filter of them believes the plant
to be after the same samples: what knowing the equations is worth. Interventions that a run refuses are not in its ranking: their share is
that of false refusals.

The same questions are asked in hindsight, too. What was measured afterwards belongs to the one future that came, so the truth is that
future: the plant goes on with its own disturbances. There two are told apart by sensor noise alone.

Outside the support: actuators beyond what was logged, combinations or movements that never were, and states that the plant never was in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from benchmarks.plants.equations import one_step
from benchmarks.plants.kalman import Estimator
from numpy.typing import NDArray
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.cli import main as tacit
from tacit.data import EpisodeStore
from tacit.evaluation.forecast_skill import LSTM_STEPS, lstm_width
from tacit.evaluation.forecasters import Forecaster, Lstm, ProcessLog, best_arx, process_log
from tacit.evaluation.intervals import wilson
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.what_if import PAST, ask
from tacit.evaluation.what_if_answer import Kpi, Situation, Wish
from tacit.models.ensemble import dynamics_size
from tacit.planning.interventions import Intervention, InterventionError, action_channels, parse_intervention
from tacit.run import Run, load
from tacit.signals import Role
from tacit.training.recipes import sensors_of
from tacit.training.support import Support
from tacit.worlds.plants import plant
from tacit.worlds.plants.simulated import SimulatedPlant
from tacit.worlds.world import Purpose, stream

Floats = NDArray[np.float64]
COUNT = 10  # interventions of a question
FUTURES = 6
HORIZON = {"four_tank": 60, "reactor": 6}  # steps: five minutes, and half a minute of a plant that runs away within one where it is left
RANKED_BY = {"four_tank": ("level_1", "level_2"), "reactor": ("temperature",)}
GAP = 28  # steps between two questions
KINDS = ("level", "combination", "state")
RUN, HINDSIGHT, EQUATIONS = "run", "run, in hindsight", "true equations, the same sensors"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        runs: Folders of runs, each of one plant; made here where there are none.
        data: Folder in which the stores are, when they are not where a run says.
        questions: Of each kind.
        seed: Of the questions.
        lstm_steps: Of training of the LSTM, at most.
        seeds: Of training, where there are no runs.
        minutes: Of training, where there are no runs.
        work: Where logs and runs that are made here are kept.
        json: Where the numbers go.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    data: Path | None = None
    questions: int = 200
    seed: int = 7
    lstm_steps: int = LSTM_STEPS
    seeds: tuple[int, ...] = (0, 1, 2)
    minutes: float = 3.0
    work: Path = Path("benchmarks/work/what_if")
    json: Path = Path(__file__).parent / "results" / "what_if.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Later:
    """A moment of the operation, with the plant there, and what its equations and its samples say of its states and disturbances."""

    plant: SimulatedPlant
    now: Situation
    states: Floats
    disturbances: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What comes of K sequences of actions.

    Attributes:
        futures: The indicator in several futures, lower is better, (K, M).
        really: In the one that came, (K, 1).
    """

    futures: Floats
    really: Floats


def operation(made: SimulatedPlant, run: Run, *, moments: int, steps: int) -> Iterator[Later]:
    """Moments of the hours after those that were logged, with the plant as it was then: the same people, the same drifts."""
    source = run.config.source
    rng = stream(Purpose.RECORDING, int(source["seed"]), 0)  # as the historian's recording began
    samples, operator = made.reset(int(rng.integers(2**63))), made.operator(rng)
    rows, done, estimator = [samples], [], Estimator(made.process)
    estimator.begin(samples)
    branches: dict[int, tuple[SimulatedPlant, Floats, Floats]] = {}
    logged = int(source["steps"]) * (run.config.train_episodes + run.config.held_out_episodes)
    for step in range(logged + moments * GAP + steps):
        if step >= logged and (step - logged) % GAP == 0 and len(branches) < moments:
            branches[step] = made.branch(), estimator.states.copy(), estimator.disturbances.copy()
        done.append(np.asarray(operator.act(samples), np.float32))
        samples = made.apply(done[-1])
        rows.append(samples)
        estimator.advance(done[-1].astype(np.float64), samples)
    for step, (branch, states, disturbances) in branches.items():
        yield Later(plant=branch, now=_situation(run, rows, done, step, steps), states=states, disturbances=disturbances)


def _situation(run: Run, rows: Sequence[Any], done: Sequence[Any], step: int, steps: int) -> Situation:
    first = max(0, step - PAST + 1)
    shown = np.array([[float(row[s.name]) for s in sensors_of(run.schema)] for row in rows[step + 1 : step + 1 + steps]], np.float32)
    return Situation(
        seen={s.name: np.array([row[s.name] for row in rows[first : step + 1]], s.dtype) for s in run.schema.seen},
        applied=np.array(done[first:step], np.float32).reshape(step - first, -1),
        actions=np.array(done[step : step + steps], np.float32),
        logged=steps,
        happened=shown,
    )


def inside(
    run: Run, branch: SimulatedPlant, now: Situation, sizes: Floats, ranges: Floats, shown: dict[str, Floats], rng: np.random.Generator
) -> tuple[Intervention, ...]:
    """Interventions of one or two changes that are no larger than moves in the logs, and with which actuators and, in truth, signals stay
    where the logs were."""
    names, steps, period = [n for n, _ in action_channels(run.schema)], len(now.actions), run.schema.period
    states = [s.name for s in branch.process.states]
    found: list[Intervention] = []
    while len(found) < COUNT:
        drawn: list[Intervention] = []
        actions = []
        while len(drawn) < 2 * COUNT:
            parsed = parse_intervention(_changes(names, sizes, steps, period, rng), run.schema)
            try:
                done = parsed.applied(now.actions, now.applied[-1], run.schema)
            except InterventionError:  # it would leave the actuator's range
                continue
            if ((done >= ranges[0]) & (done <= ranges[1]) | (np.abs(done - now.actions) <= 1e-6)).all():
                drawn.append(parsed)
                actions.append(done)
        paths = branch.futures(np.array(actions, np.float64), [0])[:, 0]
        stays = np.ones(len(drawn), np.bool_)
        for channel, (low, high) in shown.items():
            path = paths[..., states.index(channel)]
            stays &= (path.min(1) >= low) & (path.max(1) <= high)
        if not stays.any():  # what was logged leaves the range already
            stays[:] = True
        found += [parsed for parsed, does in zip(drawn, stays, strict=True) if does]
    return tuple(found[:COUNT])


def _changes(names: Sequence[str], sizes: Floats, steps: int, period: float, rng: np.random.Generator) -> str:
    """One or two changes, in words."""

    def change(name: str, largest: float) -> str:
        begin = int(rng.integers(0, steps // 3))
        length = int(rng.integers(max(2, steps // 6), steps - begin + 1))
        size = rng.choice((-1, 1)) * rng.uniform(0.15, 1.0) * largest
        ramp = f" over {int(rng.integers(1, length + 1)) * period:g}s" if rng.random() < 0.25 else ""
        return f"{name}+={size:.3f} from {begin * period:g}s for {length * period:g}s{ramp}"

    chosen = rng.permutation(len(names))[: rng.integers(1, min(2, len(names)) + 1)]
    return "; ".join(change(names[n], float(sizes[n])) for n in chosen)


def outside(kind: str, run: Run, logged: NDArray[np.float32], ranges: Floats, rng: np.random.Generator, steps: int) -> tuple[str, ...]:
    """Interventions that the logs do not hold; in a state that they do not hold, any."""
    elements, period, width = action_channels(run.schema), run.schema.period, ranges[1] - ranges[0]
    found: list[str] = []
    while len(found) < COUNT:
        if kind == "level":
            n = int(rng.integers(len(elements)))
            name, signal = elements[n]
            low, high = float(logged[:, n].min() - 0.2 * width[n]), float(logged[:, n].max() + 0.2 * width[n])
            least, most = signal.low or 0.0, signal.high or 0.0
            ends = [(least, low)] * (low > least) + [(high, most)] * (high < most)
            a, b = ends[int(rng.integers(len(ends)))]
            found.append(f"{name}={rng.uniform(a, b):.3f} for {int(rng.integers(steps // 3, steps + 1)) * period:g}s")
        elif kind == "combination" and len(elements) > 1:
            levels = rng.uniform(ranges[0], ranges[1])
            if (np.abs((logged - levels) / width).max(1) > 0.15).all():
                found.append("; ".join(f"{name}={level:.3f}" for (name, _), level in zip(elements, levels, strict=True)))
        elif kind == "combination":  # to and fro between the ends of what was logged, faster than ever
            name, low, high, hold = elements[0][0], ranges[0][0], ranges[1][0], max(1, steps // int(rng.integers(12, 20)))
            turns = range(0, steps, hold)
            found.append(
                "; ".join(f"{name}={(high, low)[i % 2]:.3f} from {t * period:g}s for {hold * period:g}s" for i, t in enumerate(turns))
            )
        else:
            n = int(rng.integers(len(elements)))
            found.append(
                f"{elements[n][0]}={rng.uniform(ranges[0][n], ranges[1][n]):.3f} for {int(rng.integers(steps // 3, steps)) * period:g}s"
            )
    return tuple(found)


def strange(made: SimulatedPlant, run: Run, shown: Floats, rng: np.random.Generator, steps: int) -> Situation | None:
    """The plant in a state that it was never in, with the actions of its operating point; None where it came back at once."""
    states = made.process.states
    state = np.array([rng.choice((rng.uniform(0.15, 0.6), rng.uniform(1.25, 1.5))) * s.nominal for s in states])
    if made.name == "reactor":  # gone out, or about to run away
        gone_out = rng.random() < 0.6
        state = np.array([rng.uniform(0.75, 0.98), rng.uniform(300.0, 330.0)] if gone_out else [0.3, rng.uniform(420, 460)])
    samples = made.reset(int(rng.integers(2**31)), state=np.clip(state, [s.low for s in states], [s.high for s in states]))
    action = np.array([made.operating_point[a.name] for a in made.schema.actions], np.float32)
    rows = [samples, *(made.apply(action) for _ in range(3))]
    now = _situation(run, rows, [action] * (len(rows) + steps), len(rows) - 1, steps)
    here = np.array([float(rows[-1][s.name]) for s in sensors_of(run.schema) if s.name not in run.schema.masks])
    width = shown[1] - shown[0]
    away = (here < shown[0] - 0.15 * width) | (here > shown[1] + 0.15 * width)
    return now if away.any() else None


def truth(moment: Later, kpi: Kpi, done: Sequence[NDArray[np.float32]], seed: int) -> Truth:
    """What comes of sequences of actions; seed of the futures."""
    column = [s.name for s in moment.plant.process.states].index(kpi.channel)
    paths = moment.plant.futures(np.array(done, np.float64), [seed + m for m in range(FUTURES)])[..., column]
    came = []
    for actions in done:
        plant, path = moment.plant.branch(), []
        for action in actions:
            plant.apply(action)
            path.append(plant.state[column])
        came.append(path)
    return Truth(futures=kpi.sign * kpi.of(paths), really=kpi.sign * kpi.of(np.array(came))[:, None])


def by_equations(moment: Later, channel: str, done: Sequence[NDArray[np.float32]]) -> Floats:
    """What the true equations say of sequences of actions, from states and disturbances as they probably are, (K, H)."""
    process, actions = moment.plant.process, np.array(done, np.float64)
    states, disturbances = (np.repeat(each[None], len(actions), 0) for each in (moment.states, moment.disturbances))
    column, found = [s.name for s in process.states].index(channel), []
    for step in range(actions.shape[1]):
        states = one_step(process, states, actions[:, step], disturbances)
        found.append(states[:, column])
    return np.stack(found, 1)


def told_apart(values: Floats, floor: float) -> NDArray[np.bool_]:
    """Whether an intervention is better than another in every future and by more than a floor: values (K, M) -> (K, K)."""
    difference = values[:, None] - values[None]
    found: NDArray[np.bool_] = (difference < 0).all(-1) & (difference.mean(-1) < -floor)
    return found


def paths_of(forecaster: Forecaster, run: Run, now: Situation, done: Sequence[NDArray[np.float32]], names: Sequence[str]) -> Floats:
    """What another forecaster says of sequences of actions, (K, H, N)."""
    ordered = [*sensors_of(run.schema), *(s for s in run.schema.having(Role.DISTURBANCE) if s.dtype != "bool")]
    seen = np.stack([np.asarray(now.seen[s.name], np.float32) for s in ordered], 1)
    past, steps = len(seen), len(done[0])
    whole = torch.from_numpy(np.concatenate((seen, np.repeat(seen[-1:], steps, 0))))
    frames = past + steps
    actions = torch.stack([torch.from_numpy(np.concatenate((now.applied, d, d[-1:]))) for d in done])
    log = ProcessLog(
        seen=whole.repeat(len(done), 1),
        there=torch.ones(len(done) * frames, len(names), dtype=torch.bool),
        actions=actions.flatten(0, 1),
        first=torch.arange(len(done)) * frames,
        steps=torch.full((len(done),), frames - 1),
        names=tuple(names),
        units=("1",) * len(names),
    )
    found: Floats = forecaster.forecast(log, torch.arange(len(done)), torch.full((len(done),), past - 1), steps).double().numpy()
    return found


def rate(good: int, count: int) -> dict[str, Any]:
    """A share with its 95 % interval."""
    return {"good": good, "of": count, "rate": good / count, "interval": list(wilson(good, count))} if count else {"good": 0, "of": 0}


def slope(pairs: Floats) -> float:
    """Of predicted over true effects, pairs (R, 2), by least squares through the origin: 1 where both are of a size."""
    return float((pairs[:, 0] * pairs[:, 1]).sum() / (pairs[:, 1] ** 2).sum())


class Tally:
    """How rankings agree with the truth."""

    def __init__(self) -> None:
        self.questions, self.first, self.strictly, self.whole = 0, 0.0, 0, 0
        self.pairs, self.right, self.tau = 0, 0, [0.0][:0]

    def add(self, predicted: Floats, values: Floats, floor: float) -> None:
        """One question: predicted indicators (K,) and true ones (K, M), lower is better."""
        better, mean = told_apart(values, floor), values.mean(1)
        chosen = int(predicted.argmin())
        self.questions += 1
        self.first += not better[:, chosen].any()
        self.strictly += chosen == int(mean.argmin())
        one, other = np.nonzero(better)
        agrees = predicted[one] < predicted[other]
        self.pairs, self.right = self.pairs + len(agrees), self.right + int(agrees.sum())
        self.whole += bool(agrees.all())
        if len(mean) < 2:
            return
        upper = np.triu_indices(len(mean), 1)
        signs = np.sign(predicted[:, None] - predicted[None])[upper] * np.sign(mean[:, None] - mean[None])[upper]
        self.tau.append(float(signs.mean()))

    def numbers(self) -> dict[str, Any]:
        return {
            "first_agrees": rate(round(self.first), self.questions),
            "first_is_the_very_best": rate(self.strictly, self.questions),
            "all_pairs_told_apart_agree": rate(self.whole, self.questions),
            "pairs_told_apart_that_agree": rate(self.right, self.pairs),
            "kendall_tau": float(np.mean(self.tau)) if self.tau else None,
        }


def measure(folder: Path, options: Options, console: Console, beside: dict[str, dict[str, Forecaster]]) -> tuple[str, dict[str, Any]]:
    """All numbers of one run; the other forecasters of a plant are found once, for all runs of it."""
    run, begun = load(folder), time.perf_counter()
    name, support = str(run.config.source["world"]), run.support()
    made = plant(name)
    assert isinstance(made, SimulatedPlant)
    steps, rng = HORIZON[name], np.random.default_rng(options.seed)
    store = EpisodeStore(options.data / Path(run.config.store).name if options.data else Path(run.config.store))
    training = [int(n) for n in run.config.division(store)[0]]
    log = process_log(store, training, run.schema)
    logged = torch.cat([log.actions[f : f + n] for f, n in zip(log.first.tolist(), log.steps.tolist(), strict=True)]).numpy()
    ranges = np.quantile(logged, (0.01, 0.99), axis=0)
    sizes = np.quantile(np.abs(logged[24:] - logged[:-24]), 0.8, axis=0)
    columns = [log.names.index(channel) for channel in RANKED_BY[name]]
    spreads = {log.names[n]: float((log.seen[steps:, n] - log.seen[:-steps, n]).std()) for n in columns}  # of changes within a horizon
    shown = {log.names[n]: log.seen[:, n].double().quantile(torch.tensor((0.001, 0.999)).double()).numpy() for n in columns}
    if name not in beside:
        arx, channels = best_arx(log, steps), log.seen.shape[1]
        width = lstm_width(dynamics_size(run.model), channels + log.actions.shape[1], channels)
        lstm = Lstm(log, width=width, steps=options.lstm_steps, horizon=steps, seed=options.seed)
        beside[name] = {"arx": arx, "lstm": lstm}
        console.print(f"{name}: ARX of order {arx.order}, LSTM best after {lstm.best} of {lstm.steps}")

    later = list(operation(made, run, moments=options.questions, steps=steps))
    wishes = tuple(f"{who}, {wish}" for who in (RUN, EQUATIONS, HINDSIGHT) for wish in Wish)
    tallies = {key: Tally() for key in (RUN, HINDSIGHT, EQUATIONS, "by chance", "arx", "lstm", f"{RUN}, refused ones as well", *wishes)}
    tied = tied_with = 0
    effects: dict[str, list[tuple[float, float]]] = {key: [] for key in (RUN, "arx", "lstm")}
    refused = questions_refused = ties = differences = milliseconds = 0.0
    covered, covered_difference = dict.fromkeys((RUN, HINDSIGHT), 0.0), dict.fromkeys((RUN, HINDSIGHT), 0.0)
    for number, moment in enumerate(later):
        now = moment.now
        channel = RANKED_BY[name][number % len(RANKED_BY[name])]
        wish = (Wish.SMALL, Wish.LARGE, Wish.NEAR)[int(rng.integers(3))]
        here = float(now.seen[channel][-1])
        kpi = Kpi(channel=channel, wish=wish, target=round(here + float(rng.normal()) * spreads[channel], 2))
        interventions = inside(run, moment.plant, now, sizes, ranges, shown, rng)
        clocked = time.perf_counter()
        answer = ask(run, support, now, interventions, kpi=kpi)
        milliseconds += 1000 * (time.perf_counter() - clocked)
        afterwards = ask(run, support, now, interventions, kpi=kpi, hindsight=True)
        done = [outcome.actions for outcome in answer.outcomes]
        true = truth(moment, kpi, done, 100 * number)
        values = true.futures
        noise = next(s.noise for s in made.process.sensors if s.name == channel)
        floor = 2 * noise * (2 / steps) ** 0.5
        others = answer.outcomes[1:]
        kept = [k for k, o in enumerate(others, 1) if not o.is_refused]
        refused += COUNT - len(kept)
        questions_refused += not kept
        predicted, known = (np.array([kpi.sign * o.kpi.value for o in a.outcomes if o.kpi is not None]) for a in (answer, afterwards))
        column = answer.names.index(channel)
        said = {key: kpi.sign * kpi.of(paths_of(each, run, now, done, answer.names)[:, :, column]) for key, each in beside[name].items()}
        equations = kpi.sign * kpi.of(by_equations(moment, channel, done))
        tallies[f"{RUN}, refused ones as well"].add(predicted[1:], values[1:], floor)
        tallies["by chance"].add(rng.permutation(float(COUNT) + np.arange(COUNT)), values[1:], floor)
        for key, each in said.items():
            tallies[key].add(each[1:], values[1:], floor)
        kept_afterwards = [k for k in kept if not afterwards.outcomes[k].is_refused]
        for who, which, said_of, came in (
            (RUN, kept, predicted, values),
            (EQUATIONS, kept, equations, values),
            (HINDSIGHT, kept_afterwards, known, true.really),
        ):
            for key in (who, f"{who}, {wish}") if which else ():
                tallies[key].add(said_of[which], came[which], floor)
        if kept:
            best = next(o for o in answer.ranking if o.text != answer.outcomes[0].text)
            others_tied = [o for o in answer.ranking if o.text in best.ties and o is not answer.outcomes[0]]
            ties += bool(others_tied)
            named = [kept.index(answer.outcomes.index(o)) for o in (best, *others_tied)]
            better = told_apart(values[kept], floor)
            tied += any(not better[:, k].any() for k in named)
            tied_with += len(others_tied)
        for k in kept:
            for who, said_by, came in ((RUN, answer, values), (HINDSIGHT, afterwards, true.really)):
                kpi_of, against = said_by.outcomes[k].kpi, said_by.outcomes[k].against
                assert kpi_of is not None
                assert against is not None
                covered[who] += float(((kpi_of.low <= kpi.sign * came[k]) & (kpi.sign * came[k] <= kpi_of.high)).mean())
                effect = kpi.sign * float((came[k] - came[0]).mean())
                covered_difference[who] += against.low <= effect <= against.high
                if who == RUN and kpi.wish is not Wish.NEAR:
                    effects[RUN].append((against.value, effect))
                    for key, each in said.items():
                        effects[key].append((kpi.sign * float(each[k] - each[0]), effect))
            differences += 1
    numbers: dict[str, Any] = {
        "horizon_steps": steps,
        "inside": {
            **{key: tally.numbers() for key, tally in tallies.items()},
            "interventions_refused": rate(round(refused), options.questions * COUNT),
            "questions_refused": rate(round(questions_refused), options.questions),
            "first_or_a_tie_that_is_said_agrees": rate(tied, tallies[RUN].questions),
            "first_said_to_be_a_tie": ties / max(tallies[RUN].questions, 1),
            "said_ties_of_first": tied_with / max(tallies[RUN].questions, 1),
            "kpi_interval_covers": {who: count / max(differences, 1) for who, count in covered.items()},
            "difference_interval_covers": {who: count / max(differences, 1) for who, count in covered_difference.items()},
            "predicted_effect_per_true_effect": {key: slope(np.array(pairs)) for key, pairs in effects.items()},
            "milliseconds_per_question": milliseconds / options.questions,
        },
        "outside": outside_numbers(made, run, support, [moment.now for moment in later], logged, ranges, log, rng),
        "seconds": round(time.perf_counter() - begun, 1),
        "sizes": sizes.tolist(),
        "ranges": ranges.tolist(),
    }
    return name, numbers


def outside_numbers(
    made: SimulatedPlant,
    run: Run,
    support: Support,
    usual: Sequence[Situation],
    logged: NDArray[np.float32],
    ranges: Floats,
    log: ProcessLog,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Shares of what is refused, of questions that leave the logs' support."""
    shown = [i for i, s in enumerate(sensors_of(run.schema)) if s.name not in run.schema.masks]
    limits = np.array([log.seen[:, shown].amin(0).numpy(), log.seen[:, shown].amax(0).numpy()])
    found: dict[str, Any] = {}
    whole = every = 0
    steps = len(usual[0].actions)
    for place, kind in enumerate(KINDS):
        refused = asked = 0
        for number in range(place, len(usual), len(KINDS)):
            now: Situation | None = usual[number]
            if kind == "state":
                now = None
                while now is None:
                    now = strange(plant_of(made), run, limits, rng, steps)
            assert now is not None
            words = outside(kind, run, logged, ranges, rng, steps)
            answer = ask(run, support, now, words)
            count = sum(o.is_refused for o in answer.outcomes[1:])
            refused, asked, whole, every = refused + count, asked + COUNT, whole + (count == COUNT), every + 1
        found[kind] = rate(refused, asked)
    total = [found[kind] for kind in KINDS]
    found["interventions_refused"] = rate(sum(t["good"] for t in total), sum(t["of"] for t in total))
    found["questions_wholly_refused"] = rate(whole, every)
    return found


def plant_of(made: SimulatedPlant) -> SimulatedPlant:
    """Another plant of the same process."""
    return SimulatedPlant(made.process)


def made(name: str, seed: int, options: Options) -> Path:
    """A run of a plant, made now or before."""
    logs, run = options.work / name, options.work / f"{name}-run-{seed}"
    if not (logs / "store.json").is_file():
        assert tacit(["record", name, "--out", str(logs)]) == 0
    if not (run / "config.json").is_file():
        words = ["--size", "s", "--minutes", f"{options.minutes:g}", "--seed", str(seed)]
        assert tacit(["train", str(logs), "--out", str(run), *words]) == 0
    return run


def main(options: Options) -> None:
    torch.set_num_threads(1)
    console = Console()
    runs = options.runs or tuple(made(name, seed, options) for name in HORIZON for seed in options.seeds)
    found: dict[str, list[dict[str, Any]]] = {}
    beside: dict[str, dict[str, Forecaster]] = {}
    for folder in runs:
        name, numbers = measure(folder, options, console, beside)
        found.setdefault(name, []).append(numbers)
        console.print(name, json.dumps(numbers))
    values = {"machine": cpu_model(), "questions": options.questions, "interventions": COUNT, "futures": FUTURES, "plants": found}
    atomic_write(options.json, json.dumps(values, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
