"""A session: all that decisions follow from, besides what was observed. A controller can be made of it again."""

from __future__ import annotations

import platform
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Union, get_args, get_origin

import cattrs
import numpy as np
import torch

from tacit.assurance.canonical import ArrayDigest, array_of, digest, plain
from tacit.nn import native
from tacit.nn.precision import products_dtype
from tacit.planning.task import Task
from tacit.planning.task_fallback import SETTINGS, Fallback
from tacit.signals import Schema


def build(planning: str | None = None) -> dict[str, str]:
    """What of this build can change a number: versions, the processor's instructions, and the format and maker of its products.

    Args:
        planning: What makes the products of planning, as `tacit.nn.native.name` says it: torch for a model that is not planned with in C.
            None for what this machine makes them with where a model can have it.
    """
    found = {"python": platform.python_version(), "cpu": torch.backends.cpu.get_cpu_capability(), "products": str(products_dtype())}
    found["planning"] = planning or native.name(products_dtype())
    for package in ("tacit", "torch", "numpy", "scipy", "osqp"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """What one process decided with.

    Attributes:
        model: SHA-256 of the run, in hex.
        schema: Signals that the model knows.
        task: What was asked for.
        cost: What the controller's cost is called.
        seed: Of the planner's samples.
        limits: Names of the limits that are checked on predictions, in the order of `Plan.margins`.
        tightening: What is taken off them at each step of the horizon, (H,) by limit; of limits on states.
        threads: That torch computed with.
        build: Versions and the processor.
        machine: Name of the computer.
    """

    model: str
    schema: Schema
    task: Task
    cost: str = "arrival_cost"
    seed: int = 0
    limits: tuple[str, ...] = ()
    tightening: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    threads: int = field(default_factory=torch.get_num_threads)
    build: Mapping[str, str] = field(default_factory=build)
    machine: str = field(default_factory=platform.node)

    @property
    def task_digest(self) -> str:
        """SHA-256 of the task, with the pixels and numbers of its goal, in hex."""
        return digest(self.task)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "schema": self.schema.to_json(),
            "schema_digest": self.schema.digest(),
            "task": plain(self.task),
            "task_digest": self.task_digest,
            "cost": self.cost,
            "seed": self.seed,
            "limits": list(self.limits),
            "tightening": {name: list(taken) for name, taken in self.tightening.items()},
            "threads": self.threads,
            "build": dict(self.build),
            "machine": self.machine,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Session:
        """Read what `to_json` wrote.

        Raises:
            ValueError: This version cannot read it, or reads another task than was written.
        """
        try:
            session = cls(
                model=values["model"],
                schema=Schema.from_json(values["schema"]),
                task=_converter.structure(values["task"], Task),
                cost=values["cost"],
                seed=values["seed"],
                limits=tuple(values["limits"]),
                tightening={name: tuple(taken) for name, taken in values.get("tightening", {}).items()},
                threads=values["threads"],
                build=values["build"],
                machine=values["machine"],
            )
        except (KeyError, TypeError, ValueError, cattrs.BaseValidationError) as error:
            raise ValueError(f"this version of Tacit cannot read the session: {error}") from error
        if session.task_digest != values["task_digest"]:
            raise ValueError("this version of Tacit reads another task than was written: its tasks have other settings now")
        return session


def _array(value: Mapping[str, Any], _: object) -> Any:
    array = array_of(value)
    if isinstance(array, ArrayDigest):
        raise ValueError("only the digest of an array was kept")
    return array


def _is_array(kind: Any) -> bool:
    origin: object = get_origin(kind)
    return origin is np.ndarray


def _is_one_or_many(kind: Any) -> bool:
    """Whether a type is a number or a sequence of numbers."""
    return get_origin(kind) in (Union, types.UnionType) and any(get_origin(part) is Sequence for part in get_args(kind))


def _fallback(value: str | Mapping[str, Any], _: object) -> Any:
    """What `plain` made of a fallback: the kind alone, or its settings with the kind among them."""
    if isinstance(value, str):
        return Fallback(value)
    told = dict(value)
    return _converter.structure(told, SETTINGS[told.pop("kind")])


_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_structure_hook_func(_is_array, _array)
_converter.register_structure_hook_func(lambda kind: Fallback in get_args(kind), _fallback)
_converter.register_structure_hook_func(_is_one_or_many, lambda value, _: tuple(value) if isinstance(value, list) else value)
