"""File names from a template over the columns, such as "{subject}/{artist}-{seed}.png": safe and unique."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from nonesuch.catalogs.search.expressions import unknown_column
from nonesuch.foundation.errors import InputError

MAX_PART = 120  # characters of one folder or file name
MAX_NAME_BYTES = 240  # most file systems take 255
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".tif", ".tiff", ".bmp")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\u202a-\u202e\u2066-\u2069]')
_WINDOWS_NAMES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


class NameTemplate:
    """A checked template. Raises InputError for unknown columns, `..`, absolute paths and broken braces."""

    def __init__(self, text: str, columns: Sequence[str]) -> None:
        self._parts: list[list[tuple[str, str | None, str]]] = []
        pieces = text.split("/")
        for piece in pieces:
            self._parts.append(_parsed(piece, text, columns))
        if any(piece.strip() in ("", ".", "..") for piece in pieces):
            raise InputError(
                f"{text!r} is not a path below the export's folder",
                where="names",
                hint="Give a template such as {subject}/{artist}-{seed}.png.",
            )
        self._text = text

    def fill(self, row: Mapping[str, Any], suffix: str) -> tuple[str, bool]:
        """The path for one row, with forward slashes and the file's own suffix whatever the template ends in.

        And whether it was cut, because some system takes no names so long.
        """
        parts = [self._filled(piece, row) for piece in self._parts]
        last = parts[-1]
        for known in IMAGE_SUFFIXES:
            if last.lower().endswith(known):
                last = last[: -len(known)]
                break
        parts[-1] = last
        cleaned = [safe_part(part) for part in parts]
        cleaned[-1] += suffix
        return "/".join(cleaned), any(_is_too_long(_trimmed(part)) for part in parts)

    def _filled(self, piece: list[tuple[str, str | None, str]], row: Mapping[str, Any]) -> str:
        filled = ""
        for literal, name, spec in piece:
            filled += literal
            if name is not None:
                value = row[name]
                try:
                    # A slash in a value must not make a folder.
                    filled += _UNSAFE.sub("_", "none" if value is None else format(value, spec))
                except (ValueError, TypeError) as error:
                    raise InputError(
                        f"{self._text!r}: {value!r} of {name} can't be written as {spec!r}",
                        where="names",
                        hint="Formats go with numbers, for example {seed:06d}.",
                    ) from error
        return filled


def safe_part(text: str) -> str:
    """One folder or file name that every system takes, as near to `text` as that goes; never empty."""
    name = _trimmed(unicodedata.normalize("NFC", _UNSAFE.sub("_", text)))[:MAX_PART]
    while len(name.encode()) > MAX_NAME_BYTES:
        name = name[:-1]
    name = _trimmed(name)
    return f"_{name}" if not name or _WINDOWS_NAMES.fullmatch(name) else name


def _is_too_long(name: str) -> bool:
    return len(name) > MAX_PART or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES


def unique_names(names: Iterable[str], *, number: bool) -> list[str]:
    """The names, each once on systems that take upper and lower case as the same.

    Equal names get -2, -3, … when `number`; else InputError names the first of them.
    """
    given: list[str] = []
    taken: set[str] = set()
    last: dict[str, int] = {}  # the last number that each name got
    for name in names:
        chosen = name
        if name.casefold() in taken:
            if not number:
                raise InputError(
                    f"two images would be called {name!r}",
                    where="names",
                    hint="Add a column that tells them apart, for example {seed} or {recipe_id}, or number them.",
                )
            path = PurePosixPath(name)
            while chosen.casefold() in taken:
                last[name.casefold()] = count = last.get(name.casefold(), 1) + 1
                chosen = str(path.with_name(f"{path.stem}-{count}{path.suffix}"))
        taken.add(chosen.casefold())
        given.append(chosen)
    folders = {str(parent).casefold() for name in given for parent in PurePosixPath(name).parents}
    for name in given:
        if name.casefold() in folders:
            raise InputError(
                f"{name!r} would be a file and a folder", where="names", hint="Change the template."
            )
    return given


def _trimmed(name: str) -> str:
    """Without white space of any script and dots at the ends."""
    while name != (shorter := name.strip().strip(".")):
        name = shorter
    return name


def _parsed(piece: str, text: str, columns: Sequence[str]) -> list[tuple[str, str | None, str]]:
    known = {name.lower(): name for name in columns}
    found: list[tuple[str, str | None, str]] = []
    try:
        parsed = list(string.Formatter().parse(piece))
    except ValueError as error:
        raise InputError(f"{text!r}: {error}", where="names") from error
    for literal, name, spec, conversion in parsed:
        if name is None:
            found.append((literal, None, ""))
            continue
        if conversion or "{" in (spec or ""):
            raise InputError(f"{text!r}: a field is a column and perhaps a format", where="names")
        if name.lower() not in known:
            raise unknown_column(name, columns, where="names")
        found.append((literal, known[name.lower()], spec or ""))
    return found
