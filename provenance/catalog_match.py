"""Finding an image in a catalog, and catching a watermark that was copied onto another picture.

A 64-bit watermark can be lifted from one image and laid on another; the catalog's perceptual hash then
disagrees. A hash also disagrees after a deep crop, so the original, where it still lies, is searched for the
picture before the verdict is "conflict".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from foundation.errors import NonesuchError
from foundation.images import RGB, decode_rgb, read_limited
from provenance import vocabulary
from provenance.evidence import Evidence, Says
from provenance.lookup import CatalogLookup, CatalogRecord

# Of 64 bits. Re-encoding and resizing move an image's own hash by 0 to 8; unrelated pictures differ by 32 ± 6.
SAME_DISTANCE = 6  # a match by fingerprint alone
DIFFERENT_DISTANCE = 16  # beyond this a watermark's record shows another picture


@dataclass(frozen=True, slots=True)
class Match:
    """A catalog's answer."""

    record: CatalogRecord
    found_by: str  # digest, watermark, fingerprint
    distance: int | None  # between perceptual hashes, bits; None when there is none to compare
    evidence: Evidence

    def to_json(self) -> dict[str, Any]:
        return self.record.to_json(found_by=self.found_by, distance=self.distance)


def find(catalog: CatalogLookup, digest: str, payloads: Iterable[int], image: RGB | None) -> Match | None:
    """The record of an image: by its digest, else a watermark, else its fingerprint; None when unknown.

    `digest` is the file's SHA-256, `payloads` are the 64 bits of its watermarks, taken as far as the first that the
    catalog knows, `image` is uint8 [H, W, 3].
    """
    record = catalog.by_digest(digest)
    if record is not None:
        return _match(record, "digest", None, "is this very file")
    if image is None:
        return None
    phash = catalog.phash(image)
    record = next((one for one in map(catalog.by_watermark, payloads) if one is not None), None)
    if record is not None:
        distance = None if record.phash is None else (record.phash ^ phash).bit_count()
        if distance is None or distance <= DIFFERENT_DISTANCE or shows(record, image):
            return _match(record, "watermark", distance, "has this watermark and shows this picture")
        detail = (
            f"The watermark leads to {record.path}, which shows another picture "
            f"(fingerprints differ in {distance} of 64 bits)."
        )
        return Match(record, "watermark", distance, Evidence("catalog", "conflict", "strong", detail))
    near = catalog.by_phash(phash, SAME_DISTANCE)
    if near is None:
        return None
    return _match(near[0], "fingerprint", near[1], f"looks the same ({near[1]} of 64 bits differ)")


def shows(record: CatalogRecord, image: RGB) -> bool:
    """Whether `image` is a part of the record's original, also turned, scaled or mirrored."""
    if record.file is None:
        return False
    from provenance.likeness import part_of

    try:
        original = decode_rgb(read_limited(record.file), where=str(record.file))
    except NonesuchError:
        return False
    return part_of(image, original)


def _match(record: CatalogRecord, found_by: str, distance: int | None, what: str) -> Match:
    origin = vocabulary.origin_of(record.source_type or "")
    says: Says = "nothing"
    if origin in ("generated", "partly-generated"):
        says = "ai-generated" if origin == "generated" else "ai-edited"
    detail = f"The catalog's {record.path} {what}."
    return Match(
        record,
        found_by,
        distance,
        Evidence("catalog", says, "strong" if says != "nothing" else "none", detail),
    )
