"""`nonesuch keys`: the keys that sign, the watermark's key, late timestamps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nonesuch.cli.prove.signing_options import Algorithm, Certificate, Command, Key, Plugin, chosen_signer

LocalAlgorithm = Annotated[str, typer.Option(help="es256, es384, es512, ed25519 or ps256.")]

keys = typer.Typer(no_args_is_help=True, help="The keys that sign credentials.", rich_markup_mode=None)


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.add_typer(keys, name="keys")


@keys.command("init")
def init(algorithm: LocalAlgorithm = "es256") -> None:
    """Create the local certificate authority and a signing key; a sweep does this on first use."""
    from nonesuch.provenance.signing.keys import init_keys

    print(init_keys(algorithm=algorithm))


@keys.command("rotate")
def rotate(
    algorithm: LocalAlgorithm = "es256",
    authority: Annotated[
        bool, typer.Option("--authority", help="Create a new authority too; the old one stays trusted.")
    ] = False,
) -> None:
    """Create a new signing key; what the old one signed stays valid."""
    from nonesuch.provenance.signing.keys import rotate_keys

    rotate_keys(algorithm=algorithm, authority=authority)
    show()


@keys.command("show")
def show() -> None:
    """Print the signing certificate's subject, algorithm, expiry and fingerprint, and the authority's PEM."""
    from nonesuch.provenance.signing.keys import own_anchors
    from nonesuch.provenance.signing.signer import open_signer

    signer = open_signer()
    print(
        f"{signer.subject}  {signer.algorithm}  until {signer.not_after:%Y-%m-%d}  SHA-256 {signer.fingerprint}"
    )
    print(own_anchors(), end="")


@keys.command("watermark")
def watermark(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new key file.")],
) -> None:
    """Create a secret key for the watermark: only whoever holds the file can find watermarks made with it."""
    from nonesuch.provenance.watermark.secret_key import make_watermark_key

    make_watermark_key(file)
    print(file)


@keys.command("stamp")
def stamp(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="Output folders with queued images, or image files.")
    ],
    timestamp: Annotated[str, typer.Option(metavar="URL", help="An RFC 3161 timestamp authority.")],
    certificate: Certificate = None,
    key: Key = None,
    signer_command: Command = None,
    signer_plugin: Plugin = None,
    algorithm: Algorithm = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Add missing timestamps to images signed while the timestamp authority was unavailable. Use the same certificate."""
    import json
    from dataclasses import asdict

    from nonesuch.marking.late_timestamps import stamp_paths

    choice = chosen_signer(certificate, key, signer_command, signer_plugin, algorithm, timestamp, "fail")
    count = stamped = failed = 0
    for done in stamp_paths(paths, choice):
        count += 1
        stamped += done.stamped
        failed += done.error is not None
        if as_json:
            print(json.dumps(asdict(done), ensure_ascii=False), flush=True)
        elif done.error:
            typer.echo(f"nonesuch: {done.path}: {done.error}", err=True)
        elif done.stamped:
            print(done.path, flush=True)
    typer.echo(
        f"{stamped} timestamped, {count - stamped - failed} already had a timestamp, {failed} failed",
        err=True,
    )
    if failed:
        raise typer.Exit(1 if failed == count else 3)
