"""Part files: publishing a shard's rows in one rename, listing parts, resuming, dropping failed rows.

A part is on disk whole or not at all. OUT/catalog/0-schema.parquet holds no rows and every column, so
readers that take the first file's schema (pandas.read_parquet) see the columns of all sweeps.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nonesuch.catalogs.schema import STATUSES, fitted, merge_schemas, role_of
from nonesuch.catalogs.storage.indexes import hex_keys, remove_indexes
from nonesuch.catalogs.storage.locks import NEXT, catalog_lock
from nonesuch.foundation.errors import CatalogError, InputError
from nonesuch.foundation.files import atomic_write, storage_error
from nonesuch.foundation.urls import check_local, local_path

SCHEMA_FILE = "0-schema.parquet"
# what reading a damaged Parquet file raises; ValueError for names and text that are no UTF-8 any more
UNREADABLE: Final = (OSError, pa.ArrowException, ValueError)
_RECIPE_ID = re.compile(r"[0-9a-f]{64}")
_MERGED_NAME = re.compile(r"compact-\d+-\d+")  # what compaction calls its parts
_UNIQUE = ("recipe_id", "sha256", "manifest_id", "credential_digest", "file")  # not worth a dictionary


def catalog_folder(path: Path) -> Path:
    """OUT/catalog for OUT, and the folder itself when it is the catalog. Raises InputError for a URL."""
    check_local(path)
    path = local_path(path)
    if path.name != "catalog" and (path / "catalog").is_dir():
        return path / "catalog"
    if path.name == "catalog" or (path / SCHEMA_FILE).exists():
        return path
    following = path / NEXT  # whole, and about to be renamed: see locks.swap_folders
    return following if following.is_dir() else path / "catalog"


def part_files(out: Path) -> list[Path]:
    """The parts of a catalog, sorted by name, without the schema file; empty when there is none yet."""
    folder = catalog_folder(out)
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.name.endswith(".parquet") and e.name[0] not in "._"]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, folder) from error
    return [folder / name for name in sorted(names) if name != SCHEMA_FILE]


def check_part_name(part_name: str) -> None:
    """Raise InputError when a part of that name could not be read back, or not after the schema file."""
    if not part_name or "/" in part_name or "\\" in part_name or part_name[0] in "._":
        raise InputError(f"{part_name!r} can't be the name of a catalog part", hint="Rename the sweep.")
    if _MERGED_NAME.fullmatch(part_name):
        raise InputError(
            f"{part_name!r} can't be the name of a catalog part: merged parts have such names",
            hint="Rename the sweep.",
        )
    if f"{part_name}.parquet" <= SCHEMA_FILE:
        raise InputError(
            f"{part_name!r} can't be the name of a catalog part: it sorts before {SCHEMA_FILE}",
            hint="Give the sweep a name that begins with a letter.",
        )


def prepare_catalog(out: Path, schema: pa.Schema) -> pa.Schema:
    """Make OUT/catalog ready for rows of `schema`, widening its schema file; returns the union.

    Call it before drawing: raises InputError when the sweep's columns can't share this catalog,
    StorageError when the folder can't be written.
    """
    known = read_schema(out)
    if known is not None and _covers(known, schema):
        return known
    with catalog_lock(catalog_folder(out), exclusive=True):
        known = read_schema(out)
        if known is None:
            known = _schema_of_parts(out)  # its schema file may have been lost
        union = schema if known is None else merge_schemas(known, schema, where=str(catalog_folder(out)))
        if union != read_schema(out):
            atomic_write(catalog_folder(out) / SCHEMA_FILE, _parquet_bytes(union.empty_table()))
    return union


def read_schema(out: Path) -> pa.Schema | None:
    """The union of all columns from the schema file, or None when the catalog has none yet."""
    path = catalog_folder(out) / SCHEMA_FILE
    try:
        return part_schema(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _schema_of_parts(out: Path) -> pa.Schema | None:
    """The union of the columns of all parts, None without parts."""
    union: pa.Schema | None = None
    for path in part_files(out):
        own = part_schema(path)
        union = own if union is None else merge_schemas(union, own, where=str(path))
    return union


def part_schema(path: Path) -> pa.Schema:
    """The columns of a part, with the metadata of each. Raises CatalogError when it is damaged, OSError when it is away."""
    try:
        schema = pq.read_schema(path)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except UNREADABLE as error:
        raise damaged(path, error) from error
    metadata = {k: v for k, v in (schema.metadata or {}).items() if k.startswith(b"nonesuch.")}
    return schema.with_metadata(metadata)


def publish_shard(
    out: Path, part_name: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, *, replace: bool = False
) -> Path:
    """Put a shard's rows into the catalog as OUT/catalog/{part_name}.parquet, in one rename.

    rows    one mapping for each image; a column that is left out is null (0 for hashes and watermark)
    schema  what catalog_schema returned for the sweep; it must name every key in `rows`

    Raises CatalogError when the part exists already and `replace` is false, or when the rows don't fit
    the schema; StorageError for a full disk or an unwritable folder.
    """
    data = encoded_part(part_name, rows, fitted(schema, read_schema(out)))
    prepare_catalog(out, schema)
    with catalog_lock(catalog_folder(out), exclusive=False):
        path = catalog_folder(out) / f"{part_name}.parquet"
        if path.exists() and not replace:
            raise CatalogError(
                "this part of the catalog exists already",
                where=str(path),
                hint="Another run may be writing the same sweep into this folder; wait for it to end.",
            )
        atomic_write(path, data)
    return path


def encoded_part(part_name: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    """The bytes of a part with these rows. Raises InputError for its name, CatalogError for its rows."""
    check_part_name(part_name)
    return _parquet_bytes(rows_to_table(rows, schema))


def rows_to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """The rows as an Arrow table of `schema`. Raises CatalogError naming the column that doesn't fit."""
    if not rows:
        raise CatalogError("a part needs at least one row")
    unknown = sorted({key for row in rows for key in row} - set(schema.names))
    if unknown:
        raise CatalogError(f"the schema has no column {', '.join(unknown)}")
    ids = [row.get("recipe_id") for row in rows]
    if not all(isinstance(i, str) and _RECIPE_ID.fullmatch(i) for i in ids):
        raise CatalogError("every row needs a recipe_id of 64 lower-case hex digits")
    if len(set(ids)) != len(ids):
        raise CatalogError("two rows of one part have the same recipe_id")
    if not all(row.get("status") in STATUSES for row in rows):
        raise CatalogError(f"every row needs a status: {', '.join(STATUSES)}")
    return pa.Table.from_arrays([_column(rows, field) for field in schema], schema=schema)


