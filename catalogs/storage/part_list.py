"""The list of the parts that belong together, catalog/_parts.json at a URL, which readers there use.

It is written after the parts that it names, in one object write, so a reader has the old state or the new one,
whatever a writer is doing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nonesuch.catalogs.storage.parts import SCHEMA_FILE, catalog_folder, part_files
from nonesuch.catalogs.storage.store import Store
from nonesuch.foundation.errors import CatalogError
from nonesuch.foundation.files import file_digest

LIST: Final = "catalog/_parts.json"  # readers of folders skip names that begin with an underscore
CONNECTIONS: Final = 16
_VERSION: Final = 1

Entry = tuple[int, str]  # bytes and SHA-256 of a part


@dataclass(frozen=True, slots=True)
class PartList:
    """The parts of a catalog at a URL, its schema file among them."""

    parts: Mapping[str, Entry]  # by file name; {} where there is no catalog yet
    drawn_here: bool = False  # runs write to the URL itself: no folder is pushed over it


def read_list(store: Store) -> PartList:
    """The list at a URL, empty where there is none. Raises CatalogError when it is not one."""
    data = store.read(LIST)
    if data is None:
        return PartList({})
    try:
        content = json.loads(data)
        if content["version"] != _VERSION:
            raise ValueError(f"version {content['version']}")
        parts = {str(name): (int(size), str(digest)) for name, (size, digest) in content["parts"].items()}
        drawn_here = bool(content.get("drawn_here", False))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CatalogError(f"is not a list of parts ({error})", where=f"{store.url}/{LIST}") from error
    if any("/" in name or name.startswith(".") for name in parts):
        raise CatalogError("names a part outside the catalog", where=f"{store.url}/{LIST}")
    return PartList(parts, drawn_here)


def write_list(store: Store, listed: PartList) -> None:
    """Make these parts the catalog."""
    content: dict[str, object] = {"version": _VERSION, "parts": dict(listed.parts)}
    if listed.drawn_here:
        content["drawn_here"] = True
    store.write(LIST, json.dumps(content, indent=1, sort_keys=True).encode())


def part_entry(path: Path) -> Entry:
    """The list's entry for a part."""
    return path.stat().st_size, file_digest(path)


def local_entries(out: Path) -> dict[str, Entry]:
    """What a list would say of the parts of an output folder."""
    return {path.name: part_entry(path) for path in (catalog_folder(out) / SCHEMA_FILE, *part_files(out))}


def changed_parts(out: Path, parts: Mapping[str, Entry], there: PartList) -> list[tuple[Path, str]]:
    """The parts that the URL lacks or has otherwise, with their names there."""
    folder = catalog_folder(out)
    return [
        (folder / name, f"catalog/{name}") for name, entry in parts.items() if there.parts.get(name) != entry
    ]


def list_and_clear(store: Store, parts: Mapping[str, Entry], there: PartList, *, drawn_here: bool) -> int:
    """Write the list of `parts`, then remove those that were listed before; how many these were."""
    write_list(store, PartList(parts, drawn_here))
    gone = sorted(there.parts.keys() - parts.keys())
    for name in gone:
        store.remove(f"catalog/{name}")
    return len(gone)


def send(
    store: Store, waiting: Iterable[tuple[Path, str]], told: Callable[[int], None] = lambda size: None
) -> int:
    """Send files over several connections; their bytes. `told` is called with the size of each."""
    sent = 0
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="push") as pool:
        for size in pool.map(lambda one: store.upload(*one), waiting):
            sent += size
            told(size)
    return sent
