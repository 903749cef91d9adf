"""`nonesuch keys`: the local certificate authority."""

from __future__ import annotations

from typing import Annotated

import typer

Algorithm = Annotated[str, typer.Option(help="es256, es384, es512, ed25519 or ps256.")]

keys = typer.Typer(no_args_is_help=True, help="The keys that sign credentials.", rich_markup_mode=None)


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.add_typer(keys, name="keys")


@keys.command("init")
def init(algorithm: Algorithm = "es256") -> None:
    """Make the local certificate authority and a signing key; a sweep does so on first use."""
    from provenance.keys import init_keys

    print(init_keys(algorithm=algorithm))


@keys.command("rotate")
def rotate(
    algorithm: Algorithm = "es256",
    authority: Annotated[bool, typer.Option(help="Make a new authority too; the old one stays trusted.")] = False,
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
    print(f"{signer.subject}  {signer.algorithm}  until {signer.not_after:%Y-%m-%d}  SHA-256 {signer.fingerprint}")
    print(own_anchors(), end="")
