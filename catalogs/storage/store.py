"""A folder in an fsspec storage: its files by name, and every kind of storage's errors as one."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from nonesuch.foundation.errors import DependencyError, InputError, StorageError

_RAISE: Final = object()  # in place of an answer for what is missing
# Stores without folders: making one there would make a bucket, which is for its owner to do.
_OBJECTS: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss"})


class Store:
    """A folder of an fsspec file system, by names relative to it. Safe to use from many threads.

    Raises InputError for a URL of an unknown kind, DependencyError when its kind needs a package that is missing.
    Every method raises StorageError when the storage can't be reached or refuses.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise DependencyError(
                f"this kind of storage needs another package ({error})",
                where=url,
                hint="For S3: pip install 'nonesuch[s3]'.",
            ) from error
        except ValueError as error:
            raise InputError(str(error), where=url) from error
        protocol = self._files.protocol
        self._protocols = frozenset((protocol,) if isinstance(protocol, str) else protocol)
        self._files.invalidate_cache()  # listings of an earlier opening are out of date

    def read(self, name: str) -> bytes | None:
        """The file's bytes, None when there is none."""
        data: bytes | None = self._asked(lambda: bytes(self._files.cat_file(self._path(name))), None)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Put a small file there, whole."""
        self._make_parent(name)
        self._asked(lambda: self._files.pipe_file(self._path(name), data), _RAISE)

    def create(self, name: str, data: bytes) -> bool:
        """Put a small file there unless there is one; whether it was put.

        In one step where the storage offers it (S3, Google, Azure), otherwise looked up first.
        """
        self._make_parent(name)

        def put() -> bool:
            try:
                self._files.pipe_file(self._path(name), data, mode="create")
            except FileExistsError:
                return False
            return True

        return bool(self._asked(put, _RAISE))

    def version(self, name: str) -> str | None:
        """What changes with the file's content: its ETag where the storage has one, else its bytes; None without it."""
        if self._conditional:
            self._files.invalidate_cache()
            facts: dict[str, Any] | None = self._asked(lambda: self._files.info(self._path(name)), None)
            return None if facts is None else str(facts["ETag"])
        data = self.read(name)
        return None if data is None else data.hex()

    def replace(self, name: str, data: bytes, version: str) -> bool:
        """Put a small file in the place of one whose version is known; False when it is another one by now.

        In one step on S3, elsewhere looked up first.
        """

        def put() -> bool:
            try:
                self._files.pipe_file(self._path(name), data, IfMatch=version)
            except FileNotFoundError:
                return False
            except OSError as error:
                if error.errno == errno.EINVAL:  # what s3fs makes of "precondition failed"
                    return False
                raise
            return True

        if self._conditional:
            return bool(self._asked(put, _RAISE))
        if self.version(name) != version:
            return False
        self.write(name, data)
        return True

    def upload(self, path: Path, name: str) -> int:
        """Send a file; its size."""
        self._make_parent(name)
        self._asked(lambda: self._files.put_file(str(path), self._path(name)), _RAISE)
        return path.stat().st_size

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        self._asked(lambda: self._files.rm_file(self._path(name)), None)

    def sizes(self, folders: Iterable[str]) -> dict[str, int]:
        """Size by name of every file below these folders."""
        self._files.invalidate_cache()
        found: dict[str, int] = {}
        for folder in folders:
            listed = self._asked(partial(self._files.find, self._path(folder), detail=True), {})
            for path, facts in listed.items():
                found[path.removeprefix(self._root).lstrip("/")] = facts["size"]
        return found

    @property
    def _conditional(self) -> bool:
        return "s3" in self._protocols

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _make_parent(self, name: str) -> None:
        if not _OBJECTS & self._protocols:
            parent = str(PurePosixPath(self._path(name)).parent)
            self._asked(lambda: self._files.makedirs(parent, exist_ok=True), None)

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
