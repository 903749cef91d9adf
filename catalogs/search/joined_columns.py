"""Columns that lie beside the catalog and not in its parts: picks, stars and notes, and the predicted taste.

Queries see them as columns of their own; a statement that names none of them does not pay for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nonesuch.catalogs.picks.events import PickState
from nonesuch.catalogs.picks.log import PickLog, open_picks
from nonesuch.catalogs.storage.indexes import OpenIndexes, SortedKeys, hex_keys, key_column, sorted_keys
from nonesuch.catalogs.storage.parts import UNREADABLE, damaged

KEY = ("file_index", "file_row_number")  # what a row of such columns is known by
Stamp = tuple[int, int]


class Beside(Protocol):
    """Columns for some or all rows of a catalog."""

    @property
    def fields(self) -> pa.Schema:
        """The columns; none of them is a column of parts."""
        ...

    def table(self, files: Sequence[str]) -> pa.Table:
        """KEY and columns of the rows that have values, as they are now.

        files  the catalog's parts; file_index is a part's place among them
        """
        ...

    def close(self) -> None:
        """Let go of every file."""
        ...


PICK_FIELDS = pa.schema(
    [
        pa.field(name, kind, metadata={"description": text, "role": role})
        for name, kind, role, text in (
            ("pick", pa.string(), "facet", "picked or rejected, as people last said"),
            ("stars", pa.int32(), "score", "1 to 5 stars that people gave"),
            ("tags", pa.list_(pa.string()), "facet", "tags that people put on, sorted"),
            ("note", pa.string(), "facet", "what people noted"),
        )
    ]
)


class PickColumns:
    """pick, stars, tags and note from the log of picks; null where nothing was said."""

    fields = PICK_FIELDS

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log: PickLog | None = None
        self._said: tuple[Stamp, npt.NDArray[np.uint64], pa.Table] | None = None
        self._indexes = OpenIndexes()
        self._placed: tuple[Any, pa.Table] | None = None

    def table(self, files: Sequence[str]) -> pa.Table:
        """One row for each row of an image of which something is said."""
        stamp, keys, said = self._current()
        parts = [self._indexes.of_part(file, "sorted recipe keys", _recipe_keys) for file in files]
        # The identity of an index changes with its part.
        sources = (stamp, list(files), parts)
        if self._placed is None or not _same(self._placed[0], sources):
            self._placed = (sources, _placed(parts, keys, said))
        return self._placed[1]

    def close(self) -> None:
        """Let go of the log."""
        if self._log is not None:
            self._log.close()

    def _current(self) -> tuple[Stamp, npt.NDArray[np.uint64], pa.Table]:
        if self._log is None:
            self._log = open_picks(self._folder)
        last = self._log.last_event()
        stamp = (self._log.path.stat().st_ino if last else 0, last)
        if self._said is None or self._said[0] != stamp:
            states = self._log.states()
            keys = hex_keys(pa.array(list(states), pa.string()))
            self._said = (stamp, keys, state_table(states))
        return self._said


def _recipe_keys(part: Path) -> SortedKeys | None:
    found = sorted_keys(part, "recipe_id")
    if found is not None:
        return found
    try:
        keys = key_column(pq.read_table(part, columns=["recipe_id"], partitioning=None)["recipe_id"])
    except FileNotFoundError:
        return None  # replaced meanwhile: the reader begins anew
    except UNREADABLE as error:
        raise damaged(part, error) from error
    order = np.argsort(keys, kind="stable")
    return SortedKeys(keys[order], order.astype(np.uint32))


def _placed(parts: Sequence[SortedKeys | None], keys: npt.NDArray[np.uint64], said: pa.Table) -> pa.Table:
    which, numbers, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number, part in enumerate(parts):
        if part is None:
            continue
        first = np.searchsorted(part.keys, keys, side="left")
        count = np.searchsorted(part.keys, keys, side="right") - first
        here = np.flatnonzero(count)  # an image has one row, but nothing hangs on that
        repeated = np.repeat(here, count[here])
        within = np.arange(len(repeated)) - np.repeat(np.cumsum(count[here]) - count[here], count[here])
        which.append(repeated)
        numbers.append(np.full(len(repeated), number))
        rows.append(part.rows[first[repeated] + within].astype(np.int64))
    table = said.take(pa.array(np.concatenate(which)))
    table = table.append_column("file_index", pa.array(np.concatenate(numbers), pa.int64()))
    return table.append_column("file_row_number", pa.array(np.concatenate(rows), pa.int64()))


def _same(kept: Any, now: Any) -> bool:
    stamp, files, parts = kept
    return bool(
        stamp == now[0]
        and files == now[1]
        and all(one is other for one, other in zip(parts, now[2], strict=True))
    )


def state_table(states: Mapping[str, PickState]) -> pa.Table:
    """PICK_FIELDS as a table, one row for each state in their order."""
    said = list(states.values())
    columns = [
        pa.array([state.verdict for state in said], pa.string()),
        pa.array([state.stars for state in said], pa.int32()),
        pa.array([list(state.tags) or None for state in said], pa.list_(pa.string())),
        pa.array([state.note for state in said], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=PICK_FIELDS)


def names_any(text: str, names: Sequence[str]) -> bool:
    """Whether an SQL text may name one of those columns; a string constant of that name counts too."""
    return re.search(rf"\b({'|'.join(map(re.escape, names))})\b", text, re.IGNORECASE) is not None
