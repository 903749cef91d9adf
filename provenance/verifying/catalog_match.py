"""Finding an image in a catalog, and catching a watermark that was copied onto another image.

Several rows may match one image: the file itself, imported without a statement of its origin, and the row that
drew it. All are read and the one that says most counts, so that a row which knows nothing hides nothing.

A 64-bit watermark can be lifted from one image and laid on another; the perceptual hash of the row that it was made
for then disagrees. A hash also disagrees after a deep crop, so the original, where it still lies, is searched for the
image before the verdict is "conflict".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nonesuch.foundation.errors import NonesuchError
from nonesuch.foundation.images import RGB, decode_rgb, read_limited
from nonesuch.provenance import vocabulary
from nonesuch.provenance.evidence import Evidence, Says
from nonesuch.provenance.verifying.catalog_protocol import CatalogLookup, CatalogRecord

# Of 64 bits. Re-encoding and resizing move an image's own hash by 0 to 8; unrelated images differ by 32 ± 6.
SAME_DISTANCE = 6  # a match by fingerprint alone
DIFFERENT_DISTANCE = 16  # beyond this a watermark's record shows another image
_MOST_SEARCHED = 4  # originals that are searched for one image, of the rows that bear one watermark

Way = Literal["digest", "watermark", "fingerprint"]
_WAYS: tuple[Way, ...] = ("digest", "watermark", "fingerprint")
_TELLS: tuple[Says, ...] = ("nothing", "captured", "ai-edited", "ai-generated")


@dataclass(frozen=True, slots=True)
class Hit:
    """One row that knows the image."""

    record: CatalogRecord
    found_by: Way
    distance: int | None  # between perceptual hashes, bits; None when there is none to compare


@dataclass(frozen=True, slots=True)
class Match:
    """A catalog's answer: every row that knows the image, the most telling first."""

    hits: tuple[Hit, ...]
    evidence: tuple[Evidence, ...]
    copied: str | None = None  # why its watermark must be copied from the first hit's image, if it must

    @property
    def record(self) -> CatalogRecord:
        """The record that counts."""
        return self.hits[0].record

    @property
    def found_by(self) -> Way:
        return self.hits[0].found_by

    @property
    def distance(self) -> int | None:
        return self.hits[0].distance

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The recipe of the most telling row that has one."""
        return next((hit.record.recipe for hit in self.hits if hit.record.recipe is not None), None)

    @property
    def generator(self) -> str | None:
        return next((hit.record.generator for hit in self.hits if hit.record.generator), None)

    def marked(self, payload: int) -> CatalogRecord | None:
        """The record of the image that the watermark `payload` was made for."""
        bearers = [hit for hit in self.hits if hit.record.watermark_id == payload]
        return next((hit.record for hit in makers(bearers)), None)

    def to_json(self) -> dict[str, Any]:
        return self.record.to_json(found_by=self.found_by, distance=self.distance)


def find(catalog: CatalogLookup, digest: str, payloads: Iterable[int], image: RGB | None) -> Match | None:
    """The records of an image: by its digest, its watermarks and its fingerprint; None when it is unknown.

    `digest` is the file's SHA-256, `payloads` are the 64 bits of its watermarks, `image` is uint8 [H, W, 3]. The
    search ends with a row of an image that was drawn or marked here and says that a model was at work: nothing could
    add to it. Further payloads are then not taken.
    """
    hits = [Hit(record, "digest", None) for record in catalog.by_digest(digest)]
    copied: Hit | None = None
    if image is not None and not _settled(hits):
        phash = catalog.phash(image)
        for payload in payloads:
            bearers = bearing(catalog, payload, phash)
            shown = showing(bearers, image, {hit.record.image_id for hit in hits})
            hits += _new(shown, hits)
            made = makers(bearers)
            if made and not any(hit in shown for hit in made):
                copied = made[0]
                break
            if _settled(hits):
                break
        if copied is None and not _settled(hits):
            near = [Hit(one, "fingerprint", away) for one, away in catalog.by_phash(phash, SAME_DISTANCE)]
            hits += _new(near, hits)
    if copied is None and not hits:
        return None
    hits.sort(key=_telling, reverse=True)  # stable: the nearest of equals stays first
    evidence = [_evidence(hit) for hit in _one_of_each_way(hits)]
    evidence += _contradiction(hits)
    if copied is None:
        return Match(tuple(hits), tuple(evidence))
    why = (
        f"The watermark leads to {copied.record.path}, which shows another image "
        f"(fingerprints differ in {copied.distance} of 64 bits)."
    )
    return Match((copied, *hits), (*evidence, Evidence("catalog", "conflict", "strong", why)), why)


def showing(bearers: Sequence[Hit], image: RGB, known: Iterable[str] = ()) -> list[Hit]:
    """Those of the rows with one watermark that show the image, or of which it is a part; `known` ids do.

    A row without a hash can't be compared and is taken at its word.
    """
    found, searched = [], 0
    for hit in sorted(bearers, key=lambda one: not one.record.own):
        same = hit.record.image_id in known or hit.distance is None or hit.distance <= DIFFERENT_DISTANCE
        if not same and searched < _MOST_SEARCHED:
            searched += 1
            same = shows(hit.record, image)
        if same:
            found.append(hit)
    return found


def shows(record: CatalogRecord, image: RGB) -> bool:
    """Whether `image` is a part of the record's original, also turned, scaled or mirrored."""
    if record.file is None:
        return False
    from nonesuch.provenance.verifying.same_image import part_of

    try:
        original = decode_rgb(read_limited(record.file), where=str(record.file))
    except NonesuchError:
        return False
    return part_of(image, original)


