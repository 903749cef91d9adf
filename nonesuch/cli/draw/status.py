"""`nonesuch status`: the progress of a sweep that runs in another terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SILENT = 120  # seconds without an update after which a running sweep is reported as silent


def add_commands(app: typer.Typer) -> None:
    """Put this module's command on the command line."""
    app.command()(status)


def status(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show progress of the last sweep in DIR. Whether it is running, ended or stopped, images done, speed and time left."""
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
    print(f"  {ready}{told.failed:,} failed, {told.flagged:,} flagged, {told.already:,} already there")
    print(
        f"  {told.images_per_second:.2f} images/s; started {told.started_at}, last update {told.updated_at}"
    )
    if told.seconds_left is not None and told.state == "running":
        minutes, seconds = divmod(round(told.seconds_left), 60)
        print(f"  about {minutes // 60} h {minutes % 60} min {seconds} s left")
    silent = (datetime.now(UTC) - datetime.fromisoformat(told.updated_at)).total_seconds()
    if told.state == "running" and silent > _SILENT:
        print(f"  no image for {silent / 60:.0f} min: it is loading a model, drawing slowly, or hanging")
    if told.state == "stopped":
        print("  it was stopped; run the same `nonesuch run` again to continue")
