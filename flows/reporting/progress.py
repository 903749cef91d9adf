"""What a running sweep reports while it runs: to the command line's bar, a log, a test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a sweep has come."""

    total: int  # recipes to draw in this run
    done: int  # of these, images drawn or fetched, scored, marked and written
    failed: int  # of these, recipes without an image
    flagged: int  # of the done ones, black or otherwise suspicious
    fetched: int = 0  # of the done ones, images that a server or a stopped run had already

    @property
    def worked(self) -> int:
        """Recipes that were drawn or failed: what a rate is counted from."""
        return self.done - self.fetched + self.failed


class Watcher(Protocol):
    """Something that wants to hear of a sweep's progress."""

    def planned(self, total: int, already: int) -> None:
        """`total` recipes will be drawn; `already` are in the catalog from before."""

    def advanced(self, tally: Tally) -> None:
        """One more recipe has ended."""


_watchers: list[Watcher] = []


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` about every sweep that this process runs inside the block."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def tell_planned(total: int, already: int) -> None:
    """Tell all watchers what this run will draw."""
    for watcher in _watchers:
        watcher.planned(total, already)


Ended: TypeAlias = tuple[str, bool]
"""The end of one recipe as `Counting.count` takes it: its status, and whether its image was fetched."""


@runtime_checkable
class Noting(Protocol):
    """A watcher that also shows what a person should know before the end."""

    def noted(self, text: str) -> None:
        """One sentence or several, with what to do."""


def tell_noted(text: str) -> None:
    """Tell all watchers that show such things."""
    for watcher in _watchers:
        if isinstance(watcher, Noting):
            watcher.noted(text)


class Counting(Protocol):
    """What a shard tells of its beginning and of its recipes' ends."""

    def begun(self, task_run: str) -> None:
        """The shard's Prefect task run, by its id, has begun."""
        ...

    def count(self, status: str, fetched: bool = False) -> None:
        """One recipe has ended as `ok`, `flagged` or `failed`; `fetched`: its image was there already."""
        ...


class Counter:
    """Counts the ends of recipes over the shards of one run and tells the watchers, one thread at a time."""

    def __init__(self, total: int) -> None:
        self._tally = Tally(total, 0, 0, 0)
        self._lock = threading.Lock()

    @property
    def tally(self) -> Tally:
        """The count so far."""
        return self._tally

    def begun(self, task_run: str) -> None:
        """Nothing is counted yet."""

    def count(self, status: str, fetched: bool = False) -> None:
        """One recipe has ended as `ok`, `flagged` or `failed`; `fetched`: its image was there already."""
        self._add(status, fetched, 1)

    def forget(self, status: str, fetched: bool = False) -> None:
        """A recipe that was counted so is drawn again: its worker was lost before it published."""
        self._add(status, fetched, -1)

    def _add(self, status: str, fetched: bool, by: int) -> None:
        with self._lock:
            now = self._tally
            self._tally = Tally(
                now.total,
                now.done + by * (status != "failed"),
                now.failed + by * (status == "failed"),
                now.flagged + by * (status == "flagged"),
                now.fetched + by * (fetched and status != "failed"),
            )
            for watcher in _watchers:
                watcher.advanced(self._tally)
