"""The options that choose the signing key, shared by the commands that sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nonesuch.provenance.request import SignerChoice

Certificate = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="PEM chain to sign with, signing certificate first; default: the local authority's.",
    ),
]
Key = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Its private key, unencrypted PEM, mode 0600.")
]
Command = Annotated[
    str | None,
    typer.Option(metavar="COMMAND", help="A program that signs its stdin with the certificate's key."),
]
Plugin = Annotated[
    str | None, typer.Option(metavar="NAME", help="A signer from the entry point group nonesuch.signers.")
]
Algorithm = Annotated[str | None, typer.Option(metavar="NAME", help="es256, es384, es512, ed25519 or ps256.")]
Timestamp = Annotated[str | None, typer.Option(metavar="URL", help="An RFC 3161 timestamp authority.")]
Policy = Annotated[
    str,
    typer.Option(
        metavar="POLICY",
        help="When the authority is unavailable: fail, queue (see keys stamp) or continue without a timestamp.",
    ),
]
SourceType = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What the images are: an IPTC name such as trainedAlgorithmicMedia."),
]
WatermarkKey = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A secret watermark key: a file of mode 0600, or env:NAME. Default: the public key.",
    ),
]


def chosen_signer(
    certificate: Path | None,
    key: Path | None,
    signer_command: str | None,
    signer_plugin: str | None,
    algorithm: str | None,
    timestamp: str | None,
    policy: str,
) -> SignerChoice:
    """The options as provenance takes them. Raises InputError for an unknown policy or a broken command line."""
    import shlex
    from typing import get_args

    from nonesuch.foundation.errors import InputError
    from nonesuch.provenance.request import SignerChoice, TimestampPolicy

    if policy not in get_args(TimestampPolicy):
        known = ", ".join(get_args(TimestampPolicy))
        raise InputError(
            f"{policy!r} is not a timestamp policy", where="--timestamp-policy", hint=f"Known: {known}."
        )
    try:
        command = tuple(shlex.split(signer_command or ""))
    except ValueError as error:
        raise InputError(f"is not a command line ({error})", where="--signer-command") from error
    return SignerChoice(
        certificate=certificate,
        private_key=key,
        command=command,
        plugin=signer_plugin,
        algorithm=algorithm,
        timestamp_url=timestamp,
        timestamp_policy=policy,  # type: ignore[arg-type]
    )


def chosen_watermark_key(named: str | None) -> bytes | None:
    """The key that --watermark-key names, None for the public one. Raises InputError when it can't be read."""
    if named is None:
        return None
    from nonesuch.provenance.watermark.secret_key import read_watermark_key

    return read_watermark_key(named)
