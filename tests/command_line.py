"""The command line as a person runs it: in this process, which is quick, or in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest


def nonesuch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `nonesuch` with the arguments in this process: exit code, stdout and stderr as in one of its own.

    A command that needs a Prefect server finds that of the fixture `prefect_server`.
    """
    from nonesuch.cli.app import run

    command = list(map(str, arguments))
    said, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(errors):
        patch.setenv("COLUMNS", "200")
        code = run(command)
    return subprocess.CompletedProcess(
        command, code, *(stream.buffer.getvalue().decode() for stream in (said, errors))
    )


def nonesuch_process(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `nonesuch` in a process of its own, with these variables of the environment beside those of this process."""
    return subprocess.run(
        [sys.executable, "-m", "nonesuch", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
