"""A Prefect server of this machine's own, for schedules where no PREFECT_API_URL names one.

Prefect's embedded server runs no scheduler, so the first schedule starts a whole server on loopback, which
the others share. Each of them holds a shared lock, which the operating system drops with its process; the server
waits for the lock and ends when it gets it (nonesuch.flows.servers.prefect_process).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from nonesuch.flows.servers.prefect_process import NOTE
from nonesuch.foundation import children
from nonesuch.foundation.errors import DependencyError
from nonesuch.foundation.files import atomic_write, config_dir, storage_error

_IN_USE = "server.in-use"  # the file whose lock each schedule shares
_STARTING = 300.0  # seconds that a server may take to answer; an idle machine needs ten


def schedules_dir() -> Path:
    """Where schedules and the server that they share are noted."""
    return config_dir() / "schedules"


@contextmanager
def prefect_server() -> Iterator[str]:
    """The address of a Prefect server with a scheduler, for the length of the block.

    The one that PREFECT_API_URL (or Prefect's profile) names, else the shared one, started if need be. Inside
    the block Prefect uses it, and so do processes that are started there. Raises DependencyError when it does
    not start, StorageError when it can't be noted.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if named := PREFECT_API_URL.value():
        yield str(named)
        return
    folder = schedules_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        in_use = os.open(folder / _IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
        starting = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise storage_error(error, folder) from error
    with ExitStack() as stack:
        stack.callback(os.close, starting)
        stack.callback(os.close, in_use)  # the last one to close it ends the server
        fcntl.flock(in_use, fcntl.LOCK_SH)
        with _locked(starting):
            url = running_server() or _start(folder)
        stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        stack.enter_context(_environment("PREFECT_API_URL", url))
        yield url


def running_server() -> str | None:
    """The address of the shared server, None when it is not running."""
    noted = _noted()
    return noted if noted is not None and _answers(noted) else None


@contextmanager
def server_at_hand() -> Iterator[str | None]:
    """The address of the server that is named, else of the shared one where it runs; inside the block Prefect uses it."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    named = PREFECT_API_URL.value()
    url = str(named) if named else running_server()
    with temporary_settings({PREFECT_API_URL: url} if url else {}):
        yield url


def _start(folder: Path) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    # The server calls itself through this address.
    changes = {"PREFECT_API_URL": url, "PREFECT_LOGGING_SERVER_LEVEL": "WARNING"}
    command = children.command(
        "nonesuch.flows.servers.prefect_process", "--while-held", str(folder.absolute() / _IN_USE),
        "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port),
    )  # fmt: skip
    log = folder / "server.log"
    with log.open("wb") as told:
        server = subprocess.Popen(
            command,
            env=children.environment(changes, bound=False),
            cwd=children.NOBODYS_FOLDER,
            stdout=told,
            stderr=told,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in one schedule's terminal is not for the others' server
        )
    atomic_write(folder / NOTE, json.dumps({"url": url}).encode(), mode=0o600)
    until = time.monotonic() + _STARTING
    while time.monotonic() < until and server.poll() is None:
        if _answers(url):
            return url
        time.sleep(0.2)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    raise DependencyError(
        "the Prefect server did not start", where=str(log), hint="That file holds what it said."
    )


def _noted() -> str | None:
    try:
        return str(json.loads((schedules_dir() / NOTE).read_text("utf-8"))["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


@contextmanager
def _locked(handle: int) -> Iterator[None]:
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
