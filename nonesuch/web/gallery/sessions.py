"""Tokens against requests that another site makes a browser send: a random session, and an HMAC over it.

A page carries the token of the session in its cookie; a request that changes something must send both. Keys
live as long as the server.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from starlette.requests import Request
from starlette.responses import Response

from nonesuch.web.upload_limits import Refused

COOKIE = "nonesuch-session"
HEADER = "x-nonesuch-token"
_SESSION = re.compile(r"[0-9a-f]{32}")


class Sessions:
    """Creates and checks the tokens of one server."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def of(self, request: Request) -> str:
        """The session that a request names, or a new one."""
        session = request.cookies.get(COOKIE, "")
        return session if _SESSION.fullmatch(session) else secrets.token_hex(16)

    def token(self, session: str) -> str:
        """The token that a page of that session carries."""
        return hmac.new(self._key, session.encode(), hashlib.sha256).hexdigest()

    def keep(self, response: Response, session: str) -> None:
        """Let the browser send the session back."""
        response.set_cookie(COOKIE, session, httponly=True, samesite="strict", path="/")

    def check(self, request: Request, token: str) -> None:
        """Raise Refused 403 unless the token belongs to the request's session."""
        session = request.cookies.get(COOKIE, "")
        known = _SESSION.fullmatch(session) and hmac.compare_digest(
            self.token(session).encode(), token.encode("utf-8", "replace")
        )
        if not known:
            raise Refused(403, "the page is older than the server; reload it, then try again")
