"""Telling URLs of a storage from paths of this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from nonesuch.foundation.errors import InputError

_URL: Final = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")  # pathlib folds the slashes of a URL into one
_FILE: Final = re.compile(r"file:(?:/|//localhost/|///+)([^/].*)?")


def url_of(path: str | Path) -> str | None:
    """The URL that a path stands for, None for a path of this machine, also one that is written as a file URL."""
    match = _URL.fullmatch(str(path))
    if match is None or match[1] == "file":
        return None
    return f"{match[1]}://{match[2].rstrip('/')}"


def local_path(path: str | Path) -> Path:
    """The path that a file URL names; anything else as a path. Raises InputError for another machine's file URL."""
    text = str(path)
    if not text.startswith("file:/"):
        return Path(path)
    found = _FILE.fullmatch(text)
    if found is None:
        raise InputError("names another machine", where=text, hint="Write a file URL as file:///folder.")
    return Path(unquote(f"/{found[1] or ''}"))


def check_local(path: str | Path) -> None:
    """Raise InputError for the URL of an output that only a folder of this machine can stand for."""
    url = url_of(path)
    if url is not None:
        raise InputError(
            "this works on a folder, not on a URL: output in a storage can be drawn, pushed and read, but not changed otherwise",
            where=url,
            hint="Copy it into a folder with the storage's own tool, work there, and `nonesuch push` it to another URL.",
        )
