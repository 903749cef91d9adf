"""The gate before every route: the Host header, cross-site requests, and the headers of every answer.

A page on another site can make a browser send requests to a server on loopback, and by DNS rebinding read
the answers under its own name. Names in the Host header are therefore compared with those the server was
started under; addresses can't be rebound.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # blob: the preview of a picture that was dropped on the page
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
    """ASGI middleware. `names` are the host names the server goes by; `addresses` allows any IP address too."""

    def __init__(self, app: ASGIApp, names: Iterable[str] = (), addresses: bool = False) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what may not pass, and hand on the rest."""
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

        refusal = self._refusal(Headers(scope=scope), scope["method"])
        app: ASGIApp = self._app if refusal is None else refusal
        await app(scope, receive, send_guarded)

    def _refusal(self, headers: Headers, method: str) -> JSONResponse | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._known(hosts[0]):
            return JSONResponse({"error": "this server does not go by that name"}, 421)
        origin = headers.get("origin")
        if method not in _SAFE_METHODS and origin is not None and urlsplit(origin).netloc != hosts[0]:
            return JSONResponse({"error": "requests from other sites are refused"}, 403)
        return None

    def _known(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._addresses or address.is_loopback
