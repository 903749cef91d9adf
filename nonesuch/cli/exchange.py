"""`nonesuch export`, `import` and `rescore`: catalogs in other tools' forms, other tools' pictures, scores anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nonesuch.cli.catalog import Ascending, CatalogFolder, Order, TopPer, Where

if TYPE_CHECKING:
    from flows.progress import Tally

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]

FORMATS = "hf-imagefolder, hf-parquet, webdataset, croissant, fiftyone, diffusiondb, csv or plain"


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(export)
    app.command("import")(import_)
    app.command()(rescore)


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
    sample: Annotated[
        float | None,
        typer.Option(metavar="N", help="A reproducible random sample: N rows, or a fraction below 1."),
    ] = None,
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
        int, typer.Option(min=1, metavar="N", help="Most images in one Parquet file or tar shard.")
    ] = 1000,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="With the image embeddings (hf-*, croissant, fiftyone).")
    ] = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="hf-imagefolder: metadata.jsonl instead of metadata.parquet.")
    ] = False,
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="Title of the data card; default: DIR's name.")
    ] = "",
    license: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Licence of the images for the data card, such as cc-by-4.0."),
    ] = None,
    model_license: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=NAME", help="Licence of a model for the data card; may be repeated."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of an earlier export at PATH.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write chosen images with their rows and a data card as a folder that other tools load.

    Image files are copied bit for bit, so their credentials stay. Run it again to go on after a stop.
    """
    import json

    from catalogs.exports import EXPORTERS
    from catalogs.exports.job import ExportRequest
    from catalogs.exports.run import export_catalog
    from catalogs.exports.selection import select
    from catalogs.query import Catalog

    EXPORTERS.get(format)
    asked = {
        "where": where, "order": order, "ascending": ascending, "top": top,
        "top-per": None if top_per is None else " ".join(map(str, top_per)), "sample": sample,
    }  # fmt: skip
    request = ExportRequest(
        format=format,
        title=title,
        license=license,
        model_licenses=_pairs(model_license or [], "--model-license"),
        split_by=split_by,
        images_per_file=images_per_file,
        names=names,
        number_names=number,
        embeddings=embeddings,
        jsonl=jsonl,
        asked={name: value for name, value in asked.items() if value is not None},
    )
    chosen = select(
        Catalog(catalog),
        where=where,
        order=order,
        descending=None if ascending is None else not ascending,
        top=top,
        top_per=top_per,
        sample=sample,
        split_by=split_by,
        embeddings=embeddings,
        with_files=format != "csv",
    )
    with counting("exporting") as progress:
        done = export_catalog(chosen, out, request, replace=replace, progress=progress)
    for left in done.left_out[:20]:
        typer.echo(f"nonesuch: left out {left.file}: {left.reason}", err=True)
    if len(done.left_out) > 20:
        typer.echo(f"nonesuch: and {len(done.left_out) - 20:,} more, listed in export.json", err=True)
    if as_json:
        told = {
            "out": str(out), "format": format, "images": done.images, "bytes": done.bytes,
            "left_out": len(done.left_out),
        }  # fmt: skip
        print(json.dumps(told, ensure_ascii=False))
    else:
        print(out)
        typer.echo(f"{done.images:,} images, {done.bytes:,} bytes", err=True)
    if done.left_out:
        raise typer.Exit(3)


