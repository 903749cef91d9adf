"""A process that ends what its parent has left running after the parent was killed.

For programs that know nothing of nonesuch.foundation.children: on Linux, Ray's head ends with the run, but the agents that
the head has started don't. They are known by having been below the run while it lived; the youngest, by their
environment, which they write over later. Where there is no /proc this does nothing; Ray has its own such process there.
It lies in this room because it must be at work before the others: nothing heavy is imported.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

from nonesuch.foundation import children

_EVERY = 1.0  # seconds between two looks at what is below the run, and in which others may end by themselves

Known = tuple[int, str]  # a process: its id, and when it started


def main() -> None:
    """Wait for the parent's end, then see to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C on a terminal reaches this process too
    run = children.parent()
    if run is None:
        return
    waiting = threading.Thread(target=children.wait_for_end, args=(run,), daemon=True)
    waiting.start()
    below: set[Known] = set()
    while waiting.is_alive():
        below |= _below(run)
        waiting.join(_EVERY)
    waiting.join()
    threading.Event().wait(_EVERY)
    for known in _processes():
        if known[0] != os.getpid() and (known in below or _was_told_of(run, known[0])):
            with suppress(OSError):
                os.kill(known[0], signal.SIGKILL)


def _below(run: int) -> set[Known]:
    """The processes that the run has started, and those that they have."""
    parents = _processes()
    found = {run}
    while more := {known[0] for known, parent in parents.items() if parent in found} - found:
        found |= more
    return {known for known in parents if known[0] in found - {run}}


def _processes() -> dict[Known, int]:
    """Every process with its parent's id; none where there is no /proc."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
            found[int(process.name), fields[19]] = int(fields[1])
    return found


def _was_told_of(run: int, process: int) -> bool:
    try:
        return children.names_parent(Path(f"/proc/{process}/environ").read_bytes(), run)
    except OSError:
        return False


if __name__ == "__main__":
    main()
