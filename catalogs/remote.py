"""Catalogs in object storage: pushing an output folder to an fsspec URL, and reading one from there.

What lies at the URL is an output folder like any other (pandas.read_parquet on URL/catalog works), with one more
file, catalog/_parts.json: the names, sizes and digests of the parts that belong together. It is written last, so a
reader has the old state or the new one, whatever a writer is doing. Queries run on a local mirror of those parts,
brought up to date at each opening; images come when they are asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from catalogs.parts import SCHEMA_FILE, catalog_folder, part_files
from foundation.errors import CatalogError, DependencyError, InputError, StorageError
from foundation.files import atomic_write, cache_dir, file_digest

LIST: Final = "catalog/_parts.json"  # readers of folders skip names that begin with an underscore
_ORIGIN: Final = ".origin"  # in a mirror: the URL that it mirrors
_VERSION: Final = 1
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")  # pathlib folds the slashes of a URL into one
_CONNECTIONS: Final = 16
_ATTEMPTS: Final = 5
_RAISE: Final = object()  # in place of an answer for what is missing
# Stores without folders: making one there would make a bucket, which is for its owner to do.
_OBJECTS: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss"})
_BESIDE: Final = ("sweeps", "manifests")  # folders of an output that go along, besides images


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    url: str
    parts: int  # parts of the catalog there now
    uploaded: int  # files
    bytes: int  # of them
    removed: int  # parts that were there before and belong to the catalog no more


def url_of(path: str | Path) -> str | None:
    """The URL that a path stands for, None for a path of this machine."""
    match = _URL.fullmatch(str(path))
    if match is None or match[1] == "file":
        return None
    return f"{match[1]}://{match[2].rstrip('/')}"


def located(path: str | Path) -> Path:
    """A local output folder for `path`: the path itself, or a URL's mirror, brought up to date.

    Raises InputError when there is no catalog at the URL, DependencyError when its kind of storage needs a
    package that is not here, StorageError when it can't be reached.
    """
    url = url_of(path)
    if url is None:
        return Path(path)
    store = _Store(url)
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
    origin = folder / _ORIGIN
    if path.exists() or not origin.is_file() or ".." in PurePosixPath(file).parts:
        return path
    store = _Store(origin.read_text("utf-8"))
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
    compaction has merged away are removed last. `told` hears (files sent, files to send). Raises InputError
    when there is no catalog in `out`.
    """
    target = url_of(url)
    if target is None:
        raise InputError(f"{url!r} is not a URL of a storage", hint="Write it as s3://bucket/folder.")
    folder = catalog_folder(out)
    if not (folder / SCHEMA_FILE).is_file():
        raise InputError(
            "there is no catalog here", where=str(folder), hint="Name the folder that `nonesuch run` wrote."
        )
    store = _Store(target)
    before = _listed(store)
    parts = {path.name: _entry(path) for path in (folder / SCHEMA_FILE, *part_files(out))}
    beside = [*_BESIDE, *(("images",) if images else ())]
    files = [path for name in beside for path in sorted((out / name).rglob("*")) if path.is_file()]
    there = store.sizes(beside)
    waiting = [
        (path, name)
        for path in files
        if there.get(name := path.relative_to(out).as_posix()) != path.stat().st_size
    ]
    waiting_parts = [
        (folder / name, f"catalog/{name}") for name, entry in parts.items() if before.get(name) != entry
    ]
    total = len(waiting) + len(waiting_parts)
    sent = _send(store, waiting, 0, total, told)
    sent += _send(store, waiting_parts, len(waiting), total, told)
    store.write(LIST, json.dumps({"version": _VERSION, "parts": parts}, indent=1, sort_keys=True).encode())
    gone = sorted(before.keys() - parts.keys())
    for name in gone:
        store.remove(f"catalog/{name}")
    return Pushed(target, len(parts) - 1, total, sent, len(gone))


def _send(
    store: _Store,
    waiting: list[tuple[Path, str]],
    done: int,
    total: int,
    told: Callable[[int, int], None] | None,
) -> int:
    """Send files over several connections; their bytes."""
    sent = 0
    with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="push") as pool:
        for size in pool.map(lambda one: store.upload(*one), waiting):
            sent, done = sent + size, done + 1
            if told is not None:
                told(done, total)
    return sent


