"""NovelAI's signature over pixels and comment: cryptographic proof where it holds.

`signed_hash` is Ed25519 over the RGB bytes followed by the JSON of the comment without it; the public key is
NovelAI's published one.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nonesuch.formats import novelai
from nonesuch.formats.raw_fields import Source
from nonesuch.formats.record import Record
from nonesuch.provenance.metadata.finding import Finding, finding_of

PUBLIC_KEY = "Y2JcQAOhLwzwSDUJPNgL04nS0Tbqm7cSRc4xk0vRMic="  # base64


class NovelAI:
    """Reads NovelAI's fields and checks the signature against `public_key` (base64)."""

    def __init__(self, public_key: str = PUBLIC_KEY) -> None:
        self._public_key = public_key

    def read(self, source: Source) -> Finding | None:
        found = novelai.read(source)
        return None if found is None else checked(found, source, self._public_key, kind="novelai")


def checked(found: Record, source: Source, public_key: str, *, kind: str) -> Finding:
    """The finding for NovelAI's fields in `source`, which are PNG text or hidden bits; the signature is over its pixels."""
    comment = novelai.comment(source)
    if not isinstance(comment.get("signed_hash"), str):
        return finding_of(found, "NovelAI metadata, unsigned", kind=kind)
    pixels = source.rgba()
    if pixels is not None and signature_holds(pixels, comment, public_key):
        return replace(finding_of(found, "NovelAI metadata, signature valid", kind=kind), confidence="proven")
    return finding_of(found, "NovelAI metadata whose signature does not match the picture", kind=kind)


def signature_holds(
    pixels: npt.NDArray[np.uint8], comment: dict[str, Any], public_key: str = PUBLIC_KEY
) -> bool:
    """Whether `signed_hash` is valid for the picture (uint8 [H, W, 3 or 4]) and the rest of the comment."""
    signed = {key: value for key, value in comment.items() if key != "signed_hash"}
    message = np.ascontiguousarray(pixels[..., :3]).tobytes() + json.dumps(signed).encode()
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))
        key.verify(base64.b64decode(comment["signed_hash"]), message)
    except (InvalidSignature, ValueError):
        return False
    return True
