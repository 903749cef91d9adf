"""Changing columns of many rows at once: every part is written anew beside the catalog, which then takes its place.

Readers see the catalog of before or of after. Killed at any point, it leaves the old one or the new one in
place, and at worst a staged folder that the next rewrite or compaction removes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nonesuch.catalogs.storage.compact import write_merged_part
from nonesuch.catalogs.storage.indexes import index_files
from nonesuch.catalogs.storage.locks import NEXT, catalog_lock, flush_folder, sole_compaction, swap_folders
from nonesuch.catalogs.storage.parts import SCHEMA_FILE, catalog_folder, damaged, part_files, write_options
from nonesuch.foundation.errors import CatalogError
from nonesuch.foundation.files import storage_error

ROW = "__row"  # column of an update: the row's number in its part
_STAGED = ".catalog-staged"  # compaction's, which removes what is left of either


def part_stamp(path: Path) -> str:
    """A word that changes when the part is replaced or written anew."""
    stat = path.stat()
    return f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"


def rewrite_parts(out: Path, schema: pa.Schema, update: Callable[[Path], pa.Table | None]) -> int:
    """Give rows of the catalog in `out` new values and perhaps new columns; returns how many rows changed.

    schema  the catalog's columns as they will be
    update  for a part: a table with ROW (int64) and the changed columns, dictionaries as plain text; or None
            when the part stays as it is. A column whose type differs from the part's loses the other rows' values.

    Merged parts keep their indexes. Raises CatalogError for damaged parts, while a compaction is running, or
    when parts were replaced meanwhile; StorageError for a full disk (it needs the catalog's room once more).
    """
    folder = catalog_folder(out).resolve()
    if folder.name == NEXT:
        folder = folder.with_name("catalog")
    staged = folder.parent / _STAGED
    with sole_compaction(folder):
        shutil.rmtree(staged, ignore_errors=True)
        try:
            staged.mkdir()
            before = {path.name: part_stamp(path) for path in part_files(folder)}
            changed = sum(_stage(folder / name, staged, schema, update) for name in before)
            pq.write_table(schema.empty_table(), staged / SCHEMA_FILE, **write_options(schema))
            with catalog_lock(folder, exclusive=True):
                now = {path.name: part_stamp(path) for path in part_files(folder)}
                if now != before:
                    raise CatalogError(
                        "its parts changed while they were rewritten",
                        where=str(folder),
                        hint="Run the command again.",
                    )
                flush_folder(staged)
                swap_folders(staged, folder)
        except pa.ArrowException as error:
            raise damaged(folder, error) from error
        except OSError as error:
            raise storage_error(error, folder) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return changed


def _stage(part: Path, staged: Path, schema: pa.Schema, update: Callable[[Path], pa.Table | None]) -> int:
    """Put a part, changed or not, into the staged folder; returns how many of its rows changed."""
    changes = update(part)
    if changes is None:
        changes = _of_other_types(part, schema)
    if changes is None:
        for path in [part, *index_files(part)]:
            os.link(path, staged / path.name)
        return 0
    target = staged / part.name
    with pq.ParquetFile(part, page_checksum_verification=True) as file:
        columns = _part_schema(file.schema_arrow, schema, changes)
        if index_files(part):
            write_merged_part(target, _changed(file.read(), 0, changes, columns).unify_dictionaries())
        else:
            with pq.ParquetWriter(target, columns, **write_options(columns)) as writer:
                start = 0
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    writer.write_table(_changed(table, start, changes, columns))
                    start += table.num_rows
            with target.open("rb") as written:
                os.fsync(written.fileno())
    return int(changes.num_rows)


def _of_other_types(part: Path, schema: pa.Schema) -> pa.Table | None:
    """An update without rows, for a part whose embeddings have another length than the catalog's will have."""
    own = pq.read_schema(part)
    kinds = {name: schema.field(name).type for name in own.names if name in schema.names}
    other = [
        name for name, kind in kinds.items() if pa.types.is_nested(kind) and kind != own.field(name).type
    ]
    if not other:
        return None
    fields = [pa.field(ROW, pa.int64()), *(pa.field(name, kinds[name]) for name in other)]
    return pa.schema(fields).empty_table()


def _part_schema(own: pa.Schema, schema: pa.Schema, changes: pa.Table) -> pa.Schema:
    """The part's columns and the changed ones, in the catalog's order and, where changed, its types."""
    fields = []
    for field in schema:
        if field.name in changes.column_names:
            fields.append(field)
        elif field.name in own.names:
            fields.append(own.field(field.name))
    return pa.schema(fields, metadata=own.metadata)


def _changed(table: pa.Table, start: int, changes: pa.Table, schema: pa.Schema) -> pa.Table:
    """One row group, whose first row is `start` in the part, with the changes to its rows."""
    rows = changes[ROW].to_numpy()
    chosen = np.flatnonzero((rows >= start) & (rows < start + table.num_rows))
    places = np.arange(
        table.num_rows
    )  # where each row's value is taken from: the old ones, then the new ones
    places[rows[chosen] - start] = table.num_rows + np.arange(len(chosen))
    some = changes.take(pa.array(chosen))
    arrays = []
    for field in schema:
        if field.name not in changes.column_names:
            arrays.append(table[field.name])
            continue
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        old = _old_values(table, field.name, plain)
        new = pc.cast(pa.concat_arrays([*some[field.name].chunks, pa.array([], plain)]), plain)
        taken = pa.concat_arrays([old, new]).take(pa.array(places))
        arrays.append(taken.dictionary_encode() if plain is not field.type else taken)
    return pa.Table.from_arrays(arrays, schema=schema)


def _old_values(table: pa.Table, name: str, plain: pa.DataType) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, plain)
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if column.type != plain and (pa.types.is_nested(plain) or pa.types.is_nested(column.type)):
        return pa.nulls(table.num_rows, plain)
    return pa.concat_arrays([*pc.cast(column, plain).chunks, pa.array([], plain)])
