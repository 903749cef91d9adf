"""The lease on an output at a URL: one small object that the running sweep renews, since storages have no locks.

Clocks of several machines are never compared to take over a lease: a run that finds one watches it with
its own clock, and takes it over when it has not changed for WATCH seconds.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from nonesuch.catalogs.storage.store import Store
from nonesuch.foundation.errors import StorageError

LEASE: Final = ".run.json"
RENEW: Final = 5.0  # seconds between two renewals
WATCH: Final = 30.0  # seconds without a renewal after which a lease counts as left behind
_SILENT: Final = 60.0  # seconds after which `is_leased` takes a run for dead, by the wall clock


class Lease:
    """One run's right to write to a URL."""

    def __init__(self, store: Store) -> None:
        self.holder = uuid4().hex
        self._store = store
        self._renewals = 0
        self._version: str | None = None

    @contextmanager
    def held(self, *, left_by: str | None = None, beat: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lease for the length of the block, renewing it from a thread that also calls `beat`.

        `left_by` is a holder of which it is known that it has ended. Waits up to WATCH seconds where a run of
        another machine left its lease behind. Raises StorageError when another run is drawing there.
        """
        self._acquire(left_by)
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(RENEW):
                with suppress(StorageError):  # a lost lease is reported by check_holder before the next write
                    self._renew()
                    beat()

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            with suppress(StorageError):
                self._release()

    def _acquire(self, left_by: str | None) -> None:
        watched: str | None = None
        until = 0.0
        while not self._store.create(LEASE, self._content()):
            version = self._store.version(LEASE)
            found = _read(self._store)
            if version is None or found is None:
                continue
            if found.get("holder") == left_by or (version == watched and time.monotonic() > until):
                if self._store.replace(LEASE, self._content(), version):
                    break
            elif watched is None:
                watched, until = version, time.monotonic() + WATCH
            elif version != watched:
                raise StorageError(
                    f"another run is writing here, on {found.get('host')} (process {found.get('pid')})",
                    where=self._store.url,
                    hint="Wait until it has ended, or give this one another --out.",
                )
            time.sleep(1.0)
        self._look()

    def _renew(self) -> None:
        self._renewals += 1
        if self._version is not None:
            self._store.replace(LEASE, self._content(), self._version)
        self._look()

    def _look(self) -> None:
        """Learn the lease's version. Raises StorageError, and knows none, when it is not this run's any more."""
        self._version = None
        version = self._store.version(LEASE)
        check_holder(self._store, self.holder)
        self._version = version

    def _release(self) -> None:
        found = _read(self._store)
        if found is not None and found.get("holder") == self.holder:
            self._store.remove(LEASE)

    def _content(self) -> bytes:
        told = {
            "holder": self.holder,
            "host": platform.node(),
            "pid": os.getpid(),
            "renewals": self._renewals,
            "renewed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return json.dumps(told).encode()


def check_holder(store: Store, holder: str) -> None:
    """Raise StorageError when another run holds the lease, or none does."""
    found = _read(store)
    if found is None or found.get("holder") != holder:
        raise StorageError(
            "another run has taken over this output, because this run did not report for too long",
            where=store.url,
            hint="What is published stays. Wait until that run has ended, then run it again to continue.",
        )


def is_leased(store: Store) -> bool:
    """Whether a run seems to be running there: its lease was renewed within the last minute."""
    found = _read(store)
    try:
        at = datetime.fromisoformat(found["renewed_at"]) if found else None
        return at is not None and (datetime.now(UTC) - at).total_seconds() < _SILENT
    except (KeyError, TypeError, ValueError):
        return False


def _read(store: Store) -> dict[str, Any] | None:
    """The lease's content; {} where it is not one of ours, None where there is none."""
    data = store.read(LEASE)
    if data is None:
        return None
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