def published_ids(out: Path) -> npt.NDArray[np.uint64]:
    """The first 64 bits of every recipe id in the catalog, failed rows included: sorted uint64 [N].

    8 bytes an image; look up with numpy.searchsorted or recipe_key. Raises CatalogError naming a
    damaged part.
    """
    found = [np.zeros(0, np.uint64)]
    for path in part_files(out):
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                found += [
                    hex_keys(batch.column(0))
                    for batch in file.iter_batches(batch_size=1 << 17, columns=["recipe_id"])
                ]
        except UNREADABLE as error:
            raise damaged(path, error) from error
    keys = np.concatenate(found)
    keys.sort()
    return keys


def recipe_key(recipe_id: str) -> int:
    """The first 64 bits of a recipe id, as published_ids holds them."""
    return int(recipe_id[:16], 16)


def drop_failed(out: Path, sweep: str) -> int:
    """Remove a sweep's failed rows, so that the next run draws them again; returns how many there were.

    Each part is rewritten in one rename, and deleted when nothing is left of it.
    """
    dropped = 0
    with catalog_lock(catalog_folder(out), exclusive=True):
        for path in part_files(out):
            try:
                dropped += _drop_failed_rows(path, sweep)
            except pa.ArrowException as error:
                raise damaged(path, error) from error
            except OSError as error:
                raise storage_error(error, path) from error
    return dropped


