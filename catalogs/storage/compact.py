"""Compaction: merges many small parts into a few large ones, sorted so that conditions on facets skip most rows.

The new folder is built beside the old one and takes its place in one exchange, so a reader sees the rows
of before or of after, never both and never a part of them. Killed at any point, it leaves at worst a
folder that the next compaction removes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nonesuch.catalogs.schema import names_with_role
from nonesuch.catalogs.storage.indexes import index_files, write_indexes
from nonesuch.catalogs.storage.locks import NEXT, catalog_lock, flush_folder, sole_compaction, swap_folders
from nonesuch.catalogs.storage.parts import (
    SCHEMA_FILE,
    UNREADABLE,
    catalog_folder,
    damaged,
    part_files,
    read_schema,
    write_options,
)
from nonesuch.foundation.errors import CatalogError
from nonesuch.foundation.files import storage_error

ROWS_PER_PART = 1 << 18  # with 768-number embeddings about 0.5 GB in memory while it is written
GROUP_ROWS = 1 << 14  # small row groups and pages: fetching one whole row decodes only its pages
PAGE_ROWS = 1 << 11
_STAGED = ".catalog-staged"
_ATTEMPTS = 3  # how often to start anew when merged parts were changed meanwhile
_RANK = "__rank"

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did."""

    rows: int  # rows that were merged; 0 when there was nothing to do
    parts_before: int
    parts_after: int
    bytes_before: int
    bytes_after: int  # of the Parquet parts; indexes not counted


def compact(out: Path, *, everything: bool = False, rows_per_part: int = ROWS_PER_PART) -> Compaction:
    """Merge the small parts of a catalog, or with `everything` sort all of it anew; returns what was done.

    Rows are sorted by the facets, those with few values first, then by sweep and plan. Publishing and
    reading continue meanwhile. Raises CatalogError for damaged parts or when another compaction is running,
    StorageError when the disk is full (it needs as much room again as the merged parts take).
    """
    folder = catalog_folder(out).resolve()
    if folder.name == NEXT:
        folder = folder.with_name("catalog")
    staged = folder.parent / _STAGED
    with sole_compaction(folder):
        with catalog_lock(folder, exclusive=True):
            pass  # finishes a swap that was interrupted
        shutil.rmtree(staged, ignore_errors=True)
        try:
            for _ in range(_ATTEMPTS):
                before = _stamps(folder)
                small = _to_merge(folder, everything, rows_per_part)
                if not small:
                    size = sum(stamp[2] for stamp in before.values())
                    return Compaction(0, len(before), len(before), size, size)
                staged.mkdir()
                rows = _merge(folder, small, staged, rows_per_part)
                if _put_in_place(folder, staged, before, {path.name for path in small}):
                    after = _stamps(folder)
                    return Compaction(
                        rows,
                        len(before),
                        len(after),
                        sum(stamp[2] for stamp in before.values()),
                        sum(stamp[2] for stamp in after.values()),
                    )
                shutil.rmtree(staged)
        except OSError as error:
            raise storage_error(error, folder) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    raise CatalogError(
        "its rows kept changing while they were merged", where=str(folder), hint="Run it again."
    )


def _to_merge(folder: Path, everything: bool, rows_per_part: int) -> list[Path]:
    parts = part_files(folder)
    if everything:
        return parts
    small = []
    for path in parts:
        try:
            if pq.read_metadata(path).num_rows < rows_per_part // 2:
                small.append(path)
        except UNREADABLE as error:
            raise damaged(path, error) from error
    alone = len(small) == 1 and index_files(small[0])
    return [] if alone else small


def _put_in_place(folder: Path, staged: Path, before: Mapping[str, Stamp], merged: set[str]) -> bool:
    with catalog_lock(folder, exclusive=True):
        now = _stamps(folder)
        if any(now.get(name) != before[name] for name in merged):
            return False
        for name in now:
            if name not in merged:
                for path in [folder / name, *index_files(folder / name)]:
                    os.link(path, staged / path.name)
        os.link(folder / SCHEMA_FILE, staged / SCHEMA_FILE)
        flush_folder(staged)
        swap_folders(staged, folder)
    return True


