"""A process that ends what is left of a run's own Ray when the run was killed.

Ray ends its head with the driver, but not the agents that the head had started. They are known by their environment.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil

from foundation import children

_GRACE = 1.0  # seconds in which the others may end by themselves


def main() -> None:
    """Wait for the parent's end, then see to it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # comes with the parent's end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run = children.parent()
    if run is None:
        return
    children.wait_for_end(run)
    time.sleep(_GRACE)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and children.is_child_of(run, process.environ()):
                process.kill()


if __name__ == "__main__":
    main()
