"""Queries of a catalog: filter, order, top, top per group, aggregates and samples.

What `nonesuch query` does, as Python: Catalog("OUT").query("artist = 'Edvard Munch'", order="aesthetic").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from nonesuch.catalogs.picks.taste_model import TasteColumn
from nonesuch.catalogs.schema import EMBEDDING, names_with_role, role_of, score_columns
from nonesuch.catalogs.search.engine import Engine
from nonesuch.catalogs.search.expressions import (
    Where,
    checked_expression,
    each_condition,
    identifier,
    plain_column,
    unknown_column,
)
from nonesuch.catalogs.search.fetching import Choice, chosen_rows
from nonesuch.catalogs.search.joined_columns import PickColumns
from nonesuch.catalogs.storage.indexes import OpenIndexes
from nonesuch.catalogs.storage.mirror import located
from nonesuch.foundation.errors import InputError

if TYPE_CHECKING:
    import pandas

_ASCENDING_ROLES = ("identity", "recipe", "facet")  # browsed from the beginning; everything else is ranked


class Catalog:
    """A catalog of images, read only; `path` is the output folder, its catalog folder, or the URL of one.

    Raises InputError when there is no catalog there. `threads` limits the query engine.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.engine = Engine(
            located(path), threads=threads, beside=lambda folder: (PickColumns(folder), TasteColumn(folder))
        )
        self.indexes = OpenIndexes()

    @property
    def schema(self) -> pa.Schema:
        """Every column with its type; description and role are in each field's metadata."""
        return self.engine.schema

    @property
    def fields(self) -> pa.Schema:
        """Every column that expressions may name: the schema's, and those that lie beside the catalog.

        pick, stars, tags and note come from the log of picks, taste from the trained model.
        """
        return self.engine.fields

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

    def count(self, where: Where = None) -> int:
        """How many rows there are, or how many meet every condition."""
        condition = self.condition(where)
        table = self.engine.read(lambda s: s.sql(f"SELECT count(*) AS n FROM {{catalog}} WHERE {condition}"))
        return int(table["n"][0].as_py())

    def query(
        self,
        where: Where = None,
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

        where        an SQL condition, for example "artist = 'Edvard Munch' AND alignment > 0.3", or a list
                     of conditions that all must hold
        order        a column or SQL expression, or several, each with "asc" or "desc" behind it if
                     wanted; rows without a value come last
        descending   for keys that don't say; None: scores and other measures from high to low, recipe
                     and facets from low to high
        top          how many rows at most
        group        facets or other columns: one row for each value instead, with `images`, `failed` and
                     `<score>_mean` of every score; `order` may then name a score for its mean
        top_per      ("subject", 3): the first 3 rows of each subject, in `order`
        columns      which columns, in that order; by default all of `schema` but the embedding
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
            table = self.engine.read(lambda session: chosen_rows(session, choice, wanted))
        return table if as_arrow else table.to_pandas()

    def condition(self, where: Where) -> str:
        """`where` as one checked SQL condition; of several, each is checked by itself and all must hold.

        Raises InputError that names the condition that is wrong.
        """
        checked = []
        for text in each_condition(where):
            if not text.strip():
                raise InputError(
                    "a condition is empty", where="where", hint="Leave it out to take every image."
                )
            checked.append(checked_expression(self.engine.parser, text, self.fields.names, what="where"))
        if len(checked) > 1:
            for text, condition in zip(each_condition(where), checked, strict=True):
                self._try(text, condition)
        return " AND ".join(checked) or "true"

    def _try(self, text: str, condition: str) -> None:
        """Let the engine look at a condition, so that its complaint is about this one of several."""
        try:
            self.engine.read(
                lambda session: session.sql(f"SELECT 1 FROM {{catalog}} WHERE {condition} LIMIT 0")
            )
        except InputError as error:
            raise InputError(error.message, where=f"where {text!r}", hint=error.hint) from error

    def choice(
        self,
        where: Where = None,
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
        names = self.fields.names
        found = plain_column(name, names)
        if found is None:
            raise unknown_column(name, names, where=what)
        return found

    def _order(self, order: str | Sequence[str] | None, descending: bool | None) -> str:
        if order is None:
            return ""
        schema = self.fields
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
        return ", ".join([*keys, "plan_index"])  # ties fall in the plan's order

    def _grouped(
        self,
        where: Where,
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


def _direction(text: str, descending: bool | None) -> tuple[str, bool | None]:
    head, _, last = text.strip().rpartition(" ")
    if head and last.lower() in ("asc", "desc"):
        return head, last.lower() == "desc"
    return text, descending
