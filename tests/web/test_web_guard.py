"""The gate: which Host headers, request targets and origins pass, for the grammar's sake and against rebinding."""

from __future__ import annotations

import asyncio
import ipaddress
import string
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse

from nonesuch.web.guard import Guard, Host, parse_host

Pairs = list[tuple[str, str]]


def status(headers: Pairs, *, method: str = "GET", path: str = "/", **settings: object) -> int:
    """What the gate answers; 200 is the application's own answer."""
    told: list[int] = []

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            told.append(int(str(message["status"])))

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    raw = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    guard = Guard(PlainTextResponse("let in"), **settings)  # type: ignore[arg-type]
    asyncio.run(guard(scope, receive, send))  # type: ignore[arg-type]
    return told[0]


OWN = [
    "localhost",
    "LocalHost",
    "localhost.",
    "localhost:8765",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.9.9.9",
    "[::1]:80",
]
FOREIGN = [
    "evil.com@127.0.0.1", "evil.com:x@127.0.0.1:8765", "127.0.0.1@evil.com", "user@localhost", "@localhost",
    "localhost@", "evil.com#@localhost", "localhost#.evil.com", "localhost/evil", "localhost?x", "localhost\\evil",
    "localhost evil.com", "localhost\tx", "localhost,evil.com", "localhost:80:80", "localhost:", "localhost:-1",
    "localhost:65536", "localhost:8a", "localhost..", ".localhost", "localhost.evil.com", "127.0.0.1.evil.com",
    "127.0.0.1.", "127.1", "0177.0.0.1", "2130706433", "0x7f.0.0.1", "::1", "[::1", "::1]", "[[::1]]", "[::1]x",
    "[::1%lo]", "[127.0.0.1]", "[localhost]", "[]", "", "localhost\u00b9", "10.0.0.1", "[fe80::1]", "%6cocalhost",
]  # fmt: skip


@pytest.mark.parametrize("host", OWN)
def test_own_hosts_pass(host: str) -> None:
    assert status([("Host", host)]) == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_foreign_and_malformed_hosts_do_not(host: str) -> None:
    assert status([("Host", host)]) == 421


def test_exactly_one_host_header_is_needed() -> None:
    assert status([]) == 421
    assert status([("Host", "localhost"), ("Host", "localhost")]) == 421
    assert status([("Host", "localhost"), ("Host", "evil.com")]) == 421


def test_names_and_addresses_that_the_server_was_started_under() -> None:
    assert status([("Host", "box.lan:80")], names=["Box.LAN."]) == 200
    assert status([("Host", "10.0.0.1")], names=["10.0.0.1"]) == 200
    assert status([("Host", "[2001:DB8::0:1]")], names=["2001:db8::1"]) == 200
    assert status([("Host", "10.0.0.1")], addresses=True) == 200
    assert status([("Host", "evil.com")], addresses=True) == 421


@given(st.text(alphabet="localhst127.0:@[]/\\#?% \t,evicom\u00b2", max_size=30))
def test_what_passes_is_a_host_that_every_other_reader_reads_alike(host: str) -> None:
    passes = status([("Host", host)]) == 200
    if not passes:
        return
    parts = urlsplit(f"http://{host}/")
    assert (parts.username, parts.password, parts.path, parts.query, parts.fragment) == (
        None,
        None,
        "/",
        "",
        "",
    )
    name = (parts.hostname or "").removesuffix(".")
    assert name == "localhost" or ipaddress.ip_address(name).is_loopback


@given(
    st.one_of(
        st.ip_addresses(),
        st.lists(
            st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=9),
            min_size=1,
            max_size=4,
        ),
    ),
    st.none() | st.integers(0, 65535),
)
def test_hosts_are_read_as_they_are_written(
    name: ipaddress.IPv4Address | ipaddress.IPv6Address | list[str], port: int | None
) -> None:
    after = "" if port is None else f":{port}"
    if isinstance(name, list):
        if name[-1].isdigit():
            return  # an address, to a browser
        labels = ".".join(name)
        assert parse_host(labels + after) == parse_host(f"{labels}.{after}") == Host(labels.lower(), port)
    else:
        text = f"[{name}]" if name.version == 6 else str(name)
        assert parse_host(text + after) == Host(name, port)


@pytest.mark.parametrize("path", ["http://evil.com/", "http://localhost/gallery", "evil.com:443", "*", ""])
def test_a_target_that_names_a_host_is_refused(path: str) -> None:
    assert status([("Host", "localhost")], path=path) == 400


HOST = ("Host", "localhost:8765")


@pytest.mark.parametrize(
    "headers",
    [
        [],  # a program
        [("Origin", "http://localhost:8765")],
        [("Origin", "http://LOCALHOST:8765"), ("Sec-Fetch-Site", "same-origin")],
        [("Referer", "http://localhost:8765/gallery?like=a@b")],
        [("Origin", "null"), ("Sec-Fetch-Site", "same-origin")],
        [("Sec-Fetch-Site", "none")],
    ],
)
def test_writes_from_own_pages_and_programs_pass(headers: Pairs) -> None:
    assert status([HOST, *headers], method="POST") == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("Origin", "http://evil.com")],
        [("Origin", "null")],
        [("Origin", "null"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", "http://localhost")],  # another port is another site
        [("Origin", "http://localhost:8765@evil.com")],
        [("Origin", "http://evil.com@localhost:8765")],
        [("Origin", "localhost:8765")],
        [("Origin", "ftp://localhost:8765")],
        [("Origin", "")],
        [("Origin", "http://localhost:8765"), ("Origin", "http://evil.com")],
        [("Referer", "http://evil.com/http://localhost:8765/")],
        [("Origin", "http://localhost:8765"), ("Referer", "http://evil.com/")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site")],
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_writes_from_other_pages_do_not(headers: Pairs, method: str) -> None:
    assert status([HOST, *headers], method=method) == 403


def test_default_ports_are_the_same_site() -> None:
    for origin, host in (("http://localhost", "localhost:80"), ("https://localhost:443", "localhost")):
        assert status([("Host", host), ("Origin", origin)], method="POST") == 200
