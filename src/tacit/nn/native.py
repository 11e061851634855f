"""Small networks in C, and rates of actions: what planning asks step by step, in one call each, where this machine has a C compiler.

Without one, and where gradients or an accelerator are asked for, the same numbers up to rounding are made by torch. `native.c` says what
is won. It is compiled once per machine, in about a second, and kept in the user's cache folder; `TACIT_NATIVE=0` does without.
Dimensions: N rows, B batch, K candidates, P proposals, h history, H horizon, A action, D latent = S state + C context.
"""

from __future__ import annotations

import copy
import ctypes
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacit.atomic import atomic_write

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-shared", "-fPIC")
COMPILERS = ("cc", "gcc", "clang")
GROUPS = 8  # of features in an embedding
LEAST_ROWS = 256  # that are worth a thread of their own
WIDEST = 16_384  # numbers of a row: a block of them is kept on the stack
_switched_off = False


class NativeError(OSError):
    """The C source cannot be compiled or loaded on this machine; the message says why."""


class _Layer(ctypes.Structure):
    _fields_ = (
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    )


class _Network(ctypes.Structure):
    _fields_ = (
        ("depth", ctypes.c_int64),
        ("widest", ctypes.c_int64),
        ("stream", ctypes.c_int64),
        ("changes", ctypes.c_int64),
        ("leading", ctypes.c_int64),
        ("reach", ctypes.c_float),
        ("layers", ctypes.POINTER(_Layer)),
    )


@final
@dataclass(frozen=True, kw_only=True)
class Beside:
    """How a linear map and a network with one hidden layer are one: the first of three layers makes the changes that the map says and,
    after them, the leading components of the inputs, which the other two see within their reach.

    Attributes:
        leading: How many components.
        reach: The most that the network sees of one.
    """

    leading: int
    reach: float


