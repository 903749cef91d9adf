"""uvicorn's HTTP protocol with limits: stalled connections are closed, and there is room for everyone else.

A connection either waits (it has sent no complete header) or is busy (its request is being sent or answered). One that
waits too long is closed. When too many wait, the longest waiting one of the address with the most is closed, first
among those that never sent a request: an honest client sends its header at once, so a client that only holds
connections loses them. A busy connection that transfers too few bytes is closed too, whichever side is slow. Too many
busy ones are answered with 503.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from nonesuch.web.upload_limits import RETRY, ConnectionLimits

_YOUNG = 1.0  # seconds for which a connection is not closed: its header may already be in the socket


class Crowd:
    """All connections of one server: which wait and which are busy."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.look_seconds = min(1.0, limits.header_seconds / 4, limits.slow_seconds / 4)  # between two checks
        self._waiting: dict[Guarded, str] = {}  # with their address, the longest waiting first
        self._busy: Counter[str] = Counter()

    def wait(self, connection: Guarded, address: str) -> None:
        """Count a connection as waiting, and close another one when too many wait."""
        self._waiting[connection] = address
        over = len(self._waiting) - self.limits.waiting
        if over <= 0:
            return
        # One that has sent a request may send another at any moment.
        never = {one: where for one, where in self._waiting.items() if not one.asked} or self._waiting
        busiest, _ = Counter(never.values()).most_common(1)[0]
        longest = next(one for one, where in never.items() if where == busiest)
        if longest.waited() > _YOUNG or over > self.limits.waiting:
            longest.drop()

    def leave(self, connection: Guarded) -> None:
        """Count a connection as no longer waiting."""
        self._waiting.pop(connection, None)

    def has_room(self, address: str) -> bool:
        """Whether one more request of that address may be answered."""
        most = self.limits.per_address if address and self.limits.per_address else self.limits.busy
        return self._busy.total() < self.limits.busy and self._busy[address] < most

    def begin(self, address: str) -> None:
        """Count a request."""
        self._busy[address] += 1

    def end(self, address: str) -> None:
        """Stop counting it."""
        self._busy[address] -= 1
        if not self._busy[address]:
            del self._busy[address]


def address_of(host: str) -> str:
    """The client that a connection is counted for: an IPv4 address, an IPv6 /64 network, or "" for this machine."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a Unix socket
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Guarded(H11Protocol):
    """One connection. Created by `guarded`, which gives it its crowd."""

    crowd: Crowd

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.asked = False  # whether it ever sent a whole header
        self._address = address_of(self.client[0] if self.client else "")
        self._answering = False
        self._since = self._begun = (
            self.loop.time()
        )  # when it began to wait; when the window of `_look` began
        self._received = self._unsent = 0  # bytes that came in the window; bytes left to send as it began
        self._timer = self.loop.call_later(self.crowd.look_seconds, self._look)
        self.crowd.wait(self, self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self.crowd.leave(self)
        self._finish()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)

    def resume_writing(self) -> None:
        self._restart()  # most of a full buffer has been sent
        super().resume_writing()

    def handle_events(self) -> None:
        """Let complete requests begin, or be answered with 503 when there are too many."""
        self.app = self.config.loaded_app if self.crowd.has_room(self._address) else _too_many
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete and not self._answering:
            self._answering = self.asked = True
            self.crowd.leave(self)
            self.crowd.begin(self._address)
            self._restart()

    def on_response_complete(self) -> None:
        if not self.transport.get_write_buffer_size():
            self._rest()
        super().on_response_complete()

    def waited(self) -> float:
        """Seconds that it has waited."""
        return self.loop.time() - self._since

    def drop(self) -> None:
        """Close the connection without a response."""
        self.crowd.leave(self)
        self.transport.abort()

    def _rest(self) -> None:
        self._finish()
        if not self.transport.is_closing():
            self._since = self.loop.time()
            self.crowd.wait(self, self._address)

    def _finish(self) -> None:
        if self._answering:
            self._answering = False
            self.crowd.end(self._address)

    def _restart(self) -> None:
        self._begun, self._received = self.loop.time(), 0
        self._unsent = self.transport.get_write_buffer_size()

    def _look(self) -> None:
        self._timer = self.loop.call_later(self.crowd.look_seconds, self._look)
        now, limits = self.loop.time(), self.crowd.limits
        unsent = self.transport.get_write_buffer_size()
        if self._answering and self.cycle.response_complete and not unsent:
            self._rest()
        sending = self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused
        if not self._answering and not unsent:
            idle = (
                self.asked and self.conn.their_state is h11.IDLE
            )  # not in the middle of a body nobody reads
            if now - self._since > (limits.idle_seconds if idle else limits.header_seconds):
                self.drop()
        elif unsent > self._unsent or not (sending or unsent):  # the application wrote, or it is its turn
            self._restart()
        elif now - self._begun > limits.slow_seconds:
            least = limits.slow_rate * limits.slow_seconds
            if max(self._received if sending else 0, self._unsent - unsent) >= least:
                self._restart()
            elif unsent:
                self.drop()
            else:
                self._refuse_upload(f"the upload is slower than {limits.slow_rate} bytes per second")

    def _refuse_upload(self, why: str) -> None:
        """Respond with 408, unless a response has begun, and close."""
        if self.conn.our_state is h11.SEND_RESPONSE:
            body = json.dumps({"error": why}).encode()
            headers = [("Content-Type", "application/json"), ("Connection", "close")]
            for event in (
                h11.Response(status_code=408, headers=[*headers, ("Content-Length", str(len(body)))]),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


async def _too_many(scope: Any, receive: Any, send: Any) -> None:
    body = json.dumps({"error": "the server is busy; try again in a moment"}).encode()
    headers = {"Content-Type": "application/json", "Retry-After": str(RETRY), "Connection": "close"}
    headers["Content-Length"] = str(len(body))
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 503, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def guarded(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """The protocol class for one server, for uvicorn's setting `http`."""
    return type("Guarded", (Guarded,), {"crowd": Crowd(limits)})
