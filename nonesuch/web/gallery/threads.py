"""Threads that query the catalog, with a timeout after which a query is cancelled."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from nonesuch.catalogs.search.engine import Session
from nonesuch.web.upload_limits import RETRY, Refused

P = ParamSpec("P")
T = TypeVar("T")


class GivenUp(Exception):
    """Nobody waits for this answer any more."""


class Question:
    """One query to the catalog while a thread works on it."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._over = False

    def watch(self, session: Session) -> None:
        """Let `give_up` reach this session. Raises GivenUp when it was called before."""
        self._session = session
        if self._over:
            raise GivenUp

    def give_up(self) -> None:
        """Cancel what runs, and whatever would follow it."""
        self._over = True
        if self._session is not None:
            self._session.interrupt()


_question: contextvars.ContextVar[Question | None] = contextvars.ContextVar("question", default=None)


def watched(session: Session) -> None:
    """Record that the request on this thread runs its queries in `session`."""
    question = _question.get()
    if question is not None:
        question.watch(session)


class Threads:
    """A few threads for the catalog's answers."""

    def __init__(self, count: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="gallery")
        self._seconds = seconds

    async def ask(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns. Raises Refused 503 when it takes too long, waiting for a thread included."""
        question = Question()

        def run() -> T:
            _question.set(question)
            return work(*args, **kwargs)

        context = contextvars.copy_context()
        answer = asyncio.get_running_loop().run_in_executor(self._pool, context.run, run)
        try:
            return await asyncio.wait_for(
                answer, self._seconds
            )  # one that no thread has started is not started
        except TimeoutError as error:
            question.give_up()
            message = (
                f"the catalog took longer than {self._seconds:g} s to answer; try fewer or other filters"
            )
            raise Refused(503, message, retry=RETRY) from error

    def stop(self) -> None:
        """End the threads; what waits is not started."""
        self._pool.shutdown(wait=False, cancel_futures=True)
