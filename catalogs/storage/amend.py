"""Changing columns of rows that are published: a part is rewritten whole, in one rename."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nonesuch.catalogs.schema import FIXED, catalog_schema
from nonesuch.catalogs.storage.indexes import remove_indexes
from nonesuch.catalogs.storage.locks import catalog_lock
from nonesuch.catalogs.storage.parts import (
    catalog_folder,
    damaged,
    part_files,
    prepare_catalog,
    replacing,
    write_options,
)
from nonesuch.foundation.errors import CatalogError

_TYPES = {column.name: column.type for column in FIXED}


def amend_rows(out: Path, changes: Mapping[str, Mapping[str, Any]]) -> int:
    """Change fixed columns of the rows with those recipe ids; returns how many rows there were.

    changes  recipe id → column name → new value, the same columns for every row

    A reader sees each part as it was or as it is. A merged part loses its indexes until it is compacted again.
    Raises CatalogError for a column that isn't a fixed one and for a damaged part, StorageError for a full disk.
    """
    if not changes:
        return 0
    columns = set(next(iter(changes.values())))
    if unknown := columns - set(_TYPES):
        raise CatalogError(f"the catalog has no fixed column {', '.join(sorted(unknown))}")
    prepare_catalog(out, catalog_schema({}, {}, None))  # a catalog of an older version may lack a column
    wanted = pa.array(list(changes), pa.string())
    amended = 0
    with catalog_lock(catalog_folder(out), exclusive=True):
        for path in part_files(out):
            try:
                amended += _amend_part(path, changes, columns, wanted)
            except pa.ArrowException as error:
                raise damaged(path, error) from error
    return amended


def _amend_part(
    path: Path, changes: Mapping[str, Mapping[str, Any]], columns: set[str], wanted: pa.Array
) -> int:
    with pq.ParquetFile(path) as file:
        ids = file.read(columns=["recipe_id"])["recipe_id"]
        count = pc.sum(pc.is_in(ids, wanted)).as_py() or 0
        if not count:
            return 0
        schema = file.schema_arrow
        for name in sorted(columns - set(schema.names)):
            schema = schema.append(pa.field(name, _TYPES[name]))
        remove_indexes(path)  # first, so that no index ever speaks of what has changed
        with (
            replacing(path) as temporary,
            pq.ParquetWriter(temporary, schema, **write_options(schema)) as writer,
        ):
            for group in range(file.num_row_groups):
                writer.write_table(_amended(file.read_row_group(group), changes, columns, wanted, schema))
    return int(count)


def _amended(
    table: pa.Table,
    changes: Mapping[str, Mapping[str, Any]],
    columns: set[str],
    wanted: pa.Array,
    schema: pa.Schema,
) -> pa.Table:
    ids = table["recipe_id"].combine_chunks()
    mask = pc.is_in(ids, wanted)
    found = [changes[recipe_id] for recipe_id in ids.filter(mask).to_pylist()]
    arrays = []
    for field in schema:
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name not in columns:
            arrays.append(table[field.name])
            continue
        old = table[field.name].combine_chunks() if field.name in table.column_names else None
        old = pa.nulls(table.num_rows, plain) if old is None else pc.cast(old, plain)
        new = pc.replace_with_mask(old, mask, pa.array([change[field.name] for change in found], plain))
        arrays.append(new.dictionary_encode() if plain is not field.type else new)
    return pa.Table.from_arrays(arrays, schema=schema)
