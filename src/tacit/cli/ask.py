"""`tacit ask`: what would have happened under other actions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from tacit.cli.terminal import Terminal

if TYPE_CHECKING:
    from tacit.evaluation.what_if_answer import Answer, Kpi, Moment, Outcome
    from tacit.signals import Schema

HORIZON = "5min"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Ask a run what other actions would have brought at a moment of the logs, and rank them by an indicator.

    Outside its changes an intervention does what was logged; controllers do not answer to it. What the logs cannot answer is shown, and
    not ranked.

    $ tacit ask runs/tanks --from data/tanks:3@40min --do 'pump_1=3.2 for 5min' 'pump_2+=0.2 over 1min' --target level_1=12.4
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    start: Annotated[str, tyro.conf.arg(name="from", metavar="STORE:EPISODE@T")]
    """The moment: a store, an episode of it counted from 0, and a step, or a time such as 40min, since it began."""
    do: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CHANGE")]
    """Interventions, such as 'pump_1=3.2 from 2min for 10min; pump_2-=0.1 over 30s'."""
    horizon: Annotated[str, tyro.conf.arg(metavar="TIME")] = HORIZON
    """How far to look."""
    minimise: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: no ranking)")] = None
    """Rank by the mean of a sensor or an action over the horizon, the smallest first."""
    maximise: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: no ranking)")] = None
    """The same, the largest first."""
    target: Annotated[str | None, tyro.conf.arg(metavar="NAME=VALUE", help_behavior_hint="(default: no ranking)")] = None
    """Rank by the mean distance of a sensor from a value, the smallest first."""
    hindsight: tyro.conf.FlagCreatePairsOff[bool] = False
    """Let what was measured after the moment count: what would have been otherwise, with the same disturbances. Without it the answer is a
    forecast, from what was known at the moment."""
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Write a page with plots here."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Write all numbers here, as JSON."""


def run(options: Ask, terminal: Terminal) -> int:
    import json

    from tacit.atomic import atomic_write
    from tacit.data import EpisodeStore
    from tacit.evaluation.what_if import ask, situation
    from tacit.planning.interventions import parse_duration, parse_intervention
    from tacit.run import load

    for path in (options.html, options.out):
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{path.parent} is not a folder; make it first, or write {path.name} elsewhere")
    if not options.do:
        raise ValueError("--do needs at least one intervention, such as --do 'pump_1=3.2 for 5min'")
    kpi = kpi_of(options)
    trained = load(options.run)
    folder, moment = moment_of(options.start, trained.schema)
    interventions = [parse_intervention(text, trained.schema) for text in options.do]
    steps = round(parse_duration(options.horizon) / trained.schema.period)
    if steps < 1:
        raise ValueError(f"--horizon {options.horizon} is shorter than half a control period of {trained.schema.period:g} s")
    support, store = trained.support(), EpisodeStore(folder)
    trained.schema.require_same(store.schema, f"the store {store.path}")
    now = situation(store, trained.schema, moment, steps)
    answer = ask(trained, support, now, interventions, kpi=kpi, hindsight=options.hindsight)
    if now.logged < steps:
        terminal.warn(
            f"the episode ends {now.logged * answer.period:g} s after the moment; the last action that was logged stands for what follows"
        )
    terminal.show(table(answer))
    for line in remarks(answer):
        terminal.say(line)
    if options.out is not None:
        about = {"command": terminal.command, "run": str(options.run), "store": str(folder), "episode": moment.episode, "step": moment.step}
        atomic_write(options.out, json.dumps({**about, **answer.to_json()}, indent=2, allow_nan=False) + "\n")
        terminal.say(f"numbers: {options.out}")
    if options.html is not None:
        from tacit.evaluation.what_if_page import render_what_if

        render_what_if(options.html, answer, run=options.run.name, moment=f"{folder.name}, episode {moment.episode}, step {moment.step}")
        terminal.say(f"page: {options.html}")
    return 0


