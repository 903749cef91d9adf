"""Connections that hold others out: half headers, slow uploads, readers that don't read, too many from one address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from nonesuch.web.connection_limits import Crowd, address_of, guarded
from nonesuch.web.upload_limits import ConnectionLimits

LARGE = 16 << 20  # bytes, more than the kernel's buffers take
ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the number of bytes that were sent to it; /large with many bytes."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more and scope["method"] == "POST":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message["more_body"]
    body = b"x" * LARGE if scope["path"] == "/large" else str(size).encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": body})


def served(limits: ConnectionLimits, work: Callable[[int], Awaitable[None]]) -> None:
    """Run `work` with the port of a server that has those limits."""

    async def whole() -> None:
        config = uvicorn.Config(
            application, http=guarded(limits), ws="none", lifespan="off", log_level="critical", port=0
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            async with asyncio.timeout(60):
                await work(server.servers[0].sockets[0].getsockname()[1])
        finally:
            server.should_exit = server.force_exit = True
            await running

    asyncio.run(whole())


async def sent(port: int, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    return reader, writer


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the server closes the connection."""
    with suppress(ConnectionError):
        return await reader.read()
    return b""


async def answer(port: int, data: bytes = ASK) -> bytes:
    """The status line and the body of one request's answer."""
    reader, writer = await sent(port, data)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line
    )
    body = await reader.readexactly(length)
    writer.close()
    return head.split(b"\r\n")[0] + b" " + body


