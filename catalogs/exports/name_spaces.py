"""Two name spaces in one export: the format's own columns and files, and the catalog's columns.

A format's own names are its alone. A column of the catalog that has one of them, whatever its case, is
exported with one more underscore at its end: `image` becomes `image_`, and `image_` becomes `image__`. The
data card and export.json list what was renamed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable


def export_names(
    columns: Iterable[str], own: Callable[[str], bool], plain: Callable[[str], str] = str
) -> dict[str, str]:
    """The name of each column in the export; no two are equal without regard to case and Unicode form.

    own    whether a name, case-folded and without underscores at its end, belongs to the format
    plain  makes a name one that the format can hold
    """
    wanted = {}
    for column in columns:
        name = plain(column)
        wanted[column] = f"{name}_" if own(_folded(name).rstrip("_")) else name
    found: dict[str, str] = {}
    taken: set[str] = set()
    for column in sorted(wanted, key=lambda column: wanted[column] != column):  # first those that keep theirs
        name = wanted[column]
        while _folded(name) in taken:
            name += "_"
        taken.add(_folded(name))
        found[column] = name
    return {column: found[column] for column in wanted}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