def import_(
    paths: Annotated[
        list[str], typer.Argument(metavar="DIR…", help="Folders (searched deeply), image files or globs.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The output folder.")],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What the catalog's `sweep` column calls them.")
    ] = "imported",
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files, bit for bit, instead of referring to them.")
    ] = False,
    source_type: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What they are, an IPTC name such as trainedAlgorithmicMedia."),
    ] = None,
    scorers: Annotated[
        str, typer.Option(metavar="A,B,…", help="Scorers to run, or 'none'.")
    ] = "alignment,aesthetic,technical,safety",
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Encoder to embed with; default: the catalog's, else embedded."),
    ] = None,
    online: Annotated[bool, typer.Option("--online", help="Fetch the encoder's weights if need be.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file.")] = False,
) -> None:
    """Enter other programs' pictures into a catalog: their metadata read, scored, hashed, never altered.

    Reads AUTOMATIC1111, ComfyUI, InvokeAI, SwarmUI, NovelAI, Fooocus, Midjourney and C2PA. Run it again to go
    on after a stop, or when there are new files: what the catalog has is left alone.
    """
    import json
    from dataclasses import asdict

    from nonesuch.importing import ImportOptions, import_folders

    options = ImportOptions(
        name=name,
        copy=copy,
        source_type=source_type,
        scorers=_listed(scorers),
        encoder=encoder,
        online=online,
    )
    counts = {"imported": 0, "known": 0, "broken": 0}
    with counting("importing") as progress:
        for done in import_folders(paths, out, options, progress=lambda count: progress(count, None)):
            counts[done.status] += 1
            if as_json:
                print(json.dumps(asdict(done)), flush=True)
            elif done.error:
                shown = "".join(letter if letter.isprintable() else "?" for letter in done.path)
                typer.echo(f"nonesuch: {shown}: {done.error}", err=True)
    found = sum(counts.values())
    if not found:
        typer.echo("nonesuch: no image files there", err=True)
        raise typer.Exit(2)
    if not as_json:
        print(out)
        typer.echo(", ".join(f"{count:,} {status}" for status, count in counts.items()), err=True)
    if counts["broken"]:
        raise typer.Exit(1 if counts["broken"] == found else 3)


def rescore(
    catalog: Annotated[Path, typer.Argument(metavar="DIR", help="An output folder.")],
    scorers: Annotated[str, typer.Option(metavar="A,B,…", help="Scorers to run, by name.")],
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Another encoder: embeddings and every scorer's scores are made anew."
        ),
    ] = None,
    aesthetic: Annotated[
        str | None, typer.Option(metavar="NAME", help="An aesthetic head, by name or file.")
    ] = None,
    safety_threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="X", help="Images whose safety is below are flagged."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also images that have these very scores.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Fetch weights if need be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run scorers over a catalog's images without drawing anything. Run it again to go on after a stop.

    The catalog changes in one step at the end. Images whose file is missing or changed are reported.
    """
    import json
    from dataclasses import asdict

    from flows.progress import watched_by
    from nonesuch.rescoring import rescore_catalog

    with counting("scoring") as progress, watched_by(_Watcher(progress)):
        done = rescore_catalog(
            catalog,
            _listed(scorers),
            encoder=encoder,
            aesthetic=aesthetic,
            safety_threshold=safety_threshold,
            again=again,
            online=online,
        )
    for file, reason in done.unreadable:
        typer.echo(f"nonesuch: {file}: {reason}", err=True)
    if as_json:
        print(json.dumps(asdict(done), ensure_ascii=False))
    else:
        print(catalog)
        typer.echo(
            f"{done.images:,} images scored by {', '.join(done.scorers)}, {done.already:,} had these scores, "
            f"{done.unread:,} could not be read",
            err=True,
        )
    if done.unread:
        raise typer.Exit(3 if done.images or done.already else 1)


class _Watcher:
    """A flows.progress.Watcher that moves a bar."""

    def __init__(self, progress: Callable[[int, int | None], None]) -> None:
        self._progress = progress

    def planned(self, total: int, already: int) -> None:
        """Set the bar's length."""
        self._progress(0, total)

    def advanced(self, tally: Tally) -> None:
        """Move the bar."""
        self._progress(tally.done + tally.failed, tally.total)


def _listed(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    return () if names == ["none"] else tuple(names)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr; yields the function that is told how many are done, and of how many when that is known."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def progress(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield progress


def _pairs(given: list[str], option: str) -> dict[str, str]:
    found = {}
    for text in given:
        name, sign, value = text.rpartition("=")
        if not sign or not name or not value:
            raise typer.BadParameter(f"{text!r} is not MODEL=NAME", param_hint=option)
        found[name] = value
    return found
