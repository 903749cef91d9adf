"""A process that opens the images which its parent, nonesuch.web.pool, hands it, and touches no disk but the catalog.

In: a line of settings, then for each job a JSON header line and `size` bytes. Out: one JSON line for each.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation import children

if TYPE_CHECKING:
    from nonesuch.web.repository import Repository
    from provenance.options import VerifyOptions
    from provenance.trustlist import TrustSet


class Jobs:
    """What a worker can be asked; each method takes the header and the bytes and returns JSON-able data."""

    def __init__(self, settings: dict[str, Any]) -> None:
        from PIL import Image

        from provenance.options import VerifyOptions
        from provenance.trustlist import load_trust

        Image.MAX_IMAGE_PIXELS = (
            None  # Pillow's own limit would hide how large a picture is; ours is below it
        )
        catalog = settings["catalog"] and Path(settings["catalog"])
        trust = settings["trust"] and Path(settings["trust"])
        lookup = None
        self._repository: Repository | None = None
        if catalog:
            from nonesuch.lookup import CatalogFolder
            from nonesuch.web.repository import Repository

            lookup = CatalogFolder(catalog)
            self._repository = Repository(catalog)
        self._max_pixels = int(settings["max_pixels"])
        key = bytes.fromhex(settings["watermark_key"]) if settings.get("watermark_key") else None
        self._options: VerifyOptions = VerifyOptions(
            trust=trust, catalog=lookup, max_pixels=self._max_pixels, watermark_key=key
        )
        self._watermark_key = key
        self._trust: TrustSet = load_trust(trust)

    def warm(self) -> None:
        """Load whatever is loaded at first use, so that no visitor's time is spent on it."""
        from provenance.worker import warm_up

        warm_up(self._options, self._trust)

    def verify(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """The verdict's JSON under `verdict`, or a `refused` [status, sentence]."""
        from provenance.verify import verify_bytes

        refused = self._refused(data)
        if refused:
            return {"refused": refused}
        return {"verdict": verify_bytes(data, header["name"], self._options, self._trust).to_json()}

    def match(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """The manifests of the images that look like this one under `matches`: pairs of id and score."""
        from provenance.pixels import Pixels

        refused = self._refused(data)
        if refused:
            return {"refused": refused}
        assert self._repository is not None
        pixels = Pixels(data, "upload", self._max_pixels)
        found = self._repository.by_content(
            pixels, header["algorithm"], header["top"], watermark_key=self._watermark_key
        )
        return {"matches": [[hit.manifest_id, hit.score] for hit in found]}

    def manifest(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """The manifest store with that id under `store`, base64; null when there is none."""
        assert self._repository is not None
        store = self._repository.manifest(header["manifest_id"])
        return {"store": None if store is None else base64.b64encode(store).decode()}

    def _refused(self, data: bytes) -> list[Any] | None:
        from foundation.errors import InputError
        from foundation.images import open_image

        try:
            image = open_image(data, where="upload", max_pixels=sys.maxsize)
        except InputError:
            return None  # not a picture; what else is in the file may still be worth reading
        if image.width * image.height > self._max_pixels:
            size = f"{image.width}×{image.height}"
            return [413, f"the picture has {size} pixels; the limit is {self._max_pixels / 1e6:g} million"]
        return None


def main() -> None:
    """Serve until the parent closes the pipe."""
    children.end_with_parent()
    children.begin()
    warnings.simplefilter("ignore")  # libraries remark on every oddity of a stranger's file
    # Native code that prints must not end up among the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C on a terminal reaches us too; the parent decides
    settings = json.loads(sys.stdin.buffer.readline())

    import cv2

    from provenance.worker import CATALOG_MEMORY, MAX_MEMORY, limit_memory

    cv2.setNumThreads(1)
    jobs = Jobs(settings)
    jobs.warm()
    limit_memory(MAX_MEMORY + (CATALOG_MEMORY if settings["catalog"] else 0))
    _say(out, {"ready": True})
    while line := sys.stdin.buffer.readline():
        header = json.loads(line)
        data = sys.stdin.buffer.read(header["size"])
        # Should the parent be gone when its image hangs us, nobody else would end this process.
        signal.alarm(int(settings["seconds"]) + 10)
        _say(out, _answer(jobs, header, data))
        signal.alarm(0)


def _answer(jobs: Jobs, header: dict[str, Any], data: bytes) -> dict[str, Any]:
    from foundation.errors import InputError

    try:
        answer: dict[str, Any] = getattr(jobs, header["job"])(header, data)
    except MemoryError:
        answer = {"failed": "needs more memory than one file may have"}
    except InputError as error:
        answer = {"refused": [400, error.message]}
    except Exception as error:  # a fault of ours must not end the server either
        answer = {"failed": f"{type(error).__name__}: {error}"}
    return answer


def _say(out: Any, answer: dict[str, Any]) -> None:
    out.write(json.dumps(answer).encode() + b"\n")
    out.flush()


if __name__ == "__main__":
    main()
