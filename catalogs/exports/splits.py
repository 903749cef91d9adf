"""Splits: a data set's parts by the values of a column, under names that `datasets` takes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from nonesuch.catalogs.exports.names import safe_part
from nonesuch.foundation.errors import InputError

ONE_SPLIT = "train"  # what `datasets` calls the only split
MAX_SPLITS = 100
_MAX_LETTERS = 60
_MAX_BYTES = 120  # a split's name is part of file names, which may have 255


def splits_of(table: pa.Table, column: str | None) -> tuple[dict[str, list[int]], dict[str, Any]]:
    """(split → row numbers in order, split → value of the column); without a column, one split and no values.

    Raises InputError when there is no such column or it has too many values.
    """
    if column is None:
        return {ONE_SPLIT: list(range(table.num_rows))}, {}
    known = {name.lower(): name for name in table.column_names}
    if column.lower() not in known:
        raise InputError(f"there is no column {column!r}", where="split_by")
    values = ["nan" if value != value else value for value in table[known[column.lower()]].to_pylist()]
    names = split_names(values)
    if len(names) > MAX_SPLITS:
        raise InputError(
            f"{column!r} has {len(names):,} values; a data set may have at most {MAX_SPLITS} splits",
            where="split_by",
        )
    splits: dict[str, list[int]] = {}
    for number, value in enumerate(values):
        splits.setdefault(names[value], []).append(number)
    return splits, {name: value for value, name in names.items()}


def split_names(values: Iterable[Any]) -> dict[Any, str]:
    """A name for each value, in their order; values that come to the same name are numbered: `a_b`, `a_b_2`.

    Which of them gets which number depends on the values alone, not on their order.
    """
    distinct = list(dict.fromkeys(values))
    found: dict[Any, str] = {}
    taken: set[str] = set()
    # a value that is a split's name as it stands keeps it
    for value in sorted(distinct, key=lambda one: (split_name(one) != str(one), one is None, str(one))):
        name = split_name(value)
        number = 1
        while (key := unicodedata.normalize("NFKC", name).casefold()) in taken:
            number += 1
            name = f"{split_name(value)}_{number}"
        taken.add(key)
        found[value] = name
    return {value: found[value] for value in distinct}


def split_name(value: Any) -> str:
    """A value as a split's name: lower-case letters of any script, digits and underscores.

    `datasets` wants names to match `\\w+`, and keeps `all` for itself.
    """
    text = unicodedata.normalize("NFC", "none" if value is None else str(value)).lower()
    word = re.sub(r"\W+", "_", text).strip("_")[:_MAX_LETTERS]
    while len(word.encode()) > _MAX_BYTES:
        word = word[:-1]
    word = word.rstrip("_")
    return f"{word}_" if word == "all" else safe_part(word) if word else "other"
