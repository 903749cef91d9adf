"""The processes in which images of strangers are opened, killed when one hangs, crashes or eats too much memory.

Each is a `nonesuch.web.worker`: a JSON header line and the image's bytes go in, one JSON line comes out.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from foundation import children

_START_SECONDS = 120.0  # that a worker may take to load its libraries
_MAX_REPLY = 96 << 20  # bytes of one answer


class WorkerFailed(Exception):
    """An image that broke or overran its worker; the message says which, and `late` too."""

    def __init__(self, message: str, *, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


class Pool:
    """At most `size` workers, started when needed and kept; one image in each at a time."""

    def __init__(self, settings: Mapping[str, Any], *, size: int, seconds: float) -> None:
        self._settings = json.dumps({**settings, "seconds": seconds}).encode()
        self._seconds = seconds
        self._free = asyncio.Semaphore(size)
        self._idle: list[Process] = []

    async def warm(self) -> None:
        """Start one worker, so that the first visitor need not wait for it."""
        async with self._free:
            self._idle.append(await self._start())

    async def ask(self, job: str, data: bytes = b"", **details: Any) -> dict[str, Any]:
        """What a worker answers to a job (see nonesuch.web.worker). Raises WorkerFailed."""
        header = json.dumps({"job": job, "size": len(data), **details}).encode() + b"\n"
        async with self._free:
            process = await self._take()
            try:
                async with asyncio.timeout(self._seconds):
                    reply = await _exchange(process, header, data)
            except TimeoutError as error:
                await _end(process)
                raise WorkerFailed(f"took longer than {self._seconds:g} s", late=True) from error
            except (OSError, ValueError, EOFError) as error:
                await _end(process)
                raise WorkerFailed("the file broke the process that read it") from error
            except BaseException:  # cancelled: its answer would be taken for that to the next image
                _kill(process)
                raise
            self._idle.append(process)
            return reply

    async def stop(self) -> None:
        """Kill the workers that wait."""
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
            *children.command("nonesuch.web.worker"),
            stdin=PIPE, stdout=PIPE, env=environment, limit=_MAX_REPLY,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_START_SECONDS):
                await _exchange(process, self._settings + b"\n", b"")
        except (TimeoutError, OSError, ValueError, EOFError) as error:
            await _end(process)
            raise WorkerFailed("the process that reads images could not be started") from error
        except BaseException:
            _kill(process)
            raise
        return process


async def _exchange(process: Process, header: bytes, data: bytes) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(header)
    process.stdin.write(data)
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    reply: dict[str, Any] = json.loads(line)
    return reply


async def _end(process: Process) -> None:
    _kill(process)
    await process.wait()


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
