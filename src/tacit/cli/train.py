"""`tacit train`: make a run out of an episode store."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tacit.cli.info import say_damage
from tacit.cli.terminal import Phases, Stopped, Terminal, clock, counting, stoppable

if TYPE_CHECKING:
    from tacit.data import EpisodeStore
    from tacit.signals import Schema
    from tacit.training.distributed import Group
    from tacit.training.ensemble import Workers
    from tacit.training.recipes import Recipe

MINUTES = 5.0  # when neither minutes nor steps are given

Scalars = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a world model on an episode store.

    $ tacit train data/rooms --out runs/rooms --size s --minutes 10
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Folder of the store."""
    out: Path
    """Folder of the run."""
    size: Literal["xs", "s", "m", "l"] = "s"
    """Size of the model: the one dial."""
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M", help_behavior_hint="(default: 5 without --steps)")] = None
    """Wall minutes for the model and its heads."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: minutes decide)")] = None
    """Optimiser steps instead of minutes."""
    seed: int = 0
    """Seed of weights, batches and the held-out split."""
    resume: bool = False
    """Go on from the checkpoint in --out."""
    overwrite: bool = False
    """Begin anew although --out holds a run."""
    device: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: an accelerator when there is one)")] = None
    """cpu or cuda."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all physical cores)")] = None
    """Threads per process."""
    tensorboard: bool = False
    """Write the scalars to OUT/tensorboard, too."""
    shapes: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Things are told by their shape, too: for tasks in which it matters which way something is turned. Steps take longer."""
    pushes: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Things are pushed: single steps are learned first, by a deeper predictor, and sensors go straight into the latent."""
    residual: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The predictor is made of residual blocks: it tells better what touch does, and planning takes longer."""
    members: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Models that are trained apart, at the same time where there are cores, and asked together: plans have to convince all of them."""
    bfloat16: Annotated[bool, tyro.conf.arg(help_behavior_hint="(default: bfloat16)")] = True
    """Compute in float32."""


def run(options: Train, terminal: Terminal) -> int:
    import torch

    from tacit.data import EpisodeStore
    from tacit.evaluation.suites import forget
    from tacit.training.distributed import joined
    from tacit.training.ensemble import fit_ensemble, has_checkpoint
    from tacit.training.fit import fit
    from tacit.training.folder import merge_results, read_results
    from tacit.training.recipes import on_device

    recipe_of(options)  # refuses options that do not fit before anything is read
    require_device(options.device)
    require_free(options)

    def state() -> Stopped:
        if not has_checkpoint(options.out):
            return Stopped("no checkpoint was written yet", terminal.command)
        again = terminal.command if options.resume else f"{terminal.command.replace(' --overwrite', '')} --resume"
        return Stopped(f"a checkpoint is in {options.out}", again)

    with joined(options.device) as group:
        terminal = terminal if group.is_first else terminal.silenced()
        workers = workers_of(options, group)
        set_threads(options.threads, max(group.world_size, workers.processes), terminal)
        with terminal.phases() as phases:
            store = EpisodeStore(options.data)
            with stoppable(lambda: Stopped("nothing was changed", terminal.command)):
                verify(store, phases, terminal)
            frames = int(store.lengths[store.healthy()].sum())
            recipe = on_device(recipe_of(options, store.schema), group.device.type, frames)
            require_windows(store, recipe)
            require_images(store, recipe_of(options))
            require_scene(options, recipe)
            with stoppable(state), _scalars(options) as on_scalars:
                if group.is_first:
                    clear(options)
                chosen: dict[str, Any] = {"seed": options.seed, "resume": options.resume, "display": phases}
                if recipe.members > 1:
                    fit_ensemble(store, options.out, recipe, workers=replace(workers, threads=torch.get_num_threads()), **chosen)
                else:
                    fit(store, options.out, recipe, group=group, on_scalars=on_scalars, **chosen)
        if group.is_first:
            forget(options.out)  # what was measured of an older model
            merge_results(options.out, {"phases": phases.seconds, "commands": {"train": terminal.command}})
    if group.is_first:
        train = read_results(options.out)["train"]
        terminal.say(
            f"{options.out}: {train['steps']:,} steps in {clock(train['seconds'])}, {train['frames_per_second']:,.0f} frames per second, "
            f"{train['effective_rank']:.1f} latent dimensions in use"
        )
    return 0


