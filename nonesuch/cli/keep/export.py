"""`nonesuch export`: chosen images as a folder that other tools load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nonesuch.cli.choose.query_sheet import (
    Ascending,
    CatalogFolder,
    Diverse,
    Order,
    Raw,
    Sample,
    TopPer,
    Where,
)
from nonesuch.cli.progress_bars import counting

if TYPE_CHECKING:
    import pyarrow as pa

    from nonesuch.catalogs.exports.export_job import Checked
    from nonesuch.catalogs.query import Catalog

FORMATS = "hf-imagefolder, hf-parquet, webdataset, croissant, fiftyone, diffusiondb, csv or plain"


def export(
    catalog: CatalogFolder,
    format: Annotated[str, typer.Option("--format", "-f", metavar="NAME", help=f"{FORMATS}.")],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="The folder to write.")],
    where: Where = None,
    order: Order = None,
    ascending: Ascending = None,
    top: Annotated[
        int | None, typer.Option("--top", "-n", min=1, metavar="N", help="At most N images.")
    ] = None,
    top_per: TopPer = None,
    sample: Sample = None,
    like: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The --top images most like a text.")
    ] = None,
    similar: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The --top images most like an image file.")
    ] = None,
    diverse: Diverse = None,
    split_by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="One split for each value of a column.")
    ] = None,
    names: Annotated[
        str,
        typer.Option(metavar="TEMPLATE", help="plain: file names, such as {subject}/{artist}-{seed}.png."),
    ] = "{recipe_id}",
    number: Annotated[
        bool, typer.Option("--number", help="plain: number equal names instead of refusing them.")
    ] = False,
    images_per_file: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most N images per Parquet file or tar shard.")
    ] = 1000,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Include the image embeddings (hf-*, croissant, fiftyone).")
    ] = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="hf-imagefolder: metadata.jsonl instead of metadata.parquet.")
    ] = False,
    raw: Raw = False,
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="Title of the data card; default: DIR's name.")
    ] = "",
    license: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Licence of the images for the data card, such as cc-by-4.0."),
    ] = None,
    model_license: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=NAME",
            help="Licence of a model for the data card, when its model card is not on this machine; may be repeated.",
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier export at PATH.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Export chosen images with their rows and a data card. The result is a folder that other tools load.

    Image files are copied bit for bit, so their credentials stay. The result is read back at the end.
    Run it again to continue after a stop.
    """
    import json
    from dataclasses import asdict

    from nonesuch.catalogs.exports import EXPORTERS
    from nonesuch.catalogs.exports.export_job import ExportRequest
    from nonesuch.catalogs.exports.run import export_catalog
    from nonesuch.catalogs.exports.selection import export_columns, select, selection_of
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.expressions import told_condition
    from nonesuch.choosing.model_licenses import model_licenses

    EXPORTERS.get(format)
    told_licenses = _pairs(model_license or [], "--model-license")
    opened = Catalog(catalog)
    files = format != "csv"
    if like is not None or similar is not None or diverse is not None:
        if top_per or sample is not None or ascending is not None:
            raise typer.BadParameter("likeness works with --where, --order (for --diverse) and --top only")
        columns = export_columns(opened, embeddings=embeddings)
        table = _alike(opened, like, similar, diverse, where, order, top, columns)
        chosen = selection_of(table, opened.folder, split_by=split_by, with_files=files)
    else:
        chosen = select(
            opened,
            where=where,
            order=order,
            descending=None if ascending is None else not ascending,
            top=top,
            top_per=top_per,
            sample=sample,
            split_by=split_by,
            embeddings=embeddings,
            with_files=files,
        )
    asked = {
        "where": told_condition(where) if where else None, "order": order, "ascending": ascending, "top": top,
        "top-per": None if top_per is None else " ".join(map(str, top_per)), "sample": sample, "like": like,
        "similar": None if similar is None else similar.name, "diverse": diverse,
    }  # fmt: skip
    request = ExportRequest(
        format=format,
        title=title,
        license=license,
        model_licenses=model_licenses(chosen.models) | told_licenses,
        split_by=split_by,
        images_per_file=images_per_file,
        names=names,
        number_names=number,
        embeddings=embeddings,
        jsonl=jsonl,
        raw=raw,
        asked={name: value for name, value in asked.items() if value is not None},
    )
    with counting("exporting") as progress:
        done = export_catalog(chosen, out, request, replace=replace, progress=progress)
    for left in done.left_out[:20]:
        typer.echo(f"nonesuch: left out {left.file}: {left.reason}", err=True)
    if len(done.left_out) > 20:
        typer.echo(f"nonesuch: and {len(done.left_out) - 20:,} more, listed in export.json", err=True)
    for loss in done.losses:
        typer.echo(f"nonesuch: {loss}", err=True)
    if done.renamed:
        names = ", ".join(f"{column} is {name}" for column, name in done.renamed.items())
        typer.echo(f"nonesuch: renamed in {format}: {names}", err=True)
    if as_json:
        told = {
            "out": str(out), "format": format, "images": done.images, "bytes": done.bytes,
            "left_out": len(done.left_out), "changed": [str(loss) for loss in done.losses],
            "renamed": dict(done.renamed), "read_back": None if done.checked is None else asdict(done.checked),
        }  # fmt: skip
        print(json.dumps(told, ensure_ascii=False))
    else:
        print(out)
        typer.echo(f"{done.images:,} images, {done.bytes:,} bytes; {_read_back(done.checked)}", err=True)
    if done.left_out:
        raise typer.Exit(3)


def _read_back(checked: Checked | None) -> str:
    if checked is None:
        return "not read back: this format has no check"
    compared = f", {checked.images:,} images byte for byte" if checked.images else ""
    return f"read back with {', '.join(checked.readers)}: {checked.rows:,} rows, {checked.columns:,} columns{compared}"


def _alike(
    catalog: Catalog,
    like: str | None,
    similar: Path | None,
    diverse: int | None,
    where: list[str] | None,
    order: list[str] | None,
    top: int | None,
    columns: list[str],
) -> pa.Table:
    """The rows most like a text or an image, or the best that differ from one another."""
    from nonesuch.catalogs.exports.selection import with_image
    from nonesuch.catalogs.search import embeddings
    from nonesuch.choosing.like import image_vector, text_vector

    if sum(way is not None for way in (like, similar, diverse)) > 1:
        raise typer.BadParameter("choose one of --like, --similar and --diverse")
    condition = with_image(where)
    if order and diverse is None:
        raise typer.BadParameter("likeness decides the order; --order works with --diverse only")
    if diverse is not None:
        if top is not None:
            raise typer.BadParameter("--diverse says how many images; leave --top out")
        ranking = ", ".join(order) if order else "aesthetic"
        return embeddings.diverse(
            catalog, diverse, order=ranking, where=condition, columns=columns, as_arrow=True
        )
    if top is None:
        raise typer.BadParameter("--like and --similar need --top: how many images")
    vector = text_vector(catalog, like) if like is not None else image_vector(catalog, similar or Path())
    found = embeddings.most_alike(catalog, vector, top=top, where=condition, columns=columns, as_arrow=True)
    return found.select(columns)


def _pairs(given: list[str], option: str) -> dict[str, str]:
    found = {}
    for text in given:
        name, sign, value = text.rpartition("=")
        if not sign or not name or not value:
            raise typer.BadParameter(f"{text!r} is not MODEL=NAME", param_hint=option)
        found[name] = value
    return found
