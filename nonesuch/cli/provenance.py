"""`nonesuch verify`, `mark`, `recover` and `keys`: questioning images, marking others' pictures, the keys that sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provenance.verdict import Verdict

Algorithm = Annotated[str, typer.Option(help="es256, es384, es512, ed25519 or ps256.")]

keys = typer.Typer(no_args_is_help=True, help="The keys that sign credentials.", rich_markup_mode=None)


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(verify)
    app.command()(mark)
    app.command()(recover)
    app.add_typer(keys, name="keys")


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
    online: Annotated[bool, typer.Option("--online", help="Fetch manifests that lie elsewhere.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Say whether images are AI-generated, who says so, and how sure that is."""
    import json

    from provenance.folders import verify_paths
    from provenance.verify import VerifyOptions

    lookup = None
    if catalog is not None:
        from nonesuch.lookup import CatalogFolder

        lookup = CatalogFolder(catalog)
    options = VerifyOptions(trust=trust, catalog=lookup, online=online)
    count = broken = 0
    for verdict in _counted(verify_paths(paths, options=options)):
        count += 1
        broken += verdict.error is not None
        print(json.dumps(verdict.to_json(), ensure_ascii=False) if as_json else _told(verdict), flush=True)
    if not count:
        typer.echo("nonesuch: no image files there", err=True)
        raise typer.Exit(2)
    if broken:
        raise typer.Exit(1 if broken == count else 3)


def mark(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Pictures that any program made.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the marked copies.")],
    source_type: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What they are, an IPTC name such as trainedAlgorithmicMedia."),
    ] = None,
    catalog: Annotated[
        Path | None, typer.Option("--catalog", metavar="DIR", help="Enter them into this catalog.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Watermark and sign copies of pictures; a credential they have becomes the parent."""
    import json
    from dataclasses import asdict

    from nonesuch.marks import mark_files

    failed = 0
    for done in mark_files(paths, out, source_type=source_type, catalog=catalog):
        failed += done.error is not None
        if as_json:
            print(json.dumps(asdict(done), ensure_ascii=False), flush=True)
        elif done.error:
            typer.echo(f"nonesuch: {done.path}: {done.error}", err=True)
        else:
            print(f"{done.out}  watermark {done.watermark_id}", flush=True)
    if failed:
        raise typer.Exit(1 if failed == len(paths) else 3)


def recover(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="An image that lost its credential.")],
    catalog: Annotated[Path, typer.Option("--catalog", metavar="DIR", help="The catalog it may be from.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the original file here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find a stripped image in a catalog by watermark or fingerprint; give back recipe, manifest and original."""
    import json

    from nonesuch.lookup import recover_from

    found = recover_from(catalog, path)
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
        print(f"  original {'written to ' + str(written) if written else told['original']}")
        print(f"  manifest {told['manifest_digest'] or 'not kept'}")


def _counted(verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
    """The verdicts, with a count on a terminal's stderr while they come."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("verified"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("verify", total=None)
        for verdict in verdicts:
            yield verdict
            bar.advance(task)


_SENTENCES = {
    "ai-generated": "AI-generated",
    "ai-edited": "edited with AI",
    "captured": "captured by a camera, says its credential",
    "no-evidence": "no evidence of where it came from",
    "conflict": "the evidence contradicts itself",
}


def _told(verdict: Verdict) -> str:
    """A verdict for a person: one line, then the evidence. Control characters of foreign text are dropped."""
    said: dict[str, Any] = verdict.to_json()
    lines = [f"{said['path']}: {_SENTENCES[said['verdict']]} ({said['confidence']})"]
    lines.append(f"  integrity {said['integrity']}, trust {said['trust']}, time {said['time']}")
    for name, key in (("signed by", "signed_by"), ("signed at", "signed_at"), ("generator", "generator")):
        if said[key]:
            lines.append(f"  {name} {said[key]}")
    lines += [f"  {found['kind']}: {found['detail']}" for found in said["evidence"]]
    if said["error"]:
        lines.append(f"  error: {said['error']}")
    return "\n".join("".join(c for c in line if c.isprintable()) for line in lines)


@keys.command("init")
def init(algorithm: Algorithm = "es256") -> None:
    """Make the local certificate authority and a signing key; a sweep does so on first use."""
    from provenance.keys import init_keys

    print(init_keys(algorithm=algorithm))


@keys.command("rotate")
def rotate(
    algorithm: Algorithm = "es256",
    authority: Annotated[
        bool, typer.Option("--authority", help="Make a new authority too; the old one stays trusted.")
    ] = False,
) -> None:
    """Make a new signing key; what the old one signed stays valid."""
    from provenance.keys import rotate_keys

    rotate_keys(algorithm=algorithm, authority=authority)
    show()


@keys.command("show")
def show() -> None:
    """Print the signing certificate's subject, algorithm, expiry and fingerprint, and the authority's PEM."""
    from provenance.keys import own_anchors
    from provenance.signing import open_signer

    signer = open_signer()
    print(
        f"{signer.subject}  {signer.algorithm}  until {signer.not_after:%Y-%m-%d}  SHA-256 {signer.fingerprint}"
    )
    print(own_anchors(), end="")
