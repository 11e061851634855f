"""Tacit: world models for machines that must not guess."""

from tacit.signals import Role, Schema, SchemaError, Signal

__all__ = ["Role", "Schema", "SchemaError", "Signal"]
