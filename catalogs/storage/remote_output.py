"""An output that lives at a URL while runs draw into it.

A worker that draws a shard finishes it in a local folder, uploads its files, and puts its Parquet part last, in one
object write: the moment at which the shard exists. The run itself keeps the catalog's parts in a local folder
(reports and scores are read there) and writes the list of parts that readers go by. Parts that were put but not
listed, because a run was killed in between, are taken in by the next one, less the rows that are known already.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nonesuch.catalogs.schema import fitted
from nonesuch.catalogs.storage.indexes import hex_keys
from nonesuch.catalogs.storage.lease import Lease, check_holder
from nonesuch.catalogs.storage.locks import catalog_lock
from nonesuch.catalogs.storage.mirror import ORIGIN
from nonesuch.catalogs.storage.part_list import (
    CONNECTIONS,
    Entry,
    PartList,
    changed_parts,
    list_and_clear,
    local_entries,
    part_entry,
    read_list,
    send,
    write_list,
)
from nonesuch.catalogs.storage.parts import (
    SCHEMA_FILE,
    encoded_part,
    part_schema,
    prepare_catalog,
    published_ids,
    read_schema,
    replacing,
    write_options,
)
from nonesuch.catalogs.storage.store import Store
from nonesuch.foundation.errors import CatalogError, NonesuchError, StorageError
from nonesuch.foundation.files import atomic_write, cache_dir

LIST_EVERY: Final = 5.0  # seconds between two writings of the list of parts
CHECK_EVERY: Final = 5.0  # seconds of uploading after which the lease is looked at again
PROGRESS: Final = ".progress.json"
_RAN_HERE: Final = ".holder"  # the lease of the last run that was started on this machine
_STAGED: Final = ".staged"  # the run whose files lie here
_PASSING: Final = ("images", "thumbnails", "manifests")  # folders that are empty between runs


def staging(url: str) -> Path:
    """The local folder of this machine for drawing into a URL."""
    return cache_dir() / "runs" / hashlib.sha256(url.encode()).hexdigest()[:24]


@contextmanager
def remote_output(url: str, folder: Path) -> Iterator[RemoteOutput]:
    """Hold the URL for one run that draws into it by way of `folder`, this machine's staging(url).

    Raises StorageError when the storage can't be reached or another run holds it, CatalogError for damaged parts.
    """
    store = Store(url)
    lease = Lease(store)
    ran = folder / _RAN_HERE
    sent = b""

    def tell_progress() -> None:
        nonlocal sent
        with suppress(OSError):
            progress = (folder / PROGRESS).read_bytes()
            if progress != sent:
                store.write(PROGRESS, progress)
                sent = progress

    # The caller holds the folder's lock, so the run that was started here before has ended.
    with lease.held(left_by=ran.read_text() if ran.is_file() else None, beat=tell_progress):
        atomic_write(ran, lease.holder.encode())
        output = RemoteOutput(store, folder, lease.holder)
        try:
            yield output
        except BaseException:
            with suppress(NonesuchError):
                output.finish()
                tell_progress()
            raise
        else:
            output.finish()
            tell_progress()
        finally:
            _clear(folder)


class RemoteOutput:
    """The run's own side of an output at a URL."""

    def __init__(self, store: Store, folder: Path, holder: str) -> None:
        self.holder = holder
        self._store, self._folder = store, folder
        self._parts: dict[str, Entry] = {}
        self._listed_at = 0.0
        atomic_write(folder / ORIGIN, store.url.encode())
        atomic_write(folder / _STAGED, holder.encode())
        _clear(folder)
        self._bring_listed()
        self._take_in()
        self._list()

    def arrived(self, part_name: str) -> None:
        """A shard was published by the worker that drew it."""
        path = self._fetched(f"{part_name}.parquet", here=True)
        self._parts[path.name] = part_entry(path)
        if time.monotonic() - self._listed_at > LIST_EVERY:
            self._list()

    def rewritten(self) -> None:
        """Parts were changed or removed in the local folder: bring the URL to the same state."""
        before, self._parts = PartList(self._parts), local_entries(self._folder)
        check_holder(self._store, self.holder)
        send(self._store, changed_parts(self._folder, self._parts, before))
        list_and_clear(self._store, self._parts, before, drawn_here=True)

    def keep(self, name: str) -> None:
        """Send a file of the local folder, by its name relative to it."""
        self._store.upload(self._folder / name, name)

    def finish(self) -> None:
        """Bring the list up to date with all that was published."""
        check_holder(self._store, self.holder)
        self._take_in()
        self._list()

    def _bring_listed(self) -> None:
        """The listed parts, as they are now, into the local folder; nothing else is there afterwards."""
        listed = read_list(self._store).parts
        sizes = self._store.sizes(["catalog"])
        catalog = self._folder / "catalog"
        for path in catalog.glob("*"):
            if path.name not in listed or f"catalog/{path.name}" not in sizes:
                path.unlink()

        def bring(name: str) -> tuple[str, Entry]:
            path, entry = catalog / name, listed[name]
            if not (sizes[f"catalog/{name}"] == entry[0] and path.is_file() and part_entry(path) == entry):
                path = self._fetched(name)
                return name, part_entry(path)
            return name, entry

        names = [name for name in sorted(listed) if f"catalog/{name}" in sizes]
        if names[:1] == [SCHEMA_FILE]:  # first: the parts may widen it
            self._parts = dict([bring(names.pop(0))])
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="mirror") as pool:
            self._parts |= pool.map(bring, names)

    def _take_in(self) -> None:
        """Parts at the URL that the list does not know: their new rows belong to the catalog, the others go."""
        found = {name.removeprefix("catalog/") for name in self._store.sizes(["catalog"])}
        strays = [
            self._folder / "catalog" / name
            for name in sorted(found - {SCHEMA_FILE, *self._parts})
            if name.endswith(".parquet") and name[0] not in "._" and "/" not in name
        ]
        if not strays:
            return
        for path in strays:
            path.unlink(missing_ok=True)  # else its own rows would be among those that are known
        known = published_ids(self._folder)
        for path in strays:
            name = path.name
            try:
                self._fetched(name)
            except CatalogError:  # half a file, where a storage writes without being atomic: never published
                self._store.remove(f"catalog/{name}")
                continue
            table = pq.read_table(path)
            keys = hex_keys(table["recipe_id"].combine_chunks())
            fresh = ~np.isin(keys, known)
            if not fresh.any():
                self._store.remove(f"catalog/{name}")
                path.unlink()
                continue
            if not fresh.all():
                with replacing(path) as temporary:
                    kept = table.filter(pa.array(fresh))
                    pq.write_table(kept, temporary, **write_options(kept.schema))
                self._store.upload(path, f"catalog/{name}")
            self._parts[name] = part_entry(path)
            known = np.union1d(known, keys)

    def _fetched(self, name: str, *, here: bool = False) -> Path:
        """A part in the local folder; with `here`, one that is there already is the same."""
        path = self._folder / "catalog" / name
        if not (here and path.is_file()) and not fetch_part(self._store, self._folder, name):
            raise StorageError("is not in the object storage", where=f"{self._store.url}/catalog/{name}")
        return path

    def _list(self) -> None:
        check_holder(self._store, self.holder)
        schema = self._folder / "catalog" / SCHEMA_FILE
        if not schema.is_file():
            return
        entry = part_entry(schema)
        if self._parts.get(SCHEMA_FILE) != entry:
            self._store.upload(schema, f"catalog/{SCHEMA_FILE}")
            self._parts[SCHEMA_FILE] = entry
        write_list(self._store, PartList(self._parts, drawn_here=True))
        self._listed_at = time.monotonic()


