"""NovelAI: PNG text Title, Description, Software, Source, Comment, with a signature over pixels and comment.

`signed_hash` is Ed25519 over the RGB bytes followed by the JSON of the comment without it; the public key is
NovelAI's published one. A valid signature is cryptographic proof.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nonesuch.provenance.metadata.finding import Finding, excerpt, recipe
from nonesuch.provenance.metadata.raw_fields import Source

PUBLIC_KEY = "Y2JcQAOhLwzwSDUJPNgL04nS0Tbqm7cSRc4xk0vRMic="  # base64


class NovelAI:
    """Reads NovelAI's fields and checks the signature against `public_key` (base64)."""

    def __init__(self, public_key: str = PUBLIC_KEY) -> None:
        self._public_key = public_key

    def read(self, source: Source) -> Finding | None:
        texts = source.texts
        if texts.get("Software") != "NovelAI" and not texts.get("Source", "").startswith("NovelAI Diffusion"):
            return None
        return finding(texts, source.rgba, self._public_key, kind="novelai")


def finding(texts: dict[str, Any], rgba: Any, public_key: str, *, kind: str) -> Finding:
    """The finding for NovelAI's fields, from PNG text or from hidden bits."""
    comment = _comment(texts.get("Comment"))
    found = recipe(
        prompt=comment.get("prompt") or texts.get("Description"),
        negative_prompt=comment.get("uc"),
        seed=comment.get("seed"),
        steps=comment.get("steps"),
        guidance_scale=comment.get("scale"),
        scheduler=comment.get("sampler"),
        width=comment.get("width"),
        height=comment.get("height"),
        model=texts.get("Source"),
    )
    prompt = excerpt(found.get("prompt"))
    generator = str(texts.get("Source") or "NovelAI")
    if not isinstance(comment.get("signed_hash"), str):
        return Finding(
            kind, "ai-generated", "claimed", f"NovelAI metadata, unsigned: “{prompt}”", generator, found
        )
    pixels = rgba()
    if pixels is not None and signature_holds(pixels, comment, public_key):
        detail = f"NovelAI metadata, signature valid: “{prompt}”"
        return Finding(kind, "ai-generated", "proven", detail, generator, found)
    detail = f"NovelAI metadata whose signature does not match the picture: “{prompt}”"
    return Finding(kind, "ai-generated", "claimed", detail, generator, found)


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


def _comment(text: Any) -> dict[str, Any]:
    try:
        parsed = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
