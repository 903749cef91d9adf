"""Fetching selected rows: the positions that a query selects, and the whole rows at those positions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nonesuch.catalogs.search.engine import Session, parquet_source
from nonesuch.catalogs.search.expressions import identifier, literal

_FEW_ROWS = 10_000  # up to so many rows are fetched by their numbers
_FEW_FILES = 64  # up to so many parts are asked one by one for their rows


@dataclass(frozen=True, slots=True)
class Choice:
    """A query whose expressions have been checked, as SQL fragments."""

    where: str  # a condition, "true" when there is none
    order: str  # ORDER BY list, "" when there is none
    top: int | None
    top_per: tuple[str, int] | None  # column in the catalog's spelling, rows of each of its values
    sample: float | None
    sample_seed: int
    parameters: Mapping[str, Any] = field(
        default_factory=dict
    )  # values of the $names in `where`, all of them


@dataclass(frozen=True, slots=True)
class Places:
    """Where rows are: part file and row number in it, in the order wanted."""

    files: Sequence[str]
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)


def chosen_rows(session: Session, choice: Choice, columns: Sequence[str]) -> pa.Table:
    """The chosen rows with those columns, in the catalog's own types."""
    plain = choice.top_per is None and choice.sample is None
    if plain and session.names_beside(f"{choice.where} {choice.order}"):
        # Joined columns keep the engine from fetching late, so the places come first, unless there are many.
        most = _FEW_ROWS + 1 if choice.top is None else min(choice.top, _FEW_ROWS + 1)
        found = search(session, replace(choice, top=most))
        if len(found) <= _FEW_ROWS:
            return fetch(session, found, columns)
    if plain:
        # The engine itself fetches the rows of a top list late; of windows and samples it does not.
        listed = ", ".join(identifier(name) for name in columns)
        order = f" ORDER BY {choice.order}" if choice.order else ""
        limit = f" LIMIT {choice.top}" if choice.top is not None else ""
        sql = f"SELECT {listed} FROM {{catalog}} WHERE {choice.where}{order}{limit}"
        table = session.sql(sql, choice.parameters)
        return typed(table, session.fields)
    return fetch(session, search(session, choice), columns)


def search(session: Session, choice: Choice) -> Places:
    """The places of the chosen rows, found by reading only the columns that decide."""
    found = session.sql(_search(choice), choice.parameters)
    files = [session.files[number] for number in found["file_index"].to_pylist()]
    return Places(files, found["file_row_number"].to_pylist())


def matching_numbers(session: Session, condition: str) -> dict[str, npt.NDArray[np.int64]]:
    """For each part, the numbers of its rows that meet a checked condition."""
    found = session.sql(
        f"SELECT file_index, list(file_row_number) AS numbers FROM {{catalog}} WHERE {condition} GROUP BY ALL"
    )
    lists = found["numbers"].combine_chunks()
    return {
        session.files[number]: np.asarray(lists[row].values.to_numpy(zero_copy_only=False), np.int64)
        for row, number in enumerate(found["file_index"].to_pylist())
    }


def fetch(session: Session, places: Places, columns: Sequence[str], *, as_stored: bool = True) -> pa.Table:
    """The rows at those places, in their order; unless `as_stored`, words come as plain strings, which is faster."""
    by_file: dict[str, list[int]] = {}
    for file, number in zip(places.files, places.numbers, strict=True):
        by_file.setdefault(file, []).append(number)
    if not by_file:
        by_file = {session.files[0]: [-1]}
    wanted = {name.lower() for name in columns}
    known = "|".join(re.escape(name) for name in session.schema.names if name.lower() in wanted)
    # COLUMNS passes over the columns that a part does not have; typed() adds them.
    listed = f"filename, file_row_number, COLUMNS({literal(f'^(recipe_id|{known})$')})"
    if len(by_file) <= _FEW_FILES:
        table = session.sql(
            " UNION ALL BY NAME ".join(
                f"SELECT {listed} FROM {parquet_source([file])} "
                f"WHERE file_row_number IN ({', '.join(map(str, numbers))})"
                for file, numbers in by_file.items()
            )
        )
    else:
        anywhere = ", ".join(map(str, {number for numbers in by_file.values() for number in numbers}))
        table = session.sql(
            f"SELECT {listed} FROM {parquet_source([session.files[0], *by_file])} "
            f"WHERE file_row_number IN ({anywhere})"
        )
    found = zip(table["filename"].to_pylist(), table["file_row_number"].to_pylist(), strict=True)
    row_of = {place: row for row, place in enumerate(found)}
    order = [row_of[place] for place in zip(places.files, places.numbers, strict=True)]
    if order != list(range(table.num_rows)):
        table = table.take(pa.array(order, pa.int64()))
    outside = [name for name in columns if name not in session.schema.names]
    if outside:
        index = {file: number for number, file in enumerate(session.files)}
        numbers = pa.array([index[file] for file in places.files], pa.int64())
        keys = table.select(["file_row_number"]).append_column("file_index", numbers)
        found_beside = session.beside(keys, outside)
        for name in outside:
            table = table.append_column(name, found_beside[name])
    for name in columns:
        if name not in table.column_names:
            kind = session.schema.field(name).type
            table = table.append_column(
                name, pa.nulls(len(table), pa.uint64() if kind == pa.uint64() else None)
            )
    table = table.select(list(columns))
    return typed(table, session.fields) if as_stored else table


def typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in the catalog's types: the engine returns plain strings and variable-length embeddings."""
    arrays: list[Any] = []
    fields = [schema.field(name) for name in table.column_names]
    for wanted, column in zip(fields, table.columns, strict=True):
        if pa.types.is_fixed_size_list(wanted.type):
            arrays.append(_fixed(column, wanted.type))
        elif pa.types.is_dictionary(wanted.type):
            arrays.append(pc.cast(column, pa.string()).dictionary_encode())
        elif pa.types.is_uint64(wanted.type) and not wanted.nullable:
            arrays.append(pc.fill_null(pc.cast(column, wanted.type), 0))
        else:
            arrays.append(pc.cast(column, wanted.type))
    loose = pa.schema([field.with_nullable(True) for field in fields], metadata=schema.metadata)
    return pa.Table.from_arrays(arrays, schema=loose)


def _search(choice: Choice) -> str:
    where = choice.where
    drawn = f"md5_number_lower(recipe_id || ':{int(choice.sample_seed)}')"
    source = f"SELECT *, file_index FROM {{catalog}} WHERE {where}"
    if choice.sample is not None and choice.sample < 1:
        source += f" AND {drawn} < {int(choice.sample * 2**64)}"
    elif choice.sample is not None:
        source += f" ORDER BY {drawn} LIMIT {int(choice.sample)}"
    order = choice.order
    sql = f"SELECT file_index, file_row_number FROM ({source})"
    if choice.top_per is not None:
        group = identifier(choice.top_per[0])
        sql += f" QUALIFY row_number() OVER (PARTITION BY {group} ORDER BY {order}) <= {choice.top_per[1]}"
        order = f"{group} NULLS LAST, {order}"
    elif not order:
        order = "plan_index" if choice.sample is not None else ""
    if order:
        sql += f" ORDER BY {order}"
    return sql + (f" LIMIT {choice.top}" if choice.top is not None else "")


def _fixed(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    array = pa.concat_arrays([*column.chunks, pa.array([], column.type)])
    valid = np.asarray(array.is_valid())
    flat: npt.NDArray[np.float16] = np.zeros((len(array), kind.list_size), np.float16)
    if valid.any():
        flat[valid] = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, kind.list_size)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), type=kind, mask=pa.array(~valid))
