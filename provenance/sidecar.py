"""The sidecar store: manifests kept beside the catalog, one pack for each shard, found by their digest.

A pack is a plain ZIP file (stored, not compressed) in ROOT/manifests whose entries are `<sha256>.c2pa`; it is
written in one rename, so a reader sees a whole pack or none.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from foundation.errors import ProvenanceError
from foundation.files import atomic_write

FOLDER = "manifests"
MAX_MANIFEST = 64 << 20  # bytes of one manifest store that are read back


def write_pack(root: Path, name: str, manifests: Iterable[bytes]) -> Path:
    """Keep manifest stores as ROOT/manifests/NAME.zip, replacing a pack of that name; returns its path.

    Raises StorageError for a full disk or an unwritable folder.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as pack:
        for digest, manifest in sorted({hashlib.sha256(m).hexdigest(): m for m in manifests}.items()):
            # A fixed time makes the same manifests the same pack.
            pack.writestr(zipfile.ZipInfo(f"{digest}.c2pa", (2020, 1, 1, 0, 0, 0)), manifest)
    path = root / FOLDER / f"{name}.zip"
    atomic_write(path, buffer.getvalue())
    return path


def read_manifest(root: Path, digest: str, *, pack: str | None = None) -> bytes | None:
    """The manifest store with this SHA-256; None when it isn't kept. Looks in `pack` first, then in all.

    Raises ProvenanceError when the pack that holds it is damaged.
    """
    for path in _packs(root, pack):
        try:
            with zipfile.ZipFile(path) as archive:
                try:
                    entry = archive.getinfo(f"{digest}.c2pa")
                except KeyError:
                    continue
                if entry.file_size > MAX_MANIFEST:
                    raise ProvenanceError(f"manifest {digest[:12]}… is too large", where=str(path))
                manifest = archive.read(entry)
        except (zipfile.BadZipFile, OSError) as error:
            raise ProvenanceError(f"damaged manifest pack ({error})", where=str(path)) from error
        if hashlib.sha256(manifest).hexdigest() != digest:
            raise ProvenanceError(f"manifest {digest[:12]}… has changed", where=str(path))
        return manifest
    return None


def _packs(root: Path, first: str | None) -> Iterator[Path]:
    named = root / FOLDER / f"{first}.zip" if first else None
    if named is not None and named.is_file():
        yield named
    for path in sorted((root / FOLDER).glob("*.zip")):
        if path != named:
            yield path
