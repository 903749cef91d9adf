"""What verification asks of a catalog: a protocol and a record, so that provenance need not import catalogs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from nonesuch.foundation.images import RGB


# What ties a watermark to a row: the image was drawn or marked here; of imported files, a sound credential names the
# watermark, or it was found in the pixels, where it may be a copy's or may have been copied.
MarkFrom = Literal["own", "credential", "pixels"]


@dataclass(frozen=True, slots=True)
class CatalogRecord:
    """One image of a catalog, as far as verification needs it."""

    image_id: str  # the recipe's id
    watermark_id: int | None  # 64 bits; None for an image that carries no watermark
    path: str  # as the catalog names the file
    file: Path | None = None  # where the file lies now; None when it is gone or far away
    file_digest: str | None = None  # SHA-256, hex
    phash: int | None = None  # 64-bit perceptual hash
    prompt: str | None = None
    recipe: dict[str, Any] | None = None
    generator: str | None = None
    manifest_digest: str | None = None
    source_type: str | None = "trainedAlgorithmicMedia"  # IPTC name or URI; None when not stated
    mark_from: MarkFrom = "own"

    @property
    def own(self) -> bool:
        """Whether nonesuch drew or marked this very image."""
        return self.mark_from == "own"

    def to_json(self, *, found_by: str, distance: int | None) -> dict[str, Any]:
        """What a verdict's `catalog` says."""
        return {
            "image_id": self.image_id,
            "path": self.path,
            "found_by": found_by,
            "phash_distance": distance,
            "prompt": self.prompt,
            "manifest_digest": self.manifest_digest,
        }


class CatalogLookup(Protocol):
    """Finds records. It is called from worker processes too, so it must pickle when folders are verified.

    Several rows may know one image; all are wanted, since one that was imported may know nothing of its origin.
    """

    def by_watermark(self, payload: int) -> Sequence[CatalogRecord]:
        """The images whose watermark carries `payload` (64 bits)."""
        ...

    def by_digest(self, sha256: str) -> Sequence[CatalogRecord]:
        """The images whose file has this SHA-256 (64 hex digits)."""
        ...

    def by_phash(self, phash: int, distance: int) -> Sequence[tuple[CatalogRecord, int]]:
        """The images within `distance` bits, each with its distance, the nearest first."""
        ...

    def phash(self, image: RGB) -> int:
        """The 64-bit perceptual hash as this catalog computes it."""
        ...
