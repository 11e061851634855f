"""Tacit: world models for machines that must not guess.

A public name is imported when it is first used (PEP 562): `tacit --help` need not wait for torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tacit.data.recording.recorder import Recorder
    from tacit.planning import Decision, Goal, Task, Verdict
    from tacit.run import Run, load
    from tacit.signals import Role, Schema, SchemaError, Signal
else:

    def __getattr__(name: str) -> object:
        if name in ("Run", "load"):
            from tacit import run as room
        elif name == "Recorder":
            from tacit.data.recording import recorder as room
        elif name in ("Decision", "Goal", "Task", "Verdict"):
            from tacit import planning as room
        elif name in ("Role", "Schema", "SchemaError", "Signal"):
            from tacit import signals as room
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(room, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["Decision", "Goal", "Recorder", "Role", "Run", "Schema", "SchemaError", "Signal", "Task", "Verdict", "load"]
