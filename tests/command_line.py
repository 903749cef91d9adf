"""The command line in a process of its own, as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def nonesuch(*arguments: str | Path, server: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `nonesuch` with the arguments, on the Prefect server at this API address where one is given."""
    environment = {**os.environ, "COLUMNS": "200", **({"PREFECT_API_URL": server} if server else {})}
    return subprocess.run(
        [sys.executable, "-m", "nonesuch", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