def damaged(path: Path, error: Exception) -> CatalogError:
    """The CatalogError for a part that can't be read, after one of UNREADABLE."""
    if isinstance(error, OSError) and error.errno is not None:
        return CatalogError(f"can't be read ({os.strerror(error.errno)})", where=str(path))
    return CatalogError(
        f"this part of the catalog is damaged ({str(error).splitlines()[0]})",
        where=str(path),
        hint="`nonesuch check OUT` names the command that mends it: `nonesuch run SWEEP --out OUT --repair`.",
    )


def check_parts(out: Path) -> None:
    """Read every part's footer. Raises CatalogError naming the first damaged file."""
    for path in [catalog_folder(out) / SCHEMA_FILE, *part_files(out)]:
        try:
            pq.read_metadata(path)
        except FileNotFoundError:
            continue
        except UNREADABLE as error:
            raise damaged(path, error) from error


def write_options(schema: pa.Schema) -> dict[str, Any]:
    """How every part is written: zstd-3, statistics and page checksums; no dictionary where values are unique."""
    plain = {"embedding", *_UNIQUE}
    worded = [f.name for f in schema if f.name not in plain and not pa.types.is_nested(f.type)]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": worded,
        "write_statistics": [f.name for f in schema if f.name != "embedding"],
        "write_page_checksum": True,
    }


def _parquet_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **write_options(table.schema))
    return bytes(sink.getvalue())


def _covers(known: pa.Schema, schema: pa.Schema) -> bool:
    return all(field.name in known.names and known.field(field.name).type == field.type for field in schema)


def _column(rows: Sequence[Mapping[str, Any]], field: pa.Field) -> pa.Array:
    values = [row.get(field.name) for row in rows]
    try:
        if pa.types.is_fixed_size_list(field.type):
            return _embeddings(values, field.type)
        if not field.nullable and pa.types.is_uint64(field.type):
            values = [value or 0 for value in values]
        if not pa.types.is_dictionary(field.type):
            return pa.array(values, field.type)
        if role_of(field) == "facet":  # numbers of a facet whose column is text
            values = [str(value) if isinstance(value, int | float) else value for value in values]
        return pa.array(values, field.type.value_type).dictionary_encode()
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise CatalogError(f"column {field.name!r}: {error}") from error


def _embeddings(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    dim = kind.list_size
    flat = np.zeros((len(values), dim), np.float16)
    for row, value in enumerate(values):
        if value is not None:
            vector = np.asarray(value)
            if vector.shape != (dim,):
                raise CatalogError(f"an embedding has shape {vector.shape}, the catalog stores ({dim},)")
            flat[row] = vector
    missing = pa.array([value is None for value in values])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), type=kind, mask=missing)


def _drop_failed_rows(path: Path, sweep: str) -> int:
    with pq.ParquetFile(path) as file:
        facts = file.read(columns=["sweep", "status"])
        keep = pc.invert(pc.and_(_is(facts, "status", "failed"), _is(facts, "sweep", sweep)))
        kept = pc.sum(keep).as_py() or 0
        if kept == facts.num_rows:
            return 0
        remove_indexes(path)  # first, so that no index ever speaks of rows that moved
        if kept == 0:
            path.unlink()
            return int(facts.num_rows)
        with replacing(path) as temporary:
            schema = file.schema_arrow
            with pq.ParquetWriter(temporary, schema, **write_options(schema)) as writer:
                start = 0
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    writer.write_table(table.filter(keep.slice(start, table.num_rows)))
                    start += table.num_rows
    return int(facts.num_rows - kept)


def _is(table: pa.Table, column: str, value: str) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(pc.cast(table[column], pa.string()), value), False)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary neighbour to stream into; flushed to disk and renamed onto `path` at the end."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        os.close(handle)
    except OSError as error:
        raise storage_error(error, path) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)