@final
class Network:
    """Linear layers with ReLU between them, those of residual blocks, or a linear map with a network beside it, packed for the C code. It
    keeps the weights of the moment it was made.

    Args:
        layers: At least one.
        dtype: Of the products: float32, or bfloat16 where the processor has instructions for it.
        order: Of the outputs; None for that of the last layer.
        residual: Whether the layers are those of a `tacit.nn.blocks.ResidualMLP`, in its order.
        beside: That the layers are a linear map and a network beside it; None for no such thing.
        made_of: What the layers were made of: when one of these changes, the network no longer answers. None for the layers themselves.

    Raises:
        NativeError: There is no compiler, it does not compile the source, a layer is too wide, or nobody would notice when weights change.
    """

    def __init__(
        self,
        layers: Sequence[nn.Linear],
        dtype: torch.dtype,
        order: Tensor | None = None,
        *,
        residual: bool = False,
        beside: Beside | None = None,
        made_of: Sequence[Tensor] | None = None,
    ) -> None:
        if (widest := max(max(layer.in_features, layer.out_features) for layer in layers)) > WIDEST:
            raise NativeError(f"a layer has {widest:,} numbers, and {WIDEST:,} is the most that is done in C")
        weights = list(made_of or [tensor for layer in layers for tensor in (layer.weight, layer.bias)])
        if any(tensor.is_inference() for tensor in weights):
            raise NativeError("weights that were made in inference mode do not count their changes")
        self.library = _library(dtype)
        self._made_of = [(tensor, tensor._version) for tensor in weights]
        lanes, group, panel = self.library.lanes(), self.library.group(), self.library.panel()
        self._kept: list[Tensor] = []
        packed = []
        for layer in layers:
            weight, bias = layer.weight.detach().cpu().to(dtype), layer.bias.detach().cpu().float()
            if order is not None and layer is layers[-1]:
                weight, bias = weight[order], bias[order]
            weight = F.pad(weight, (0, -layer.in_features % group, 0, -layer.out_features % lanes))
            bias = F.pad(bias, (0, -layer.out_features % lanes)).contiguous()
            # (outputs, inputs) -> panels of (groups of inputs, outputs, inputs of the group)
            panels = [rows.reshape(len(rows), -1, group).transpose(0, 1).flatten() for rows in torch.split(weight, panel * lanes)]
            together = torch.cat(panels).contiguous()
            self._kept += [together, bias]
            packed.append(_Layer(weight.shape[1], weight.shape[0], together.data_ptr(), bias.data_ptr()))
        self._layers = (_Layer * len(packed))(*packed)
        widest = max(layer.outputs for layer in packed)
        stream = layers[0].out_features if residual else 0
        shared = (0, 0, 0.0) if beside is None else (layers[0].out_features - beside.leading, beside.leading, beside.reach)
        self._network = _Network(len(packed), widest, stream, *shared, ctypes.cast(self._layers, ctypes.POINTER(_Layer)))
        self.address = ctypes.addressof(self._network)
        self.inputs, self.outputs = layers[0].in_features, layers[-1].out_features

    @property
    def name(self) -> str:
        """What makes its products, as `tacit.nn.native.name` says it."""
        return f"native {self.library.digest[:12]}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        """The same network, of the copied weights: when those change, it is no longer asked."""
        other = copy.copy(self)
        copied = [(copy.deepcopy(tensor, memo), _is_as_it_was(tensor, version)) for tensor, version in self._made_of]
        other._made_of = [(tensor, tensor._version if is_fresh and not tensor.is_inference() else -1) for tensor, is_fresh in copied]
        return other

    def answers(self, *tensors: Tensor) -> bool:
        """Whether it is to be asked about these tensors: nobody has switched it off or wants gradients, no weight has changed since, and
        the tensors are here."""
        if _switched_off or torch.is_grad_enabled() or not all(_is_as_it_was(*each) for each in self._made_of):
            return False
        return all(tensor.is_cpu for tensor in tensors)


def _is_as_it_was(tensor: Tensor, version: int) -> bool:
    return not tensor.is_inference() and tensor._version == version


def packed(make: Callable[[], Network]) -> Network | None:
    """What makes a network in C made it, or None where this machine cannot have one; see `Network`."""
    try:
        return make()
    except NativeError:
        return None


def unroll(network: Network, history: Tensor, actions: Tensor, state: int) -> Tensor:
    """Histories of latents (B, h, D) and standardised actions (B, K, H, A) -> predicted latents (B, K, H, D), float32."""
    batch, candidates, horizon, size = actions.shape
    past, given = _plain_history(history, batch, state), _plain(actions)
    _check(network, past.shape[1] * state + past.shape[-1] - state + size, state)
    found = torch.empty((batch, candidates, horizon, past.shape[-1]))
    sizes, call = (candidates, horizon, past.shape[1], state, past.shape[-1] - state, size), network.library.unroll
    _by_rows(batch * candidates, lambda first, last: call(network.address, first, last, *sizes, *_pointers(past, given, found)))
    return found


def follow(
    network: Network,
    policy: Network,
    history: Tensor,
    goal: Tensor,
    strays: Tensor,
    *,
    state: int,
    log_std: tuple[float, float],
    scales: Tensor,
) -> Tensor:
    """A goal policy, followed in a world model.

    Args:
        network: Of the model, as for `unroll`.
        policy: Latent, goal, their difference and the changes of the history -> mean and logarithm of the spread of standardised actions.
        history: Latents (B, h, D).
        goal: Latents (B, D).
        strays: What the actions stray from the mean by, in units of the policy's spread, (B, P, H, A).
        state: S.
        log_std: Range of the logarithm of the spread.
        scales: Mean and standard deviation of the actions as the policy knows them, and as the model does, (4, A).

    Returns:
        Physical actions (B, P, H, A), float32.
    """
    batch, count, horizon, size = strays.shape
    past = _plain_history(history, batch, state)
    width = past.shape[-1]
    there = _plain(goal, batch, width)
    noise, units = _plain(strays), _plain(scales, 4, size)
    _check(network, past.shape[1] * state + width - state + size, state)
    _check(policy, (2 + past.shape[1]) * width, 2 * size)
    found = torch.empty((batch, count, horizon, size))
    sizes, call = (count, horizon, past.shape[1], state, width - state, size, *log_std), network.library.follow

    def work(first: int, last: int) -> None:
        call(network.address, policy.address, first, last, *sizes, *_pointers(units, past, there, noise, found))

    _by_rows(batch * count, work)
    return found


def steps(network: Network, latents: Tensor, goals: Tensor, *, features: int, scale: float) -> Tensor:
    """Latents (B, N, D) and goals (B, D) -> steps to go (B, N), float32. `tacit.models.heads.TemporalDistance` says how."""
    batch, each, size = latents.shape
    here, there = _plain(latents), _plain(goals, batch, size)
    _check(network, size, 2 * GROUPS * features)
    found = torch.empty((batch, each))
    sizes, call = (each, size, features, scale), network.library.steps
    _by_rows(batch * each, lambda first, last: call(network.address, first, last, *sizes, *_pointers(here, there, found)))
    return found


def in_reach(wanted: Tensor, low: Tensor, high: Tensor, step: Tensor, below: Tensor, above: Tensor) -> Tensor | None:
    """The nearest to wishes inside a range, one after the other, of which none is further from the one before than a step: what
    `tacit.planning.path_limits` does step by step. Whole numbers in float64, so nothing is rounded, and torch says the same.

    Args:
        wanted: (B, K, H, A).
        low: Of the range, (A,).
        high: Likewise.
        step: (A,).
        below: What was applied before lies between this, (B, A),
        above: and this, (B, A).

    Returns:
        (B, K, H, A); None where torch has to do it.
    """
    if _switched_off or torch.is_grad_enabled() or not wanted.is_cpu or (library := _library_or_none(torch.float32)) is None:
        return None
    batch, candidates, horizon, size = wanted.shape
    ends = [part.double().contiguous() for part in (low, high, step)]
    ends += [part.double().expand(batch, size).contiguous() for part in (below, above)]
    asked = wanted.double().contiguous()
    found = torch.empty_like(asked)
    library.in_reach(0, batch * candidates, candidates, horizon, size, *_pointers(*ends, asked, found))
    return found


@contextmanager
def without() -> Iterator[None]:
    """A context in which torch does all, as where there is no compiler."""
    global _switched_off
    before, _switched_off = _switched_off, True
    try:
        yield
    finally:
        _switched_off = before


def is_ready(dtype: torch.dtype) -> bool:
    """Compile and load what makes products of this dtype, where that has not been done; whether this machine has it now."""
    return _library_or_none(dtype) is not None


def name(dtype: torch.dtype) -> str:
    """What makes the products of planning: "torch", or the digest of the compiled code. The same name, the same numbers."""
    try:
        return f"native {_library(dtype).digest[:12]}"
    except NativeError:
        return "torch"


def _plain(tensor: Tensor, *shape: int) -> Tensor:
    """A tensor as C reads it: float32 side by side, and of this shape where one is given; -1 is any number."""
    if shape and (tensor.ndim != len(shape) or any(n != size for n, size in zip(shape, tensor.shape, strict=True) if n >= 0)):
        raise ValueError(f"a tensor has shape {tuple(tensor.shape)} instead of {shape}")
    if not tensor.is_cpu:
        raise ValueError(f"a tensor is on {tensor.device}, and this is for the CPU")
    return tensor.float().contiguous()


def _plain_history(tensor: Tensor, batch: int, state: int) -> Tensor:
    """Histories of latents (B, h, D), of at least one moment, and of at least the states."""
    found = _plain(tensor, batch, -1, -1)
    if found.shape[1] < 1 or found.shape[2] < state:
        raise ValueError(f"a history has shape {tuple(found.shape)}: there must be a moment in it, and states of {state} numbers")
    return found


def _pointers(*tensors: Tensor) -> tuple[int, ...]:
    """Where the numbers are. Work asks for it when it begins, so that it holds the tensors as long as a thread may write to them."""
    return tuple(tensor.data_ptr() for tensor in tensors)


def _check(network: Network, inputs: int, outputs: int) -> None:
    """C trusts these numbers."""
    if (network.inputs, network.outputs) != (inputs, outputs):
        raise ValueError(
            f"the network takes {network.inputs} numbers and gives {network.outputs}, but here it would be asked {inputs} for {outputs}"
        )


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="planning")


if hasattr(os, "register_at_fork"):  # threads stay with the parent: a child that waits for them waits for ever
    os.register_at_fork(after_in_child=_threads.cache_clear)


def _by_rows(rows: int, work: Callable[[int, int], None]) -> None:
    """Do the work of all rows, on as many threads as torch has; which row is done where changes no number."""
    parts = min(torch.get_num_threads(), rows // LEAST_ROWS)
    if parts < 2:
        return work(0, rows)
    bounds, threads = [rows * part // parts for part in range(parts + 1)], _threads(torch.get_num_threads())
    for done in [threads.submit(work, first, last) for first, last in pairwise(bounds)]:
        done.result()


@cache
def _library(dtype: torch.dtype) -> Any:
    """The compiled source, for products of this dtype."""
    if os.environ.get("TACIT_NATIVE", "1") == "0":
        raise NativeError("TACIT_NATIVE=0 switches the C code off")
    if (compiler := next(filter(None, map(shutil.which, COMPILERS)), None)) is None:
        raise NativeError(f"there is no C compiler among {', '.join(COMPILERS)}")
    flags = (*FLAGS, *(("-DBFLOAT16",) if dtype == torch.bfloat16 else ()))
    try:
        digest = hashlib.sha256(repr((SOURCE.read_text(), flags, _defined(compiler))).encode()).hexdigest()
        path = _cache() / f"planning-{digest[:32]}.so"
        if not path.exists():
            _compile([compiler, *flags], path)
        library: Any = ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: there is no home
        raise NativeError(f"{SOURCE} cannot be compiled: {getattr(error, 'stderr', None) or error}") from error
    integer, real, address = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
    library.unroll.argtypes = (address, *(integer,) * 8, *(address,) * 3)
    library.follow.argtypes = (address, address, *(integer,) * 8, real, real, *(address,) * 5)
    library.steps.argtypes = (address, *(integer,) * 5, real, *(address,) * 3)
    library.in_reach.argtypes = (*(integer,) * 5, *(address,) * 7)
    for function in (library.unroll, library.follow, library.steps, library.in_reach):
        function.restype = None
    for function in (library.lanes, library.group, library.panel):
        function.restype = integer
    library.digest = digest
    return library


@cache
def _library_or_none(dtype: torch.dtype) -> Any:
    """The compiled source; None where there is none, which is found out once."""
    try:
        return _library(dtype)
    except NativeError:
        return None


def _defined(compiler: str) -> str:
    """All macros that a compiler defines: its version, and which instructions `-march=native` stands for on this processor."""
    command = [compiler, *FLAGS, "-dM", "-E", "-x", "c", os.devnull]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _compile(command: list[str], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        subprocess.run([*command, "-o", str(made), str(SOURCE), "-lm"], capture_output=True, text=True, check=True, timeout=300)
        atomic_write(path, made.read_bytes())


def _cache() -> Path:
    """A folder that nobody but this user can write to.

    Raises:
        NativeError: There is no such folder, and none can be made.
    """
    if os.name != "posix":
        raise NativeError(f"this is made for POSIX systems, not for {os.name!r}")
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = (given if given.is_absolute() else Path.home() / ".cache") / "tacit"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NativeError(f"others can write to {folder}, so nothing is loaded from it: take their right away, or set XDG_CACHE_HOME")
    return folder
