"""Marking images that other programs made, and adding them to a catalog."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.search.hashes import perceptual_hashes
from nonesuch.catalogs.storage.amend import amend_rows
from nonesuch.catalogs.storage.parts import part_files, publish_shard, published_ids, recipe_key
from nonesuch.formats.raw_fields import read_source
from nonesuch.foundation.errors import InputError, NonesuchError
from nonesuch.foundation.files import AnyPath, atomic_write, file_digest
from nonesuch.foundation.images import read_limited
from nonesuch.marking.recovering import MARKED
from nonesuch.provenance.credentials.reading import sniff_mime
from nonesuch.provenance.marking.existing_file import mark_file
from nonesuch.provenance.metadata import read_metadata
from nonesuch.provenance.pixels import Pixels
from nonesuch.provenance.request import MarkedFile, SignerChoice, TimestampPolicy
from nonesuch.provenance.sidecar import write_pack
from nonesuch.provenance.signing.signer import Signer, open_chosen
from nonesuch.provenance.signing.stamping import STAMPABLE, timestamp_state
from nonesuch.provenance.vocabulary import source_type_uri
from nonesuch.provenance.watermark.chosen import OWN, check_choice, open_algorithm

_INTEGERS = ("seed", "steps")
_LARGEST = 2**63 - 1  # that an integer column holds


@dataclass(frozen=True, slots=True)
class Mark:
    """The result for one file."""

    path: str  # the file that was marked
    out: str | None  # the marked copy; None when there is an error
    watermark_id: str | None  # 16 hex digits
    credential_digest: str | None  # SHA-256 of the manifest store, hex
    parent: (
        str | None
    )  # integrity of the original's credential that it refers to; None when it refers to none
    catalogued: bool  # whether a catalog now has a row of it
    timestamp: str | None  # authority, queued (see nonesuch.marking.late_timestamps), or None
    error: str | None


@dataclass(frozen=True, slots=True)
class _Work:
    """What all files of one call share."""

    out: Path
    signer: Signer
    policy: TimestampPolicy
    source_type: str | None
    watermark: str
    watermark_key: bytes | None
    strength: float
    catalog: Path | None
    known: set[int]  # recipe keys that the catalog has


def mark_files(
    paths: Iterable[AnyPath],
    out: AnyPath,
    *,
    source_type: str | None = None,
    catalog: AnyPath | None = None,
    signer: SignerChoice | None = None,
    watermark: str = OWN,
    watermark_key: bytes | None = None,
    strength: float = 1.0,
) -> Iterator[Mark]:
    """Watermark and sign a copy of each file in the folder `out`; the original's credential becomes the parent.

    Each file is marked when its Mark is asked for: `list(mark_files(…))` marks all of them.

    `source_type`, an IPTC name, says what the pictures are. With `catalog`, an output folder, each gets a
    row whose id is the SHA-256 of the original file, and its manifest is kept in the sidecar store; a file that
    was marked before has its row updated. `signer` chooses the signing key (default: the local authority's),
    `watermark` the algorithm from the registry; with nonesuch's own, `watermark_key` makes a watermark that only
    whoever holds the key can read.
    One bad file is an error in its Mark. Raises InputError for a bad certificate, watermark or catalog,
    DependencyError for a watermark whose package or weights are missing.
    """
    if source_type is not None:
        source_type_uri(source_type)  # a mistake in it is not an error of the first file
    check_choice(watermark, strength, secret=watermark_key is not None)
    open_algorithm(watermark)
    choice = signer or SignerChoice()
    opened = open_chosen(choice)
    output = None if catalog is None else Path(catalog)
    known = set() if output is None or not part_files(output) else {int(i) for i in published_ids(output)}
    policy = choice.timestamp_policy
    work = _Work(Path(out), opened, policy, source_type, watermark, watermark_key, strength, output, known)
    for path in map(Path, paths):
        try:
            yield _mark(path, work)
        except InputError as error:
            yield _failed(path, error.message)
        except NonesuchError as error:
            yield _failed(path, str(error))


def _failed(path: Path, error: str) -> Mark:
    return Mark(str(path), None, None, None, None, False, None, error)


def _mark(path: Path, work: _Work) -> Mark:
    if not path.is_file():
        raise InputError("no such file")
    original = file_digest(path)
    target = work.out / path.name
    if target.resolve() == path.resolve():
        raise InputError("the marked copy would replace the original; choose another --out")
    marked = mark_file(
        path,
        work.signer,
        source_type=work.source_type,
        payload=recipe_key(original),
        strength=work.strength,
        watermark=work.watermark,
        watermark_key=work.watermark_key,
    )
    stamp = timestamp_state(True, marked.timestamped, work.policy)
    if stamp == "queued" and marked.mime not in STAMPABLE:
        raise InputError(
            "the timestamp authority is unavailable, and a file of this format can't be timestamped later",
            hint="Use another timestamp policy, or convert it to PNG or JPEG first.",
        )
    target = target.with_suffix(marked.suffix)
    if target.exists() and f"image {marked.watermark_payload:016x}".encode() not in read_limited(target):
        raise InputError(
            f"{target} already exists and is not a marked copy of this image",
            hint="Choose another --out for it.",
        )
    atomic_write(target, marked.data)
    if work.catalog is not None:
        row = _row(original, path, target, marked, work) | {"timestamp": stamp}
        _enter(work.catalog, original, row, marked, known=work.known)
    return Mark(
        path=str(path),
        out=str(target),
        watermark_id=f"{marked.watermark_payload:016x}",
        credential_digest=marked.manifest_digest,
        parent=marked.parents[0].integrity if marked.parents else None,
        catalogued=work.catalog is not None,
        timestamp=stamp,
        error=None,
    )


def _enter(catalog: Path, original: str, row: dict[str, Any], marked: MarkedFile, *, known: set[int]) -> None:
    name = f"{MARKED}-{original[:16]}"
    assert marked.manifest is not None  # mark_file always signs
    write_pack(catalog, name, [marked.manifest])
    if recipe_key(original) in known:
        amend_rows(catalog, {original: row})
    else:
        publish_shard(catalog, name, [row], catalog_schema({}, {}, None))
        known.add(recipe_key(original))


def _row(original: str, path: Path, target: Path, marked: MarkedFile, work: _Work) -> dict[str, Any]:
    height, width = marked.image.shape[:2]
    assert work.catalog is not None
    return {
        "recipe_id": original,
        "sweep": MARKED,
        "backend": "other",
        "prompt": "",
        **_told(path),
        "width": width,
        "height": height,
        "status": "ok",
        "options": "{}",
        "loras": "[]",
        **perceptual_hashes(marked.image),
        "watermark_id": marked.watermark_payload,
        "watermark_psnr": marked.watermark_psnr,
        "source_type": work.source_type,
        "manifest_id": marked.manifest_id,
        "credential_digest": marked.manifest_digest,
        "file": os.path.relpath(target, work.catalog).replace(os.sep, "/"),
        "format": marked.suffix.lstrip("."),
        "bytes": len(marked.data),
        "sha256": marked.sha256,
        "init_digest": original,
        "drawn_at": datetime.now(UTC),
    }


def _told(path: Path) -> dict[str, Any]:
    """The recipe in the file's own metadata, as columns: a claim, stored so that it can be queried."""
    data = read_limited(path)
    pixels = Pixels(data, str(path))
    findings = read_metadata(read_source(data, sniff_mime(data), pixels.rgba))
    told = next((finding for finding in findings if finding.recipe), None)
    if told is None or told.recipe is None:
        return {}
    recipe = told.recipe
    row: dict[str, Any] = {
        name: recipe[name] for name in ("prompt", "negative_prompt", "scheduler") if name in recipe
    }
    row |= {name: recipe[name] for name in _INTEGERS if abs(recipe.get(name, _LARGEST + 1)) <= _LARGEST}
    if "guidance_scale" in recipe:
        row["guidance_scale"] = float(recipe["guidance_scale"])
    row["model"] = recipe.get("model") or told.generator
    return row
