"""Durable credentials: from an image that lost its metadata back to its manifest, recipe and original file.

The watermark leads to the catalog's record, else the fingerprint does (C2PA 2.4, "Durable Content Credentials").
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nonesuch.foundation.errors import DependencyError, InputError, ProvenanceError
from nonesuch.foundation.images import read_limited
from nonesuch.provenance.credentials.reading import CredentialReport, read_credentials, sniff_mime
from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.pixels import Pixels
from nonesuch.provenance.verifying import catalog_match
from nonesuch.provenance.verifying.catalog_protocol import CatalogLookup, CatalogRecord
from nonesuch.provenance.verifying.watermarks_found import Payloads


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found for a stripped image."""

    record: CatalogRecord
    found_by: str  # digest, watermark, fingerprint
    distance: int | None  # between the perceptual hashes, of 64 bits
    manifest: bytes | None = field(repr=False)  # the manifest store, from the sidecar or the original
    original: bytes | None = field(
        repr=False
    )  # the file as it was signed; None when it is gone or was changed
    credential: CredentialReport | None = field(repr=False)  # of the original, checked now; None without it


def recover(
    path: Path,
    catalog: CatalogLookup,
    *,
    manifest_of: Callable[[CatalogRecord], bytes | None] | None = None,
    home: Path | None = None,
    watermark_key: bytes | None = None,
) -> Recovery | None:
    """The record, manifest and original of the image at `path`; None when the catalog doesn't know it.

    `manifest_of` reads a record's manifest store from the sidecar (see nonesuch.provenance.sidecar). `watermark_key`, a
    secret one, is looked for besides the public key.
    Raises InputError for a file that can't be read, ProvenanceError when its watermark leads to another
    image: that watermark was copied; DependencyError when nothing was found and an installed watermark could not be
    looked for.
    """
    data = read_limited(path)
    pixels = Pixels(data, str(path))
    image = pixels.rgb()
    if image is None:
        raise InputError(pixels.error or "can't be decoded", where=str(path))
    payloads = Payloads(image, key=watermark_key)
    match = catalog_match.find(catalog, hashlib.sha256(data).hexdigest(), payloads, pixels.view())
    if match is None:
        if payloads.unread:
            raise DependencyError(payloads.unread[0].why)
        return None
    if match.copied is not None:
        raise ProvenanceError(match.copied, where=str(path))
    original = _original(match.record)
    credential = None
    if original is not None:
        credential = read_credentials(original, sniff_mime(original), load_trust(None, home))
    manifest = manifest_of(match.record) if manifest_of is not None else None
    if manifest is None and credential is not None:
        manifest = credential.store
    return Recovery(match.record, match.found_by, match.distance, manifest, original, credential)


def _original(record: CatalogRecord) -> bytes | None:
    if record.file is None:
        return None
    try:
        data = read_limited(record.file)
    except InputError:
        return None
    if record.file_digest is not None and hashlib.sha256(data).hexdigest() != record.file_digest:
        return None
    return data
