"""`nonesuch animate`: the frames of a catalog as an animation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nonesuch.cli.choose.query_sheet import CatalogFolder, Where


def add_commands(app: typer.Typer) -> None:
    """Put this module's command on the command line."""
    app.command()(animate)


def animate(
    catalog: CatalogFolder,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.webp", help="The animation to write.")],
    where: Where = None,
    order: Annotated[
        list[str] | None,
        typer.Option(
            "--order", "-o", metavar="COLUMN", help="Order of the frames; default: the sweep's own."
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=60, help="Frames per second.")] = 8.0,
    bounce: Annotated[
        bool, typer.Option("--bounce", help="Then play the frames in reverse, back to the first.")
    ] = False,
    quality: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, help="Lossy quality, which loses the frames' watermarks; default: lossless."
        ),
    ] = None,
    strip: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also write up to 12 frames side by side.")
    ] = None,
    credentials: Annotated[bool, typer.Option(help="Sign it, with each frame as an ingredient.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write chosen images as a signed, animated WebP. Each frame is an ingredient. Exit code 3: a frame's credential is broken."""
    import json
    from dataclasses import asdict

    from nonesuch.redrawing.animating import animate_catalog

    made = animate_catalog(
        catalog, out, where=where, order=order or (), rate=rate, bounce=bounce, quality=quality, strip=strip,
        credentials=credentials,
    )  # fmt: skip
    if as_json:
        print(json.dumps(asdict(made), ensure_ascii=False))
    else:
        print(out)
        if strip is not None:
            print(strip)
        typer.echo(f"{made.frames} frames, {made.bytes:,} bytes", err=True)
    for line in made.broken:
        typer.echo(f"nonesuch: {line}", err=True)
    if made.broken:
        raise typer.Exit(3)
