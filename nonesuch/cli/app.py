"""The typer application, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from foundation.errors import NonesuchError
from nonesuch.cli import (
    animate,
    audit,
    catalog,
    check,
    compare,
    exchange,
    insight,
    picks,
    provenance,
    remote,
    resweep,
    schedule,
    serve,
    status,
    sweep,
    train,
    upkeep,
)

EXIT_FAILED, EXIT_USAGE, EXIT_PARTLY, EXIT_INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    name="nonesuch",
    help="Prompt sweeps to scored, watermarked, signed images, with a catalog to choose from and verdicts to show.",
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
        typer.Option(
            "--version", help="Print the version and leave.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


for room in (
    sweep,
    schedule,
    status,
    check,
    resweep,
    train,
    upkeep,
    catalog,
    animate,
    insight,
    audit,
    picks,
    compare,
    exchange,
    provenance,
    remote,
    serve,
):
    room.add_commands(app)


def main() -> None:
    """Run the command line; ends the process with 0 ok, 1 failed, 2 usage or bad input, 3 partly failed, 130 interrupted."""
    try:
        app(standalone_mode=True)
    except NonesuchError as error:
        typer.echo(f"nonesuch: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("nonesuch: interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our stdout has left (`nonesuch query … | head`): nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
