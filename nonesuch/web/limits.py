"""What one upload may cost, and what a route answers when it costs more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what strangers send."""

    max_bytes: int = 64 << 20  # of one image file
    max_pixels: int = 32_000_000  # refused from the header; so many take under 1 GB of memory
    seconds: float = 10.0  # that one image may take in its worker
    upload_seconds: float = 120.0  # that one upload may take
    workers: int | None = None  # processes; None: one for each core this process may use, at most 4
    uploads: int = 16  # held in memory at once; further ones are answered with 503


class Refused(Exception):
    """A request that is answered with an HTTP status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)
