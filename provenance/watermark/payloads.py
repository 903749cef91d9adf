"""Watermark payloads that claim nothing: how a photograph can be watermarked without being called AI-generated.

A payload is an image's id, 64 bits. One whose origin is not stated keeps the first 44 of them; the other 20 are a
digest of those, so that the watermark alone, without credential and catalog, tells that it says nothing. A generated
image's id looks like one by chance once in a million, and then its watermark alone is no evidence.
"""

from __future__ import annotations

import hashlib

_DIGEST_BITS = 20
_LABEL = b"nonesuch: origin not said"


def without_origin(payload: int) -> int:
    """The payload, 64 bits, in the form that says nothing of the image's origin."""
    head = payload >> _DIGEST_BITS
    return head << _DIGEST_BITS | _digest(head)


def says_origin(payload: int) -> bool:
    """Whether a payload is one of a generated image."""
    return payload != without_origin(payload)


def _digest(head: int) -> int:
    digest = hashlib.sha256(_LABEL + head.to_bytes(8)).digest()
    return int.from_bytes(digest[:4]) >> (32 - _DIGEST_BITS)
