"""Mending what lies beside images and parts: packs of manifests, thumbnails, indexes. And digests of many files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from nonesuch.catalogs.thumbnails import write_thumbnail
from nonesuch.flows.repair import damage_found
from nonesuch.flows.repair.aside import Aside
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.output_folder import SCRATCH
from nonesuch.flows.run.publishing import REPAIRED
from nonesuch.foundation.errors import NonesuchError
from nonesuch.foundation.files import file_digest
from nonesuch.foundation.images import decode_rgb, read_limited
from nonesuch.provenance.credentials.reading import read_credentials, sniff_mime
from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.sidecar import pack_content, write_pack

_READERS: Final = 4  # threads that read files for their digest


def digests_of(paths: Sequence[Path]) -> list[str | None]:
    """The SHA-256 of each file, None for one that is not there or can't be read."""

    def digest(path: Path) -> str | None:
        try:
            return file_digest(path)
        except OSError:
            return None

    with ThreadPoolExecutor(_READERS, thread_name_prefix="digest") as pool:
        return list(pool.map(digest, paths))


def mend_beside(job: Job, rows: Sequence[Mapping[str, Any]], aside: Aside) -> tuple[int, list[str]]:
    """Mend manifests, thumbnails and indexes; how many things were, and what could not be, a sentence each.

    rows    those of the job's sweep whose files are as they should be
    """
    mended, beyond = _mend_manifests(job, rows, aside)
    files = {row["recipe_id"]: row["file"] for row in rows if row["file"]}
    for path in damage_found.damaged_thumbnails(job.out):
        path.unlink()  # derived: a missing one is made again when it is needed
        mended += 1
        if path.stem in files:
            image = decode_rgb(read_limited(job.out / files[path.stem]), where=files[path.stem])
            write_thumbnail(job.out, path.stem, image, scratch=job.out / SCRATCH)
    for path in damage_found.damaged_indexes(job.out):
        path.unlink()  # derived, too: without it the part is scanned until the next compaction
        mended += 1
    return mended, beyond


def _mend_manifests(job: Job, rows: Sequence[Mapping[str, Any]], aside: Aside) -> tuple[int, list[str]]:
    kept, problems = damage_found.manifests_kept(job.out)
    for path in problems:
        manifests, earlier, _ = pack_content(path)
        aside.copy(path)
        if manifests:
            write_pack(job.out, path.stem, manifests.values(), earlier=earlier)
        else:
            path.unlink()
    found, lasting = [], 0
    for row in rows:
        digest = row["credential_digest"]
        if digest is None or digest in kept:
            continue
        store = _store(job.out / row["file"]) if row["file"] else None
        if store is None or hashlib.sha256(store).hexdigest() != digest:
            lasting += 1
        else:
            found.append(store)
    if found:
        name = hashlib.sha256(b"".join(sorted(hashlib.sha256(store).digest() for store in found))).hexdigest()
        write_pack(job.out, f"{job.sweep.name}-{name[:16]}{REPAIRED}", found)
    beyond = [f"{lasting} manifests are lost: no image file that is still here holds them"] if lasting else []
    return len(problems) + len(found), beyond


def _store(path: Path) -> bytes | None:
    """The manifest store in an image file, None where there is none."""
    try:
        data = read_limited(path)
    except NonesuchError:
        return None
    return read_credentials(data, sniff_mime(data), load_trust()).store
