"""Whether a timestamp authority answers: one that did not is not asked for a while, so that a sweep continues."""

from __future__ import annotations

import threading
import time

REST_SECONDS = 60.0  # that an authority is not asked after it failed; a silent one costs 30 s each time


class Authority:
    """What is known of one authority, shared by all threads that sign."""

    def __init__(self, rest: float = REST_SECONDS) -> None:
        self._rest = rest
        self._lock = threading.Lock()
        self._again = float("-inf")  # time.monotonic() at which it may be asked again

    def failed(self) -> None:
        """Leave it alone from now on."""
        with self._lock:
            self._again = time.monotonic() + self._rest

    def rests(self) -> bool:
        """Whether it failed a short while ago."""
        with self._lock:
            return time.monotonic() < self._again
