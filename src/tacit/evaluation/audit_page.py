"""One self-contained page about a store of logs, to be read before any training.

    render_audit(Path("audit.html"), audit(store), title="Tank farm", date=date.today())

The numbers come from `tacit.data.audit`; the page looks like the report of a trained model, whose style it takes.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from tacit.data.audit import Answer, Audit, Severity
from tacit.data.auditing.feedback import LAW, PARTLY
from tacit.evaluation import audit_figures
from tacit.evaluation.page import Tile, grouped, percent, significant, write_page

THEMES = {
    "excitation": "Movement",
    "feedback": "Feedback",
    "effects": "Effect",
    "predictability": "Forecast",
    "clock": "Clock",
    "sensors": "Sensor",
    "likeness": "Split",
    "amount": "Amount",
}
BADGES = {Severity.FINE: "✓ fine", Severity.CAREFUL: "! careful", Severity.STOP: "✗ stop"}
MOST_ROWS = 40  # of a table


def render_audit(path: Path, audit: Audit, *, title: str, date: datetime.date) -> None:
    """Write the audit as one HTML file that opens without a network, runs no script and prints on A4.

    Args:
        path: File to write; it is replaced in one step. Its folder must exist.
        audit: What was found.
        title: What the logs are called.
        date: Of the audit.

    Raises:
        OSError: The file cannot be written.
    """
    words = {
        "audit": audit,
        "title": title,
        "date": date,
        "tiles": audit_tiles(audit),
        "figures": audit_figures,
        "themes": THEMES,
        "badges": BADGES,
        "heading": {Answer.READY: "Ready", Answer.CARE: "Usable with care", Answer.NOT_ENOUGH: "Not enough"}[audit.verdict.answer],
        "most": MOST_ROWS,
        "part": PARTLY,
        "law": LAW,
    }
    write_page(path, "audit.html.j2", words)


def audit_tiles(audit: Audit) -> tuple[Tile, ...]:
    """The six numbers a reader looks for first, always in the same places."""
    actions = audit.excitation.actions
    moving = sum(not a.is_still for a in actions)
    answered = len(audit.effects.dead_times())
    return (
        Tile(
            label="Actions that move", value=f"{moving} of {len(actions)}", note=f"persistent excitation of order {audit.excitation.order}"
        ),
        Tile(label="Actions that a sensor answers", value=f"{answered} of {len(actions)}", note=_dead_times(audit)),
        _feedback_tile(audit),
        _gain_tile(audit),
        Tile(
            label="Time between moments",
            value=f"{significant(audit.clock.median)} s",
            note=f"{grouped(audit.clock.gaps)} gaps in {grouped(audit.clock.steps)} steps",
        ),
        Tile(
            label="Moments looked at",
            value=grouped(audit.sample.moments),
            note=f"of {grouped(audit.sample.of_moments)} in {grouped(audit.sample.of_episodes)} episodes",
        ),
    )


def _dead_times(audit: Audit) -> str:
    times = sorted(set(audit.effects.dead_times().values()))
    if not times:
        return "no effect seen"
    return "first answers after a dead time of " + (f"{times[0]} to {times[-1]} steps" if len(times) > 1 else f"{times[0]} steps")


def _feedback_tile(audit: Audit) -> Tile:
    """The action that follows most from the observations speaks for all of them."""
    label = "Feedback in the actions"
    if not audit.feedback:
        return Tile(label=label)
    most = max(audit.feedback, key=lambda f: f.explained)
    return Tile(
        label=label, value=percent(most.explained), note=f"of what is new in {most.action}; dither {percent(most.dither)} of its spread"
    )


def _gain_tile(audit: Audit) -> Tile:
    label = "Forecast error less with actions"
    if not audit.predictability.forecasts:
        return Tile(label=label)
    one = audit.predictability.forecasts[0]
    return Tile(
        label=label,
        value=percent(one.gain),
        note=f"{100 * one.low:.1f} to {100 * one.high:.1f}\u202f% (95\u202f% bootstrap), one step ahead",
    )
