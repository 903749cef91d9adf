"""`nonesuch retain`: delete poor images' files, keep their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nonesuch.cli.choose.query_sheet import Where


def add_commands(app: typer.Typer) -> None:
    """Put this module's command on the command line."""
    app.command()(retain)


def retain(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="An output folder.")],
    where: Where = None,
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than", min=0, metavar="DAYS", help="Only images drawn at least this many days ago."
        ),
    ] = None,
    keep_top: Annotated[
        int | None, typer.Option("--keep-top", min=1, metavar="N", help="Always keep the best N.")
    ] = None,
    keep_per: Annotated[
        str | None,
        typer.Option("--keep-per", metavar="COLUMN", help="With --keep-top: keep the best N of each value."),
    ] = None,
    order: Annotated[
        str, typer.Option(metavar="COLUMN", help="Score that says which are best; higher is better.")
    ] = "aesthetic",
    apply: Annotated[
        bool, typer.Option("--apply", help="Delete; without it, only report what would be deleted.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Delete the files of images that meet every given condition. Their rows stay with status `removed`; nothing is redrawn.

    Images that people picked, starred, tagged or noted always stay, and so do images that another was drawn from.
    """
    import json
    from dataclasses import asdict

    from nonesuch.catalogs.storage import retention
    from nonesuch.catalogs.storage.parts import catalog_folder
    from nonesuch.flows.run.output_folder import hold

    folder = catalog_folder(out).parent
    policy = retention.Policy(where, older_than, keep_top, keep_per, order)
    policy.check()
    if apply:
        with hold(folder):
            done = retention.retain(folder, policy, apply=True)
    else:
        done = retention.retain(folder, policy)
    if as_json:
        print(json.dumps(asdict(done)))
        return
    for file in done.first:
        print(folder / file)
    if done.images > len(done.first):
        print(f"… and {done.images - len(done.first):,} more")
    went = "deleted" if done.applied else "would be deleted; --apply does it"
    typer.echo(
        f"{done.images:,} files, {done.bytes:,} bytes, {went}; {done.spared:,} kept because of a pick or another image"
        + (f", {done.outside:,} because they are outside the folder" if done.outside else ""),
        err=True,
    )
