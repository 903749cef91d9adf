"""A process that verifies the files its parent names: one JSON path per line in, JSON lines out.

For each file out come its steps (nonesuch.provenance.verifying.steps) as they are made; the last one's `left` is empty, or a line
{"failed": why} stands in its place. Started by nonesuch.provenance.verifying.worker_pool; the first line in is the pickled options, the first
out says that it has loaded.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import pickle
import resource
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from nonesuch.foundation import children

if TYPE_CHECKING:
    from nonesuch.provenance.credentials.trustlist import TrustSet
    from nonesuch.provenance.verifying.verify_options import VerifyOptions

MAX_MEMORY = 1 << 30  # bytes that a worker may use; a file that wants more costs its own verdict only
CATALOG_MEMORY = 2 << 30  # on top, for a catalog's own engine and indexes


def main() -> None:
    """Serve until the parent closes the pipe."""
    children.end_with_parent()
    children.begin()
    warnings.simplefilter("ignore")  # libraries remark on every oddity of an untrusted file
    # Native code that prints must not end up between the verdicts.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    options = pickle.loads(base64.b64decode(sys.stdin.buffer.readline()))

    import cv2

    from nonesuch.provenance.verifying.verify import verify_path_steps

    cv2.setNumThreads(1)
    trust = options.load_trust()
    warm_up(options, trust)
    limit_memory(MAX_MEMORY + (CATALOG_MEMORY if options.catalog is not None else 0))
    out.write(b"ready\n")
    out.flush()
    for line in sys.stdin.buffer:
        path = Path(os.fsdecode(json.loads(line).encode("utf-8", "surrogateescape")))
        say_all(out, (step.to_json() for step in verify_path_steps(path, options, trust)))


def say_all(out: BinaryIO, answers: Iterable[dict[str, Any]]) -> None:
    """Write each answer as a JSON line when it is there, and a last line {"failed": why} when making one fails."""
    try:
        for answer in answers:
            say(out, answer)
    except MemoryError:
        say(out, {"failed": "needs more memory than one file may have"})
    except Exception as error:  # a fault of ours must not end a folder's run, or a server, either
        say(out, {"failed": f"{type(error).__name__}: {error}"})


def say(out: BinaryIO, answer: dict[str, Any]) -> None:
    """Write one JSON line at once: what comes after it may end this process."""
    out.write(json.dumps(answer).encode() + b"\n")
    out.flush()


def warm_up(options: VerifyOptions, trust: TrustSet) -> None:
    """Load whatever is loaded at first use, so that no file's time is spent on it."""
    import numpy as np

    from nonesuch.provenance.marking.encoding import encode_image
    from nonesuch.provenance.verifying.verify import verify_bytes
    from nonesuch.provenance.verifying.watermarks_found import find_others

    grey = np.full((64, 64, 3), 128, np.uint8)
    plain = dataclasses.replace(options, catalog=None, search="aligned")
    verify_bytes(encode_image(grey, "jpeg"), "", plain, trust)
    if options.search == "full":
        find_others(grey)


def limit_memory(most: int) -> None:
    """Let this process hold `most` bytes, what it holds now included, and no more.

    Counted are private pages, so libraries' code and what they only reserved before does not matter. Does nothing
    where the system does not tell (no /proc).
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            told = dict(line.split(":", 1) for line in file if ":" in line)
        reserved, held = (int(told[name].split()[0]) << 10 for name in ("VmData", "VmRSS"))
    except (OSError, KeyError, ValueError):
        return
    limit = reserved + max(most - held, 0)
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(
        resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
    )


if __name__ == "__main__":
    main()
