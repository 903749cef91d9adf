"""`nonesuch compare`: models and services side by side, from one catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nonesuch.cli.choose.query_sheet import CatalogFolder, Where
from nonesuch.cli.choose.stats_dedupe_compact import AsJson

if TYPE_CHECKING:
    from nonesuch.catalogs.picks.side_by_side import Comparison


def add_commands(app: typer.Typer) -> None:
    """Put this module's command on the command line."""
    app.command()(compare)


def compare(
    catalog: CatalogFolder,
    by: Annotated[
        str, typer.Option(metavar="COLUMN", help="Facet or other column whose values are compared.")
    ] = "model",
    where: Where = None,
    score: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Only these scores; may be repeated.")
    ] = None,
    who: Annotated[str | None, typer.Option(metavar="NAME", help="Only this person's comparisons.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write the whole comparison and the grid as one page."),
    ] = None,
    grid: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Write an X/Y grid: one column per model, one row per prompt."),
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, max=500, metavar="N", help="Prompts in the grid.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Compare generators by scores, blind picks, time and cost. Scores are paired by prompt; time and cost are per image.

    Pick blind at /compare?blind=COLUMN of `nonesuch serve --catalog DIR`.
    """
    import json
    from dataclasses import asdict

    from nonesuch.catalogs.picks.log import open_picks
    from nonesuch.catalogs.picks.side_by_side import compare as put_side_by_side
    from nonesuch.catalogs.query import Catalog
    from nonesuch.choosing.comparing import write_grid, write_page

    opened = Catalog(catalog)
    said = [pair for pair in open_picks(opened.folder).pairs() if who is None or pair.who == who]
    found = put_side_by_side(opened, said, by=by, where=where, scores=score)
    written = []
    if html is not None:
        written.append(write_page(opened, found, html, where=where, prompts=prompts))
    if grid is not None:
        written += write_grid(opened, found, grid, where=where, prompts=prompts)
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False, allow_nan=False))
    else:
        _show(found)
    for path in written:
        typer.echo(str(path), err=as_json)


def _show(found: Comparison) -> None:
    from nonesuch.choosing.comparing import contender_row, duel_row
    from nonesuch.cli.printing import print_table

    print_table([contender_row(one) for one in found.contenders])
    if found.duels:
        print_table([duel_row(one) for one in found.duels], title="paired by prompt")
    if not found.comparisons:
        typer.echo(
            "nobody has compared them yet; to compare blind: nonesuch serve --catalog DIR, /compare?blind=model",
            err=True,
        )
    if found.groups > 1:
        typer.echo("some were never compared with one another: their strengths are not comparable", err=True)
    if not found.settled:
        typer.echo(
            "one never lost or never won: its distance to the others is a guess; compare more", err=True
        )
