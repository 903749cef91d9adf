"""What can be wrong in an output folder besides its image files: thumbnails, manifests, indexes, sweep files, picks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from nonesuch.catalogs.picks.log import picks_file
from nonesuch.catalogs.picks.sqlite_file import connect_log
from nonesuch.catalogs.storage.indexes import index_files, wrong_indexes
from nonesuch.catalogs.storage.mending import check_names
from nonesuch.catalogs.storage.parts import (
    SCHEMA_FILE,
    UNREADABLE,
    catalog_folder,
    damaged,
    part_files,
    part_schema,
)
from nonesuch.catalogs.thumbnails import FOLDER as THUMBNAILS
from nonesuch.flows.run.output_folder import IMAGES, SWEEPS
from nonesuch.foundation.errors import CatalogError, InputError
from nonesuch.foundation.images import decode_rgb, read_limited
from nonesuch.generators.sweepfile.yaml_lines import read_yaml
from nonesuch.provenance.sidecar import pack_content, packs

COLUMNS: Final = (
    "recipe_id", "sweep", "status", "file", "sha256", "init_digest", "credential_digest", "manifest_id", "phash",
    "dhash", "whash", "colorhash", "watermark_psnr",
)  # fmt: skip


def read_rows(path: Path) -> list[dict[str, Any]]:
    """COLUMNS of every row of a part, None where it lacks one. Raises CatalogError for damage anywhere in the part."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = [name for name in COLUMNS if name in file.schema_arrow.names]
            check_names(file)
            if not {"recipe_id", "sweep", "status"} <= set(names):
                raise pa.ArrowInvalid("a column that every part has is not there")
            found: list[dict[str, Any]] = []
            for group in range(file.num_row_groups):
                # every column, so that the checksum of every page is looked at
                found += file.read_row_group(group).select(names).to_pylist()
    except UNREADABLE as error:
        raise damaged(path, error) from error
    return [dict.fromkeys(COLUMNS) | row for row in found]


def schema_problem(out: Path) -> str | None:
    """What is wrong with the schema file of a catalog that has parts, None when nothing is."""
    try:
        known = part_schema(catalog_folder(out) / SCHEMA_FILE)
    except FileNotFoundError:
        return "it is not there"
    except CatalogError as error:
        return error.message
    for path in part_files(out):
        try:
            lacking = set(part_schema(path).names) - set(known.names)
        except CatalogError:
            continue  # a finding of its own
        if lacking:
            return f"it lacks the column {sorted(lacking)[0]!r} of {path.name}"
    return None


def damaged_thumbnails(out: Path) -> Iterator[Path]:
    """Thumbnails that can't be decoded. One that is not there is no damage: it is made when it is looked at."""
    for path in sorted((out / THUMBNAILS).rglob("*.webp")):
        try:
            decode_rgb(read_limited(path), where=path.name)
        except InputError:
            yield path


def manifests_kept(out: Path) -> tuple[set[str], dict[Path, str]]:
    """The digests of all manifests in the sidecar packs, and what is damaged in which pack."""
    kept: set[str] = set()
    problems: dict[Path, str] = {}
    for path in packs(out):
        manifests, _, problem = pack_content(path)
        kept |= manifests.keys()
        if problem is not None:
            problems[path] = problem
    return kept, problems


def damaged_indexes(out: Path) -> Iterator[Path]:
    """Index files that do not say what their part says. A damaged part's are left out."""
    for path in part_files(out):
        if not index_files(path):
            continue
        try:
            table = pq.read_table(path, partitioning=None)
        except UNREADABLE:
            continue
        yield from wrong_indexes(path, table)


def sweep_file_problem(out: Path, sweep: str) -> str | None:
    """What is wrong with the copy of a sweep's file, None when it can be read and is that sweep's."""
    path = out / SWEEPS / f"{sweep}.yaml"
    try:
        content = read_yaml(path)[0]
    except InputError as error:
        return error.message
    named = content.get("name") if isinstance(content, Mapping) else None
    return None if named == sweep else f"it is not the file of a sweep named {sweep}"


def picks_problem(out: Path) -> str | None:
    """What is wrong with the log of picks, None when it is sound or nothing was picked yet."""
    path = picks_file(out)
    if not path.exists():
        return None
    try:
        with closing(connect_log(path)) as log:
            found = [str(line) for (line,) in log.execute("PRAGMA quick_check(3)")]
    except CatalogError as error:
        return error.message
    except sqlite3.Error as error:
        return str(error)
    return None if found == ["ok"] else found[0]


def unnamed_images(out: Path, sweep: str, named: Iterable[str]) -> list[str]:
    """Files in a sweep's image folder that no row names, relative to the output."""
    known = set(named)
    found = (path.relative_to(out).as_posix() for path in (out / IMAGES / sweep).rglob("*") if path.is_file())
    return sorted(name for name in found if name not in known)
