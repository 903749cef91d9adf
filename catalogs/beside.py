"""Columns that lie beside the catalog and not in its parts: what people said of an image, its predicted taste.

Queries see them as columns of their own; a statement that names none of them does not pay for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from catalogs.pick_events import PickState
from catalogs.picks import PickLog, open_picks

BY_RECIPE = ("recipe_id",)
BY_PLACE = ("file_index", "file_row_number")


class Beside(Protocol):
    """Columns for some or all rows of a catalog."""

    @property
    def fields(self) -> pa.Schema:
        """The columns; none of them is a column of parts."""
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """What its rows are known by: BY_RECIPE or BY_PLACE."""
        ...

    def table(self, files: Sequence[str]) -> pa.Table:
        """Key and columns of the rows that have values, as they are now.

        files  the catalog's parts; file_index is a part's place among them
        """
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
    key = BY_RECIPE

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log: PickLog | None = None
        self._kept: tuple[tuple[int, int], pa.Table] | None = None

    def table(self, files: Sequence[str]) -> pa.Table:
        """One row for each image of which something is said."""
        if self._log is None:
            self._log = open_picks(self._folder)
        last = self._log.last_event()
        stamp = (self._log.path.stat().st_ino if last else 0, last)
        if self._kept is None or self._kept[0] != stamp:
            self._kept = (stamp, state_table(self._log.states()))
        return self._kept[1]


def state_table(states: Mapping[str, PickState]) -> pa.Table:
    """recipe_id and PICK_FIELDS as a table."""
    said = list(states.values())
    columns = [
        pa.array(list(states), pa.string()),
        pa.array([state.verdict for state in said], pa.string()),
        pa.array([state.stars for state in said], pa.int32()),
        pa.array([list(state.tags) or None for state in said], pa.list_(pa.string())),
        pa.array([state.note for state in said], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=PICK_FIELDS.insert(0, pa.field("recipe_id", pa.string())))


def names_any(text: str, names: Sequence[str]) -> bool:
    """Whether an SQL text may name one of those columns; a string constant of that name counts too."""
    return re.search(rf"\b({'|'.join(map(re.escape, names))})\b", text, re.IGNORECASE) is not None
