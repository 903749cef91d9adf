"""The signing certificates inside a manifest store, which the SDK checks but does not hand out.

JUMBF boxes (ISO/IEC 19566-5), COSE_Sign1 with x5chain (RFC 9052, RFC 9360), CBOR (RFC 8949). The bytes come from
strangers: every length is checked against what is there, and nesting is limited.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

from cbor2 import CBORDecoder
from cryptography import x509
from cryptography.hazmat.primitives import hashes

_MAX_DEPTH = 8  # of arrays, maps and tags in one another
_X5CHAIN = (33, "x5chain")  # the registered label, and the name that early signers wrote
_MAX_CERTIFICATES = 16


def signing_chains(store: bytes) -> dict[str, tuple[x509.Certificate, ...]]:
    """The certificate chain, leaf first, of each manifest of a store, by the manifest's label.

    A manifest whose signature box is missing or broken has no entry. Nothing is raised for bad bytes.
    """
    chains: dict[str, tuple[x509.Certificate, ...]] = {}
    for label, manifest in _labelled(store):
        for inner, content in _labelled(manifest):
            if inner == "c2pa.signature":
                chain = _chain_of(content)
                if chain:
                    chains[label] = chain
    return chains


def leaf_fingerprint(store: bytes | None, label: str) -> str | None:
    """SHA-256, hex, of the certificate that signed a store's manifest; None when there is none to read."""
    chain = signing_chains(store).get(label) if store else None
    return chain[0].fingerprint(hashes.SHA256()).hex() if chain else None


def _labelled(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The labelled superboxes within a superbox: (label, its content after the description box)."""
    for kind, content in _boxes(data):
        if kind != b"jumb":
            continue
        label, rest = _description(content)
        if label == "c2pa":  # the store itself
            yield from _labelled(rest)
        elif label:
            yield label, rest


def _description(content: bytes) -> tuple[str, bytes]:
    first = next(_boxes(content), None)
    if first is None or first[0] != b"jumd" or len(first[1]) < 18 or not first[1][16] & 2:
        return "", b""
    label = first[1][17:].split(b"\0", 1)[0].decode("utf-8", "replace")
    return label, content[len(first[1]) + 8 :]


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, position)
        kind, start = data[position + 4 : position + 8], position + 8
        if size == 1 and position + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        elif size == 0:
            size = len(data) - position
        if size < start - position or position + size > len(data):
            return
        yield kind, data[start : position + size]
        position += size


def _chain_of(content: bytes) -> tuple[x509.Certificate, ...]:
    for kind, body in _boxes(content):
        if kind != b"cbor":
            continue
        try:
            sign1 = read_cbor(body)
            protected = read_cbor(sign1[0]) if sign1[0] else {}
            header = {**sign1[1], **protected}
            found = next((header[key] for key in _X5CHAIN if key in header), None)
            ders = [found] if isinstance(found, bytes) else list(found or ())
            return tuple(x509.load_der_x509_certificate(der) for der in ders[:_MAX_CERTIFICATES])
        except Exception:  # whatever broken bytes lead to: no chain, and so no trust
            return ()
    return ()


def read_cbor(data: bytes) -> Any:
    """The first CBOR value of the bytes, tags dropped. Raises cbor2.CBORError for what is broken or nested too deeply."""
    decoder = CBORDecoder(
        BytesIO(data), semantic_decoders=_ContentOnly(), str_errors="replace", max_depth=_MAX_DEPTH
    )
    return decoder.decode()


class _ContentOnly(dict[int, Any]):
    """A decoder for every tag, which drops it: COSE needs none, and cbor2's own compile regular expressions and the like."""

    def __missing__(self, tag: int) -> Callable[[Any, bool], Any]:
        return lambda content, immutable: content
