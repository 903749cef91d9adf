"""The time that a child process may spend on one file: seconds of CPU time, not of the clock.

While other programs have the cores a file may take PATIENCE times as long on the clock. A process that neither runs
nor waits for a core or a disk hangs, and is not given that long.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

PATIENCE = 6
_STILL = 1.0  # seconds without a sign of work, after which a process that had its time on the clock hangs


class Allowance:
    """Counts from now on what the process `pid` spends; `seconds` is what it may."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._seconds = seconds
        self._begun = time.monotonic()
        self._used = processor_time(pid)[0]
        self._seen: tuple[float, float] | None = None  # processor time, and when it was last seen to work

    def over(self) -> str | None:
        """Why the process may not continue, as a phrase; None as long as it may. Call it a few times per second."""
        now = time.monotonic()
        if now - self._begun <= self._seconds:
            return None
        used, active = processor_time(self._pid)
        if self._seen is None or active or used > self._seen[0]:
            self._seen = used, now
        if used - self._used >= self._seconds or now - self._seen[1] >= min(_STILL, self._seconds):
            return f"took longer than {self._seconds:g} s"
        if now - self._begun > PATIENCE * self._seconds:
            return f"took longer than {PATIENCE * self._seconds:g} s while other programs had the processor"
        return None


def processor_time(pid: int) -> tuple[float, bool]:
    """Seconds that a process's threads have had, and whether one of them runs or waits for a core or a disk.

    (0, False) for a process that is gone, and where the system does not say (no /proc).
    """
    used, active = 0.0, False
    with suppress(OSError, ValueError, IndexError):
        state, fields = _stat(f"/proc/{pid}/stat")
        used, active = (int(fields[10]) + int(fields[11])) / os.sysconf("SC_CLK_TCK"), state in ("R", "D")
    with suppress(OSError):
        for thread in () if active else os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError, ValueError):
                active = active or _stat(f"/proc/{pid}/task/{thread}/stat")[0] in ("R", "D")
    return used, active


def _stat(path: str) -> tuple[str, list[str]]:
    with open(path, encoding="ascii", errors="replace") as file:
        state, *fields = file.read().rpartition(")")[2].split()
    return state, fields
