"""Tacit: world models for machines that must not guess."""

from tacit.run import Run, load
from tacit.planning import Decision, Goal, Task, Verdict
from tacit.signals import Role, Schema, SchemaError, Signal

__all__ = ["Decision", "Goal", "Role", "Run", "Schema", "SchemaError", "Signal", "Task", "Verdict", "load"]
