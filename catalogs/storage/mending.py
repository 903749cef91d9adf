"""Repairing parts: reading what is left of a damaged one, replacing rows, restoring a lost schema file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nonesuch.catalogs.schema import merge_schemas
from nonesuch.catalogs.storage.indexes import hex_keys, remove_indexes
from nonesuch.catalogs.storage.locks import catalog_lock
from nonesuch.catalogs.storage.parts import (
    SCHEMA_FILE,
    UNREADABLE,
    catalog_folder,
    damaged,
    part_files,
    part_schema,
    prepare_catalog,
    replacing,
    rows_to_table,
    write_options,
)
from nonesuch.foundation.errors import CatalogError

_SUMMED: Final = "cost"  # what is paid for an image is the sum over all its drawings


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What can still be read of a damaged part."""

    whole: pa.Table | None  # the rows of all row groups without damage; None when there are none
    torn: tuple[Mapping[str, Any], ...]  # of damaged row groups: each row's columns that can be read


def check_names(file: pq.ParquetFile) -> None:
    """Raise ArrowInvalid when the footer names a column in two ways: no checksum covers it, but names stand there twice."""
    stored = (file.metadata.metadata or {}).get(b"ARROW:schema")
    if stored is None:
        return  # another program wrote it
    names = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(stored))).names
    if names != file.schema_arrow.names:
        raise pa.ArrowInvalid("its footer names a column in two ways")


def salvage(path: Path) -> Salvaged:
    """Read a part row group by row group, and a damaged group column by column; never raises for damage."""
    whole: list[pa.Table] = []
    torn: list[Mapping[str, Any]] = []
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            check_names(file)
            for group in range(file.num_row_groups):
                try:
                    whole.append(file.read_row_group(group))
                except UNREADABLE:
                    torn += _readable_columns(file, group)
    except UNREADABLE:
        pass  # without its footer nothing in the file can be found
    kept = pa.concat_tables(whole) if whole else None
    return Salvaged(kept if kept is not None and kept.num_rows else None, tuple(torn))


def _readable_columns(file: pq.ParquetFile, group: int) -> list[dict[str, Any]]:
    columns: dict[str, list[Any]] = {}
    for name in file.schema_arrow.names:
        try:
            values = file.read_row_group(group, columns=[name])[name].to_pylist()
            if len(values) == file.metadata.row_group(group).num_rows:
                columns[name] = values
        except UNREADABLE:  # ValueError: text that is no UTF-8 any more
            continue
    if "recipe_id" not in columns:
        return []
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def keep_only(path: Path, rows: pa.Table | None) -> None:
    """Leave only `rows` in a part, in one rename; without any the part goes."""
    with catalog_lock(path.parent, exclusive=True):
        remove_indexes(path)
        if rows is None:
            path.unlink()
            return
        with replacing(path) as temporary:
            pq.write_table(rows, temporary, **write_options(rows.schema))


