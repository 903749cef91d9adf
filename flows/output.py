"""The output folder: who holds it, where its files lie, whether it can be written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundation.errors import StorageError
from foundation.files import atomic_write, storage_error

IMAGES = "images"  # OUT/images/SWEEP/ab/abcdef….png, the first 16 digits of the recipe id
SWEEPS = "sweeps"  # OUT/sweeps/SWEEP.yaml
SCRATCH = ".scratch"  # files being written; what a killed run left here is removed by the next
LOCK = ".run.lock"  # held by the operating system while a run writes here


@contextmanager
def hold(out: Path) -> Iterator[None]:
    """Hold the output folder for one run; a second run on the same folder is refused.

    The lock is the operating system's, so it goes with the process however that ends.
    Raises StorageError when the folder can't be written or is held.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise storage_error(error, out) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                "another run is writing here",
                where=str(out),
                hint="Wait until it has ended, or give this one another --out.",
            ) from error
        _empty_scratch(out / SCRATCH)
        yield
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


def keep_sweep_file(out: Path, name: str, text: bytes) -> None:
    """Keep the sweep file beside what it made, so that the folder explains itself."""
    atomic_write(out / SWEEPS / f"{name}.yaml", text)
