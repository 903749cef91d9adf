"""HTTP requests: limits on time and bytes, retries after temporary faults, and errors that never hold a key.

A failure means one of three things: try again, this recipe has no image, or the run ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import httpx

from nonesuch.foundation.errors import DrawingError, InputError
from nonesuch.generators.backends.base import BackendStopped
from nonesuch.generators.backends.remote.api_keys import without_key
from nonesuch.generators.backends.remote.pace import Pace, backoff, retry_after
from nonesuch.generators.sweepfile.connections import is_loopback

MAX_ANSWER: Final = 96 << 20  # bytes; an image of 64 MiB in base64
CONNECT_SECONDS: Final = 10.0
MAX_PAUSE: Final = 600.0  # seconds; a server that asks for a longer pause ends the run
_MAX_WORDS: Final = 300  # characters of a server's own words
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})

Meaning = Literal["again", "recipe", "stop"]


class NoImage(DrawingError):
    """This recipe gets no image; the others continue. `cost` is what was paid nevertheless."""

    def __init__(self, message: str, *, cost: float | None = None) -> None:
        super().__init__(message)
        self.cost = cost


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises NoImage when it is something else."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "no type")
            raise NoImage(f"the answer is not JSON ({kind}, {len(self.body):,} bytes)") from None

    def words(self) -> Any:
        """The body as JSON, or {}: for reading errors."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return {}


@dataclass(frozen=True, slots=True)
class Problem:
    """What a failed request means."""

    meaning: Meaning
    message: str
    wait: float | None = None  # seconds that the server asks for
    in_the_end: Meaning = "recipe"  # what it means once there are no more tries
    hint: str | None = None


Judge: TypeAlias = Callable[[Answer], "Problem | None"]
"""What an answer that is an error means; None leaves it to the status."""


class Caller:
    """Asks one server; may be used from many threads.

    what     "ComfyUI at http://127.0.0.1:8188": the server in messages
    headers  sent with every request; the key is in them
    secret   the key, so that no message shows it
    """

    def __init__(
        self,
        url: str,
        *,
        what: str,
        timeout: float,
        retries: int,
        pace: Pace | None = None,
        headers: Mapping[str, str] | None = None,
        secret: str | None = None,
        auth: tuple[str, str] | None = None,
    ) -> None:
        if secret is not None and url.startswith("http://") and not is_loopback(url):
            raise InputError(
                "a key is not sent over plain http",
                where=url,
                hint="Give an address that begins with https://.",
            )
        self.what = what
        self.pace = pace or Pace()
        self._url = url
        self._timeout = timeout
        self._retries = retries
        self._secret = secret
        self._client = httpx.Client(
            headers=dict(headers or {}),
            auth=auth,
            timeout=httpx.Timeout(timeout, connect=CONNECT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=not is_loopback(url),  # a proxy has no business on this machine
        )

    def ask(
        self,
        method: str,
        path: str,
        *,
        judge: Judge | None = None,
        limit: int = MAX_ANSWER,
        retries: int | None = None,
        **request: Any,
    ) -> Answer:
        """One answer with a status below 400, after as many tries as it takes and are allowed.

        `request` goes to httpx: json, data, files, params, headers. Raises NoImage for what concerns this
        request alone, BackendStopped for what concerns every further one.
        """
        tries = (self._retries if retries is None else retries) + 1
        problem = Problem("stop", "was not asked")
        for attempt in range(tries):
            self.pace.take()
            if self.pace.stopped:
                raise BackendStopped(f"{self.what}: the run ends")
            try:
                answer = self._send(method, path, limit, request)
            except httpx.HTTPError as error:
                problem = self._fault(error)
            else:
                if answer.status < 400:
                    return answer
                problem = (judge(answer) if judge else None) or by_status(answer)
            if problem.meaning != "again" or (problem.wait or 0) > MAX_PAUSE:
                break
            if attempt + 1 < tries:
                wait = backoff(attempt) if problem.wait is None else problem.wait
                self.pace.pause(wait) if problem.wait is not None else self.pace.sleep(wait)
        raise self._raised(problem, tries)

    def close(self) -> None:
        """End waits and let the connections go."""
        self.pace.stop()
        self._client.close()

    def clean(self, text: str) -> str:
        """A server's words on one line, short, and without the key."""
        return without_key(" ".join(text.split()), self._secret)[:_MAX_WORDS]

    def _send(self, method: str, path: str, limit: int, request: Mapping[str, Any]) -> Answer:
        ends = time.monotonic() + self._timeout
        body = bytearray()
        with self._client.stream(method, self._url + path, **request) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > limit:
                    raise NoImage(f"the answer is over {limit:,} bytes")
                if time.monotonic() > ends:
                    raise httpx.ReadTimeout("too slow")
            return Answer(response.status_code, dict(response.headers), bytes(body))

    def _fault(self, error: httpx.HTTPError) -> Problem:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return Problem(
                "again", "can't be reached", in_the_end="stop", hint="Is it running, and is the network up?"
            )
        if isinstance(error, httpx.TimeoutException):
            return Problem("again", f"did not answer within {self._timeout:g} s")
        return Problem("again", f"broke the connection off ({type(error).__name__})")

    def _raised(self, problem: Problem, tries: int) -> DrawingError:
        meaning = problem.in_the_end if problem.meaning == "again" else problem.meaning
        tried = f" (tried {tries} times)" if problem.meaning == "again" and tries > 1 else ""
        message = f"{self.what} {self.clean(problem.message)}{tried}"
        if meaning == "stop":
            return BackendStopped(message, hint=problem.hint)
        return NoImage(message)


def by_status(answer: Answer) -> Problem:
    """What an error means by its status alone."""
    told = f"answered {answer.status}{_own_words(answer)}"
    if answer.status == 429:
        wait = retry_after(answer.headers.get("retry-after"))
        return Problem("again", told, wait, in_the_end="stop", hint="Run the same command later.")
    if answer.status in _PASSING:
        return Problem("again", told, retry_after(answer.headers.get("retry-after")))
    if answer.status in (401, 403):
        return Problem("stop", f"refuses the key ({answer.status})", hint="Check the key and its rights.")
    if answer.status == 404:
        return Problem("stop", told, hint="Check the address and the model's name.")
    return Problem("recipe", told)


def _own_words(answer: Answer) -> str:
    """What an error's body says, in the forms that the known servers use."""
    told = answer.words()
    if not isinstance(told, dict):
        return ""
    for name in ("error", "errors", "detail", "message"):
        value = told.get(name)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, list):
            value = "; ".join(str(one.get("msg", one) if isinstance(one, dict) else one) for one in value[:3])
        if isinstance(value, str) and value.strip():
            return f": {value.strip()}"
    return ""
