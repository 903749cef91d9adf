"""Whom to trust: the pinned C2PA trust lists, or the user's file instead, and the user's own anchors."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from cryptography import x509

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import read_limited
from nonesuch.provenance.credentials import certificates
from nonesuch.provenance.evidence import Trust
from nonesuch.provenance.signing.keys import own_anchors

PINNED_DATE = "2026-08-21"
PINNED_COMMIT = "7dbff51"  # of c2pa-org/conformance-public
_MAX_LIST_BYTES = 16 << 20
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TrustSet:
    """Anchors in the form that checking needs; made by `load_trust`."""

    date: str | None  # of the pinned list; None for a user's file
    sha256: str  # of the trust list's bytes
    listed: tuple[x509.Certificate, ...] = field(repr=False)
    own: tuple[x509.Certificate, ...] = field(repr=False)
    context: Any = field(repr=False)  # c2pa.Context that reads with these anchors

    def grade(self, chain: tuple[x509.Certificate, ...]) -> Trust:
        """Where a signing chain leads: the user's own anchors, the list, or neither."""
        if certificates.chains_to(chain, self.own):
            return "own"
        return "listed" if certificates.chains_to(chain, self.listed) else "unlisted"

    def to_json(self) -> dict[str, str | None]:
        return {"date": self.date, "sha256": self.sha256}


def load_trust(
    path: Path | None = None, home: Path | None = None, *, online_hosts: Sequence[str] = ()
) -> TrustSet:
    """The pinned C2PA list, or the PEM file at `path` instead of it, with the own anchors under `home`.

    Remote manifests are fetched from `online_hosts` and nowhere else; names that lead to private addresses are
    left out, and redirects are not followed. Raises InputError when the file can't be read or holds no
    certificate.
    """
    if path is None:
        data, date = _pinned("C2PA-TRUST-LIST.pem"), PINNED_DATE
    else:
        data, date = read_limited(path, max_bytes=_MAX_LIST_BYTES), None
        if not parse_certificates(data):
            raise InputError("holds no PEM certificate", where=str(path))
    hosts = tuple(host for host in online_hosts if _is_public(host))
    return _trust_set(data, date, own_anchors(home).encode(), hosts)


def _is_public(host: str) -> bool:
    """Whether every address of a host is one of the public internet; False when it has none."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(str(a).split("%")[0]).is_global for a in found)


@lru_cache(maxsize=4)
def _trust_set(data: bytes, date: str | None, own: bytes, hosts: tuple[str, ...]) -> TrustSet:
    import c2pa

    # The SDK takes timestamp authorities from the same anchors as signers (measured: trust_kind "tsa" is not
    # kept apart), so who signed is graded by TrustSet.grade, never by the SDK's answer.
    anchors = b"\n".join(_normalised(part) for part in (data, _pinned("C2PA-TSA-TRUST-LIST.pem")))
    trust = {
        "trust_anchors": anchors.decode(),
        "trust_config": "\n".join((*certificates.SIGNING_USES, "1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.9")),
    }
    if _normalised(own):
        trust["user_anchors"] = _normalised(own).decode()
    settings = {
        "trust": trust,
        "verify": {"verify_trust": True, "remote_manifest_fetch": bool(hosts), "ocsp_fetch": False},
        "core": {"allowed_network_hosts": list(hosts), "allow_redirects": False},
    }
    return TrustSet(
        date=date,
        sha256=hashlib.sha256(data).hexdigest(),
        listed=parse_certificates(data),
        own=parse_certificates(own),
        context=c2pa.Context.from_dict(settings),
    )


def parse_certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """Every readable certificate of PEM text; the comments of trust lists and broken entries are passed over."""
    found = []
    for block in _PEM.findall(data):
        try:
            found.append(x509.load_pem_x509_certificate(block))
        except ValueError:
            continue
    return tuple(found)


def _normalised(data: bytes) -> bytes:
    """Only the readable certificates: the SDK refuses a whole list for one broken entry."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in parse_certificates(data))


@cache
def _pinned(name: str) -> bytes:
    return files("nonesuch.provenance").joinpath("trust", name).read_bytes()
