"""The group of verbs, loaded on use. Only this module turns errors into exit statuses."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import NoReturn

import rich_click as click
from click.exceptions import Exit

from harness.cli import streams
from harness.version import __version__

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
# Of paths that a user named: too long, a loop of links, not a folder, a folder, not allowed.
_UNUSABLE = (
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
)
_LONGEST_PATH = 200  # characters of a path in a message
END_SECONDS = 10.0  # for threads and exit handlers of plugins to finish
OK, INTERNAL, USAGE, NOT_OK, REGRESSION, NOTHING_COMPARABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

VERBS = {
    "run": "train and measure recurrent networks; the product of the axes is the plan",
    "reproduce": "run published set-ups, and say whether the published results come out",
    "plan": "show or check a plan's file, or print its JSON schema for editors",
    "status": "show the progress of the sweeps into a store, from any terminal",
    "list": "list backends, tasks, cells, suites, ... with what is missing and the fix",
    "check": "prove that a backend computes the same function as the reference",
    "report": "show the records of a store as tables, charts, a page or flat data",
    "profile": "measure and report a cell: what it computes, keeps, learns; speed and proof",
    "compare": "compare stores, runs or engines: a verdict per trial, and an exit status for CI",
    "export": "write a store as the files of TensorBoard or MLflow",
    "store": "check, describe, merge and export stores",
    "show": "show one trial in full: figures, curves, samples, environment, log",
    "sample": "draw text from a trained network",
    "probe": "measure what a trained network keeps and computes",
    "units": "show what the hidden units of a trained network respond to",
    "doctor": "measure this machine's limits and noise floor, and say what makes it noisy",
    "env": "print the environment record of this machine, for bug reports",
    "new": "write a small plugin package: a backend, a task, a cell, a probe or an exporter",
    "completion": "print the completion script of a shell",
}
# Verbs in a folder of their own; the others are in ``verbs``.
_FOLDERS = {"sample": "trained", "probe": "trained", "units": "trained", "profile": "suites"}


class LazyGroup(click.RichGroup):
    """A group that imports a verb only when it runs, so that ``harness --help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which a newcomer uses them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a stand-in with the verb's name and summary."""
        return click.RichCommand(name=cmd_name, help=VERBS[cmd_name]) if cmd_name in VERBS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the real verb. The error for an unknown one lists the nearest names."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            near = difflib.get_close_matches(args[0], VERBS, n=2, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else f" Verbs: {', '.join(VERBS)}."
            raise click.UsageError(f"no such verb {args[0]!r}.{hint}", ctx)
        name, stand_in, rest = super().resolve_command(ctx, args)
        if stand_in is None:
            return name, None, rest
        return name, command_of(str(stand_in.name)), rest


def command_of(verb: str) -> click.Command:
    """Return the command of a verb. It is imported now."""
    name = f"{_FOLDERS[verb]}.{verb}" if verb in _FOLDERS else verb
    command: click.Command = importlib.import_module(f"harness.cli.verbs.{name}").command
    return command


def _blocked(values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        if not value.startswith("no:") or value == "no:":
            raise click.BadParameter(
                f"{value!r}: write no:NAME to leave the plugin NAME out", param_hint="--plugin"
            )
    return tuple(value.removeprefix("no:") for value in values)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
@click.option(
    "--plugin",
    "-p",
    "plugin",
    multiple=True,
    metavar="no:NAME",
    help="Leave a plugin out, unimported.",
)
@click.pass_context
def cli(ctx: click.Context, plugin: tuple[str, ...]) -> None:
    """Train the same recurrent network on every engine: loss, throughput, gradient norm by length.

    With no option at all, `harness run` trains an RNN and an LSTM on English text with NumPy,
    in about a minute.
    """
    ctx.obj = _blocked(plugin)
    if ctx.obj:
        from harness.plugins.discovery import left_out

        ctx.with_resource(left_out(ctx.obj))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. Each status has one meaning.

    0 all well; 1 internal error; 2 bad usage or bad input; 3 some trials did not end ``ok``, or a
    check failed; 4 a regression found by ``compare``, or a published result that does not come out;
    5 nothing comparable; 130 interrupted.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    streams.prepare()
    status = _status(arguments)
    if arguments is None:  # the process ends: threads of a plugin must not keep it alive
        ends = threading.Timer(END_SECONDS, _end, [status])
        ends.daemon = True
        ends.start()
    sys.exit(status)


def _end(status: int) -> NoReturn:
    """End the process while something still runs."""
    names = [
        thread.name
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]
    with contextlib.suppress(OSError, ValueError):
        running = f"threads {', '.join(names)}" if names else "an exit handler"
        sys.stderr.write(f"note: ended after {END_SECONDS:.0f} s while still running: {running}\n")
        sys.stderr.flush()
    os._exit(status)


def _status(arguments: Sequence[str] | None) -> int:
    try:
        answer = cli.main(args=arguments, prog_name="harness", standalone_mode=False)
        sys.stdout.flush()
    except Exit as error:
        return int(error.exit_code)
    except click.ClickException as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except OSError as error:
        return _unwritable(error) if error.errno in _UNWRITABLE else _failure(error)
    except Exception as error:  # noqa: BLE001
        return _failure(error)
    return answer if isinstance(answer, int) else OK


def _unwritable(error: OSError) -> int:
    """Report that the output could not be written, and prevent a second try at exit."""
    sys.stderr.write(
        f"error: cannot write the output: {error.strerror}; "
        "records are in the store: harness report\n"
    )
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return USAGE


def _failure(error: Exception) -> int:
    from harness.contract.errors import HarnessError, UsageError
    from harness.contract.wording import printable, shortened

    if isinstance(error, OSError) and error.errno in _UNUSABLE and error.filename is not None:
        path = shortened(os.fsdecode(error.filename), _LONGEST_PATH)
        error = UsageError(f"cannot use {path}: {error.strerror}; name another path")
    if isinstance(error, HarnessError):
        sys.stderr.write(f"error: {printable(str(error))}\n")
        if os.environ.get("HARNESS_TRACEBACK"):
            traceback.print_exc()
        return USAGE if isinstance(error, UsageError) else INTERNAL
    traceback.print_exc()
    sys.stderr.write(
        "internal error: this is a defect of the harness or of a plugin; "
        "please report the lines above\n"
    )
    return INTERNAL