def _stamps(folder: Path) -> dict[str, Stamp]:
    stamps = {}
    for path in part_files(folder):
        stat = path.stat()
        stamps[path.name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return stamps


def _merge(folder: Path, parts: Sequence[Path], staged: Path, rows_per_part: int) -> int:
    schema = read_schema(folder)
    if schema is None:
        raise CatalogError("the catalog has no schema file", where=str(folder / SCHEMA_FILE))
    ranks = _ranks(parts, schema)
    total = sum(len(rank) for rank in ranks)
    buckets = -(-total // rows_per_part)
    generation = 1 + max((_generation(path) for path in part_files(folder)), default=0)
    loose = pa.schema([_loose(field) for field in schema]).append(pa.field(_RANK, pa.int64()))
    scatter = [staged / f"_rows-{number}.arrow" for number in range(buckets)]
    with ExitStack() as stack:
        # The IPC stream takes dictionary columns as plain strings, whose values differ from part to part.
        writers = [stack.enter_context(pa.ipc.new_stream(path, loose, options=_LZ4)) for path in scatter]
        for path, rank in zip(parts, ranks, strict=True):
            start = 0
            for table in _tables(path, schema, loose):
                places = rank[start : start + table.num_rows]
                start += table.num_rows
                table = table.append_column(_RANK, pa.array(places))
                of_bucket = places // rows_per_part
                for number in np.unique(of_bucket):
                    writers[number].write_table(table.filter(pa.array(of_bucket == number)))
    for number, path in enumerate(scatter):
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_stream(source).read_all()
            order = np.argsort(table[_RANK].to_numpy())
            table = _strict(table.select(schema.names).take(pa.array(order)), schema)
        path.unlink()
        write_merged_part(staged / f"compact-{generation:06d}-{number:05d}.parquet", table)
    return total


def _ranks(parts: Sequence[Path], schema: pa.Schema) -> list[npt.NDArray[np.int64]]:
    """For each part, the place of each of its rows in the new order."""
    facets = names_with_role(schema, "facet")
    names = [*facets, "sweep", "plan_index", "recipe_id"]
    tables = []
    for path in parts:
        fields = [schema.field(name) for name in names]
        tables += [pa.concat_tables(_tables(path, pa.schema(fields), pa.schema([_loose(f) for f in fields])))]
    whole = pa.concat_tables(tables)
    codes = {name: _codes(whole[name]) for name in names[:-2]}
    few_first = sorted(facets, key=lambda name: int(codes[name].max(initial=0)))
    plan = pc.fill_null(whole["plan_index"], -1).to_numpy()
    order = np.lexsort([plan, codes["sweep"], *(codes[name] for name in reversed(few_first))])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return np.split(rank, np.cumsum([table.num_rows for table in tables])[:-1])


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    sorted_places = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(sorted_places) + 1, np.int32)
    place[sorted_places] = np.arange(1, len(sorted_places) + 1)
    place[-1] = 0  # null before every value
    codes: npt.NDArray[np.int32] = place[pc.fill_null(encoded.indices, -1).to_numpy()]
    return codes


def _tables(path: Path, schema: pa.Schema, loose: pa.Schema) -> Iterator[pa.Table]:
    """A part's row groups with the columns of `schema`, in the types of `loose`."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            known = [name for name in schema.names if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=known)
                yield pa.Table.from_arrays(
                    [_conformed(table, schema.field(n), loose.field(n).type) for n in schema.names],
                    names=schema.names,
                )
    except pa.ArrowException as error:
        raise damaged(path, error) from error
    except OSError as error:
        raise (damaged(path, error) if error.errno is None else storage_error(error, path)) from error


def _conformed(table: pa.Table, field: pa.Field, kind: pa.DataType) -> pa.ChunkedArray:
    if field.name not in table.column_names:
        if not field.nullable and pa.types.is_uint64(kind):
            return pa.chunked_array([pa.array(np.zeros(table.num_rows, np.uint64))])
        return pa.chunked_array([pa.nulls(table.num_rows, kind)])
    column = table[field.name]
    return column if column.type == kind else pc.cast(column, kind)


def _loose(field: pa.Field) -> pa.Field:
    return pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)


def _strict(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].dictionary_encode() if pa.types.is_dictionary(field.type) else table[field.name]
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema).unify_dictionaries()


def write_merged_part(path: Path, table: pa.Table) -> None:
    """Write a large part as compaction does: small row groups, Bloom filters, indexes beside it; brought to disk."""
    facets = names_with_role(table.schema, "facet")
    blooms: dict[str, object] = {
        name: {"ndv": GROUP_ROWS} for name in ("recipe_id", "sha256", "watermark_id")
    }
    blooms |= {name: {"ndv": 256} for name in facets if pa.types.is_dictionary(table.schema.field(name).type)}
    pq.write_table(
        table,
        path,
        row_group_size=GROUP_ROWS,
        max_rows_per_page=PAGE_ROWS,
        write_page_index=True,
        bloom_filter_options=blooms,
        **write_options(table.schema),
    )
    with path.open("rb") as file:
        os.fsync(file.fileno())
    write_indexes(path, table)


def _generation(path: Path) -> int:
    words = path.stem.split("-")
    return int(words[1]) if words[0] == "compact" and len(words) == 3 and words[1].isdigit() else 0


_LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")
