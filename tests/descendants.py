"""What is left of a program and of all that it started, recognised by a variable of its environment."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 300.0  # seconds until processes count as left behind; they need one, a busy machine more


class Descendants:
    """The processes whose environment holds a mark of this object's own."""

    def __init__(self) -> None:
        self.environment = {"NONESUCH_TEST_MARK": os.urandom(8).hex()}
        self._mark = self.environment["NONESUCH_TEST_MARK"].encode()

    def alive(self) -> dict[int, str]:
        """Their ids and command lines; what only waits to be reaped is not counted."""
        found = {}
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if process.name.isdecimal() and self._mark in (process / "environ").read_bytes():
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(process.name)] = command
        return found

    def left(self) -> dict[int, str]:
        """Those that are still there after some patience."""
        end = time.monotonic() + PATIENCE
        while (alive := self.alive()) and time.monotonic() < end:
            time.sleep(0.1)
        return alive


@contextmanager
def descendants() -> Iterator[Descendants]:
    """Kills at the end what is left."""
    marked = Descendants()
    try:
        yield marked
    finally:
        for process in marked.alive():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
