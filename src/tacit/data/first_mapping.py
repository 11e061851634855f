"""A first mapping for a source, for a person to correct: what the names and rates of its channels suggest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from statistics import median

from tacit.data.streams import UNREADABLE, Channel, Description
from tacit.signals import Role, Signal

SIDE = 64  # pixels of a camera in the store
COMMAND = re.compile(
    r"(?:^|[^a-z])(?:actions?|act|cmd|command(?:ed)?|controls?|ctrl|setpoint|sp|op|mv|throttle|steer(?:ing)?|angle|brake|valve|torque|move|"
    r"heater|pump|cmd_vel|u)\d*(?:[^a-z\d]|$)"
)
MUCH = 1.5  # times faster or slower than the control clock that call for more than the newest sample


def roles_known(channels: Sequence[Channel]) -> bool:
    """Does the format itself say what each channel is, and is there an action and something to see?"""
    hints = {channel.hint for channel in channels if is_usable(channel)}
    return None not in hints and {Role.ACTION, Role.OBSERVATION} <= hints


def draft(source: str, format: str, found: Description) -> str:  # noqa: A002 (the word of the mapping file)
    """The text of a mapping file.

    Args:
        source: What messages call the source.
        format: Name of its format.
        found: What the format found in it.

    Returns:
        TOML that `LogMapping.from_text` reads, with a comment where something was guessed.
    """
    period, why = control_period(found.channels)
    lines = [
        f"# Drafted from {one_line(source)}: read every line, above all the roles and the units.",
        f"format = {text(format)}",
        f"period = {period:.6g}  # seconds of the control clock: {why}",
        "",
    ]
    if found.options:
        lines += ["[options]", *(f"{key} = {value}" for key, given in found.options.items() if (value := toml(given)) is not None), ""]
    lines += ["[episodes]", "min_steps = 10", "max_steps = 1000", ""]
    names = signal_names([channel.name for channel in found.channels])
    for channel in found.channels:
        table = entry(channel, names[channel.name], period)
        lines += [*(table if is_usable(channel) else ["# " + line.removeprefix("# ") for line in table]), ""]
    return "\n".join(lines)


def is_usable(channel: Channel) -> bool:
    """False for text, and for what the format lists but cannot read."""
    return channel.dtype != "str" and not channel.note.startswith(UNREADABLE)


def entry(channel: Channel, name: str, period: float) -> list[str]:
    """The table of one signal."""
    role, guessed = role_of(channel)
    lines = [f"# {one_line(channel.note)}"] if channel.note else []
    lines += [f"[signals.{text(name)}]", f"source = {text(channel.name)}"]
    lines.append(f'role = "{role}"' + ("  # guessed from the name" if guessed else ""))
    if channel.signal is not None:
        return [*lines, *as_it_was(channel.signal)]
    if channel.camera and len(channel.shape) == 3:
        height, width = channel.shape[:2]
        lines.append(f"size = [{SIDE}, {SIDE}]  # from {height} x {width}")
    elif channel.unit is not None:
        lines.append(f"unit = {text(channel.unit)}")
    else:
        lines.append('unit = "1"  # not known')
    if channel.rate:
        lines.append(f"rate = {channel.rate:.6g}")
        if not channel.camera and role != Role.ACTION and channel.rate * period > MUCH:
            lines.append('align = "mean"  # several samples per moment')
    return lines


def as_it_was(signal: Signal) -> list[str]:
    """The entries that make the same signal again."""
    if signal.is_image:
        return []
    given = {"unit": signal.unit, "dtype": signal.dtype, "low": signal.low, "high": signal.high, "max_norm": signal.max_norm}
    given["rate"] = signal.rate
    return [f"{key} = {value}" for key, value in ((key, toml(value)) for key, value in given.items()) if value is not None]


def role_of(channel: Channel) -> tuple[str, bool]:
    """The role of a channel, and whether it is a guess."""
    if channel.hint is not None:
        return channel.hint, False
    if channel.camera:
        return str(Role.OBSERVATION), False
    return str(Role.ACTION if COMMAND.search(channel.name.lower()) else Role.OBSERVATION), True


def control_period(channels: Sequence[Channel]) -> tuple[float, str]:
    """A control period in seconds that suits the rates of the channels, and why: the cameras decide, then the commands, then the rest."""
    channels = [channel for channel in channels if is_usable(channel)]
    cameras = [c.rate for c in channels if c.camera and c.rate]
    commands = [c.rate for c in channels if not c.camera and c.rate and role_of(c)[0] == Role.ACTION]
    rest = [c.rate for c in channels if not c.camera and c.rate and role_of(c)[0] == Role.OBSERVATION]
    for rates, why in ((cameras, "the rate of the camera"), (commands, "the rate of the commands"), (rest, "the rate of the sensors")):
        if rates:
            return 1 / median(rates), why
    return 0.1, "nothing in the source tells it"


def signal_names(channels: Sequence[str]) -> Mapping[str, str]:
    """A name for the store per channel: letters, digits, `_`, `.` and `-`, each once."""
    names: dict[str, str] = {}
    for channel in channels:
        name = re.sub(r"[^\w.-]+|[^\x00-\x7f]+", "_", channel).strip("_.") or "signal"
        number = 2
        while name in names.values():
            name = f"{name}_{number}"
            number += 1
        names[channel] = name
    return names


def text(value: str) -> str:
    """A TOML string."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml(value: object) -> str | None:
    """A TOML value of an option, or None for one that is not set."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(part for item in value if (part := toml(item)) is not None) + "]"
    return text(value) if isinstance(value, str) else repr(value)


def one_line(value: str) -> str:
    """Text that stays inside a comment."""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())
