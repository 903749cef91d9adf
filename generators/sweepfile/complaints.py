"""Pydantic's errors about a sweep file as InputErrors: each reported once, with its line and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from nonesuch.foundation.errors import InputError
from nonesuch.generators.sweepfile.settings import Strict
from nonesuch.generators.sweepfile.yaml_lines import Place, Source


def complaint(
    error: ValidationError, data: Any, source: Source, whole: type[Strict], models: Mapping[str, type[Strict]]
) -> InputError:
    """The first thing that is wrong, said as one InputError at its line.

    `whole` is the file's model, `models` those of its parts, by the names in pydantic's locations.
    """
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda one: (one["type"] != "extra_forbidden", len(one["loc"]) == 0))
    place = _place(first["loc"], data)
    key = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        known = sorted(_known_keys(first["loc"], whole, models))
        close = get_close_matches(key, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
        return InputError(f"unknown key {key!r}", where=source.where(place), hint=hint)
    if first["type"] == "missing":
        return InputError(f"the key {key!r} is missing", where=source.where(place))
    if first["type"] == "model_type":
        keys = _keys_of(Strict, first["ctx"]["class_name"])
        hint = f"Its keys: {', '.join(keys)}." if keys else "Write it as KEY: VALUE."
        return InputError(
            f"{repr(first['input'])[:80]} is no mapping of keys to values",
            where=source.where(place),
            hint=hint,
        )
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = first["input"]
    shown = (
        f"{given!r} "
        if isinstance(given, str | int | float | bool) and "error" not in first.get("ctx", {})
        else ""
    )
    return InputError(f"{shown}{message}", where=source.where(place))


def _keys_of(model: type[Strict], name: str) -> list[str]:
    """The keys of the model of that name among the descendants of `model`; none where there is no such model."""
    for heir in model.__subclasses__():
        if found := list(heir.model_fields) if heir.__name__ == name else _keys_of(heir, name):
            return found
    return []


def _place(loc: tuple[int | str, ...], data: Any) -> Place:
    """An error's place in the file: pydantic's location without the names of unions' branches."""
    place: list[int | str] = []
    node = data
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(part, str) and part.startswith("form:"):
            continue
        if isinstance(node, dict) and (part in node or (last and isinstance(part, str))):
            node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        else:
            continue
        place.append(part)
    return tuple(place)


def _known_keys(
    loc: tuple[int | str, ...], whole: type[Strict], models: Mapping[str, type[Strict]]
) -> set[str]:
    """The keys that may stand where pydantic's location ends, found by the last model that it names."""
    for part in reversed(loc[:-1]):
        if part in models:
            return set(models[str(part)].model_fields)
    return set(whole.model_fields)