def join_output(url: str, folder: Path, holder: str) -> None:
    """Make `folder` ready for a worker of the run that holds the URL; the machine's first worker clears it."""
    staged = folder / _STAGED
    with catalog_lock(folder / "catalog", exclusive=True):
        if staged.is_file() and staged.read_text() == holder:
            return
        _clear(folder)
        for path in (folder / "catalog").iterdir():
            path.unlink()
        fetch_part(Store(url), folder, SCHEMA_FILE)
        atomic_write(staged, holder.encode())


def fetch_part(store: Store, folder: Path, name: str) -> bool:
    """Bring a part, or the schema file, into the local folder's catalog; False when the URL has none of that name.

    Raises CatalogError when it is damaged.
    """
    data = store.read(f"catalog/{name}")
    if data is None:
        return False
    try:
        pq.read_metadata(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise CatalogError(
            f"this part of the catalog is damaged ({str(error).splitlines()[0]})",
            where=f"{store.url}/catalog/{name}",
            hint="Remove it there and run the sweep again: it draws only what that part held.",
        ) from error
    path = folder / "catalog" / name
    atomic_write(path, data)
    if name != SCHEMA_FILE:
        prepare_catalog(folder, part_schema(path))
    return True


def publish_remotely(
    url: str,
    folder: Path,
    holder: str,
    part_name: str,
    rows: Sequence[Mapping[str, Any]],
    schema: pa.Schema,
    files: Iterable[str],
) -> None:
    """Upload a shard's files, then its part; the local folder keeps the part alone.

    files   names below `folder`, and below the URL

    Raises StorageError when the storage refuses, or when the run of `holder` does not hold the URL any more; CatalogError
    when the rows don't fit the schema, InputError when its columns don't fit the catalog's.
    """
    data = encoded_part(part_name, rows, fitted(schema, read_schema(folder)))
    prepare_catalog(folder, schema)
    store, name = Store(url), f"catalog/{part_name}.parquet"
    waiting = [(folder / file, file) for file in files]
    _upload(store, holder, waiting)
    if not store.create(name, data) and store.read(name) != data:
        # An earlier attempt of this run was not as dead as it seemed, and our files have replaced its.
        _upload(store, holder, waiting)
        check_holder(store, holder)
        store.write(name, data)
    atomic_write(folder / name, data)
    for path, _ in waiting:
        path.unlink()


def _upload(store: Store, holder: str, waiting: list[tuple[Path, str]]) -> None:
    """Send files, as long as the run holds the URL: one that was frozen must not touch what another one published."""
    check_holder(store, holder)
    looked = time.monotonic()
    looking = threading.Lock()

    def upload(one: tuple[Path, str]) -> int:
        nonlocal looked
        with looking:
            if time.monotonic() - looked > CHECK_EVERY:
                check_holder(store, holder)
                looked = time.monotonic()
        return store.upload(*one)

    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="upload") as pool:
        for _ in pool.map(upload, waiting):
            pass
    check_holder(store, holder)


def _clear(folder: Path) -> None:
    for name in _PASSING:
        shutil.rmtree(folder / name, ignore_errors=True)
