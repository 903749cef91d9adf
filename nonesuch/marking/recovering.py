"""Recovery from a catalog: a stripped image back to its record, manifest and original file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nonesuch.flows.catalog_folder import MARKED, CatalogFolder
from nonesuch.foundation.files import atomic_write
from nonesuch.provenance.sidecar import read_manifest
from nonesuch.provenance.verifying.catalog_protocol import CatalogRecord
from nonesuch.provenance.verifying.recovery import Recovery, recover

__all__ = ["MARKED", "CatalogFolder", "Found", "recover_from"]


@dataclass(frozen=True, slots=True)
class Found:
    """An image recovered from a catalog."""

    recovery: Recovery

    def to_json(self) -> dict[str, Any]:
        """What is known about it, as plain data."""
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


def recover_from(catalog: Path, path: Path, *, watermark_key: bytes | None = None) -> Found | None:
    """The catalog's image of which `path` is a stripped copy; None when the catalog does not know it.

    `watermark_key`, a secret one, is looked for besides the public key.

    Raises InputError for a file that can't be read, ProvenanceError when its watermark was copied from
    another image.
    """
    folder = CatalogFolder(catalog)

    def manifest_of(record: CatalogRecord) -> bytes | None:
        return read_manifest(folder.root, record.manifest_digest) if record.manifest_digest else None

    found = recover(path, folder, manifest_of=manifest_of, watermark_key=watermark_key)
    return None if found is None else Found(found)
