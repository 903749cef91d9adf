"""Choosing from a catalog: filter, order, top, top of each group, aggregates and samples.

What `nonesuch query` does, as Python: Catalog("OUT").query("artist = 'Edvard Munch'", order="aesthetic").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from catalogs.engine import Engine, Session, parquet_source
from catalogs.expressions import checked_expression, identifier, plain_column, unknown_column
from catalogs.schema import EMBEDDING, names_with_role, role_of, score_columns
from foundation.errors import InputError

if TYPE_CHECKING:
    import pandas

_ASCENDING_ROLES = ("identity", "recipe", "facet")  # browsed from the beginning; everything else is ranked
_FEW = 5_000  # up to so many rows are found by narrow columns first and fetched whole afterwards


@dataclass(frozen=True, slots=True)
class Choice:
    """A query whose expressions have been checked, as SQL fragments."""

    where: str  # a condition, "true" when there is none
    order: str  # ORDER BY list, "" when there is none
    top: int | None
    top_per: tuple[str, int] | None  # column in the catalog's spelling, rows of each of its values
    sample: float | None
    sample_seed: int


class Catalog:
    """A catalog of images, read only; `path` is the output folder or its catalog folder.

    Raises InputError when there is no catalog there. `threads` limits the query engine.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.engine = Engine(Path(path), threads=threads)

    @property
    def schema(self) -> pa.Schema:
        """Every column with its type; description and role are in each field's metadata."""
        return self.engine.schema

    @property
    def folder(self) -> Path:
        """The output folder, which the `file` column is relative to."""
        return self.engine.folder.parent

    @property
    def scores(self) -> list[str]:
        """The score columns."""
        return score_columns(self.schema)

    @property
    def facets(self) -> list[str]:
        """The facet columns."""
        return names_with_role(self.schema, "facet")

    def count(self, where: str | None = None) -> int:
        """How many rows there are, or how many meet the condition."""
        condition = self.condition(where)
        table = self.engine.read(lambda s: s.sql(f"SELECT count(*) AS n FROM {{catalog}} WHERE {condition}"))
        return int(table["n"][0].as_py())

    def query(
        self,
        where: str | None = None,
        *,
        order: str | Sequence[str] | None = None,
        descending: bool | None = None,
        top: int | None = None,
        group: str | Sequence[str] | None = None,
        top_per: tuple[str, int] | None = None,
        columns: Sequence[str] | None = None,
        sample: float | None = None,
        sample_seed: int = 0,
        as_arrow: bool = False,
    ) -> pandas.DataFrame | pa.Table:
        """The rows that meet `where`, as a pandas DataFrame or an Arrow table.

        where        an SQL condition, for example "artist = 'Edvard Munch' AND alignment > 0.3"
        order        a column or SQL expression, or several, each with "asc" or "desc" behind it if
                     wanted; rows without a value come last
        descending   for keys that don't say; None: scores and other measures from high to low, recipe
                     and facets from low to high
        top          how many rows at most
        group        facets or other columns: one row for each value instead, with `images`, `failed` and
                     `<score>_mean` of every score; `order` may then name a score for its mean
        top_per      ("subject", 3): the first 3 rows of each subject, in `order`
        columns      which columns, in that order; by default all but the embedding
        sample       a whole number of rows, or a fraction below 1, drawn by a hash of the recipe id and
                     `sample_seed`: the same rows however the catalog is cut into parts

        Raises InputError for unknown columns, broken expressions and options that don't go together.
        """
        if top is not None and top < 1:
            raise InputError(f"{top} is not a number of rows", where="top", hint="Use 1 or more.")
        if group is not None:
            if top_per or sample is not None or columns is not None:
                raise InputError("group goes with where, order and top only", where="query")
            names = [group] if isinstance(group, str) else list(group)
            table = self._grouped(where, names, order, descending, top)
        else:
            choice = self.choice(where, order, descending, top, top_per, sample, sample_seed)
            wanted = self.column_names(columns)
            table = self.engine.read(lambda session: rows(session, choice, wanted))
        return table if as_arrow else table.to_pandas()

    def condition(self, where: str | None) -> str:
        """`where` as a checked SQL condition."""
        if where is None or not where.strip():
            return "true"
        return checked_expression(self.engine.parser, where, self.schema.names, what="where")

    def choice(
        self,
        where: str | None = None,
        order: str | Sequence[str] | None = None,
        descending: bool | None = None,
        top: int | None = None,
        top_per: tuple[str, int] | None = None,
        sample: float | None = None,
        sample_seed: int = 0,
    ) -> Choice:
        """The arguments of `query` once they are checked. Raises InputError as query does."""
        if top_per is not None:
            if order is None:
                raise InputError("needs an order that says which rows are best", where="top_per")
            if top_per[1] < 1:
                raise InputError(
                    f"{top_per[1]} is not a number of rows", where="top_per", hint="Use 1 or more."
                )
            top_per = (self._column(top_per[0], "top_per"), top_per[1])
        if sample is not None and not (0 < sample < 1 or (sample >= 1 and sample == int(sample))):
            raise InputError(
                f"{sample} is neither a number of rows nor a fraction", where="sample", hint="Use 500 or 0.1."
            )
        condition = self.condition(where)
        return Choice(condition, self._order(order, descending), top, top_per, sample, sample_seed)

    def column_names(self, columns: Sequence[str] | None) -> list[str]:
        """The wanted columns in the catalog's spelling; by default all but the embedding."""
        if columns is None:
            return [name for name in self.schema.names if name != EMBEDDING]
        return [self._column(name, "columns") for name in columns]

    def _column(self, name: str, what: str) -> str:
        names = self.schema.names
        found = plain_column(name, names)
        if found is None:
            raise unknown_column(name, names, where=what)
        return found

    def _order(self, order: str | Sequence[str] | None, descending: bool | None) -> str:
        if order is None:
            return ""
        schema = self.schema
        keys = []
        for text in [order] if isinstance(order, str) else order:
            key, down = _direction(text, descending)
            column = plain_column(key, schema.names)
            if column is not None:
                if down is None:
                    down = role_of(schema.field(column)) not in _ASCENDING_ROLES
                expression = identifier(column)
            else:
                down = True if down is None else down
                expression = checked_expression(self.engine.parser, key, schema.names, what="order")
            keys.append(f"{expression} {'DESC' if down else 'ASC'} NULLS LAST")
        return ", ".join([*keys, "plan_index", "recipe_id"])  # ties fall the same way however it is stored

    def _grouped(
        self,
        where: str | None,
        group: Sequence[str],
        order: str | Sequence[str] | None,
        descending: bool | None,
        top: int | None,
    ) -> pa.Table:
        columns = [self._column(name, "group") for name in group]
        means = {score: f"{score}_mean" for score in self.scores}
        condition = self.condition(where)
        keys = []
        for text in [order] if isinstance(order, str) else (order or []):
            key, down = _direction(text, descending)
            output = [*columns, "images", "failed", *means.values()]
            column = plain_column(key, output) or means.get(plain_column(key, list(means)) or "")
            expression = (
                identifier(column)
                if column
                else checked_expression(self.engine.parser, key, output, what="order")
            )
            if down is None:
                down = column not in columns
            keys.append(f"{expression} {'DESC' if down else 'ASC'} NULLS LAST")
        listed = ", ".join(identifier(name) for name in columns)
        averages = "".join(
            f", avg(CAST({identifier(score)} AS DOUBLE)) AS {identifier(mean)}"
            for score, mean in means.items()
        )
        sql = (
            f"SELECT * FROM (SELECT {listed}, count(*) FILTER (status <> 'failed') AS images, "
            f"count(*) FILTER (status = 'failed') AS failed{averages} "
            f"FROM {{catalog}} WHERE {condition} GROUP BY {listed}) "
            f"ORDER BY {', '.join([*keys, listed])}" + (f" LIMIT {top}" if top else "")
        )
        return self.engine.read(lambda session: session.sql(sql))


