"""`nonesuch query` and `nonesuch sheet`: choosing from a catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nonesuch.catalogs.query import Catalog

CatalogFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="An output folder, or the catalog folder in it.")
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw", help="CSV: no apostrophe in front of text that a spreadsheet would run; for programs."
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        metavar="SQL",
        help="Condition, for example \"artist = 'Edvard Munch' and alignment > 0.3\"; may be repeated, all must hold.",
    ),
]
Order = Annotated[
    list[str] | None,
    typer.Option(
        "--order",
        "-o",
        metavar="COLUMN",
        help="Order by a column or SQL expression; may be repeated. Scores run from high to low.",
    ),
]
Ascending = Annotated[
    bool | None, typer.Option("--ascending/--descending", help="Override the direction of --order.")
]
TopPer = Annotated[
    tuple[str, int] | None,
    typer.Option("--top-per", metavar="COLUMN N", help="The first N rows for each value of a column."),
]
Sample = Annotated[
    float | None,
    typer.Option(metavar="N", help="A reproducible random sample: N rows, or a fraction below 1."),
]
Diverse = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="The best N by --order that are also unlike one another."),
]

SHOWN = 20  # rows of a table when no number is given


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(query)
    app.command()(sheet)


def query(
    catalog: CatalogFolder,
    where: Where = None,
    order: Order = None,
    ascending: Ascending = None,
    top: Annotated[int | None, typer.Option("--top", "-n", metavar="N", help="At most N rows.")] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="COLUMN",
            help="One row for each value: count, failures, mean scores; may be repeated.",
        ),
    ] = None,
    top_per: TopPer = None,
    sample: Sample = None,
    like: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The images most like a text, by their embeddings.")
    ] = None,
    similar: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The images most like an image file, by their embeddings."),
    ] = None,
    near_duplicate_of: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Images that look nearly the same as a recipe's, by pHash."),
    ] = None,
    diverse: Diverse = None,
    columns: Annotated[str | None, typer.Option(metavar="A,B,…", help="Columns to show, or 'all'.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
    raw: Raw = False,
    paths: Annotated[
        bool, typer.Option("--paths", help="Only the paths of the image files, one per line.")
    ] = False,
    sheet_file: Annotated[
        Path | None,
        typer.Option(
            "--sheet", metavar="FILE", help="Write a contact sheet (.png, .html) of the rows instead."
        ),
    ] = None,
) -> None:
    """Filter, order, group and show a catalog's rows. Conditions are SQL expressions."""
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.storage.mirror import local_file
    from nonesuch.cli.printing import print_csv, print_json_lines, print_table

    opened = Catalog(catalog)
    whole = as_json or as_csv or paths or sheet_file is not None
    limit = top if top is not None or whole or top_per or group or sample else SHOWN
    chosen = None if group else _columns(opened, columns, whole=as_json or as_csv)
    if sheet_file is not None or paths:
        chosen = None
    rows: list[dict[str, Any]]
    if like is not None or similar is not None or near_duplicate_of is not None or diverse is not None:
        if group or top_per or sample is not None or ascending is not None:
            raise typer.BadParameter(
                "likeness works with --where, --order (for --diverse), --top and --columns only"
            )
        rows = _by_likeness(opened, like, similar, near_duplicate_of, diverse, where, order, top, chosen)
    else:
        rows = opened.query(
            where,
            order=order,
            descending=None if ascending is None else not ascending,
            top=limit,
            group=group,
            top_per=top_per,
            columns=chosen,
            sample=sample,
            as_arrow=True,
        ).to_pylist()
    if sheet_file is not None:
        _write_sheet(opened, rows, sheet_file)
    elif paths:
        for row in rows:
            if row["file"]:
                print(local_file(opened.folder, row["file"]))
    elif as_json:
        print_json_lines(rows)
    elif as_csv:
        print_csv(rows, raw=raw)
    else:
        print_table(rows)
        if limit == SHOWN and top is None and len(rows) == SHOWN and not (like or similar or diverse):
            typer.echo(f"the first {SHOWN} of {opened.count(where):,}; --top N shows more", err=True)


def sheet(
    catalog: CatalogFolder,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it: .png, or .html.")],
    where: Where = None,
    order: Order = None,
    top: Annotated[int, typer.Option("--top", "-n", min=1, metavar="N", help="At most N images.")] = 60,
    top_per: TopPer = None,
    grid: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--grid", metavar="ROWS COLUMNS", help="An X/Y grid of two facets, the best image in each cell."
        ),
    ] = None,
) -> None:
    """Write a contact sheet, or an X/Y grid of two facets. The result is PNG pages, or one self-contained HTML file."""
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.expressions import each_condition

    opened = Catalog(catalog)
    rows = opened.query(
        each_condition(where, "file is not null"),
        order=order,
        top=None if grid or top_per else top,
        top_per=top_per,
        as_arrow=True,
    ).to_pylist()
    _write_sheet(opened, rows, out, grid=grid)


def _by_likeness(
    catalog: Catalog,
    like: str | None,
    similar: Path | None,
    near_duplicate_of: str | None,
    diverse: int | None,
    where: list[str] | None,
    order: list[str] | None,
    top: int | None,
    columns: list[str] | None,
) -> list[dict[str, Any]]:
    from nonesuch.catalogs.search import embeddings
    from nonesuch.choosing.like import image_vector, text_vector

    if sum(way is not None for way in (like, similar, near_duplicate_of, diverse)) > 1:
        raise typer.BadParameter("choose one of --like, --similar, --near-duplicate-of and --diverse")
    if order and diverse is None:
        raise typer.BadParameter("likeness decides the order; --order works with --diverse only")
    if near_duplicate_of is not None:
        rows = embeddings.near_duplicates_of(catalog, near_duplicate_of, top=top or SHOWN, where=where)
        return [{name: row[name] for name in [*(columns or row), "distance"]} for row in rows]
    if diverse is not None:
        if top is not None:
            raise typer.BadParameter("--diverse says how many images; leave --top out")
        ranking = ", ".join(order) if order else "aesthetic"
        found = embeddings.diverse(
            catalog, diverse, order=ranking, where=where, columns=columns, as_arrow=True
        )
    else:
        vector = text_vector(catalog, like) if like is not None else image_vector(catalog, similar or Path())
        found = embeddings.most_alike(
            catalog, vector, top=top or SHOWN, where=where, columns=columns, as_arrow=True
        )
    listed: list[dict[str, Any]] = found.to_pylist()
    return listed


def _columns(catalog: Catalog, asked: str | None, *, whole: bool) -> list[str] | None:
    if asked == "all" or (whole and asked is None):
        return None
    if asked is not None:
        return [name.strip() for name in asked.split(",") if name.strip()]
    scores = [
        name for name in catalog.scores if name in ("aesthetic", "alignment") or name.startswith("prob_")
    ]
    return [*catalog.facets, "seed", *scores, "status", "file"]


def _write_sheet(
    catalog: Catalog, rows: list[dict[str, Any]], out: Path, *, grid: tuple[str, str] | None = None
) -> None:
    from nonesuch.catalogs.sheets.contact_sheet import write_sheet

    written = write_sheet(rows, catalog.folder, out, facets=catalog.facets, grid=grid)
    for path in written:
        print(path)
