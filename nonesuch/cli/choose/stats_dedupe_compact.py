"""`nonesuch stats`, `dedupe` and `compact`: statistics and duplicates of a catalog, and merging its parts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import typer

from nonesuch.cli.choose.query_sheet import CatalogFolder, Raw, Where

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(stats)
    app.command()(dedupe)
    app.command()(compact)


def stats(
    catalog: CatalogFolder,
    facet: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Only these facets; may be repeated.")
    ] = None,
    score: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Only these scores; may be repeated.")
    ] = None,
    where: Where = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Also each value within each value of the other facets.")
    ] = False,
    heat_map: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="Write a heat map of the first score over the first two facets."
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
    raw: Raw = False,
) -> None:
    """Show statistics for each facet value. Count, mean with its confidence interval, lift and best image."""
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.stats import facet_stats
    from nonesuch.catalogs.search.stats import heat_map as draw_heat_map
    from nonesuch.cli.printing import print_csv, print_json_lines, print_table
    from nonesuch.foundation.files import atomic_write

    opened = Catalog(catalog)
    # A table over every score would be too long to read; programs get all of them.
    shown = score or (
        None if as_json or as_csv else [s for s in ("aesthetic", "alignment") if s in opened.scores]
    )
    table = facet_stats(
        opened, facets=facet or None, scores=shown or None, where=where, pairs=pairs or heat_map is not None
    )
    if heat_map is not None:
        facets = facet or opened.facets
        if len(facets) < 2:
            raise typer.BadParameter("a heat map needs two facets")
        measured = str(table["score"].iloc[0])
        drawn = draw_heat_map(
            table, score=measured, rows=facets[0], columns=facets[1], title=f"mean {measured}"
        )
        packed = io.BytesIO()
        drawn.save(packed, "PNG")
        atomic_write(heat_map, packed.getvalue())
        print(heat_map)
        return
    rows: list[dict[str, Any]] = table.to_dict("records")
    if as_json:
        print_json_lines(rows)
    elif as_csv:
        print_csv(rows, raw=raw)
    else:
        left_out = {"sd", "lift_low", "lift_high", "best_recipe"} | (
            set() if pairs else {"within", "within_value"}
        )
        print_table([{k: v for k, v in row.items() if k not in left_out} for row in rows])


def dedupe(
    catalog: CatalogFolder,
    kind: Annotated[
        str, typer.Option(help="exact (same file), near (pHash) or semantic (embeddings).")
    ] = "near",
    distance: Annotated[
        int, typer.Option(min=0, max=11, help="Bits of pHash that near duplicates may differ in.")
    ] = 4,
    likeness: Annotated[
        float, typer.Option(min=0, max=1, help="Cosine from which images count as the same.")
    ] = 0.95,
    order: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Score that says which image is best.")
    ] = None,
    where: Where = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
    raw: Raw = False,
) -> None:
    """List groups of duplicates, the best of each group first. Nothing is deleted."""
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.duplicates import Kind, duplicate_groups
    from nonesuch.cli.printing import print_csv, print_json_lines, print_table

    asked: Kind = kind  # type: ignore[assignment]
    table = duplicate_groups(
        Catalog(catalog), asked, distance=distance, likeness=likeness, order=order, where=where
    )
    rows: list[dict[str, Any]] = table.to_dict("records")
    if as_json:
        print_json_lines(rows)
    elif as_csv:
        print_csv(rows, raw=raw)
    else:
        print_table(rows)


def compact(
    catalog: CatalogFolder,
    everything: Annotated[bool, typer.Option("--everything", help="Sort the whole catalog again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Merge a catalog's small part files, sorted and indexed. Reading and publishing continue meanwhile."""
    import json
    from dataclasses import asdict

    from nonesuch.catalogs.storage.compact import compact as merge

    done = merge(catalog, everything=everything)
    if as_json:
        print(json.dumps(asdict(done)))
    else:
        print(
            f"{done.rows:,} rows merged: {done.parts_before} parts became {done.parts_after}, "
            f"{done.bytes_before:,} bytes became {done.bytes_after:,}"
        )
