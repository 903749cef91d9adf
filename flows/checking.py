"""Checking an output, a folder or a URL, against its catalog: every recipe once, every file there, whole and signed.

What `nonesuch check` runs, and what the fault suite asks after each fault.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.image_files import image_file
from catalogs.parts import damaged, part_files
from catalogs.remote import located
from catalogs.store import Store
from flows.output import IMAGES
from foundation.errors import CatalogError, InputError, NonesuchError
from foundation.images import read_limited
from foundation.urls import local_path, url_of
from provenance.credentials import read_credentials, sniff_mime
from provenance.trustlist import load_trust

COLUMNS: Final = ("recipe_id", "sweep", "status", "file", "sha256", "credential_digest", "manifest_id")
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: str  # part, twice, missing, changed, unsigned, left over
    where: str  # a file, relative to the output folder, or a recipe id
    what: str  # in words, with what to do


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found."""

    parts: int  # of the catalog
    rows: int  # recipes in it
    files: int  # image files that were read
    signatures: int  # credentials that were validated
    left_over: int  # image files that no row names: of a run that was stopped; the next run draws them anew
    findings: tuple[Finding, ...]


def check_output(out: Path, *, signatures: bool = True, told: Told | None = None) -> Checked:
    """Read everything in an output folder, or at a URL. Nothing is changed.

    `signatures` also validates every credential; `told` hears (files read, files to read). Raises InputError
    when there is no catalog, StorageError when the URL can't be reached.
    """
    files = _Files(out)
    out = located(out)
    paths = part_files(out)
    if not paths:
        raise InputError("there is no catalog here", where=str(out), hint="Name the folder of a run.")
    findings: list[Finding] = []
    rows: list[dict[str, Any]] = []
    for path in paths:
        try:
            rows += _rows(path)
        except CatalogError as error:
            findings.append(
                Finding("part", _shown(path, out), f"{error.message}. {error.hint or ''}".strip())
            )
    ids = Counter(row["recipe_id"] for row in rows)
    findings += [
        Finding("twice", recipe, f"{count} rows of the catalog hold this recipe")
        for recipe, count in ids.items()
        if count > 1
    ]
    named = [row for row in rows if row["file"]]
    validate = _validator() if signatures else None
    checked = 0
    for number, row in enumerate(named, 1):
        data = files.read(row)
        finding = _problem(row, data)
        if isinstance(data, bytes) and finding is None and validate and row["credential_digest"]:
            checked += 1
            if problem := validate(data):
                finding = Finding("unsigned", row["file"], problem)
        if finding:
            findings.append(finding)
        if told:
            told(number, len(named))
    here = {row["file"] for row in named}
    left = sum(1 for name in files.names() if name not in here)
    return Checked(len(paths), len(rows), len(named), checked, left, tuple(findings))


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = [name for name in COLUMNS if name in file.schema_arrow.names]
            found: list[dict[str, Any]] = []
            for group in range(file.num_row_groups):
                # every column, so that the checksum of every page is looked at
                found += file.read_row_group(group).select(names).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from error
    return [dict.fromkeys(COLUMNS) | row for row in found]


class _Files:
    """The image files of an output, read anew: never what a mirror of a URL has kept."""

    def __init__(self, out: Path) -> None:
        url = url_of(out)
        self._out = local_path(out)
        self._store = None if url is None else Store(url)

    def read(self, row: dict[str, Any]) -> bytes | str:
        """The bytes of a row's image, or in words why there are none."""
        try:
            if self._store is not None:
                data = self._store.read(row["file"])
            else:
                path = image_file(self._out, row)
                data = read_limited(path) if path.exists() else None
        except (NonesuchError, OSError) as error:
            return f"can't be read ({error})"
        return "the catalog names it, but it is not there" if data is None else data

    def names(self) -> Iterable[str]:
        """Of all image files, relative to the output."""
        if self._store is not None:
            return self._store.sizes([IMAGES])
        return (
            path.relative_to(self._out).as_posix()
            for path in (self._out / IMAGES).rglob("*")
            if path.is_file()
        )


def _problem(row: dict[str, Any], data: bytes | str) -> Finding | None:
    if isinstance(data, str):
        return Finding("missing", row["file"], data)
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        return Finding("changed", row["file"], "its bytes are not those that the catalog knows")
    return None


def _validator() -> Callable[[bytes], str | None]:
    """Says what is wrong with a file's credential, None when it validates."""
    trust = load_trust()

    def validate(data: bytes) -> str | None:
        report = read_credentials(data, sniff_mime(data), trust)
        if report.integrity == "intact":
            return None
        return f"its credential is {report.integrity}" + (f" ({report.detail})" if report.detail else "")

    return validate


def _shown(path: Path, out: Path) -> str:
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else str(path)
