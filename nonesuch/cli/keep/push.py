"""`nonesuch push`: an output folder into object storage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nonesuch.cli.once import check_lasting


def add_commands(app: typer.Typer) -> None:
    """Put this module's command on the command line."""
    app.command()(push)


def push(
    catalog: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder.")],
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="Destination, for example s3://bucket/folder, or file:///folder."),
    ],
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Copy the image files too, not only the catalog.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Copy an output folder to an fsspec URL. What is already there stays. Every command then accepts the URL as DIR."""
    import json
    from dataclasses import asdict

    from nonesuch.catalogs.storage.mirror import push as send
    from nonesuch.cli.progress_bars import counting

    check_lasting(url)
    with counting("sending") as progress:
        done = send(catalog, url, images=images, told=progress)
    if done.naming:
        typer.echo(
            f"note: {len(done.naming)} copied files contain paths of this machine, such as the model's folder: "
            f"{', '.join(done.naming[:3])}. Readers of the URL see them; `nonesuch export` leaves them out.",
            err=True,
        )
    if as_json:
        print(json.dumps(asdict(done)))
    else:
        print(
            f"{done.url}: {done.uploaded} files sent ({done.bytes:,} bytes), {done.parts} parts in the catalog"
        )
