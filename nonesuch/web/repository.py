"""The catalog as a C2PA manifest repository: from soft bindings to manifest ids, from ids to manifest stores.

C2PA specification, "Soft Binding Resolution API". Two algorithms: the invisible watermark, and the catalog's
64-bit perceptual hash as a fingerprint. Manifests come from the sidecar packs or from the signed files.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search import lookup
from nonesuch.foundation.errors import InputError, NonesuchError, ProvenanceError
from nonesuch.foundation.images import RGB, read_limited
from nonesuch.marking.recovering import CatalogFolder
from nonesuch.provenance import sidecar, watermark
from nonesuch.provenance.credentials.reading import read_credentials, sniff_mime
from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.pixels import Pixels
from nonesuch.provenance.verifying import catalog_match
from nonesuch.provenance.verifying.watermarks_found import Payloads
from nonesuch.provenance.watermark import trustmark
from nonesuch.provenance.watermark.chosen import bound_payload

FINGERPRINT = "org.nonesuch.phash.1"  # 16 hex digits, as the catalog's column `phash`
WATERMARKS = (watermark.ALGORITHM, trustmark.NAME)
FINGERPRINTS = (FINGERPRINT,)
CHANCE_DISTANCE = 32  # bits in which the fingerprints of unrelated images differ on average

# C2PA 2.4, "Unique identifiers": urn:c2pa:UUID with optional generator and version; urn:uuid before 2.1.
_MANIFEST_ID = re.compile(r"(?:[A-Za-z0-9._-]+:)?urn:(?:c2pa|uuid):[A-Za-z0-9.:_-]{1,200}")


@dataclass(frozen=True, slots=True)
class Hit:
    """One manifest that answers a query."""

    manifest_id: str  # urn:c2pa:…
    score: int  # 0–100, 100 for the strongest match


def parse_binding(algorithm: str, value: str) -> int:
    """The 64 bits of a soft binding, plain or base64-encoded as the API has it: 16 hex digits, or TrustMark's value.

    Raises InputError for an algorithm that is not supported and for any other value.
    """
    if algorithm not in (*WATERMARKS, *FINGERPRINTS):
        raise InputError(f"the algorithm {algorithm!r} is not supported")
    text = value.strip()
    bits = bound_payload(algorithm, text)
    if bits is None:
        bits = bound_payload(algorithm, _decoded(text))
    if bits is None:
        form = "2* and 68 bits, the last four 0" if algorithm == trustmark.NAME else "16 hex digits"
        raise InputError(f"a value of {algorithm} is {form}, base64-encoded")
    return bits


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise InputError("the value is not base64") from error


class Repository:
    """The manifests of one catalog. Raises InputError when there is no catalog at `path`."""

    def __init__(self, path: Path) -> None:
        self._folder = CatalogFolder(path)
        self._catalog = Catalog(path)

    def by_binding(self, algorithm: str, bits: int, top: int) -> list[Hit]:
        """At most `top` manifests of the images with that soft binding, the best first.

        A fingerprint matches up to the distance at which verify takes two images for the same one.
        """
        if algorithm in WATERMARKS:
            return _hits(((row, 100) for row in lookup.by_watermark(self._catalog, bits)), top)
        near = lookup.by_phash(self._catalog, bits, max_distance=catalog_match.SAME_DISTANCE, top=top)
        return _hits(((row, _score(row["distance"])) for row in near), top)

    def by_content(
        self, pixels: Pixels, algorithm: str | None, top: int, *, watermark_key: bytes | None = None
    ) -> list[Hit]:
        """At most `top` manifests for an image: by its watermark, else by its fingerprint.

        A watermark whose record shows another image was copied and finds nothing. `algorithm` limits the
        search to one of the two. `watermark_key`, a secret one, is looked for besides the public key.
        Raises InputError for an image that can't be decoded.
        """
        image, view = pixels.rgb(), pixels.view()
        if image is None or view is None:
            raise InputError(pixels.error or "can't be decoded")
        if algorithm not in FINGERPRINTS:
            for payload in Payloads(image, key=watermark_key, algorithm=algorithm):
                if self._shows(payload, view):
                    return self.by_binding(watermark.ALGORITHM, payload, top)
        if algorithm is None or algorithm in FINGERPRINTS:
            return self.by_binding(FINGERPRINT, self._folder.phash(view), top)
        return []

    def manifest(self, manifest_id: str) -> bytes | None:
        """The manifest store whose active manifest has that id; None when the catalog has none.

        The id that an image had before its late timestamp finds the store that it had then.
        Raises InputError for anything that is not a manifest id.
        """
        if not _MANIFEST_ID.fullmatch(manifest_id):
            raise InputError("that is not a C2PA manifest id")
        rows = lookup.by_manifest(self._catalog, manifest_id)
        if not rows:
            earlier = sidecar.earlier_digest(self._catalog.folder, manifest_id)
            return None if earlier is None else self._kept(earlier)
        if rows[0]["credential_digest"] is None:
            return None
        digest = str(rows[0]["credential_digest"])
        kept = self._kept(digest)
        return kept if kept is not None else self._from_file(rows[0]["file"], digest)

    def _kept(self, digest: str) -> bytes | None:
        try:
            return sidecar.read_manifest(self._catalog.folder, digest)
        except ProvenanceError:
            return None  # a damaged pack; the signed file may still be there

    def _from_file(self, name: str | None, digest: str) -> bytes | None:
        if not name:
            return None
        try:
            data = read_limited(self._catalog.folder / name)
        except NonesuchError:
            return None
        store = read_credentials(data, sniff_mime(data), load_trust()).store
        return store if store is not None and hashlib.sha256(store).hexdigest() == digest else None

    def _shows(self, payload: int, image: RGB) -> bool:
        bearers = catalog_match.bearing(self._folder, payload, self._folder.phash(image))
        return bool(catalog_match.showing(catalog_match.makers(bearers), image))


def active_only(store: bytes) -> bytes:
    """A manifest store that holds the active manifest of `store`, its last one, and no other.

    Raises InputError when the JUMBF boxes (ISO/IEC 19566-5) of the store are broken.
    """
    boxes = list(_boxes(store, 0, len(store)))
    children = list(_boxes(store, 8, len(store))) if len(boxes) == 1 else []
    if len(children) < 2:
        raise InputError("the manifest store is broken")
    (first, last) = children[0], children[-1]
    content = store[first[0] : first[1]] + store[last[0] : last[1]]
    return struct.pack(">I", 8 + len(content)) + store[4:8] + content


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        size = struct.unpack_from(">I", data, start)[0] if start + 8 <= end else 0
        if size < 8 or start + size > end:
            raise InputError("the manifest store is broken")
        yield start, start + size
        start += size


def _hits(rows: Iterator[tuple[dict[str, Any], int]], top: int) -> list[Hit]:
    found: dict[str, Hit] = {}
    for row, score in rows:
        name = row["manifest_id"]
        if name and name not in found and len(found) < top:
            found[name] = Hit(name, score)
    return list(found.values())


def _score(distance: int) -> int:
    return round(100 * (1 - distance / CHANCE_DISTANCE))
