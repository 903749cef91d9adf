"""The request and the result of marking: plain data, light to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from nonesuch.foundation.images import RGB

ImageFormat = Literal["png", "jpeg", "webp"]
TrainingUse = Literal["allowed", "notAllowed"]
# What to do when the timestamp authority can't be reached: raise; sign now and stamp later; continue without.
TimestampPolicy = Literal["fail", "queue", "continue"]


@dataclass(frozen=True, slots=True)
class FurtherStep:
    """What was done to a drawing after it was first made, as an action of the credential."""

    action: str  # c2pa.edited, c2pa.resized
    agent: str  # the model or method that did it
    version: str  # its weights digest; empty for a method without weights
    description: str  # for a person
    generated: bool = False  # whether a generative model did it


@dataclass(frozen=True, slots=True)
class MarkRequest:
    """One image's marks."""

    watermark_payload: int  # 0 ≤ payload < 2**64: the image id
    recipe: dict[str, Any]  # JSON-able; goes into the recipe assertion
    title: str  # shown by validators; usually the file's name
    generator: str  # the model that drew it
    generator_version: str = ""  # its revision or weights digest
    format: ImageFormat = "png"
    quality: int | None = None  # 1–100; PNG ignores it, WebP without one is lossless
    strength: float = 1.0  # of the watermark
    watermark: str | None = "nonesuch"  # a name of the registry of watermarks; None for no watermark
    watermark_key: bytes | None = field(default=None, repr=False)  # secret; None marks with the public key
    credentials: bool = True
    include_prompt: bool = True  # False leaves prompts and facets out of credential and XMP
    prompt_writer: str | None = None  # a person's name: personal data, only when asked for
    source_type: str = "trainedAlgorithmicMedia"  # of the drawing, IPTC name or URI
    parents: tuple[Path | bytes, ...] = ()  # files it was made from; the first is the one that was edited
    inputs: tuple[
        Path, ...
    ] = ()  # files that guided the drawing without entering it: control images, image prompts
    further: tuple[FurtherStep, ...] = ()  # in the order in which they were done
    training_use: TrainingUse = "notAllowed"  # what cawg.training-mining says
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class SignerChoice:
    """Whose key signs, and who vouches for the time; all left out: the local authority, no timestamp."""

    certificate: Path | None = (
        None  # PEM chain, signing certificate first; with exactly one of the next three
    )
    private_key: Path | None = None  # PEM, unencrypted, mode 0600
    command: tuple[str, ...] = ()  # a program that signs, see nonesuch.provenance.signing.external
    plugin: str | None = None  # a signer that a package registered under nonesuch.signers
    algorithm: str | None = None  # one of keys.ALGORITHMS; what the certificate implies, else es256
    timestamp_url: str | None = None  # of an RFC 3161 authority
    timestamp_policy: TimestampPolicy = "fail"


@dataclass(frozen=True, slots=True)
class ParentCheck:
    """What was found in a parent before it went into the credential as an ingredient."""

    title: str
    integrity: str  # intact, altered, unsigned, unreadable
    detail: str  # what is broken, in words; empty when nothing is
    generated: bool = False  # its credential, sound or not, says that a model made it or parts of it


@dataclass(frozen=True, slots=True)
class MarkSeconds:
    """Wall time of each step."""

    watermark: float
    encode: float
    sign: float


@dataclass(frozen=True, slots=True)
class MarkedFile:
    """A finished file; write `data` as it is: any re-encode drops the credential."""

    data: bytes
    mime: str
    suffix: str  # with its dot
    sha256: str  # of data
    image: RGB  # the pixels that were encoded, watermark included
    watermark_payload: int | None  # None when not watermarked
    watermark_psnr: float | None  # dB over RGB, infinite when nothing changed; None when not watermarked
    manifest: bytes | None  # the manifest store; None when not signed
    manifest_digest: str | None  # SHA-256 of manifest
    manifest_id: str | None  # urn:c2pa:… of the active manifest
    timestamped: bool
    parents: tuple[ParentCheck, ...]
    seconds: MarkSeconds
