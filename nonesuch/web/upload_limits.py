"""Limits on one upload and one connection, and the error when one exceeds them."""

from __future__ import annotations

from dataclasses import dataclass

RETRY = 10  # seconds after which a client that found the server busy may try again


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on untrusted uploads."""

    max_bytes: int = 64 << 20  # of one image file
    max_pixels: int = 32_000_000  # refused from the header; this many take under 1 GB of memory
    seconds: float = (
        10.0  # of processor time that one image may take in its worker; six times that in wall time
    )
    wait_seconds: float = 60.0  # that an image may wait for a worker; then it is answered with 503
    upload_seconds: float = 900.0  # that one upload may take, even at a steady rate
    workers: int | None = None  # processes; None: one for each core this process may use, at most 4
    memory: int = 1 << 30  # bytes of uploads held at once; more are answered with 503


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits on the connections of `nonesuch serve`: each must make progress, and none may block the others."""

    waiting: int = (
        256  # connections without a request, for one second twice as many; see connection_limits.Crowd
    )
    busy: int = 256  # requests being sent or answered at once; more are answered with 503
    per_address: int = 64  # of those from one address; 0 for no limit. Loopback addresses have none
    header_seconds: float = 10.0  # until a connection's first header is complete
    idle_seconds: float = 75.0  # until the next one; longer than the pauses of a visitor who reads
    slow_seconds: float = (
        30.0  # after which a sender or reader must have transferred that many seconds' worth of bytes
    )
    slow_rate: int = 1024  # bytes per second


class Refused(Exception):
    """A request that is answered with an HTTP status and one sentence."""

    def __init__(self, status: int, message: str, *, retry: int | None = None) -> None:
        self.status = status
        self.message = message
        self.retry = retry  # seconds after which the same request may succeed; None when it won't
        super().__init__(message)
