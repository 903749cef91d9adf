"""Reading a YAML file so that every later error can name its line: plain data plus a map of positions."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import read_limited

MAX_BYTES: Final = 4 << 20  # larger lists belong in a text, CSV or Parquet file beside the sweep
MAX_NODES: Final = 200_000  # aliases included, so that a small file can't unfold into a huge one
MAX_DEPTH: Final = 32

Place: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a sweep came from: for messages, for relative paths and for keeping the file as it was run."""

    path: Path | None  # None for a sweep made in Python
    folder: Path  # what relative paths in the sweep start from
    text: str  # the file as it was read; "" for a sweep made in Python
    lines: Mapping[Place, int] = field(default_factory=dict)  # place → line, counted from 1

    def where(self, place: Place) -> str:
        """`file:line: key` of a place, or of the nearest enclosing place whose line is known."""
        known: Place = place
        while known and known not in self.lines:
            known = known[:-1]
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        name = str(self.path) if self.path else "sweep"
        line = f":{self.lines[known]}" if known in self.lines else ""
        return f"{name}{line}: {key}" if key else f"{name}{line}"


def read_yaml(path: Path) -> tuple[Any, Source]:
    """The file's content as plain dicts, lists and scalars, and where each part of it lies.

    Raises InputError with the line for broken YAML, duplicate keys, unknown tags, keys that are not
    text, and for files over the limits above.
    """
    data = read_limited(path, max_bytes=MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text ({error.reason})", where=str(path)) from error
    loader = YAML(typ="rt")
    try:
        tree = loader.load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = " ".join((error.problem or "broken YAML").split())
        raise InputError(f"is not valid YAML: {problem}", where=f"{path}:{line}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"is not valid YAML: {first}", where=str(path)) from error
    lines: dict[Place, int] = {}
    plain = _Unfolding(path, lines).plain(tree, (), 1)
    return plain, Source(path=path, folder=path.parent, text=text, lines=lines)


class _Unfolding:
    """Turns ruamel's tree into plain data within the limits, noting lines on the way."""

    def __init__(self, path: Path, lines: dict[Place, int]) -> None:
        self._path = path
        self._lines = lines
        self._nodes = 0

    def plain(self, node: Any, place: Place, line: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or len(place) > MAX_DEPTH:
            raise InputError(
                "holds too many or too deeply nested values",
                where=f"{self._path}:{line}",
                hint="Move long lists into a text, CSV or Parquet file and name it with `file:`.",
            )
        self._lines[place] = line
        if isinstance(node, dict):
            return {self._key(key, node, line): self._child(node, key, place, line) for key in node}
        if isinstance(node, list):
            return [self._child(node, index, place, line) for index in range(len(node))]
        if isinstance(node, bool) or node is None:
            return node
        for kind in (int, float, str):
            if isinstance(node, kind):
                return kind(node)
        if isinstance(node, datetime.date):
            return node.isoformat()
        raise InputError("holds a value of a kind that a sweep does not know", where=f"{self._path}:{line}")

    def _child(self, parent: Any, key: Any, place: Place, line: int) -> Any:
        marks = getattr(getattr(parent, "lc", None), "data", None) or {}
        mark = marks.get(key)
        return self.plain(parent[key], (*place, key), mark[0] + 1 if mark else line)

    def _key(self, key: Any, node: Any, line: int) -> str:
        if isinstance(key, str):
            return str(key)
        raise InputError(
            f"the key {key!r} is not text", where=f"{self._path}:{line}", hint="Put it in quotes."
        )


def check_text(text: str, where: str) -> None:
    """Raise InputError for half of a surrogate pair: no file, catalog or prompt can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{text[max(0, error.start - 20) : error.end + 20]!r} holds a character that is half of a surrogate pair",
            where=where,
            hint="Write the character itself, or \\U with 8 digits; rename a file whose name is not UTF-8.",
        ) from error
