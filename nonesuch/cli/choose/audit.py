"""`nonesuch audit`: how often an encoder sees attributes in each value of a facet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nonesuch.cli.choose.query_sheet import CatalogFolder, Where


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(audit)


def audit(
    catalog: CatalogFolder,
    by: Annotated[str, typer.Option(metavar="FACET", help="The facet whose values are compared.")],
    attributes: Annotated[
        str, typer.Option(metavar="SETS", help='Sets of words: "woman,man;young person,old person".')
    ],
    where: Where = None,
    sure: Annotated[
        float,
        typer.Option(min=0, max=1, help="Probability from which an attribute counts; below it: unsure."),
    ] = 0.6,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as an HTML page.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count zero-shot attributes for each value of a facet. With intervals, from the stored embeddings."""
    import json

    from nonesuch.choosing.auditing import CAVEATS, audit_catalog, audit_page
    from nonesuch.cli.printing import print_table
    from nonesuch.foundation.files import atomic_write

    found = audit_catalog(catalog, by, attributes, where=where, sure=sure)
    if page is not None:
        atomic_write(page, audit_page(found).encode())
    if as_json:
        print(json.dumps(found.told(), ensure_ascii=False))
        return
    for title in dict.fromkeys(row.attributes for row in found.rows):
        rows = [row.flat() for row in found.rows if row.attributes == title]
        print_table([{k: v for k, v in row.items() if k != "attributes"} for row in rows], title=title)
    for line in CAVEATS:
        typer.echo(f"note: {line}", err=True)
