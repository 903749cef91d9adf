"""The sweep file's `marking` section: watermark, credential, signing key, timestamp authority."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from nonesuch.generators.sweepfile.settings import Strict

_SIGNERS = ("key", "signer_command", "signer_plugin")  # exactly one of them goes with a certificate


class Timestamp(Strict):
    """An RFC 3161 authority that vouches for the time of each signature."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$", description="address of the authority")]
    policy: Annotated[
        Literal["fail", "queue", "continue"],
        Field(description="when it is away: fail the image, sign and stamp later, or continue without"),
    ] = "fail"


class Marking(Strict):
    """What a finished file carries."""

    watermark: Annotated[
        bool | Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]*$")],
        Field(description="true for nonesuch's own, false for none, or a name: nonesuch, trustmark"),
    ] = True
    strength: Annotated[float, Field(ge=0.5, le=10, description="of the watermark; 1 is the default")] = 1.0
    watermark_key: (
        Annotated[
            str,
            Field(
                min_length=1,
                description="file of mode 0600, or env:NAME, with a secret key; the public key when left out",
            ),
        ]
        | None
    ) = None
    credentials: Annotated[bool, Field(description="sign a C2PA manifest")] = True
    include_prompt: Annotated[bool, Field(description="prompt and recipe in the metadata")] = True
    certificate: (
        Annotated[
            str,
            Field(
                min_length=1,
                description="PEM chain, signing certificate first; the local authority when left out",
            ),
        ]
        | None
    ) = None
    key: (
        Annotated[str, Field(min_length=1, description="its private key, unencrypted PEM, mode 0600")] | None
    ) = None
    signer_command: (
        Annotated[str, Field(min_length=1, description="program that signs stdin with the certificate's key")]
        | None
    ) = None
    signer_plugin: (
        Annotated[str, Field(min_length=1, description="signer of the entry point group nonesuch.signers")]
        | None
    ) = None
    algorithm: (
        Annotated[
            Literal["es256", "es384", "es512", "ed25519", "ps256"],
            Field(description="of the local authority's key, or what the certificate must be for"),
        ]
        | None
    ) = None
    timestamp: Timestamp | None = None

    @field_validator("signer_command")
    @classmethod
    def _command_splits(cls, command: str | None) -> str | None:
        if command is not None:
            try:
                words = shlex.split(command)
            except ValueError as error:
                raise ValueError(f"{command!r} is not a command line ({error})") from None
            if not words:
                raise ValueError("names no program")
        return command

    @model_validator(mode="after")
    def _fits_together(self) -> Marking:
        holders = [name for name in _SIGNERS if getattr(self, name) is not None]
        if self.certificate is not None and len(holders) != 1:
            raise ValueError(f"certificate goes with exactly one of {', '.join(_SIGNERS)}")
        if self.certificate is None and holders:
            raise ValueError(f"{holders[0]} needs the certificate of that key")
        signing = [name for name in ("certificate", "algorithm", "timestamp") if getattr(self, name)]
        if signing and not self.credentials:
            raise ValueError(f"{signing[0]} is about credentials, which are turned off")
        if self.watermark_key is not None and not self.watermark:
            raise ValueError("watermark_key is about the watermark, which is turned off")
        own = self.watermark_name in (None, "nonesuch")
        for name in ("watermark_key", "strength"):
            if not own and name in self.model_fields_set:
                raise ValueError(f"{name} is about nonesuch's own watermark, not {self.watermark}")
        return self

    @property
    def watermark_name(self) -> str | None:
        """The watermark in the registry of watermarks; None for none."""
        return (
            ("nonesuch" if self.watermark else None) if isinstance(self.watermark, bool) else self.watermark
        )
