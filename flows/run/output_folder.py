"""The output folder: who holds it, where its files lie, whether it can be written."""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nonesuch.foundation.errors import InputError, StorageError
from nonesuch.foundation.files import atomic_write, held_alone, storage_error
from nonesuch.foundation.urls import check_local

IMAGES = "images"  # OUT/images/SWEEP/ab/abcdef….png, the first 16 digits of the recipe id
SWEEPS = "sweeps"  # OUT/sweeps/SWEEP.yaml
SCRATCH = ".scratch"  # files being written; what a killed run left here is removed by the next
LOCK = ".run.lock"  # held by the operating system while a run writes here
WORKERS = ".workers.lock"  # shared by a run's worker processes, on whatever machine
_LEAVING = 20.0  # seconds that the workers of a dead run get to notice


@contextmanager
def hold(out: Path, *, place: str | None = None) -> Iterator[None]:
    """Hold the output folder for one run; a second run on the same folder is refused.

    `place` is what a person calls it, where that is not its path.
    Raises StorageError when the folder can't be written or is held, InputError when it is a URL.
    """
    check_local(out)
    taken = StorageError(
        "another run is writing here",
        where=place or str(out),
        hint="Wait until it has ended, or give this one another --out.",
    )
    with held_alone(out / LOCK, taken):
        _await_workers(out)
        _empty_scratch(out / SCRATCH)
        yield


@contextmanager
def at_work(out: Path) -> Iterator[None]:
    """Held by each worker process of a run, so that no other run begins while one still writes.

    Raises InputError when the folder is not there: a worker on another machine must see the same one.
    """
    try:
        lock = os.open(out / WORKERS, os.O_RDWR)
    except OSError as error:
        raise InputError(
            f"{platform.node()} can't see the output folder ({error.strerror})",
            where=str(out),
            hint="Workers on several machines need a folder that all of them share, under the same path.",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


def make_room(out: Path) -> None:
    """Make a folder of this machine alone ready for workers, as `hold` does where all share one."""
    try:
        (out / SCRATCH).mkdir(parents=True, exist_ok=True)
        (out / WORKERS).touch()
    except OSError as error:
        raise storage_error(error, out) from error


def _await_workers(out: Path) -> None:
    """Wait until the workers of an earlier run have ended. Raises StorageError when they don't."""
    lock = os.open(out / WORKERS, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        until = time.monotonic() + _LEAVING
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise StorageError(
                        "workers of an earlier run are still writing here",
                        where=str(out),
                        hint="Wait until they have ended, or end them; on a Ray cluster, stop the earlier job.",
                    ) from error
                time.sleep(0.1)
    finally:
        os.close(lock)


def _empty_scratch(scratch: Path) -> None:
    try:
        scratch.mkdir(exist_ok=True)
        for leftover in scratch.iterdir():
            leftover.unlink()
    except OSError as error:
        raise storage_error(error, scratch) from error


def image_path(sweep: str, recipe_id: str, suffix: str) -> str:
    """Where a recipe's image lies, relative to the output folder, with forward slashes."""
    return f"{IMAGES}/{sweep}/{recipe_id[:2]}/{recipe_id[:16]}{suffix}"


def keep_sweep_file(out: Path, name: str, text: bytes) -> str:
    """Keep the sweep file beside what it made, so that the folder explains itself; its name there."""
    kept = f"{SWEEPS}/{name}.yaml"
    atomic_write(out / kept, text)
    return kept
