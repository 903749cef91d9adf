"""`nonesuch keys stamp`: timestamps for what was signed while the authority was unavailable, in a catalog or file by file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage.amend import amend_rows
from nonesuch.catalogs.storage.parts import part_files
from nonesuch.flows.run.output_folder import SCRATCH, hold
from nonesuch.foundation.errors import InputError, NonesuchError, ProvenanceError, StorageError
from nonesuch.foundation.files import atomic_write
from nonesuch.foundation.images import read_limited
from nonesuch.provenance.credentials.reading import read_credentials, sniff_mime
from nonesuch.provenance.credentials.trustlist import TrustSet, load_trust
from nonesuch.provenance.request import SignerChoice
from nonesuch.provenance.sidecar import STAMPED, write_pack
from nonesuch.provenance.signing.signer import Signer, check_authority, open_chosen
from nonesuch.provenance.signing.stamping import stamp_file

_BATCH = 1000  # images per row update
_THREADS = 8  # concurrent requests to the authority
_COLUMNS = ["recipe_id", "file", "sha256", "manifest_id", "credential_digest"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """The result for one file."""

    path: str
    stamped: bool  # False when it already had a timestamp, or could not get one
    error: str | None


@dataclass(frozen=True, slots=True)
class _Stamped:
    """A catalog's image with its timestamp, before anything is written."""

    recipe_id: str
    data: bytes | None  # the new file; None when the file already has it and only its row is old
    manifest: bytes
    change: dict[str, Any]  # columns of its row


def stamp_paths(paths: Iterable[Path], choice: SignerChoice) -> Iterator[Stamp]:
    """Timestamp files in place: the queued images of an output folder, or single files.

    `choice` names the authority, and the certificate that signed them. Run it again to continue after a stop.
    One bad file is an error in its Stamp. Raises InputError for a bad certificate, a folder without a catalog or
    no authority, ProvenanceError when the authority does not respond, StorageError for a full disk or while
    another run writes there.
    """
    if choice.timestamp_url is None:
        raise InputError("no timestamp authority is given", hint="Give its address: --timestamp URL")
    signer, trust = open_chosen(choice), load_trust()
    check_authority(signer)
    for path in paths:
        if not path.is_dir():
            yield _single(path, signer, trust)
        elif part_files(path):
            yield from _catalog(path, signer, trust)
        else:
            raise InputError("has no catalog", where=str(path), hint="Name an output folder or image files.")


def queued_images(out: Path) -> int:
    """How many images of an output folder wait for their timestamp."""
    if not part_files(out):
        return 0
    catalog = Catalog(out)
    return catalog.count("timestamp = 'queued'") if "timestamp" in catalog.schema.names else 0


def _single(path: Path, signer: Signer, trust: TrustSet) -> Stamp:
    try:
        signed = stamp_file(read_limited(path), signer, trust)
        if signed is not None:
            atomic_write(path, signed.data)
    except StorageError:
        raise
    except NonesuchError as error:
        return Stamp(str(path), False, error.message)
    return Stamp(str(path), signed is not None, None)


def _catalog(out: Path, signer: Signer, trust: TrustSet) -> Iterator[Stamp]:
    """Manifests first, then files, then rows: the next run completes whatever a stop leaves half done."""
    with hold(out), ThreadPoolExecutor(_THREADS) as pool:
        queued = _queued(out)
        for start in range(0, len(queued), _BATCH):
            rows = queued[start : start + _BATCH]
            done: list[_Stamped] = []
            told: list[Stamp] = []
            for row, answer in zip(rows, pool.map(lambda r: _row(out, r, signer, trust), rows), strict=True):
                path = str(out / row["file"])
                if isinstance(answer, _Stamped):
                    done.append(answer)
                    told.append(Stamp(path, True, None))
                else:
                    told.append(Stamp(path, False, answer))
            if done:
                _write(out, rows, done)
            yield from told


def _queued(out: Path) -> list[dict[str, Any]]:
    catalog = Catalog(out)
    if "timestamp" not in catalog.schema.names:
        return []
    found: list[dict[str, Any]] = catalog.query(
        "timestamp = 'queued'", columns=_COLUMNS, as_arrow=True
    ).to_pylist()
    return found


def _row(out: Path, row: dict[str, Any], signer: Signer, trust: TrustSet) -> _Stamped | str:
    """The image with its timestamp, or why it has none."""
    try:
        data = read_limited(out / row["file"])
        signed = stamp_file(data, signer, trust)
        final = data if signed is None else signed.data
        report = read_credentials(final, sniff_mime(final), trust)
        ours = row["manifest_id"] in [manifest.label for manifest in report.manifests]
        if not ours or (signed is not None and hashlib.sha256(data).hexdigest() != row["sha256"]):
            raise ProvenanceError("is not the file that the catalog recorded")
        assert report.active is not None
        assert report.store is not None
    except NonesuchError as error:
        return error.message
    change = {
        "timestamp": "authority",
        "manifest_id": report.active.label,
        "credential_digest": hashlib.sha256(report.store).hexdigest(),
        "bytes": len(final),
        "sha256": hashlib.sha256(final).hexdigest(),
    }
    return _Stamped(row["recipe_id"], None if signed is None else final, report.store, change)


def _write(out: Path, rows: list[dict[str, Any]], done: list[_Stamped]) -> None:
    files = {row["recipe_id"]: out / row["file"] for row in rows}
    digest = hashlib.sha256("".join(stamped.recipe_id for stamped in done).encode()).hexdigest()
    ids = {stamped.recipe_id for stamped in done}
    earlier = {row["manifest_id"]: row["credential_digest"] for row in rows if row["recipe_id"] in ids}
    write_pack(out, f"{STAMPED}{digest[:16]}", [stamped.manifest for stamped in done], earlier=earlier)
    for stamped in done:
        if stamped.data is not None:
            atomic_write(files[stamped.recipe_id], stamped.data, scratch=out / SCRATCH)
    amend_rows(out, {stamped.recipe_id: stamped.change for stamped in done})
