"""How fast to send requests: a token bucket, pauses that a server asks for, and waits between retries."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_WAIT: Final = 0.5  # seconds before the second try, then twice as long each time
LONGEST_WAIT: Final = 60.0  # seconds between two tries, unless the server asks for more


class Pace:
    """Shared by all threads that ask one server. `stop` ends every wait."""

    def __init__(self, per_minute: float | None = None) -> None:
        self._interval = 0.0 if per_minute is None else 60.0 / per_minute
        self._burst = 1.0 if per_minute is None else max(1.0, per_minute / 60.0)  # requests in one second
        self._tokens = self._burst
        self._filled = time.monotonic()
        self._paused_until = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def take(self) -> None:
        """Wait until a request may be sent."""
        while not self._stopped.is_set() and (left := self._reserve()) > 0:
            self._stopped.wait(left)

    def pause(self, seconds: float) -> None:
        """No request is sent for this long: the server asked for it."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """One thread waits."""
        self._stopped.wait(seconds)

    def stop(self) -> None:
        """End every wait, now and later."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether the waits were ended."""
        return self._stopped.is_set()

    def _reserve(self) -> float:
        """Take a token and return 0, or the seconds to wait before asking again."""
        with self._lock:
            now = time.monotonic()
            if now < self._paused_until:
                return self._paused_until - now
            if not self._interval:
                return 0.0
            self._tokens = min(self._burst, self._tokens + (now - self._filled) / self._interval)
            self._filled = now
            if self._tokens >= 1:
                self._tokens -= 1
                return 0.0
            return (1 - self._tokens) * self._interval


def backoff(attempt: int) -> float:
    """Seconds to wait after the try of that number, from 0: doubled each time, with full jitter."""
    return random.uniform(0.5, 1.0) * min(LONGEST_WAIT, FIRST_WAIT * 2.0**attempt)


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3: a number, or a date); None when it says nothing."""
    if not value:
        return None
    try:
        return max(0.0, min(float(value), 86_400.0))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
