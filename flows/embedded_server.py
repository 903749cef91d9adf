"""Prefect's embedded server ends with the run that started it, however that run ends."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

# Blocks until its stdin closes, which the operating system does when the run is gone.
_WATCH: Final = 'read -r _; kill -TERM "$0" 2>/dev/null'
_watches: dict[int, subprocess.Popen[bytes]] = {}


def end_with_this_process() -> None:
    """Have the embedded servers of this process end after a SIGKILL too; Prefect itself sees to every other end."""
    module = sys.modules.get("prefect.server.api.server")  # heavy, and there when a server was started
    if module is None:
        return
    for server in module.SubprocessASGIServer._instances.values():
        process = server.server_process
        if process is not None and process.pid not in _watches:
            _watches[process.pid] = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, str(process.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