def recipe_of(options: Train, schema: Schema | None = None) -> Recipe:
    """The recipe that the options ask for, for a machine of this schema; None for one with a camera.

    Raises:
        ValueError: Both minutes and steps are given, or the one given is not positive.
    """
    from tacit.training.recipes import for_minutes, for_steps, of_members

    if options.minutes is not None and options.steps is not None:
        raise ValueError("--minutes and --steps are both given; a training ends by one of them")
    if (options.minutes is not None and not options.minutes > 0) or (options.steps is not None and options.steps < 1):
        raise ValueError("--minutes and --steps must be positive")
    kind: dict[str, Any] = {"shapes": options.shapes, "pushes": options.pushes, "residual": options.residual, "schema": schema}
    if options.steps is not None:
        recipe = for_steps(options.size, options.steps, **kind)
    else:
        recipe = for_minutes(options.size, options.minutes or MINUTES, **kind)
    if options.members < 1:
        raise ValueError(f"--members {options.members} must be at least 1")
    if options.members > 1 and options.tensorboard:
        raise ValueError("--tensorboard shows the training of one model: leave it or --members out")
    bfloat16 = options.bfloat16 and recipe.train.bfloat16
    return of_members(replace(recipe, train=replace(recipe.train, bfloat16=bfloat16)), options.members)


def workers_of(options: Train, group: Group) -> Workers:
    """Who trains: a process for each member as far as there are cores, on an accelerator, too; for one model, this one.

    Raises:
        ValueError: `torchrun` has started several processes, and several members are asked for.
    """
    from tacit.evaluation.machine import physical_cores
    from tacit.training.ensemble import Workers

    if options.members > 1 and group.world_size > 1:
        raise ValueError(
            "--members trains models apart, and torchrun one model together: start `tacit train` without torchrun, or leave --members out"
        )
    return Workers(processes=min(options.members, physical_cores()), device=options.device)