def makers(bearers: Sequence[Hit]) -> list[Hit]:
    """Those of the rows with one watermark whose image it was made for: own ones, else what a credential ties to it."""
    own = [hit for hit in bearers if hit.record.own]
    return own or [hit for hit in bearers if hit.record.mark_from == "credential"]


def bearing(catalog: CatalogLookup, payload: int, phash: int) -> list[Hit]:
    """The rows with that watermark, each with its distance from the image whose hash is `phash`."""
    return [
        Hit(one, "watermark", None if one.phash is None else (one.phash ^ phash).bit_count())
        for one in catalog.by_watermark(payload)
    ]


def says(record: CatalogRecord) -> Says:
    """A row's statement of its image's origin."""
    origin = vocabulary.origin_of(record.source_type or "")
    if origin in ("generated", "partly-generated"):
        return "ai-generated" if origin == "generated" else "ai-edited"
    return "captured" if origin == "captured" else "nothing"


def _new(more: Iterable[Hit], hits: Sequence[Hit]) -> list[Hit]:
    known = {hit.record.image_id for hit in hits}
    return [hit for hit in more if hit.record.image_id not in known]


def _settled(hits: Iterable[Hit]) -> bool:
    return any(hit.record.own and says(hit.record) in ("ai-generated", "ai-edited") for hit in hits)


def _telling(hit: Hit) -> tuple[bool, int, bool, int]:
    record = hit.record
    told = _TELLS.index(says(record))
    return record.own, told, record.recipe is not None, -_WAYS.index(hit.found_by)


def _one_of_each_way(hits: Iterable[Hit]) -> list[Hit]:
    """Of each way of finding the first, in the order of the ways."""
    first: dict[Way, Hit] = {}
    for hit in hits:
        first.setdefault(hit.found_by, hit)
    return [first[way] for way in _WAYS if way in first]


def _evidence(hit: Hit) -> Evidence:
    said = says(hit.record)
    # a catalog's statement about a camera is a claim, as metadata's is
    grade = {"nothing": "none", "captured": "claimed"}.get(said, "strong")
    return Evidence("catalog", said, grade, f"The catalog's {hit.record.path} {_how(hit)}.")  # type: ignore[arg-type]


def _how(hit: Hit) -> str:
    if hit.found_by == "digest":
        return "is this very file"
    if hit.found_by == "fingerprint":
        return f"looks the same ({hit.distance} of 64 bits differ)"
    return "has this watermark" + ("" if hit.distance is None else " and shows this image")


def _contradiction(hits: Sequence[Hit]) -> list[Evidence]:
    """Two rows of one image of which one names a camera and the other a generative model."""
    captured = next((hit for hit in hits if says(hit.record) == "captured"), None)
    artificial = next((hit for hit in hits if says(hit.record) in ("ai-generated", "ai-edited")), None)
    if captured is None or artificial is None:
        return []
    detail = "The catalog contradicts itself: " + ", but ".join(
        f"{hit.record.path}, which {_how(hit)}, is called {hit.record.source_type}"
        for hit in (captured, artificial)
    )
    return [Evidence("catalog", "conflict", "strong", f"{detail}.")]
