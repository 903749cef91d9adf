"""The catalog as verification and recovery ask it: provenance's CatalogLookup over catalogs' look-ups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalogs import lookup
from catalogs.hashes import perceptual_hashes
from catalogs.query import Catalog
from foundation.files import atomic_write
from foundation.images import RGB
from provenance.lookup import CatalogRecord
from provenance.recovery import Recovery, recover
from provenance.sidecar import read_manifest


class CatalogFolder:
    """A provenance.lookup.CatalogLookup over a catalog on disk; pickles as its path.

    Raises InputError when there is no catalog there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._catalog = Catalog(path)

    @property
    def root(self) -> Path:
        """The output folder."""
        return self._catalog.folder

    def __reduce__(self) -> tuple[type[CatalogFolder], tuple[Path]]:
        return CatalogFolder, (self._path,)

    def by_watermark(self, payload: int) -> CatalogRecord | None:
        """The image whose watermark carries `payload`."""
        return self._first(lookup.by_watermark(self._catalog, payload))

    def by_digest(self, sha256: str) -> CatalogRecord | None:
        """The image whose file has this SHA-256."""
        return self._first(lookup.by_digest(self._catalog, sha256))

    def by_phash(self, phash: int, distance: int) -> tuple[CatalogRecord, int] | None:
        """The nearest image within `distance` bits, with its distance."""
        found = lookup.by_phash(self._catalog, phash, max_distance=distance, top=1)
        record = self._first(found)
        return None if record is None else (record, int(found[0]["distance"]))

    def phash(self, image: RGB) -> int:
        """The 64-bit perceptual hash as the catalog computes it."""
        return perceptual_hashes(image)["phash"]

    def _first(self, rows: list[dict[str, Any]]) -> CatalogRecord | None:
        drawn = [row for row in rows if row["file"]]
        return _record(drawn[0], self._catalog.folder) if drawn else None


@dataclass(frozen=True, slots=True)
class Found:
    """An image that came back from a catalog."""

    recovery: Recovery

    def to_json(self) -> dict[str, Any]:
        """What is known of it now, as plain data."""
        record = self.recovery.record
        return {
            "image_id": record.image_id,
            "found_by": self.recovery.found_by,
            "phash_distance": self.recovery.distance,
            "prompt": record.prompt,
            "recipe": record.recipe,
            "manifest_digest": record.manifest_digest if self.recovery.manifest else None,
            "original": record.path if self.recovery.original else "gone or changed",
        }

    def write(self, out: Path) -> Path | None:
        """Write the original file to `out`; without it, the manifest store beside it as .c2pa. None without both."""
        if self.recovery.original is not None:
            atomic_write(out, self.recovery.original)
            return out
        if self.recovery.manifest is not None:
            sidecar = out.with_suffix(".c2pa")
            atomic_write(sidecar, self.recovery.manifest)
            return sidecar
        return None


def recover_from(catalog: Path, path: Path) -> Found | None:
    """The catalog's image of which `path` is a stripped copy; None when the catalog does not know it.

    Raises InputError for a file that can't be read, ProvenanceError when its watermark was copied from
    another picture.
    """
    folder = CatalogFolder(catalog)

    def manifest_of(record: CatalogRecord) -> bytes | None:
        return read_manifest(folder.root, record.manifest_digest) if record.manifest_digest else None

    found = recover(path, folder, manifest_of=manifest_of)
    return None if found is None else Found(found)


_RECIPE_COLUMNS = (
    "backend", "model", "model_digest", "prompt", "negative_prompt", "seed", "width", "height", "steps",
    "guidance_scale", "scheduler", "dtype",
)  # fmt: skip


def _record(row: Mapping[str, Any], folder: Path) -> CatalogRecord:
    file = folder / row["file"]
    recipe = {name: row[name] for name in _RECIPE_COLUMNS}
    recipe |= {"loras": json.loads(row["loras"] or "[]"), "options": json.loads(row["options"] or "{}")}
    return CatalogRecord(
        image_id=row["recipe_id"],
        watermark_id=row["watermark_id"] or None,
        path=row["file"],
        file=file if file.exists() else None,
        file_digest=row["sha256"],
        phash=row["phash"] or None,
        prompt=row["prompt"],
        recipe=recipe,
        generator=row["model"],
        manifest_digest=row["credential_digest"],
    )