def whole_rows(out: Path, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Every row with one of those recipe ids, all its columns; a recipe that two parts hold comes twice."""
    wanted = pa.array(ids, pa.string())
    found: list[dict[str, Any]] = []
    for path in _parts_with(out, wanted):
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                found += table.filter(pc.is_in(table["recipe_id"], wanted)).to_pylist()
    return found


def replace_rows(out: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> int:
    """Put each row in the place of the one with its recipe id; returns how many there were to replace.

    Rows and schema are as publish_shard takes them; a recipe that the catalog lacks is left out. `cost` becomes the
    sum of old and new. A reader sees each part as it was or as it is, and every recipe once; a part that changes loses
    its indexes until it is compacted again. Raises CatalogError for rows that don't fit and for damaged parts,
    StorageError for a full disk.
    """
    if not rows:
        return 0
    wanted = pa.array([row["recipe_id"] for row in rows], pa.string())
    prepare_catalog(out, schema)
    with catalog_lock(catalog_folder(out), exclusive=True):
        parts = _parts_with(out, wanted)
        home: dict[str, Path] = {}
        paid: dict[str, float] = {}
        for path in parts:
            for recipe_id, cost in _paid(path, wanted):
                home.setdefault(recipe_id, path)
                if cost is not None:
                    paid[recipe_id] = max(cost, paid.get(recipe_id, 0.0))
        # A recipe's first part is changed last: whenever this is cut short, no recipe is lost.
        for path in reversed(parts):
            fresh = [_with_cost(row, paid) for row in rows if home.get(row["recipe_id"]) == path]
            _exchange(path, wanted, rows_to_table(fresh, schema) if fresh else None)
    return len(home)


def mend_schema_file(out: Path, schema: pa.Schema) -> None:
    """Write 0-schema.parquet anew from the columns of every part and of `schema`. Raises CatalogError for damaged parts."""
    (catalog_folder(out) / SCHEMA_FILE).unlink(missing_ok=True)
    prepare_catalog(out, schema)


def _parts_with(out: Path, wanted: pa.Array) -> list[Path]:
    keys = hex_keys(wanted)
    found = []
    for path in part_files(out):
        stat = path.stat()
        if np.isin(keys, _keys(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)).any():
            found.append(path)
    return found


@lru_cache(maxsize=4096)
def _keys(path: Path, inode: int, changed: int, size: int) -> npt.NDArray[np.uint64]:
    # inode, time and size tell one state of the part from the next
    try:
        ids = pq.read_table(path, columns=["recipe_id"], partitioning=None)["recipe_id"]
    except UNREADABLE as error:
        raise damaged(path, error) from error
    return np.concatenate([np.zeros(0, np.uint64), *(hex_keys(chunk) for chunk in ids.chunks)])


def _paid(path: Path, wanted: pa.Array) -> list[tuple[str, float | None]]:
    with pq.ParquetFile(path) as file:
        names = [name for name in ("recipe_id", _SUMMED) if name in file.schema_arrow.names]
        table = file.read(columns=names)
    chosen = table.filter(pc.is_in(table["recipe_id"], wanted)).to_pylist()
    return [(row["recipe_id"], row.get(_SUMMED)) for row in chosen]


def _with_cost(row: Mapping[str, Any], paid: Mapping[str, float]) -> Mapping[str, Any]:
    before = paid.get(row["recipe_id"])
    return row if before is None else {**row, _SUMMED: before + (row.get(_SUMMED) or 0.0)}


def _exchange(path: Path, gone: pa.Array, fresh: pa.Table | None) -> None:
    """Write a part anew without the recipes in `gone` and with the rows of `fresh`."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            own = part_schema(path)
            schema = own if fresh is None else merge_schemas(own, fresh.schema, where=str(path))
            remove_indexes(path)  # first, so that no index ever speaks of rows that moved
            with (
                replacing(path) as temporary,
                pq.ParquetWriter(temporary, schema, **write_options(schema)) as writer,
            ):
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    kept = table.filter(pc.invert(pc.is_in(table["recipe_id"], gone)))
                    if kept.num_rows:
                        writer.write_table(_conformed(kept, schema))
                if fresh is not None:
                    writer.write_table(_conformed(fresh, schema))
        if not pq.read_metadata(path).num_rows:
            path.unlink()
    except pa.ArrowException as error:
        raise damaged(path, error) from error


def _conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    arrays = []
    for field in schema:
        if field.name in table.column_names:
            arrays.append(pc.cast(table[field.name], field.type))
        elif field.nullable:
            arrays.append(pa.nulls(table.num_rows, field.type))
        else:  # hashes and watermark: 0 for none
            arrays.append(pa.array(np.zeros(table.num_rows, np.uint64)))
    try:
        return pa.Table.from_arrays(arrays, schema=schema)
    except pa.ArrowException as error:
        raise CatalogError(f"rows don't fit the part they belong to ({error})") from error