def _mirror(store: _Store, mirror: Path) -> bool:
    """Bring the mirror up to date with the list; False when a part was replaced meanwhile."""
    wanted = _listed(store)
    if not wanted:
        raise InputError(
            "there is no catalog here", where=store.url, hint="Put one there with `nonesuch push DIR URL`."
        )
    folder = mirror / "catalog"
    atomic_write(mirror / _ORIGIN, store.url.encode())

    def bring(name: str) -> bool:
        path, (size, digest) = folder / name, wanted[name]
        if path.is_file() and path.stat().st_size == size and file_digest(path) == digest:
            return True
        data = store.read(f"catalog/{name}")
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            return False
        atomic_write(path, data)
        return True

    with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="mirror") as pool:
        if not all(list(pool.map(bring, sorted(wanted)))):
            return False
    for path in part_files(mirror):
        if path.name not in wanted:
            path.unlink(missing_ok=True)
    return True


def _entry(path: Path) -> tuple[int, str]:
    return path.stat().st_size, file_digest(path)


def _listed(store: _Store) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of each part by its name, {} where nothing was pushed yet."""
    data = store.read(LIST)
    if data is None:
        return {}
    try:
        content = json.loads(data)
        if content["version"] != _VERSION:
            raise ValueError(f"version {content['version']}")
        parts = {str(name): (int(size), str(digest)) for name, (size, digest) in content["parts"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CatalogError(f"is not a list of parts ({error})", where=f"{store.url}/{LIST}") from error
    if any("/" in name or name.startswith(".") for name in parts):
        raise CatalogError("names a part outside the catalog", where=f"{store.url}/{LIST}")
    return parts


class _Store:
    """A folder of an fsspec file system, by names relative to it."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise DependencyError(
                f"this kind of storage needs a further package ({error})",
                where=url,
                hint="For S3: pip install 'nonesuch[s3]'.",
            ) from error
        except ValueError as error:
            raise InputError(str(error), where=url) from error
        protocol = self._files.protocol
        self._protocols: tuple[str, ...] = (protocol,) if isinstance(protocol, str) else tuple(protocol)
        self._files.invalidate_cache()  # listings of an earlier opening are out of date

    def read(self, name: str) -> bytes | None:
        """The file's bytes, None when there is none."""
        data: bytes | None = self._asked(lambda: bytes(self._files.cat_file(self._path(name))), None)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Put a small file there, whole."""
        self._asked(lambda: self._files.pipe_file(self._path(name), data), _RAISE)

    def upload(self, path: Path, name: str) -> int:
        """Send a file; its size."""
        if not _OBJECTS & {*self._protocols}:
            parent = str(PurePosixPath(self._path(name)).parent)
            self._asked(lambda: self._files.makedirs(parent, exist_ok=True), None)
        self._asked(lambda: self._files.put_file(str(path), self._path(name)), _RAISE)
        return path.stat().st_size

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        self._asked(lambda: self._files.rm_file(self._path(name)), None)

    def sizes(self, folders: Iterable[str]) -> dict[str, int]:
        """Size by name of every file below these folders."""
        found: dict[str, int] = {}
        for folder in folders:
            listed = self._asked(partial(self._files.find, self._path(folder), detail=True), {})
            for path, facts in listed.items():
                found[path.removeprefix(self._root).lstrip("/")] = facts["size"]
        return found

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _asked(self, work: Callable[[], Any], missing: Any) -> Any:
        try:
            return work()
        except FileNotFoundError as error:
            if missing is _RAISE:
                raise StorageError(
                    str(error).strip() or "is not there",
                    where=self.url,
                    hint="Make the bucket or folder first.",
                ) from error
            return missing
        except Exception as error:  # every kind of storage raises its own
            raise StorageError(
                f"the storage answered: {str(error).strip() or type(error).__name__}",
                where=self.url,
                hint="Check the address, the credentials in the environment, and that the bucket exists.",
            ) from error
