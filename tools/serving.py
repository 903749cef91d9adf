"""`nonesuch serve` as a child process on a free loopback port, for tests and screenshots."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ADDRESS = re.compile(r"http://\S+/")


@contextmanager
def serving(*options: str | Path, home: Path | None = None, temporary: Path | None = None) -> Iterator[str]:
    """The address of a running server, with its slash; it is stopped at the end.

    `home` is its configuration folder, `temporary` where it would put temporary files.
    """
    folders = {"NONESUCH_HOME": home, "TMPDIR": temporary}
    environment = {**os.environ, **{name: str(path) for name, path in folders.items() if path}}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "nonesuch", "serve", "--port", "0", *map(str, options)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        found = _ADDRESS.search(first)
        if found is None:
            raise RuntimeError(f"nonesuch serve did not start: {first}{process.stderr.read()}")
        yield found[0]
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()
