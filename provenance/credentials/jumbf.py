"""The signing certificates inside a manifest store, which the SDK checks but does not hand out.

JUMBF boxes (ISO/IEC 19566-5), COSE_Sign1 with x5chain (RFC 9052, RFC 9360), CBOR (RFC 8949). The bytes come from
strangers: every length is checked against what is there, and nesting is limited.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

_MAX_DEPTH = 8
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
            sign1 = Cbor(body).value()
            protected = Cbor(sign1[0]).value() if sign1[0] else {}
            header = {**sign1[1], **protected}
            found = next((header[key] for key in _X5CHAIN if key in header), None)
            ders = [found] if isinstance(found, bytes) else list(found or ())
            return tuple(x509.load_der_x509_certificate(der) for der in ders[:_MAX_CERTIFICATES])
        except Exception:  # whatever broken bytes lead to: no chain, and so no trust
            return ()
    return ()


class Cbor:
    """A reader for the CBOR that COSE headers need; tags are dropped. Raises ValueError for what is broken."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def value(self, depth: int = 0) -> Any:
        """The next value. Raises ValueError when it is cut short, too deep or of an unknown kind."""
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        first = self._take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7:
            return self._simple(info)
        if info == 31:
            return self._indefinite(major, depth)
        number = self._number(info)
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major == 2:
            return self._take(number)
        if major == 3:
            return self._take(number).decode("utf-8", "replace")
        if major == 6:
            return self.value(depth + 1)
        if number > len(self._data):
            raise ValueError("more items than bytes")
        if major == 4:
            return [self.value(depth + 1) for _ in range(number)]
        return {_key(self.value(depth + 1)): self.value(depth + 1) for _ in range(number)}

    def _simple(self, info: int) -> Any:
        if info in (20, 21):
            return info == 21
        if info in (22, 23):
            return None
        if info in (25, 26, 27):
            size = {25: 2, 26: 4, 27: 8}[info]
            return struct.unpack({2: ">e", 4: ">f", 8: ">d"}[size], self._take(size))[0]
        raise ValueError(f"unknown simple value {info}")

    def _indefinite(self, major: int, depth: int) -> Any:
        items = []
        while self._data[self._at : self._at + 1] != b"\xff":
            items.append(self.value(depth + 1))
        self._at += 1
        if major == 2:
            return b"".join(items)
        if major == 3:
            return "".join(items)
        if major == 4:
            return items
        if major == 5:
            return {_key(k): v for k, v in zip(items[::2], items[1::2], strict=True)}
        raise ValueError("indefinite length where none may be")

    def _number(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise ValueError(f"unknown length {info}")
        return int.from_bytes(self._take(1 << (info - 24)), "big")

    def _take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise ValueError("cut short")
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken


def _key(value: Any) -> Any:
    return value if isinstance(value, int | str | bytes) else repr(value)
