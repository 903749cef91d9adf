"""One Prefect server for all worker processes of a test session, which ends with the last of them, however that ends.

As with schedules (nonesuch.flows.servers.local_server), each process holds a shared lock on a file, the operating
system drops it with the process, and the server waits for it. Unlike theirs it runs no scheduler and no page.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from nonesuch.flows.servers.prefect_process import NOTE
from nonesuch.foundation import children

STARTING = 600.0  # seconds at most; an idle machine needs ten


@contextmanager
def shared_server(folder: Path) -> Iterator[str]:
    """The API address of the server that is noted in a folder, started if nobody has started it."""
    held = folder / "server.in-use"
    with held.open("a+b") as in_use, (folder / "server.lock").open("a+b") as starting:
        fcntl.flock(in_use, fcntl.LOCK_SH)
        fcntl.flock(starting, fcntl.LOCK_EX)  # the others wait until it answers
        note = folder / NOTE
        if not note.exists():
            note.write_text(_start(folder, held))
        fcntl.flock(starting, fcntl.LOCK_UN)
        yield note.read_text()


def _start(folder: Path, held: Path) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}/api"
    changes = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",  # no scheduler
        "PREFECT__SERVER_FINAL": "1",
    }
    log = folder / "server.log"
    with log.open("wb") as told:
        server = subprocess.Popen(
            children.command(
                "nonesuch.flows.servers.prefect_process", "--while-held", str(held), "uvicorn", "--factory",
                "prefect.server.api.server:create_app", "--host", "127.0.0.1", "--port", port,
                "--log-level", "error", "--lifespan", "on",
            ),
            env=children.environment(changes, bound=False),
            cwd=children.NOBODYS_FOLDER, stdout=told, stderr=told, stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends the tests first
        )  # fmt: skip
    until = time.monotonic() + STARTING
    while server.poll() is None and time.monotonic() < until:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return url
        time.sleep(0.1)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    raise RuntimeError(f"Prefect's server did not start: {log.read_text()[-4000:]}")