def rows(session: Session, choice: Choice, columns: Sequence[str]) -> pa.Table:
    """The chosen rows with those columns, in the catalog's own types."""
    listed = ", ".join(identifier(name) for name in columns)
    if choice.top is None and choice.top_per is None and choice.sample is None:
        order = f" ORDER BY {choice.order}" if choice.order else ""
        table = session.sql(f"SELECT {listed} FROM {{catalog}} WHERE {choice.where}{order}")
    else:
        found = session.sql(_search(choice))
        table = fetch(session, found["filename"].to_pylist(), found["file_row_number"].to_pylist(), columns)
    return _typed(table, session.schema)


def fetch(session: Session, files: Sequence[str], numbers: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """The rows at those places (file, row number in it), in the order given."""
    by_file: dict[str, list[int]] = {}
    for file, number in zip(files, numbers, strict=True):
        by_file.setdefault(file, []).append(number)
    listed = ", ".join(identifier(name) for name in ("filename", "file_row_number", *columns))
    empty = session.files[0]  # the schema file, so that every column is known whatever the parts hold
    if len(numbers) <= _FEW:
        pieces = [
            f"SELECT {listed} FROM {parquet_source([empty, file])} "
            f"WHERE file_row_number IN ({', '.join(map(str, rows_))})"
            for file, rows_ in by_file.items()
        ]
        table = session.sql(" UNION ALL ".join(pieces) or f"SELECT {listed} FROM {parquet_source([empty])}")
    else:
        table = session.sql(f"SELECT {listed} FROM {parquet_source([empty, *by_file])}")
    place = {
        key: row
        for row, key in enumerate(
            zip(table["filename"].to_pylist(), table["file_row_number"].to_pylist(), strict=True)
        )
    }
    wanted = [place[key] for key in zip(files, numbers, strict=True)]
    return table.take(pa.array(wanted, pa.int64())).select(list(columns))


def _search(choice: Choice) -> str:
    """SQL for the places of the chosen rows; reads only the columns that decide."""
    where = choice.where
    drawn = f"md5_number_lower(recipe_id || ':{int(choice.sample_seed)}')"
    source = f"SELECT * FROM {{catalog}} WHERE {where}"
    if choice.sample is not None and choice.sample < 1:
        source += f" AND {drawn} < {int(choice.sample * 2**64)}"
    elif choice.sample is not None:
        source += f" ORDER BY {drawn} LIMIT {int(choice.sample)}"
    order = choice.order
    sql = f"SELECT filename, file_row_number FROM ({source})"
    if choice.top_per is not None:
        group = identifier(choice.top_per[0])
        sql += f" QUALIFY row_number() OVER (PARTITION BY {group} ORDER BY {order}) <= {choice.top_per[1]}"
        order = f"{group} NULLS LAST, {order}"
    elif not order:
        order = "plan_index, recipe_id" if choice.sample is not None else ""
    if order:
        sql += f" ORDER BY {order}"
    return sql + (f" LIMIT {choice.top}" if choice.top is not None else "")


def _direction(text: str, descending: bool | None) -> tuple[str, bool | None]:
    head, _, last = text.strip().rpartition(" ")
    if head and last.lower() in ("asc", "desc"):
        return head, last.lower() == "desc"
    return text, descending


def _typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in the catalog's types: the engine returns plain strings and variable-length embeddings."""
    arrays: list[Any] = []
    fields = [schema.field(name) for name in table.column_names]
    for field, column in zip(fields, table.columns, strict=True):
        if pa.types.is_fixed_size_list(field.type):
            arrays.append(_fixed(column.combine_chunks(), field.type))
        elif pa.types.is_dictionary(field.type):
            arrays.append(pc.cast(column, pa.string()).dictionary_encode())
        else:
            arrays.append(pc.cast(column, field.type))
    loose = pa.schema([field.with_nullable(True) for field in fields], metadata=schema.metadata)
    return pa.Table.from_arrays(arrays, schema=loose)


def _fixed(column: Any, kind: pa.DataType) -> pa.Array:
    import numpy as np

    array = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    flat = np.zeros((len(array), kind.list_size), np.float16)
    valid = np.asarray(array.is_valid())
    flat[valid] = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, kind.list_size)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), type=kind, mask=pa.array(~valid))
