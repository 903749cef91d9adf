"""Catalogs in object storage: pushing an output folder to an fsspec URL, and reading one from there.

What lies at the URL is an output folder like any other (pandas.read_parquet on URL/catalog works), with one more
file, catalog/_parts.json: the names, sizes and digests of the parts that belong together. It is written last, so a
reader has the old state or the new one, whatever a writer is doing. Queries run on a local mirror of those parts,
brought up to date at each opening; images come when they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote

import pyarrow.compute as pc
import pyarrow.parquet as pq

from nonesuch.catalogs.storage.lease import Lease
from nonesuch.catalogs.storage.part_list import (
    CONNECTIONS,
    LIST,
    changed_parts,
    list_and_clear,
    local_entries,
    read_list,
    send,
)
from nonesuch.catalogs.storage.parts import SCHEMA_FILE, catalog_folder, part_files
from nonesuch.catalogs.storage.store import Store
from nonesuch.foundation.errors import CatalogError, InputError, StorageError
from nonesuch.foundation.files import atomic_write, cache_dir, file_digest
from nonesuch.foundation.naming import names_folders
from nonesuch.foundation.urls import local_path, url_of

__all__ = ["LIST", "ORIGIN", "Pushed", "local_file", "located", "push", "url_of"]

ORIGIN: Final = ".origin"  # in a mirror: the URL that it mirrors
_ATTEMPTS: Final = 5
_PATHS: Final = ("model", "loras", "ways", "file")  # columns that may name folders of this machine
_BESIDE: Final = ("sweeps", "manifests")  # folders of an output that go along, besides images


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    url: str
    parts: int  # parts of the catalog there now
    uploaded: int  # files
    bytes: int  # of them
    removed: int  # parts that were there before and belong to the catalog no more
    naming: tuple[str, ...] = ()  # files among them that name folders of this machine


def located(path: str | Path) -> Path:
    """A local output folder for `path`: the path itself, or a URL's mirror, brought up to date.

    Raises InputError when there is no catalog at the URL, DependencyError when its kind of storage needs a
    package that is not here, StorageError when it can't be reached.
    """
    url = url_of(path)
    if url is None:
        return local_path(path)
    store = Store(url)
    mirror = cache_dir() / "mirrors" / hashlib.sha256(url.encode()).hexdigest()[:24]
    for _ in range(_ATTEMPTS):
        if _mirror(store, mirror):
            return mirror
    raise CatalogError("kept changing while it was read", where=url, hint="Try again.")


def local_file(folder: Path, file: str) -> Path:
    """The path of a catalogued file in an output folder; fetched first when the folder mirrors a URL.

    Raises StorageError when it can't be fetched.
    """
    path = folder / file
    origin = folder / ORIGIN
    if path.exists() or not origin.is_file() or ".." in PurePosixPath(file).parts:
        return path
    store = Store(origin.read_text("utf-8"))
    data = store.read(file)
    if data is None:
        raise StorageError("is not in the object storage", where=f"{store.url}/{file}")
    atomic_write(path, data)
    return path


def push(
    out: Path, url: str, *, images: bool = True, told: Callable[[int, int], None] | None = None
) -> Pushed:
    """Copy an output folder to a URL; what is there already with the same size (parts: digest) is not sent again.

    Images and sidecars go first, then the parts, then the list that makes them visible; parts that a
    compaction has merged away are removed last. `told` is called with (files sent, files to send). Raises InputError
    when there is no catalog in `out`, or when runs draw into the URL itself; StorageError while one does.
    """
    target = url_of(url)
    if target is None and not url.startswith("file:"):
        raise InputError(
            f"{url!r} is not a URL of a storage", hint="Write it as s3://bucket/folder or file:///folder."
        )
    folder = catalog_folder(out)
    if not (folder / SCHEMA_FILE).is_file():
        raise InputError(
            "there is no catalog here", where=str(folder), hint="Name the folder that `nonesuch run` wrote."
        )
    if target is None:
        target = _free_folder(folder, local_path(url))
    store = Store(target)
    with Lease(store).held():
        return _pushed(store, out, images, told or (lambda done, total: None))


def _free_folder(catalog: Path, target: Path) -> str:
    """The URL of a folder of this machine. Raises InputError when it holds rows that no push put there."""
    there = target.resolve()
    url = there.as_uri()
    if there in (catalog.resolve(), catalog.parent.resolve()):
        raise InputError("is the folder itself", where=url, hint="Push to another one.")
    listed = read_list(Store(unquote(url))).parts
    if any(path.name not in listed for path in part_files(there)):
        raise InputError(
            "a catalog is there that was not pushed; pushing a folder over it would mix the two",
            where=url,
            hint="Push to an empty folder.",
        )
    return unquote(url)  # fsspec takes a path as it is


def _pushed(store: Store, out: Path, images: bool, told: Callable[[int, int], None]) -> Pushed:
    there = read_list(store)
    if there.drawn_here:
        raise InputError(
            "this catalog was drawn here by `nonesuch run --out URL`; a folder pushed over it would replace it",
            where=store.url,
            hint="Push to another URL.",
        )
    parts = local_entries(out)
    beside = [*_BESIDE, *(("images",) if images else ())]
    files = [path for name in beside for path in sorted((out / name).rglob("*")) if path.is_file()]
    sizes = store.sizes(beside)
    waiting = [
        (path, name)
        for path in files
        if sizes.get(name := path.relative_to(out).as_posix()) != path.stat().st_size
    ]
    waiting_parts = changed_parts(out, parts, there)
    total, done = len(waiting) + len(waiting_parts), 0

    def count(size: int) -> None:
        nonlocal done
        done += 1
        told(done, total)

    sent = send(store, waiting, count) + send(store, waiting_parts, count)
    gone = list_and_clear(store, parts, there, drawn_here=False)
    naming = [name for path, name in (*waiting, *waiting_parts) if _names_folders(path, name)]
    return Pushed(store.url, len(parts) - 1, total, sent, gone, tuple(naming))


def _names_folders(path: Path, name: str) -> bool:
    """Whether a sweep file or a part, which readers of the URL see, holds an absolute path."""
    if name.startswith("sweeps/"):
        return names_folders(path.read_text("utf-8", errors="replace"))
    if not name.startswith("catalog/"):
        return False
    with pq.ParquetFile(path) as file:
        present = [one for one in _PATHS if one in file.schema_arrow.names]
        table = file.read(columns=present)
    words = [word for one in present for word in pc.unique(table[one]).to_pylist() if word]
    return any(names_folders(word) for word in words)


def _mirror(store: Store, mirror: Path) -> bool:
    """Bring the mirror up to date with the list; False when a part was replaced meanwhile."""
    wanted = read_list(store).parts
    if not wanted:
        raise InputError(
            "there is no catalog here", where=store.url, hint="Put one there with `nonesuch push DIR URL`."
        )
    folder = mirror / "catalog"
    atomic_write(mirror / ORIGIN, store.url.encode())

    def bring(name: str) -> bool:
        path, (size, digest) = folder / name, wanted[name]
        if path.is_file() and path.stat().st_size == size and file_digest(path) == digest:
            return True
        data = store.read(f"catalog/{name}")
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            return False
        atomic_write(path, data)
        return True

    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="mirror") as pool:
        if not all(list(pool.map(bring, sorted(wanted)))):
            return False
    for path in part_files(mirror):
        if path.name not in wanted:
            path.unlink(missing_ok=True)
    return True
