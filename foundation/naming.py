"""Paths of this machine as others may see them: the file name alone, since a folder's name can reveal its owner."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

# a first folder without spaces, unlike a prompt that begins with a slash
_ABSOLUTE: Final = re.compile(r"(?:/[^\s/]+(?:/|$)|~/|\.{1,2}/|[A-Za-z]:[/\\]|\\\\).*", re.DOTALL)
# an absolute path amid other words: at least one folder, and no spaces, which would take the words behind it along
_AMID: Final = re.compile(
    r"""(?<![\w:/\\.~])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\"'<>|:,;()]+[/\\])+([^\s/\\"'<>|:,;()]*)"""
)


def file_name(path: str) -> str:
    """The name of a file or folder of this machine; a hub id, a URL and any other text as it is."""
    if not _ABSOLUTE.fullmatch(path):
        return path
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def without_folders(text: str) -> str:
    """A sentence in which absolute paths are cut to their last part."""
    return _AMID.sub(lambda found: found[1] or "…", text)


def names_folders(text: str) -> bool:
    """Whether a text holds an absolute path of a machine."""
    return _AMID.search(text) is not None


def json_without_folders(text: str) -> str:
    """A JSON text whose strings that are paths are cut to their names; any other text as it is."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text
    cut = without_paths(content)
    return text if cut == content else json.dumps(cut, ensure_ascii=False)


def shown_names(paths: Iterable[str]) -> dict[str, str]:
    """What to show for each of these different names or paths; paths of one name are numbered."""
    shown: dict[str, str] = {}
    taken: set[str] = set()
    for path in paths:
        name = short = file_name(path)
        number = 1
        while name in taken:
            number += 1
            name = f"{short} ({number})"
        taken.add(name)
        shown[path] = name
    return shown


def without_paths(value: Any) -> Any:
    """Plain data whose strings that are paths are cut to their names."""
    if isinstance(value, dict):
        return {key: without_paths(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_paths(one) for one in value]
    return file_name(value) if isinstance(value, str) else value