def kpi_of(options: Ask) -> Kpi | None:
    """What is ranked by.

    Raises:
        ValueError: There are two, or a target without a value.
    """
    from tacit.evaluation.what_if_answer import Kpi, Wish

    given = [(wish, text) for wish in Wish if (text := getattr(options, str(wish))) is not None]
    if len(given) > 1:
        raise ValueError(f"rank by one indicator, not by --{' and --'.join(str(wish) for wish, _ in given)}")
    if not given:
        return None
    wish, text = given[0]
    if wish is not Wish.NEAR:
        return Kpi(channel=text, wish=wish)
    channel, _, value = text.partition("=")
    try:
        return Kpi(channel=channel.strip(), wish=wish, target=float(value))
    except ValueError:
        raise ValueError(f"--target {text!r} should be a signal and a value, such as level_1=12.4") from None


def moment_of(text: str, schema: Schema) -> tuple[Path, Moment]:
    """Read STORE:EPISODE@T.

    Raises:
        ValueError: It is none.
    """
    from tacit.evaluation.what_if_answer import Moment
    from tacit.planning.interventions import parse_duration

    store, _, place = text.rpartition(":")
    episode, _, time = place.partition("@")
    if not (store and episode.isdecimal() and time):
        raise ValueError(f"--from {text!r} should be STORE:EPISODE@T, such as data/tanks:3@480 or data/tanks:3@40min")
    step = int(time) if time.isdecimal() else round(parse_duration(time) / schema.period)
    return Path(store), Moment(episode=int(episode), step=step)


def table(answer: Answer) -> Table:
    """Best first, then what is not ranked."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    kpi = answer.kpi
    for name in ("", "intervention"):
        shown.add_column(name)
    ends = [n for n, name in enumerate(answer.names) if kpi is None or name == kpi.channel]
    for name in ([] if kpi is None else [kpi.name, "against as logged"]) + [f"{answer.names[n]} at the end" for n in ends]:
        shown.add_column(name, justify="right")
    for outcome in in_order(answer):
        place = "not ranked" if outcome.is_refused else "" if outcome.rank is None else f"{outcome.rank}"
        values = []
        if outcome.kpi is not None and outcome.against is not None:
            values = [_value(outcome.kpi), "–" if outcome is answer.outcomes[0] else _value(outcome.against, "+")]
        last = [f"{outcome.median[-1, n]:.4g} ({outcome.low[-1, n]:.4g} to {outcome.high[-1, n]:.4g})" for n in ends]
        shown.add_row(place, outcome.text, *values, *last)
    return shown


def in_order(answer: Answer) -> tuple[Outcome, ...]:
    """Outcomes as they are shown: by rank where there is one, and what is not ranked at the end."""
    return tuple(sorted(answer.outcomes, key=lambda o: (o.is_refused, o.rank or 0)))


def remarks(answer: Answer) -> list[str]:
    """What must be read with the table."""
    said = ["in hindsight: as logged is what was measured, and other actions meet the same disturbances"] if answer.hindsight else []
    said += [f"not ranked: {o.text!r} leaves what the logs can answer: {'; '.join(o.reasons)}" for o in answer.outcomes if o.is_refused]
    if answer.kpi is None:
        return said
    ranking = answer.ranking
    if ranking:
        best = ranking[0]
        tied = f"; a tie with {', '.join(repr(text) for text in best.ties)}" if best.ties else ""
        said.append(f"best by the {answer.kpi.name}: {best.text!r}{tied}")
    else:
        said.append("nothing is ranked: all of it leaves what the logs can answer")
    if answer.really is not None:
        said.append(f"what really happened: {answer.kpi.name} {answer.really:.4g}")
    return said


def _value(value: object, sign: str = "") -> str:
    from tacit.evaluation.what_if_answer import Value

    assert isinstance(value, Value)
    return f"{value.value:{sign}.4g} ({value.low:{sign}.4g} to {value.high:{sign}.4g})"
