"""The command `tacit`: one small file per verb.

A verb is a frozen dataclass of options and a function `run(options, terminal) -> exit code`. Verbs import the rooms they need when they
run, so that `tacit --help` answers at once.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro

from tacit.cli import (
    audit,
    bench,
    calibrate,
    check_task,
    demo,
    evaluate,
    export,
    formats,
    import_logs,
    info,
    ledger,
    record,
    report,
    train,
    validate,
    why,
)
from tacit.cli.terminal import Stopped, Terminal

DESCRIPTION = """World models for machines that must not guess.

Record or import logs, train a world model on them, evaluate it against its floors, and read the report. `tacit VERB --help` explains a
verb. Any verb takes --debug, which shows where an error came from."""

Verb = (
    Annotated[demo.Demo, tyro.conf.subcommand("demo", prefix_name=False)]
    | Annotated[record.Record, tyro.conf.subcommand("record", prefix_name=False)]
    | Annotated[import_logs.Import, tyro.conf.subcommand("import", prefix_name=False)]
    | Annotated[formats.Formats, tyro.conf.subcommand("formats", prefix_name=False)]
    | Annotated[audit.Audit, tyro.conf.subcommand("audit", prefix_name=False)]
    | Annotated[export.Export, tyro.conf.subcommand("export", prefix_name=False)]
    | Annotated[info.Info, tyro.conf.subcommand("info", prefix_name=False)]
    | Annotated[train.Train, tyro.conf.subcommand("train", prefix_name=False)]
    | Annotated[evaluate.Evaluate, tyro.conf.subcommand("eval", prefix_name=False)]
    | Annotated[validate.Validate, tyro.conf.subcommand("validate", prefix_name=False)]
    | Annotated[check_task.CheckTask, tyro.conf.subcommand("check-task", prefix_name=False)]
    | Annotated[calibrate.Calibrate, tyro.conf.subcommand("calibrate", prefix_name=False)]
    | Annotated[bench.Bench, tyro.conf.subcommand("bench", prefix_name=False)]
    | Annotated[report.ReportOptions, tyro.conf.subcommand("report", prefix_name=False)]
    | Annotated[ledger.LedgerOptions, tyro.conf.subcommand("ledger", prefix_name=False)]
    | Annotated[why.Why, tyro.conf.subcommand("why", prefix_name=False)]
)
RUN: dict[type, Callable[[Any, Terminal], int]] = {
    demo.Demo: demo.run,
    record.Record: record.run,
    import_logs.Import: import_logs.run,
    formats.Formats: formats.run,
    audit.Audit: audit.run,
    export.Export: export.run,
    info.Info: info.run,
    train.Train: train.run,
    evaluate.Evaluate: evaluate.run,
    validate.Validate: validate.run,
    check_task.CheckTask: check_task.run,
    calibrate.Calibrate: calibrate.run,
    bench.Bench: bench.run,
    report.ReportOptions: report.run,
    ledger.LedgerOptions: ledger.run,
    why.Why: why.run,
}
INTERRUPTED = 130  # what a shell says of a process that Ctrl-C ended
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Words after `tacit`; None for those of this process.

    Returns:
        Exit code: 0 all is well, 1 an error that was explained, 130 stopped by Ctrl-C.

    Raises:
        SystemExit: Help was asked for (code 0), or the words are no command (code 2).
    """
    typed = list(sys.argv[1:] if argv is None else argv)
    words = [word for word in typed if word != "--debug"]
    terminal = Terminal(command=shlex.join(["tacit", *typed]))
    try:
        options = tyro.cli(Verb, args=words or ["--help"], prog="tacit", description=DESCRIPTION, config=(tyro.conf.FlagCreatePairsOff,))
        return RUN[type(options)](options, terminal)
    except Stopped as stopped:
        terminal.err.print(f"stopped: {stopped.kept}. Go on with: {stopped.again}", markup=False, highlight=False)
        return INTERRUPTED
    except KeyboardInterrupt:
        terminal.err.print("stopped: nothing was changed", markup=False, highlight=False)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `tacit info ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if len(words) < len(typed) or not isinstance(error, explained()):
            raise
        terminal.err.print(f"error: {sentence(error)}", markup=False, highlight=False)
        return 1


def explained() -> tuple[type[Exception], ...]:
    """Errors whose message tells a person what is wrong and what to do; any other one is a defect, and shows its traceback."""
    from tacit.assurance.chain import LedgerError
    from tacit.data import StoreError
    from tacit.extras import MissingExtra
    from tacit.training.checkpoint import CheckpointError
    from tacit.training.folder import RunError
    from tacit.training.loop import TrainingStopped
    from tacit.worlds import FrozenCamera, NoGraphics

    # SchemaError, EpisodeError, SourceError, MappingError, TaskError, ManifestError and ReportError are ValueErrors.
    return LedgerError, StoreError, RunError, TrainingStopped, CheckpointError, FrozenCamera, NoGraphics, MissingExtra, ValueError, OSError


def sentence(error: Exception) -> str:
    """What is wrong and what to do, in one line."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in FULL:
        return f"{where}{error.strerror}: what was finished before is kept; make room and run the command again, a training with --resume"
    return f"{where}{error.strerror}"
