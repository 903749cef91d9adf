"""The processes in which untrusted images are opened; one that hangs, crashes or takes too much memory is killed.

Each is a `nonesuch.web.upload_worker`: a JSON header line and the image's bytes go in, JSON lines come out. What a verdict's
steps (nonesuch.provenance.verifying.steps) found is kept when the worker ends before the last of them.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from nonesuch.foundation import children
from nonesuch.provenance.verifying.allowance import Allowance
from nonesuch.web.upload_limits import RETRY, Refused

_START_SECONDS = 120.0  # that a worker may take to load its libraries
_LOOK_SECONDS = 0.2  # between two checks of a worker's processor time
_MAX_REPLY = 96 << 20  # bytes of one response


class WorkerFailed(Exception):
    """An image that broke or overran its worker; the message says which, and `late` too."""

    def __init__(self, message: str, *, late: bool = False, last: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.late = late
        self.last = last  # the JSON of the last step that the worker finished


class Pool:
    """At most `size` workers, started when needed and kept; one image in each at a time."""

    def __init__(self, settings: Mapping[str, Any], *, size: int, seconds: float, wait: float = 60.0) -> None:
        self._settings = json.dumps({**settings, "seconds": seconds}).encode()
        self._seconds = seconds
        self._wait = wait  # seconds for which a job may wait until a worker is free
        self._free = asyncio.Semaphore(size)
        self._idle: list[Process] = []

    async def warm(self) -> None:
        """Start one worker, so that the first visitor does not wait for it."""
        async with self._free:
            self._idle.append(await self._start())

    async def ask(self, job: str, data: bytes = b"", **details: Any) -> dict[str, Any]:
        """What a worker answers to a job (see nonesuch.web.upload_worker), with the `last` step before a failure.

        Raises WorkerFailed, and Refused 503 when no worker becomes free in time.
        """
        header = json.dumps({"job": job, "size": len(data), **details}).encode() + b"\n"
        async with self._worker() as process:
            answer = _Answer()
            reading = asyncio.ensure_future(answer.read(process, header, data))
            allowance = Allowance(process.pid, self._seconds)
            try:
                while not reading.done():
                    await asyncio.wait([reading], timeout=min(_LOOK_SECONDS, self._seconds))
                    late = None if reading.done() else allowance.over()
                    if late is not None:
                        raise WorkerFailed(late, late=True, last=answer.last)
                reply = reading.result()
            except (OSError, ValueError, EOFError) as error:
                raise WorkerFailed("the file crashed the process that read it", last=answer.last) from error
            finally:
                reading.cancel()
            self._idle.append(process)
            return reply

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[Process]:
        """An exclusive worker; it is killed unless it was put back: its response would be taken for another job's."""
        try:
            async with asyncio.timeout(self._wait):
                await self._free.acquire()
        except TimeoutError as error:
            raise Refused(503, "all workers are busy; try again in a moment", retry=RETRY) from error
        try:
            process = await self._take()
            try:
                yield process
            finally:
                if process not in self._idle:
                    await _end(process)
        finally:
            self._free.release()

    async def stop(self) -> None:
        """Kill the idle workers."""
        while self._idle:
            await _end(self._idle.pop())

    async def _take(self) -> Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
        return await self._start()

    async def _start(self) -> Process:
        environment = children.environment({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
        process = await asyncio.create_subprocess_exec(
            *children.command("nonesuch.web.upload_worker"),
            stdin=PIPE, stdout=PIPE, env=environment, limit=_MAX_REPLY,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_START_SECONDS):
                await _Answer().read(process, self._settings + b"\n", b"")
        except (TimeoutError, OSError, ValueError, EOFError) as error:
            await _end(process)
            raise Refused(503, "the process that reads images could not be started", retry=RETRY) from error
        except BaseException:
            _kill(process)
            raise
        return process


class _Answer:
    """A worker's response while it arrives."""

    def __init__(self) -> None:
        self.last: dict[str, Any] | None = None  # the last step's JSON

    async def read(self, process: Process, header: bytes, data: bytes) -> dict[str, Any]:
        """Send a job and read its answer. Raises EOFError when the worker ends before that."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(header)
        process.stdin.write(data)
        with suppress(ConnectionError):  # what it wrote before it died is still to be read
            await process.stdin.drain()
        while True:
            line = await process.stdout.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            reply: dict[str, Any] = json.loads(line)
            if not reply.get("left"):
                return reply if "failed" not in reply else {**reply, "last": self.last}
            self.last = reply


async def _end(process: Process) -> None:
    _kill(process)
    await process.wait()


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
