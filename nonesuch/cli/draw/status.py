"""`nonesuch status`: how a sweep in another terminal gets on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SILENT = 120  # seconds without news after which a running sweep is told to be silent


def add_commands(app: typer.Typer) -> None:
    """Put this module's command on the command line."""
    app.command()(status)


def status(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how the last sweep in DIR stands: running, ended or stopped, how far, how fast, how long still."""
    import json
    from dataclasses import asdict
    from datetime import UTC, datetime

    from nonesuch.flows.reporting.status_file import read_status

    told = read_status(out)
    if as_json:
        print(json.dumps(asdict(told)))
        return
    share = 100.0 * (told.done + told.failed) / told.total if told.total else 100.0
    print(f"{told.sweep}: {told.state}, {told.done + told.failed:,} of {told.total:,} ({share:.0f} %)")
    ready = f"{told.fetched:,} fetched and not drawn, " if told.fetched else ""
    print(f"  {ready}{told.failed:,} failed, {told.flagged:,} flagged, {told.already:,} were there before")
    print(f"  {told.images_per_second:.2f} images/s; started {told.started_at}, last news {told.updated_at}")
    if told.seconds_left is not None and told.state == "running":
        minutes, seconds = divmod(round(told.seconds_left), 60)
        print(f"  about {minutes // 60} h {minutes % 60} min {seconds} s left")
    silent = (datetime.now(UTC) - datetime.fromisoformat(told.updated_at)).total_seconds()
    if told.state == "running" and silent > _SILENT:
        print(f"  no image for {silent / 60:.0f} min: it loads a model, draws a slow one, or hangs")
    if told.state == "stopped":
        print("  it was stopped; the same `nonesuch run` goes on where it was")
