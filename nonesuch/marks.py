"""Marking pictures that other programs made, and entering them into a catalog."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalogs.hashes import perceptual_hashes
from catalogs.parts import part_files, publish_shard, published_ids, recipe_key
from catalogs.schema import catalog_schema
from foundation.errors import InputError, NonesuchError
from foundation.files import atomic_write, file_digest
from provenance.foreign import mark_file
from provenance.request import MarkedFile
from provenance.signing import Signer, open_signer

SWEEP = "marked"  # what the catalog's `sweep` column says of them


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of one file."""

    path: str  # the file that was marked
    out: str | None  # the marked copy; None when there is an error
    watermark_id: str | None  # 16 hex digits
    credential_digest: str | None  # SHA-256 of the manifest store, hex
    parent: str | None  # integrity of the original's credential: intact, altered, …; None without one
    catalogued: bool  # whether a catalog has a row of it now
    error: str | None


def mark_files(
    paths: Iterable[Path], out: Path, *, source_type: str | None = None, catalog: Path | None = None
) -> Iterator[Mark]:
    """Watermark and sign a copy of each file in the folder `out`; the original's credential becomes the parent.

    `source_type`, an IPTC name, says what the pictures are. With `catalog`, an output folder, each gets a
    row whose id is the SHA-256 of the original file; a file that has one already is marked again but not
    entered twice. One bad file is an error in its Mark. Raises InputError for a bad certificate or catalog.
    """
    signer = open_signer()
    known = set() if catalog is None or not part_files(catalog) else {int(i) for i in published_ids(catalog)}
    for path in paths:
        try:
            yield _mark(path, out, signer, source_type, catalog, known)
        except InputError as error:
            yield Mark(str(path), None, None, None, None, False, error.message)
        except NonesuchError as error:
            yield Mark(str(path), None, None, None, None, False, str(error))


def _mark(
    path: Path, out: Path, signer: Signer, source_type: str | None, catalog: Path | None, known: set[int]
) -> Mark:
    if not path.is_file():
        raise InputError("no such file")
    original = file_digest(path)
    target = out / path.name
    if target.resolve() == path.resolve():
        raise InputError("the marked copy would take the original's place; choose another --out")
    marked = mark_file(path, signer, source_type=source_type, payload=recipe_key(original))
    target = target.with_suffix(marked.suffix)
    atomic_write(target, marked.data)
    entered = catalog is not None
    if catalog is not None and recipe_key(original) not in known:
        row = _row(original, path, target, marked, catalog)
        publish_shard(catalog, f"{SWEEP}-{original[:16]}", [row], catalog_schema({}, {}, None))
        known.add(recipe_key(original))
    return Mark(
        path=str(path),
        out=str(target),
        watermark_id=original[:16],
        credential_digest=marked.manifest_digest,
        parent=marked.parents[0].integrity if marked.parents else None,
        catalogued=entered,
        error=None,
    )


def _row(original: str, path: Path, target: Path, marked: MarkedFile, catalog: Path) -> dict[str, Any]:
    height, width = marked.image.shape[:2]
    return {
        "recipe_id": original,
        "sweep": SWEEP,
        "backend": "other",
        "prompt": "",
        "width": width,
        "height": height,
        "status": "ok",
        "options": "{}",
        "loras": "[]",
        **perceptual_hashes(marked.image),
        "watermark_id": recipe_key(original),
        "watermark_psnr": marked.watermark_psnr,
        "manifest_id": marked.manifest_id,
        "credential_digest": marked.manifest_digest,
        "file": os.path.relpath(target, catalog).replace(os.sep, "/"),
        "format": marked.suffix.lstrip("."),
        "bytes": len(marked.data),
        "sha256": marked.sha256,
        "init_digest": original,
        "drawn_at": datetime.now(UTC),
    }
