"""The sidecar store: manifests kept beside the catalog, one pack per shard, found by their digest.

A pack is a plain ZIP file (stored, not compressed) in ROOT/manifests whose entries are `<sha256>.c2pa`; it is
written in one rename, so a reader sees a whole pack or none. A pack of late timestamps also says, in `earlier.json`,
which manifests its own took the place of: their ids, and the digests under which other packs keep them.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from nonesuch.foundation.errors import ProvenanceError
from nonesuch.foundation.files import atomic_write

FOLDER = "manifests"
MAX_MANIFEST = 64 << 20  # bytes of one manifest store that are read back
STAMPED = "stamped-"  # packs of late timestamps are called so
_EARLIER = "earlier.json"
# what zipfile, zlib and json raise for a file that was changed
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    ValueError,
    EOFError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
)
_EPOCH = (2020, 1, 1, 0, 0, 0)  # a fixed time makes the same manifests the same pack


def write_pack(
    root: Path, name: str, manifests: Iterable[bytes], *, earlier: Mapping[str, str] | None = None
) -> Path:
    """Keep manifest stores as ROOT/manifests/NAME.zip, replacing a pack of that name; returns its path.

    `earlier` maps the ids of manifests that these replace to the digests of their stores.
    Raises StorageError for a full disk or an unwritable folder.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as pack:
        for digest, manifest in sorted({hashlib.sha256(m).hexdigest(): m for m in manifests}.items()):
            pack.writestr(zipfile.ZipInfo(f"{digest}.c2pa", _EPOCH), manifest)
        if earlier:
            pack.writestr(zipfile.ZipInfo(_EARLIER, _EPOCH), json.dumps(earlier, sort_keys=True))
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


def pack_content(path: Path) -> tuple[dict[str, bytes], dict[str, str], str | None]:
    """What a pack holds: whole manifests by digest, what they took the place of, and in words what is damaged, or None.

    Never raises for a damaged pack: what can be read of it is returned.
    """
    manifests: dict[str, bytes] = {}
    earlier: dict[str, str] = {}
    try:
        with zipfile.ZipFile(path) as pack:
            broken = 0
            for entry in pack.infolist():
                try:
                    if entry.file_size > MAX_MANIFEST:
                        raise ValueError("is too large")
                    content = pack.read(entry)
                    if entry.filename == _EARLIER:
                        earlier = {str(key): str(value) for key, value in json.loads(content).items()}
                    elif f"{hashlib.sha256(content).hexdigest()}.c2pa" != entry.filename:
                        raise ValueError("has changed")
                    else:
                        manifests[entry.filename.removesuffix(".c2pa")] = content
                except _DAMAGE:
                    broken += 1
    except _DAMAGE as error:
        return manifests, earlier, str(error)
    return manifests, earlier, f"{broken} of its entries can't be read" if broken else None


def packs(root: Path) -> list[Path]:
    """All packs of an output folder."""
    return sorted((root / FOLDER).glob("*.zip"))


def earlier_digest(root: Path, manifest_id: str) -> str | None:
    """The digest of the store that an image had before its late timestamp, by that store's manifest id, or None.

    A damaged pack counts as one that knows nothing.
    """
    for path in sorted((root / FOLDER).glob(f"{STAMPED}*.zip")):
        try:
            stat = path.stat()
            digest = _earlier(path, stat.st_mtime_ns, stat.st_size).get(manifest_id)
        except (zipfile.BadZipFile, OSError, ValueError):
            continue
        if isinstance(digest, str):
            return digest
    return None


@lru_cache(maxsize=256)
def _earlier(path: Path, changed: int, size: int) -> Mapping[str, object]:
    # `changed` and `size` tell one state of the pack from the next
    with zipfile.ZipFile(path) as pack:
        if _EARLIER not in pack.namelist() or pack.getinfo(_EARLIER).file_size > MAX_MANIFEST:
            return {}
        found = json.loads(pack.read(_EARLIER))
    return found if isinstance(found, dict) else {}


def _packs(root: Path, first: str | None) -> Iterator[Path]:
    named = root / FOLDER / f"{first}.zip" if first else None
    if named is not None and named.is_file():
        yield named
    for path in sorted((root / FOLDER).glob("*.zip")):
        if path != named:
            yield path
