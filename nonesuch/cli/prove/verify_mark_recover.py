"""`nonesuch verify`, `mark` and `recover`: judging images, marking existing files, finding stripped ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nonesuch.cli.prove import keys_commands
from nonesuch.cli.prove.signing_options import (
    Algorithm,
    Certificate,
    Command,
    Key,
    Plugin,
    Policy,
    SourceType,
    Timestamp,
    WatermarkKey,
    chosen_signer,
    chosen_watermark_key,
)

if TYPE_CHECKING:
    from nonesuch.provenance.verifying.verdict import Verdict


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(verify)
    app.command()(mark)
    app.command()(recover)
    keys_commands.add_commands(app)


def verify(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Image files, folders or globs.")],
    catalog: Annotated[
        Path | None, typer.Option("--catalog", metavar="DIR", help="Look images up in this catalog too.")
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust", metavar="FILE", help="A PEM list of trust anchors in place of the C2PA list."
        ),
    ] = None,
    online: Annotated[bool, typer.Option("--online", help="Download remote manifests.")] = False,
    watermark_key: WatermarkKey = None,
    search: Annotated[
        Literal["full", "aligned"],
        typer.Option(
            metavar="KIND",
            help="For the watermark: full (any scale and angle) or aligned (the image's own; faster).",
        ),
    ] = "full",
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes; default: one per core.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.parquet|DIR",
            help="Write the verdicts here instead of stdout; a folder is written shard by shard and can be continued.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Judge whether images are AI-generated. Reports who says so, and how certain that is."""
    import json

    if out is not None and out.suffix != ".parquet":
        _verify_sharded(paths, out, catalog, trust, online, watermark_key, search, jobs)
        return

    from nonesuch.cli.progress_bars import counted
    from nonesuch.provenance.verifying.verify_options import VerifyOptions
    from nonesuch.provenance.verifying.worker_pool import expand_paths, verify_paths

    lookup = None
    if catalog is not None:
        from nonesuch.marking.recovering import CatalogFolder

        lookup = CatalogFolder(catalog)
    options = VerifyOptions(
        trust=trust,
        catalog=lookup,
        online=online,
        search=search,
        watermark_key=chosen_watermark_key(watermark_key),
    )
    verdicts = counted(verify_paths(paths, options=options, jobs=jobs), lambda: expand_paths(paths))
    if out is not None:
        from nonesuch.provenance.verifying.verdict_table import writing

        verdicts = writing(verdicts, out)
    count = broken = 0
    for verdict in verdicts:
        count += 1
        broken += verdict.error is not None
        if as_json:
            print(json.dumps(verdict.to_json(), ensure_ascii=False), flush=True)
        elif out is None:
            print(_told(verdict), flush=True)
    if not count:
        typer.echo("nonesuch: no image files there", err=True)
        raise typer.Exit(2)
    if out is not None:
        typer.echo(f"{count} verdicts in {out}, {broken} with an error", err=True)
    if broken:
        raise typer.Exit(1 if broken == count else 3)


def _verify_sharded(
    paths: list[str],
    out: Path,
    catalog: Path | None,
    trust: Path | None,
    online: bool,
    watermark_key: str | None,
    search: Literal["full", "aligned"],
    jobs: int | None,
) -> None:
    from nonesuch.foundation.errors import InputError

    if len(paths) != 1 or not Path(paths[0]).is_dir():
        raise InputError(
            "a folder of verdicts needs one folder of images",
            where=str(out),
            hint="Name one folder, or a file: --out verdicts.parquet",
        )
    from nonesuch.flows.verify_folder import verify_folder

    summary = verify_folder(
        Path(paths[0]),
        out,
        catalog,
        trust,
        online,
        search,
        watermark_key,
        jobs=jobs,
    )
    typer.echo(summary.markdown(), err=True)
    if summary.errors:
        raise typer.Exit(1 if summary.errors == summary.files else 3)


