"""`nonesuch export`, `import` and `rescore`: exports for other tools, imports of their images, new scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nonesuch.cli.keep.export import export
from nonesuch.cli.progress_bars import counting
from nonesuch.cli.prove.signing_options import SourceType, WatermarkKey, chosen_watermark_key

if TYPE_CHECKING:
    from nonesuch.flows.reporting.progress import Tally
    from nonesuch.importing.folders import Imported

_SHOWN = 20  # marked images that an import's summary names
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(export)
    app.command("import")(import_)
    app.command()(rescore)


def import_(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR…", help="Folders (searched with all their subfolders), image files or globs."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The output folder.")],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Their name in the catalog's `sweep` column.")
    ] = "imported",
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files, bit for bit, instead of referring to them.")
    ] = False,
    source_type: SourceType = None,
    scorers: Annotated[
        str, typer.Option(metavar="A,B,…", help="Scorers to run, or 'none'.")
    ] = "alignment,aesthetic,technical,safety",
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Encoder to embed with; default: the catalog's, else embedded."),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Download the encoder's weights if needed.")
    ] = False,
    search: Annotated[
        Literal["full", "aligned", "none"],
        typer.Option(
            metavar="KIND",
            help="For watermarks: full (any scale and angle), aligned (the image's own scale and angle; faster) or none.",
        ),
    ] = "full",
    watermark_key: WatermarkKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file.")] = False,
) -> None:
    """Import other programs' images into a catalog. Reads their metadata, scores and hashes them, never changes them.

    Reads AUTOMATIC1111, ComfyUI, InvokeAI, SwarmUI, NovelAI, Fooocus, Midjourney and C2PA. Run it again
    to continue after a stop, or to add new files: files that the catalog has are skipped.
    """
    import json
    from dataclasses import asdict

    from nonesuch.importing.folders import ImportOptions, import_folders

    options = ImportOptions(
        name=name,
        copy=copy,
        source_type=source_type,
        scorers=_listed(scorers),
        encoder=encoder,
        online=online,
        search=search,
        watermark_key=chosen_watermark_key(watermark_key),
    )
    counts = {"imported": 0, "known": 0, "broken": 0}
    marked: list[Imported] = []  # at most _SHOWN
    bearing = 0
    with counting("importing") as progress:
        for done in import_folders(paths, out, options, progress=lambda count: progress(count, None)):
            counts[done.status] += 1
            if done.watermark is not None:
                bearing += 1
                marked += [done] if len(marked) < _SHOWN else []
            if as_json:
                print(json.dumps(asdict(done)), flush=True)
            elif done.error:
                typer.echo(f"nonesuch: {_printable(done.path)}: {done.error}", err=True)
    found = sum(counts.values())
    if not found:
        typer.echo("nonesuch: no image files there", err=True)
        raise typer.Exit(2)
    if not as_json:
        print(out)
        typer.echo(", ".join(f"{count:,} {status}" for status, count in counts.items()), err=True)
        _tell_marks(bearing, marked)
    if counts["broken"]:
        raise typer.Exit(1 if counts["broken"] == found else 3)


def _tell_marks(count: int, marked: Sequence[Imported]) -> None:
    """Report how many of the imported images have a watermark, and which."""
    if not count:
        return
    typer.echo(f"{count:,} {'image has' if count == 1 else 'images have'} a watermark:", err=True)
    for done in marked:
        if done.watermark_of is None:
            leads = ""
        elif done.watermark_shows_it:
            leads = f", a copy of the catalog's image {done.watermark_of[:16]}"
        else:
            leads = f", copied from the catalog's image {done.watermark_of[:16]}, which shows another image"
        typer.echo(f"  {_printable(done.path)}: {done.watermark}{leads}", err=True)
    if count > len(marked):
        typer.echo(f"  and {count - len(marked):,} more; --json prints them all", err=True)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def rescore(
    catalog: Annotated[Path, typer.Argument(metavar="DIR", help="An output folder.")],
    scorers: Annotated[str, typer.Option(metavar="A,B,…", help="Scorers to run, by name.")],
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Another encoder: embeddings and all scores are computed again."),
    ] = None,
    aesthetic: Annotated[
        str | None, typer.Option(metavar="NAME", help="An aesthetic head, by name or file.")
    ] = None,
    safety_threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="X", help="Flag images whose safety score is below X."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also rescore images that already have exactly these scores.")
    ] = False,
    online: Annotated[bool, typer.Option("--online", help="Download weights if needed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run scorers over a catalog's images without drawing anything. Run it again to continue after a stop.

    The catalog changes in one step at the end. Images whose file is missing or changed are reported.
    """
    import json
    from dataclasses import asdict

    from nonesuch.flows.reporting.progress import watched_by
    from nonesuch.running.flow_runs import rescore_catalog

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
    """A nonesuch.flows.reporting.progress.Watcher that moves a bar."""

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
