"""The check before every route: the Host header, cross-site requests, and the headers of every response.

A page on another site can make a browser send requests to a server on loopback, and by DNS rebinding read
the responses under its own name. So names in the Host header are compared with the names that the server was
started with; addresses can't be rebound.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # blob: the preview of an image that was dropped on the page
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


class Guard:
    """ASGI middleware. `names` are the server's host names; `addresses` allows any IP address too."""

    def __init__(self, app: ASGIApp, names: Iterable[str] = (), addresses: bool = False) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower().removesuffix(".") for name in names)}
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what is not allowed, and pass on the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope)
        app: ASGIApp = self._app if refusal is None else refusal
        await app(scope, receive, send_guarded)

    def _refusal(self, headers: Headers, scope: Scope) -> JSONResponse | None:
        hosts = headers.getlist("host")
        host = parse_host(hosts[0]) if len(hosts) == 1 else None
        if host is None or not self._known(host):
            return JSONResponse({"error": "this server does not accept that host name"}, 421)
        # A request's target in absolute form could name another host than the header.
        if not scope["path"].startswith("/"):
            return JSONResponse({"error": "the request's target is not a path"}, 400)
        if scope["method"] not in _SAFE_METHODS and not _from_own_page(headers, host):
            return JSONResponse({"error": "requests from other sites are refused"}, 403)
        return None

    def _known(self, host: Host) -> bool:
        if str(host.name) in self._names:
            return True
        return not isinstance(host.name, str) and (self._addresses or host.name.is_loopback)


@dataclass(frozen=True, slots=True)
class Host:
    """The host that a Host header or an Origin names."""

    name: str | ipaddress.IPv4Address | ipaddress.IPv6Address  # a name is lower case and without its last dot
    port: int | None  # None when it is not given


_HOST = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9._-]{1,254}))(?::(?P<port>[0-9]{1,5}))?"
)
_ORIGIN = re.compile(r"(https?)://([^/?#]+)(/[^\s]*)?", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


def parse_host(text: str) -> Host | None:
    """The host and port of a Host header, RFC 9110 7.2; None for anything else, including user names."""
    found = _HOST.fullmatch(text)
    if found is None:
        return None
    port = None if found["port"] is None else int(found["port"])
    if port is not None and port > 65535:
        return None
    try:
        if found["v6"]:
            return Host(ipaddress.IPv6Address(found["v6"]), port)
        name = found["name"].lower().removesuffix(".")
        if name.rpartition(".")[2].isdigit():  # for browsers, a name that ends in a number is an address
            return Host(ipaddress.IPv4Address(found["name"]), port)
    except ValueError:
        return None
    return Host(name, port) if all(name.split(".")) else None


def _from_own_page(headers: Headers, host: Host) -> bool:
    """Whether the page that made a browser send this request, if the browser names it, is this server's.

    Other programs name none. A browser says "null" for its own page too when no referrer is sent; then
    Sec-Fetch-Site, which no page can set, decides.
    """
    site, origin, referrer = (headers.getlist(name) for name in ("sec-fetch-site", "origin", "referer"))
    if max(len(site), len(origin), len(referrer)) > 1 or (site and site[0] not in ("same-origin", "none")):
        return False
    if origin == ["null"]:
        return site == ["same-origin"]
    return all(_same(page, host) for page in (*origin, *referrer))


def _same(page: str, host: Host) -> bool:
    """Whether a page's address, or its origin, is at this host and port."""
    found = _ORIGIN.fullmatch(page)
    other = found and parse_host(found[2])
    if found is None or other is None:
        return False
    default = _PORTS[found[1].lower()]
    return (other.name, other.port or default) == (host.name, host.port or default)
