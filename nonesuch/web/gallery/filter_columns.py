"""What a catalog offers for choosing: columns to filter by value, to filter by range, and to order by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from nonesuch.catalogs.schema import EMBEDDING, closest, names_with_role, score_columns
from nonesuch.catalogs.search.expressions import identifier, literal
from nonesuch.foundation.errors import InputError

Kind = Literal["text", "int", "float32", "float", "bool", "time"]
Scalar = str | int | float

_SETTINGS = (
    "sweep",
    "model",
    "scheduler",
    "steps",
    "guidance_scale",
    "seed",
)  # filtered by value like facets
_FIRST_SCORES = ("aesthetic", "alignment")  # what people look for first
PLAN = "plan_index"
NEWEST = "drawn_at"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one catalog, by what the gallery does with them."""

    facets: tuple[str, ...]  # filtered by value: the sweep's axes, then settings and scores that are flags
    axes: tuple[str, ...]  # only the sweep's axes
    scores: tuple[str, ...]  # filtered by range
    orders: tuple[str, ...]  # ordered by
    kinds: Mapping[str, Kind]  # of every column named above
    embedding: bool  # whether likeness can be searched
    picks: bool  # whether pick, stars and tags can be asked for

    def facet(self, name: str) -> str:
        """A column to filter by value, in the catalog's spelling. Raises InputError for another one."""
        return _known(name, self.facets, "a facet of this catalog")

    def score(self, name: str) -> str:
        """A column to filter by range, in the catalog's spelling. Raises InputError for another one."""
        return _known(name, self.scores, "a score of this catalog")

    def order(self, name: str) -> str:
        """A column to order by, in the catalog's spelling. Raises InputError for another one."""
        return _known(name, self.orders, "something to order by")

    def rises(self, name: str) -> bool:
        """Whether an order begins with the lowest value by default."""
        return name == PLAN or name in self.facets

    def value_sql(self, name: str, value: str) -> str:
        """An SQL constant of that column's type. Raises InputError when the text is not such a value."""
        kind = self.kinds[name]
        if kind == "text":
            return text_sql(value)
        if kind == "bool":
            if value.lower() not in ("true", "false"):
                raise InputError(f"{value[:80]!r} is neither true nor false", where=name)
            return value.lower()
        return scalar_sql(kind, number(value, name) if kind != "int" else whole(value, name))


def columns_of(schema: pa.Schema, fields: pa.Schema) -> Columns:
    """The columns of a catalog's `schema`; `fields` adds those stored beside its parts (picks, taste)."""
    kinds = {field.name: kind for field in fields if (kind := _kind(field.type)) is not None}
    axes = [name for name in names_with_role(schema, "facet") if name in kinds]
    numbers = [name for name in score_columns(schema) if kinds[name] != "bool"]
    flags = [name for name in score_columns(schema) if kinds[name] == "bool"]
    settings = [name for name in _SETTINGS if name in kinds and name not in axes]
    scores = sorted(numbers, key=lambda name: _FIRST_SCORES.index(name) if name in _FIRST_SCORES else 9)
    beside = [name for name in score_columns(fields) if name not in schema.names]
    orders = [*scores, *beside, *(name for name in (NEWEST, PLAN, "seed") if name in kinds), *axes]
    return Columns(
        facets=(*axes, *settings, *flags),
        axes=tuple(axes),
        scores=tuple(scores),
        orders=tuple(orders),
        kinds=kinds,
        embedding=EMBEDDING in schema.names,
        picks="pick" in fields.names and "pick" not in schema.names,
    )


def scalar_sql(kind: Kind, value: Scalar) -> str:
    """An SQL constant for a Python value of that kind; flags and times as whole numbers."""
    if isinstance(value, str):
        return text_sql(value)
    if kind in ("float32", "float"):
        return f"CAST({literal(repr(float(value)))} AS {'FLOAT' if kind == 'float32' else 'DOUBLE'})"
    return str(int(value))


def text_sql(text: str) -> str:
    """An SQL constant for text from outside; it never holds the placeholder for the catalog's files."""
    return "(" + literal(text).replace("{catalog}", "{cata' || 'log}") + ")"


def key_sql(name: str, kind: Kind) -> str:
    """The SQL expression that a column is ordered by: itself, flags and times as whole numbers."""
    column = identifier(name)
    if kind == "bool":
        return f"CAST({column} AS TINYINT)"
    return f"epoch_us({column})" if kind == "time" else column


def number(text: str, where: str) -> float:
    """A finite number. Raises InputError for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{text[:80]!r} is not a number", where=where)
    return value


def whole(text: str, where: str) -> int:
    """A whole number of 64 bits. Raises InputError for anything else."""
    try:
        value = int(text)
    except ValueError:
        value = 2**63
    if not -(2**63) <= value < 2**63:
        raise InputError(f"{text[:80]!r} is not a whole number", where=where)
    return value


def _known(name: str, names: tuple[str, ...], what: str) -> str:
    found = {known.lower(): known for known in names}.get(name.lower())
    if found is None:
        near = closest(name, names)
        hint = f"Did you mean {near!r}?" if near else f"Known: {', '.join(names)}."
        raise InputError(f"{name[:80]!r} is not {what}", hint=hint)
    return found


def _kind(type_: pa.DataType) -> Kind | None:
    if pa.types.is_dictionary(type_) or pa.types.is_string(type_):
        return "text"
    if pa.types.is_boolean(type_):
        return "bool"
    if pa.types.is_timestamp(type_):
        return "time"
    if pa.types.is_float32(type_):
        return "float32"
    if pa.types.is_floating(type_):
        return "float"
    return "int" if pa.types.is_integer(type_) else None