def mark(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Images that any program made.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the marked copies.")],
    source_type: SourceType = None,
    catalog: Annotated[
        Path | None, typer.Option("--catalog", metavar="DIR", help="Add them to this catalog.")
    ] = None,
    watermark: Annotated[
        str,
        typer.Option("--watermark", metavar="NAME", help="nonesuch, or trustmark (see docs/watermark.md)."),
    ] = "nonesuch",
    strength: Annotated[
        float, typer.Option(min=0.5, max=10, help="Strength of the watermark; 1 is imperceptible.")
    ] = 1.0,
    watermark_key: WatermarkKey = None,
    certificate: Certificate = None,
    key: Key = None,
    signer_command: Command = None,
    signer_plugin: Plugin = None,
    algorithm: Algorithm = None,
    timestamp: Timestamp = None,
    timestamp_policy: Policy = "fail",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Watermark and sign copies of images. A credential they already have becomes the parent."""
    import json
    from dataclasses import asdict

    from nonesuch.marking.marking_files import mark_files

    signer = chosen_signer(
        certificate, key, signer_command, signer_plugin, algorithm, timestamp, timestamp_policy
    )
    secret = chosen_watermark_key(watermark_key)
    marked = mark_files(
        paths,
        out,
        source_type=source_type,
        catalog=catalog,
        signer=signer,
        watermark=watermark,
        watermark_key=secret,
        strength=strength,
    )
    failed = queued = 0
    for done in marked:
        failed += done.error is not None
        queued += done.timestamp == "queued"
        if as_json:
            print(json.dumps(asdict(done), ensure_ascii=False), flush=True)
        elif done.error:
            typer.echo(f"nonesuch: {done.path}: {done.error}", err=True)
        else:
            print(f"{done.out}  watermark {done.watermark_id}", flush=True)
        if done.parent in ("altered", "unreadable"):
            typer.echo(f"nonesuch: {done.path}: its original credential is {done.parent}", err=True)
    if queued:
        typer.echo(
            f"nonesuch: {queued} images wait for their timestamp; later run: nonesuch keys stamp", err=True
        )
    if failed:
        raise typer.Exit(1 if failed == len(paths) else 3)


def recover(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="An image without its credential.")],
    catalog: Annotated[Path, typer.Option("--catalog", metavar="DIR", help="The catalog it may be from.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the original file here.")
    ] = None,
    watermark_key: WatermarkKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find a stripped image in a catalog. Uses watermark or fingerprint; returns its recipe, manifest and original."""
    import json

    from nonesuch.marking.recovering import recover_from

    found = recover_from(catalog, path, watermark_key=chosen_watermark_key(watermark_key))
    if found is None:
        typer.echo(f"nonesuch: {path}: the catalog does not know this image", err=True)
        raise typer.Exit(1)
    written = None
    if out is not None:
        written = found.write(out)
    told = {**found.to_json(), "written": None if written is None else str(written)}
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        print(f"{path}: found by {told['found_by']} as {told['image_id']}")
        print(f"  prompt {told['prompt']}")
        restored = written is not None and written == out
        print(f"  original {f'written to {written}' if restored else told['original']}")
        if written is not None and not restored:
            print(f"  manifest alone written to {written}")
        print(f"  manifest {told['manifest_digest'] or 'not kept'}")


_SENTENCES = {
    "ai-generated": "AI-generated",
    "ai-edited": "edited with AI",
    "captured": "captured by a camera, according to its credential",
    "no-evidence": "no evidence of where it came from",
    "conflict": "the evidence contradicts itself",
}


def _told(verdict: Verdict) -> str:
    """A verdict as text: one line, then the evidence. Control characters of foreign text are dropped."""
    said: dict[str, Any] = verdict.to_json()
    lines = [f"{said['path']}: {_SENTENCES[said['verdict']]} ({said['confidence']})"]
    if said["integrity"] == "unsigned":
        lines.append("  no content credential")
    else:
        lines.append(f"  integrity {said['integrity']}, trust {said['trust']}, time {said['time']}")
    for name, key in (("signed by", "signed_by"), ("signed at", "signed_at"), ("generator", "generator")):
        if said[key]:
            lines.append(f"  {name} {said[key]}")
    lines += [f"  {found['kind']}: {found['detail']}" for found in said["evidence"]]
    if said["error"]:
        lines.append(f"  error: {said['error']}")
    return "\n".join("".join(c for c in line if c.isprintable()) for line in lines)
