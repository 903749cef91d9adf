"""A process that verifies the files its parent names: one JSON path a line in, one JSON verdict a line out.

Started by provenance.folders; the first line in is the pickled options, the first out says that it has loaded.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import pickle
import resource
import sys
from pathlib import Path

MAX_MEMORY = 12 << 30  # bytes of address space; a file that wants more costs its verdict, not the machine


def main() -> None:
    """Serve until the parent closes the pipe."""
    # Native code that prints must not end up between the verdicts.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    options = pickle.loads(base64.b64decode(sys.stdin.buffer.readline()))

    import cv2
    import numpy as np

    from provenance.encoding import encode_image
    from provenance.verify import failed, verify_bytes, verify_path

    cv2.setNumThreads(1)
    trust = options.load_trust()
    # Whatever is loaded at first use is loaded now, so that no file's time is spent on it.
    grey = np.full((64, 64, 3), 128, np.uint8)
    verify_bytes(encode_image(grey, "jpeg"), "", dataclasses.replace(options, catalog=None), trust)
    out.write(b"ready\n")
    out.flush()
    for line in sys.stdin.buffer:
        path = Path(os.fsdecode(json.loads(line).encode("utf-8", "surrogateescape")))
        try:
            verdict = verify_path(path, options, trust)
        except MemoryError:
            verdict = failed(str(path), "needs more memory than one file may have", trust)
        except Exception as error:  # a fault of ours must not end a folder's run either
            verdict = failed(str(path), f"{type(error).__name__}: {error}", trust)
        out.write(json.dumps(verdict.to_json()).encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    main()
