"""Values for the parameters of a condition, `artist = $name`: checked here, bound by the query engine, never pasted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from nonesuch.foundation.errors import InputError

Parameters: TypeAlias = Mapping[str, Any] | None
"""Value by name, for `$name` in conditions: text, numbers, dates, None, or lists of these."""
_PLAIN = (str, bytes, bool, int, float, Decimal, datetime, date, time, timedelta, type(None))


def checked_parameters(parameters: Parameters) -> dict[str, Any]:
    """The values as the engine takes them; NumPy's scalars become Python's.

    Raises InputError for a name that can't stand behind `$` and for a value that no column can be compared with.
    """
    checked = {}
    for name, value in (parameters or {}).items():
        if not (isinstance(name, str) and name.isascii() and name.isidentifier()):
            raise InputError(
                f"{name!r} is not a name",
                where="parameters",
                hint="Use letters, digits and _, as in $artist_1.",
            )
        checked[name] = _plain(name, value)
    return checked


def check_all_used(parameters: Mapping[str, Any], used: Sequence[str]) -> None:
    """Raise InputError for a parameter that no condition names: most likely one of the two is misspelt."""
    for name in parameters:
        if name not in used:
            raise InputError(f"no condition names ${name}", where="parameters")


def _plain(name: str, value: Any) -> Any:
    if type(value).__module__ == "numpy" and not getattr(value, "shape", True):
        value = value.item()
    if isinstance(value, list | tuple):
        return [_plain(name, one) for one in value]
    if isinstance(value, _PLAIN):
        return value
    raise InputError(
        f"a value of the type {type(value).__name__} can't be compared with a column",
        where=f"parameters ${name}",
        hint="Give text, a number, a date, None, or a list of these.",
    )
