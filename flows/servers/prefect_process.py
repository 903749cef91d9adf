"""A Python process of Prefect's, run as this program runs its own: `-m nonesuch.flows.servers.prefect_process MODULE ARGUMENTS…`.

It ends with the process that started it; with `--while-held FILE` before the module, as soon as no process
holds a lock on that file, and it holds the lock itself until it is gone.
"""

from __future__ import annotations

import fcntl
import os
import runpy
import sys
import threading
from pathlib import Path
from typing import Final

from nonesuch.foundation import children

NOTE: Final = "server.json"  # beside the file that is held: where the process can be reached


def main(arguments: list[str]) -> None:
    """Run the module as `python -m` would. The package `flows` has begun to watch the parent, if there is one."""
    children.begin()
    if arguments[0] == "--while-held":
        held = Path(arguments[1])
        threading.Thread(target=_end_when_free, args=(held,), name="held", daemon=True).start()
        arguments = arguments[2:]
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _end_when_free(held: Path) -> None:
    handle = os.open(held, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)  # waits
    held.with_name(NOTE).unlink(missing_ok=True)
    children.end_soon()


if __name__ == "__main__":
    main(sys.argv[1:])