def test_half_a_header_and_none_end() -> None:
    async def work(port: int) -> None:
        for start in (b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: local"):
            reader, _ = await sent(port, start)
            assert await rest(reader) == b""

    served(ConnectionLimits(header_seconds=0.2), work)


def test_a_header_that_drips_ends_too() -> None:
    async def work(port: int) -> None:
        reader, writer = await sent(port, b"GET / HTTP/1.1\r\n")
        ended = asyncio.create_task(rest(reader))
        with suppress(ConnectionError):
            while not ended.done():
                writer.write(b"X-A: 1\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        assert await ended == b""

    served(ConnectionLimits(header_seconds=0.2), work)


def test_three_hundred_half_headers_leave_room_for_an_honest_visitor() -> None:
    async def work(port: int) -> None:
        held = [await sent(port, b"GET / HTTP/1.1\r\nHo") for _ in range(300)]
        for _ in range(3):
            assert await answer(port) == b"HTTP/1.1 200 OK 0"
        # those that waited longest had to go, and no more than that
        assert await rest(held[0][0]) == b""
        held[-1][1].write(b"st: localhost\r\n\r\n")
        assert (await held[-1][0].readline()).startswith(b"HTTP/1.1 200")

    served(ConnectionLimits(header_seconds=600, waiting=100), work)


def test_the_address_with_the_most_waiting_connections_loses_one() -> None:
    class Connection:
        def __init__(self, asked: bool = False, waited: float = 60) -> None:
            self.asked, self.dropped, self.waited = asked, False, lambda: waited

        def drop(self) -> None:
            self.dropped = True

    crowd = Crowd(ConnectionLimits(waiting=3))
    honest, *many = [Connection() for _ in range(4)]
    crowd.wait(honest, "192.0.2.1")  # type: ignore[arg-type]
    for one in many:
        crowd.wait(one, "192.0.2.2")  # type: ignore[arg-type]
    assert [one.dropped for one in (honest, *many)] == [False, True, False, False]
    crowd = Crowd(ConnectionLimits(waiting=2))
    known, young, new = Connection(asked=True), Connection(waited=0.1), Connection(waited=0)
    for one in (known, young, new):
        crowd.wait(one, "192.0.2.1")  # type: ignore[arg-type]
    assert [one.dropped for one in (known, young, new)] == [False] * 3  # its header may be on the way
    old, last = Connection(), Connection(waited=0)
    crowd = Crowd(ConnectionLimits(waiting=2))
    for one in (known, old, last):
        crowd.wait(one, "192.0.2.1")  # type: ignore[arg-type]
    assert [one.dropped for one in (known, old, last)] == [False, True, False]


def test_requests_of_one_address_are_limited_and_those_of_this_machine_only_together() -> None:
    crowd = Crowd(ConnectionLimits(busy=5, per_address=2))
    for address in ("192.0.2.1", "192.0.2.1", "", ""):
        assert crowd.has_room(address)
        crowd.begin(address)
    assert not crowd.has_room("192.0.2.1")
    assert crowd.has_room("192.0.2.2")
    assert crowd.has_room("")
    crowd.begin("")
    assert not crowd.has_room("192.0.2.2")
    crowd.end("192.0.2.1")
    assert crowd.has_room("192.0.2.1")
    assert Crowd(ConnectionLimits(per_address=0)).has_room("192.0.2.1")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", ""), ("::1", ""), ("::ffff:127.0.0.1", ""), ("", ""), ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)  # fmt: skip
def test_whom_a_connection_is_counted_for(host: str, address: str) -> None:
    assert address_of(host) == address


POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"


def test_an_upload_of_a_byte_now_and_then_is_told_and_ended() -> None:
    async def work(port: int) -> None:
        reader, writer = await sent(port, POST)
        ended = asyncio.create_task(rest(reader))
        with suppress(ConnectionError):
            while not ended.done():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        told = await ended
        if told:  # a close while bytes come may lose what was said before
            assert told.startswith(b"HTTP/1.1 408")
            assert "slower" in json.loads(told.partition(b"\r\n\r\n")[2])["error"]

    served(ConnectionLimits(slow_seconds=0.4, slow_rate=10_000), work)


def test_a_steady_upload_may_take_many_times_as_long_as_a_slow_one_is_given() -> None:
    async def work(port: int) -> None:
        reader, writer = await sent(port, POST.replace(b"1000000", b"300000"))
        for _ in range(30):
            writer.write(b"x" * 10_000)
            await writer.drain()
            await asyncio.sleep(0.05)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")

    # at least 1.5 s, with a window of 0.5 s; the least rate leaves a busy machine plenty of slack
    served(ConnectionLimits(slow_seconds=0.5, slow_rate=1000), work)


def test_a_body_that_nobody_reads_any_more_does_not_hold_the_connection() -> None:
    async def work(port: int) -> None:
        reader, writer = await sent(port, POST.replace(b"POST", b"GET"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        ended = asyncio.create_task(rest(reader))
        with suppress(ConnectionError):
            while not ended.done():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        await ended

    served(ConnectionLimits(header_seconds=0.3), work)


def test_a_reader_that_does_not_read_ends() -> None:
    async def work(port: int) -> None:
        reader, _ = await sent(port, ASK.replace(b"/ ", b"/large "))
        await reader.readline()
        await asyncio.sleep(1.5)  # reads nothing; the server's buffer stays full
        assert len(await rest(reader)) < LARGE

    served(ConnectionLimits(slow_seconds=0.3, slow_rate=1000), work)


def test_a_slow_reader_gets_everything() -> None:
    async def work(port: int) -> None:
        reader, _ = await sent(port, ASK.replace(b"/ ", b"/large "))
        await reader.readuntil(b"\r\n\r\n")
        size = 0
        while size < LARGE:
            some = await reader.read(1 << 20)
            assert some
            size += len(some)
            await asyncio.sleep(0.001)

    served(ConnectionLimits(slow_seconds=0.3, slow_rate=1000, header_seconds=0.2), work)


def test_more_requests_than_fit_are_told_when_to_come_back() -> None:
    async def work(port: int) -> None:
        first = await sent(port, POST)
        await asyncio.sleep(0.1)
        reader, _ = await sent(port, ASK)
        told = await rest(reader)
        assert told.startswith(b"HTTP/1.1 503")
        assert b"retry-after" in told.lower()
        first[1].close()
        while b"503" in await answer(port):
            await asyncio.sleep(0.02)

    served(ConnectionLimits(busy=1), work)