def set_threads(asked: int | None, processes: int, terminal: Terminal) -> None:
    """Give torch the threads that were asked for, or this process's share of the physical cores.

    Raises:
        ValueError: No thread was asked for.
    """
    import torch

    from tacit.evaluation.machine import busy_cores, physical_cores

    if asked is not None and asked < 1:
        raise ValueError(f"--threads {asked} must be at least 1")
    cores = physical_cores()
    threads = asked or max(1, cores // processes)
    if threads > 1 and (busy := busy_cores()) > cores - threads + 0.5:
        # Threads that wait for a core hold up all the others: ten times slower was seen.
        terminal.warn(f"other programs keep {busy:.1f} of {cores} cores busy; {threads} threads may be slower than --threads 1")
    torch.set_num_threads(threads)


def require_device(name: str | None) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        ValueError: There is no such device.
    """
    import torch

    if name not in (None, "cpu", "cuda"):
        raise ValueError(f"--device {name} is not a device: cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this torch sees no CUDA device; leave --device out to train on the CPU")


def require_free(options: Train) -> None:
    """Refuse to train over a run, or to go on with none.

    Raises:
        ValueError: The output folder holds a run and no word was said of it, or there is nothing to resume.
    """
    from tacit.training.ensemble import has_checkpoint
    from tacit.training.folder import CONFIG

    has_begun, is_finished = has_checkpoint(options.out), (options.out / CONFIG).is_file()
    if options.resume and options.overwrite:
        raise ValueError("--resume goes on and --overwrite begins anew: give one of them")
    if options.resume and not has_begun:
        raise ValueError(f"{options.out} has no checkpoint to go on from; leave out --resume to begin")
    if (has_begun or is_finished) and not (options.resume or options.overwrite):
        found = "a finished run" if is_finished else "a training that was stopped"
        raise ValueError(f"{options.out} holds {found}; give --resume to go on with it, --overwrite to begin anew, or another --out")


def verify(store: EpisodeStore, phases: Phases, terminal: Terminal) -> None:
    """Compare every checksum, and name the episodes that will be left out."""
    if damage := store.verify(counting(phases.phase("verify"), "episodes")):
        say_damage(damage, terminal)


def require_windows(store: EpisodeStore, recipe: Recipe) -> None:
    """Refuse logs without a single training window.

    Raises:
        ValueError: Every healthy episode is too short.
        StoreError: There is no healthy episode.
    """
    from tacit.data import StoreError

    if not len(lengths := store.lengths[store.healthy()]):
        state = "all of its episodes are damaged" if len(store) else "it has no episode: record or import some first"
        raise StoreError(f"{store.path}: there is nothing to train on, {state}")
    if (longest := int(lengths.max())) < (needed := recipe.train.window - 1):
        raise ValueError(
            f"{store.path}: a training window takes {needed} actions in a row, and the longest episode has {longest}: record longer ones"
        )


def require_images(store: EpisodeStore, recipe: Recipe) -> None:
    """Refuse to tell things by their shape, to look at how they are pushed, or to tell better what touch does, where nothing is seen.

    Raises:
        ValueError: The store has no image.
    """
    flags = {"--shapes": recipe.jepa.shape_weight > 0, "--pushes": recipe.pushes, "--residual": recipe.jepa.predictor.residual}
    asked = next((flag for flag, is_asked in flags.items() if is_asked), None)
    if asked and not any(s.is_image for s in store.schema.observations):
        raise ValueError(f"{store.path}: {asked} is for logs with images, and there are none among the observations")


def require_scene(options: Train, recipe: Recipe) -> None:
    """Refuse what is of machines with a scene where the recipe is that of a process, instead of leaving it out or making something of it.

    Raises:
        ValueError: It is asked for, and the logs are of a process, which is slow.
    """
    lies_still, linear = "nothing is turned or pushed in a process", "the predictor of a process is linear first"
    for flag, is_out_of_place, why in (
        ("--shapes", options.shapes and recipe.by_time, lies_still),
        ("--pushes", options.pushes and recipe.by_time, lies_still),
        ("--residual", options.residual and not recipe.jepa.predictor.residual, linear),
    ):
        if is_out_of_place:
            raise ValueError(f"{options.data}: {flag} is for machines with a scene; {why}. Leave it out")


def clear(options: Train) -> None:
    """With --overwrite, take away what would be mistaken for the new run."""
    from tacit.assurance.monitor import MONITOR
    from tacit.training.ensemble import MEMBERS
    from tacit.training.folder import CONFIG, CORRECTION, READOUT_WEIGHTS, READOUTS, RESULTS
    from tacit.training.metrics import METRICS
    from tacit.training.progress import CHECKPOINT
    from tacit.training.support_file import SUPPORT

    # What not every run has would stay, and be taken for that of the new model: above all a monitor, which knows what is usual of the old.
    of_some = (READOUTS, READOUT_WEIGHTS, CORRECTION, SUPPORT, MONITOR)
    for name in (CONFIG, RESULTS, CHECKPOINT, METRICS, *of_some) if options.overwrite else ():
        (options.out / name).unlink(missing_ok=True)
    if options.overwrite:
        shutil.rmtree(options.out / MEMBERS, ignore_errors=True)


def _scalars(options: Train) -> AbstractContextManager[Scalars | None]:
    """Where scalars go besides metrics.jsonl."""
    return _tensorboard(options.out / "tensorboard") if options.tensorboard else nullcontext()


@contextmanager
def _tensorboard(folder: Path) -> Iterator[Scalars]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("--tensorboard needs the package tensorboard: pip install 'tacit[track]'") from None
    with SummaryWriter(str(folder)) as writer:

        def write(step: int, scalars: Mapping[str, float]) -> None:
            for name, value in scalars.items():
                writer.add_scalar(name, value, step)

        yield write
