"""The typer application, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from nonesuch.cli import serve
from nonesuch.cli.choose import audit, compare, picks, query_sheet, stats_dedupe_compact
from nonesuch.cli.draw import animate, plan_run, recipe_refine_reproduce, schedule, status, train_lora
from nonesuch.cli.keep import check, import_rescore, push, retain
from nonesuch.cli.once import take_once
from nonesuch.cli.prove import verify_mark_recover
from nonesuch.foundation import children
from nonesuch.foundation.errors import NonesuchError

PATIENCE = 20.0  # seconds
EXIT_FAILED, EXIT_USAGE, EXIT_PARTLY, EXIT_INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    name="nonesuch",
    help="Draw, score, watermark and sign prompt sweeps; choose from a catalog; verify where images come from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nonesuch {version('nonesuch')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


for room in (
    plan_run,
    schedule,
    status,
    check,
    recipe_refine_reproduce,
    train_lora,
    retain,
    query_sheet,
    animate,
    stats_dedupe_compact,
    audit,
    picks,
    compare,
    import_rescore,
    verify_mark_recover,
    push,
    serve,
):
    room.add_commands(app)
take_once(app)


def main() -> None:
    """Run the command line; ends the process with 0 ok, 1 failed, 2 usage or bad input, 3 partly failed, 130 interrupted."""
    children.begin()
    # a file's name may hold bytes that are not UTF-8: JSON has an escape for what Python makes of them
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    ending = _Ending()
    # The first registered runs last, when every library has stopped what it started.
    atexit.register(ending.leave)
    ending.code = run()
    patience = threading.Timer(PATIENCE, ending.leave)
    patience.daemon = True
    patience.start()
    sys.exit(ending.code)


class _Ending:
    """How the process ends: by its exit code, without the interpreter's own finalisation.

    Libraries leave daemon threads behind (Prefect's, Arrow's and torch's); one that takes the interpreter's lock
    while the interpreter shuts down aborts the process, and a run that ended with a plain message would exit by SIGABRT.
    Libraries have PATIENCE seconds to finish: Prefect would call a dead server for many minutes.
    """

    def __init__(self) -> None:
        self.code = EXIT_FAILED

    def leave(self) -> None:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:  # a full disk or a closed pipe: the output is incomplete
            self.code = self.code or EXIT_FAILED
        os._exit(self.code)


_NO_SERVER = (
    "If the machine is busy, set PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS higher. If the first start was interrupted, "
    "the database in PREFECT_HOME (by default ~/.prefect/prefect.db) is incomplete: move it away."
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command in this process, by default that of `sys.argv`; returns the exit code that `main` ends with."""
    try:
        app(arguments, prog_name=None if arguments is None else "nonesuch", standalone_mode=True)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else EXIT_FAILED
    except NonesuchError as error:
        typer.echo(f"nonesuch: {error}", err=True)
        return error.exit_code
    except RuntimeError as error:
        if "ephemeral Prefect API server" not in str(error):  # Prefect gives it no class of its own
            raise
        seconds = os.environ.get("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS")
        typer.echo(
            f"nonesuch: the Prefect server of this run did not start within {seconds} s\n{_NO_SERVER}",
            err=True,
        )
        return EXIT_FAILED
    except KeyboardInterrupt:
        typer.echo("nonesuch: interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout has closed it (`nonesuch query … | head`): there is nothing more to print.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return 0
