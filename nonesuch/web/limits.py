"""What one upload and one connection may cost, and what a route answers when it costs more."""

from __future__ import annotations

from dataclasses import dataclass

RETRY = 10  # seconds after which a visitor who found the server busy may try again


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what strangers send."""

    max_bytes: int = 64 << 20  # of one image file
    max_pixels: int = 32_000_000  # refused from the header; so many take under 1 GB of memory
    seconds: float = 10.0  # of a core that one image may take in its worker; six times as long on the clock
    wait_seconds: float = 60.0  # that an image may wait for a worker; then it is answered with 503
    upload_seconds: float = 900.0  # that one upload may take, however steadily it comes
    workers: int | None = None  # processes; None: one for each core this process may use, at most 4
    memory: int = 1 << 30  # bytes of uploads held at once; further ones are answered with 503


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds on the connections of `nonesuch serve`: each must move on, and none may keep the others out."""

    waiting: int = 256  # connections without a request, for a second twice as many; see connections.Crowd
    busy: int = 256  # requests being sent or answered at once; further ones are answered with 503
    per_address: int = 64  # of those from one address; 0 for no limit. Loopback addresses have none
    header_seconds: float = 10.0  # until a connection's first header is there
    idle_seconds: float = 75.0  # until the next one; longer than the pauses of a visitor who reads
    slow_seconds: float = (
        30.0  # after which a sender or reader must have moved as many seconds' worth of bytes
    )
    slow_rate: int = 1024  # bytes a second


class Refused(Exception):
    """A request that is answered with an HTTP status and one sentence."""

    def __init__(self, status: int, message: str, *, retry: int | None = None) -> None:
        self.status = status
        self.message = message
        self.retry = retry  # seconds after which the same request may do better; None when it won't
        super().__init__(message)
