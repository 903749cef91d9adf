"""Queries of a catalog: filter, order, top, top per group, aggregates and samples.

What `nonesuch query` does, as Python: Catalog("OUT").query("artist = 'Edvard Munch'", order="aesthetic").
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from nonesuch.catalogs.picks.taste_model import TasteColumn
from nonesuch.catalogs.schema import EMBEDDING, names_with_role, role_of, score_columns
from nonesuch.catalogs.search.engine import Engine
from nonesuch.catalogs.search.expressions import (
    Where,
    checked_expression,
    each_condition,
    identifier,
    named_parameters,
    plain_column,
    unknown_column,
)
from nonesuch.catalogs.search.fetching import Choice, chosen_rows
from nonesuch.catalogs.search.joined_columns import PickColumns
from nonesuch.catalogs.search.parameters import Parameters, check_all_used, checked_parameters
from nonesuch.catalogs.storage.indexes import OpenIndexes
from nonesuch.catalogs.storage.mirror import located
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import AnyPath
from nonesuch.foundation.urls import url_of

if TYPE_CHECKING:
    import pandas

_ASCENDING_ROLES = ("identity", "recipe", "facet")  # browsed from the beginning; everything else is ranked
_SHOWN_ROWS = 10  # of a catalog at the end of a notebook's cell


class Catalog:
    """A catalog of images, read only; `path` is the output folder, its catalog folder, or the URL of one.

    `len(catalog)` is the number of its rows. A notebook shows the first rows as a table. A catalog pickles as its
    path, and `with Catalog("out") as catalog:` closes it at the end. `threads` limits the query engine.
    Raises InputError when there is no catalog there.
    """

    def __init__(self, path: AnyPath, *, threads: int | None = None) -> None:
        given = os.fspath(path)
        self.engine = Engine(
            located(given), threads=threads, beside=lambda folder: (PickColumns(folder), TasteColumn(folder))
        )
        self.indexes = OpenIndexes()
        self._threads = threads
        self._place = url_of(given) or str(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the query engine and of every open file; a closed catalog can't be queried."""
        self.engine.close()
        self.indexes = OpenIndexes()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (type(self), self._place, self._threads)

    def __repr__(self) -> str:
        return f"Catalog({self._place!r})"

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # also without a row: `if catalog` asks whether one was given

    def _repr_html_(self) -> str:
        """The first rows for a notebook: identity, facets, scores and file, everything escaped."""
        wanted = ["recipe_id", *self.facets, *self.scores, "status", "file"]
        columns = [name for name in wanted if name in self.schema.names]
        table = self.query(top=_SHOWN_ROWS, columns=columns).to_html(
            index=False,
            escape=True,
            border=0,
            na_rep="",
            float_format="{:.4g}".format,
            classes=["tex2jax_ignore", "mathjax_ignore"],  # a $ in a name begins no formula
        )
        count = len(self)
        shown = f", the first {_SHOWN_ROWS}" if count > _SHOWN_ROWS else ""
        return f"<p>{html.escape(self._place)}: {count:,} rows{shown}</p>\n{table}"

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

    def count(self, where: Where = None, *, parameters: Parameters = None) -> int:
        """How many rows there are, or how many meet every condition; `parameters` as in `query`."""
        condition, bound = self._bound(where, parameters)
        sql = f"SELECT count(*) AS n FROM {{catalog}} WHERE {condition}"
        return int(self.engine.read(lambda session: session.sql(sql, bound))["n"][0].as_py())

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
        parameters: Parameters = None,
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
        as_arrow     an Arrow table in the catalog's own types, with descriptions and roles
        parameters   values for $names in `where`: query("artist = $name", parameters={"name": "O'Brien"});
                     they are bound by the query engine, so whatever is in them stays a value

        Raises InputError for unknown columns, broken expressions and options that don't go together.
        """
        if top is not None and top < 1:
            raise InputError(f"{top} is not a number of rows", where="top", hint="Use 1 or more.")
        if group is not None:
            if top_per or sample is not None or columns is not None:
                raise InputError("group goes with where, order and top only", where="query")
            names = [group] if isinstance(group, str) else list(group)
            table = self._grouped(where, names, order, descending, top, parameters)
        else:
            choice = self.choice(where, order, descending, top, top_per, sample, sample_seed, parameters)
            wanted = self.column_names(columns)
            table = self.engine.read(lambda session: chosen_rows(session, choice, wanted))
        return table if as_arrow else table.to_pandas()

    def condition(self, where: Where) -> str:
        """`where` as one checked SQL condition; of several, each is checked by itself and all must hold.

        Raises InputError that names the condition that is wrong.
        """
        return self._bound(where, None)[0]

    def _bound(self, where: Where, parameters: Parameters) -> tuple[str, dict[str, Any]]:
        """`condition`, which may hold $names, and the checked value of each."""
        values = checked_parameters(parameters)
        parser, texts = self.engine.parser, each_condition(where)
        checked: list[str] = []
        used: list[list[str]] = []
        for text in texts:
            if not text.strip():
                raise InputError(
                    "a condition is empty", where="where", hint="Leave it out to take every image."
                )
            names = self.fields.names
            checked.append(checked_expression(parser, text, names, what="where", parameters=values))
            used.append(named_parameters(parser, text) if values else [])
        check_all_used(values, [name for names in used for name in names])
        if len(checked) > 1:
            for text, condition, names in zip(texts, checked, used, strict=True):
                self._try(text, condition, {name: values[name] for name in names})
        return " AND ".join(checked) or "true", values

    def _try(self, text: str, condition: str, parameters: dict[str, Any]) -> None:
        """Let the engine look at a condition, so that its complaint is about this one of several."""
        sql = f"SELECT 1 FROM {{catalog}} WHERE {condition} LIMIT 0"
        try:
            self.engine.read(lambda session: session.sql(sql, parameters))
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
        parameters: Parameters = None,
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
        condition, bound = self._bound(where, parameters)
        return Choice(condition, self._order(order, descending), top, top_per, sample, sample_seed, bound)

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
        parameters: Parameters,
    ) -> pa.Table:
        columns = [self._column(name, "group") for name in group]
        means = {score: f"{score}_mean" for score in self.scores}
        condition, bound = self._bound(where, parameters)
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
        return self.engine.read(lambda session: session.sql(sql, bound))


def _reopened(kind: type[Catalog], place: str, threads: int | None) -> Catalog:
    return kind(place, threads=threads)


def _direction(text: str, descending: bool | None) -> tuple[str, bool | None]:
    head, _, last = text.strip().rpartition(" ")
    if head and last.lower() in ("asc", "desc"):
        return head, last.lower() == "desc"
    return text, descending
