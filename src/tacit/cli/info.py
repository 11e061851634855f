"""`tacit info`: what an episode store holds, and whether it is intact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from tacit.cli.terminal import Stopped, Terminal, clock, counting, stoppable

if TYPE_CHECKING:
    from tacit.data import Damage
    from tacit.signals import Schema, Signal

MOST_LINES = 20  # of damage


@dataclass(frozen=True, kw_only=True)
class Info:
    """Show the signals, the size and the damage of an episode store; the exit code is 1 when there is damage.

    $ tacit info data/rooms --verify
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Folder of the store."""
    verify: bool = False
    """Compare every checksum with the bytes on disk."""


def run(options: Info, terminal: Terminal) -> int:
    from tacit.data import EpisodeStore

    store = EpisodeStore(options.data)
    lengths = store.lengths[store.healthy()]
    terminal.show(signals(store.schema))
    if len(lengths):
        terminal.say(
            f"{len(store):,} episodes of {lengths.min():,} to {lengths.max():,} actions, {int(lengths.sum()) + len(lengths):,} frames, "
            f"{clock(store.seconds)} of logs, {store.nbytes / 1e6:,.1f} MB"
        )
    else:
        terminal.say(f"{len(store):,} episodes, none of them readable" if len(store) else "no episodes yet")
    told = {name: f"from {value['from']}" if isinstance(value, dict) and "from" in value else value for name, value in store.source.items()}
    source = ", ".join(f"{name} {value}" for name, value in told.items()) or "an unnamed source"
    terminal.say(f"control period {store.schema.period:g} s; from {source}")
    damage = store.damage
    if options.verify:
        with stoppable(lambda: Stopped("nothing was changed", terminal.command)), terminal.phases() as phases:
            damage = store.verify(counting(phases.phase("verify"), "episodes"))
    if damage:
        say_damage(damage, terminal)
    else:
        terminal.say("no damage: every checksum is right" if options.verify else "no damage seen; --verify compares every checksum")
    return 1 if damage else 0


def signals(schema: Schema) -> Table:
    """One row per signal."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("signal", "role", "shape", "dtype", "unit", "range"):
        table.add_column(name)
    for signal in schema.signals:
        shape = " × ".join(map(str, signal.shape)) or "scalar"
        table.add_row(signal.name, str(signal.role), shape, signal.dtype, "–" if signal.unit == "1" else signal.unit, limits(signal))
    return table


def limits(signal: Signal) -> str:
    """Range and largest norm as a person writes them."""
    parts = []
    if signal.low is not None or signal.high is not None:
        low, high = ("…" if bound is None else f"{bound:g}" for bound in (signal.low, signal.high))
        parts.append(f"{low} to {high}")
    if signal.max_norm is not None:
        parts.append(f"norm ≤ {signal.max_norm:g}")
    return ", ".join(parts) or "–"


def say_damage(damage: tuple[Damage, ...], terminal: Terminal) -> None:
    """Name what is damaged; a long list is cut."""
    episodes = sum(d.episode is not None for d in damage)
    terminal.warn(f"{episodes:,} damaged episode{'s' if episodes != 1 else ''}; all others are good, and training leaves these out")
    for found in damage[:MOST_LINES]:
        terminal.warn(f"{'episode ' + str(found.episode) if found.episode is not None else 'no episode'}, {found.shard}: {found.reason}")
    if len(damage) > MOST_LINES:
        terminal.warn(f"and {len(damage) - MOST_LINES:,} more")
