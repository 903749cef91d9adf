"""A process that opens the images that its parent, nonesuch.web.pool, sends it; it reads no disk except the catalog.

In: a line of settings, then for each job a JSON header line and `size` bytes. Out: JSON lines; those of steps
(nonesuch.provenance.verifying.steps) that others follow have a `left`, the last line of a job has none.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nonesuch.foundation import children

if TYPE_CHECKING:
    from nonesuch.provenance.credentials.trustlist import TrustSet
    from nonesuch.provenance.verifying.verify_options import VerifyOptions
    from nonesuch.web.repository import Repository


class Jobs:
    """A worker's methods; each method takes the header and the bytes and yields JSON-able data."""

    def __init__(self, settings: dict[str, Any]) -> None:
        from PIL import Image

        from nonesuch.provenance.credentials.trustlist import load_trust
        from nonesuch.provenance.verifying.verify_options import VerifyOptions

        Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would hide how large an image is; ours is lower
        catalog = settings["catalog"] and Path(settings["catalog"])
        trust = settings["trust"] and Path(settings["trust"])
        lookup = None
        self._repository: Repository | None = None
        if catalog:
            from nonesuch.marking.recovering import CatalogFolder
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
        """Load everything that is loaded at first use, so that no visitor waits for it."""
        from nonesuch.provenance.verifying.worker import warm_up

        warm_up(self._options, self._trust)

    def verify(self, header: dict[str, Any], data: bytes) -> Iterator[dict[str, Any]]:
        """The steps of the verdict, or a `refused` [status, sentence]."""
        from nonesuch.provenance.verifying.verify import verify_steps

        refused = self._refused(data)
        if refused:
            yield {"refused": refused}
            return
        for step in verify_steps(data, header["name"], self._options, self._trust):
            yield step.to_json()

    def match(self, header: dict[str, Any], data: bytes) -> Iterator[dict[str, Any]]:
        """The manifests of the images that look like this one under `matches`: pairs of id and score."""
        from nonesuch.provenance.pixels import Pixels

        refused = self._refused(data)
        if refused:
            yield {"refused": refused}
            return
        assert self._repository is not None
        pixels = Pixels(data, "upload", self._max_pixels)
        found = self._repository.by_content(
            pixels, header["algorithm"], header["top"], watermark_key=self._watermark_key
        )
        yield {"matches": [[hit.manifest_id, hit.score] for hit in found]}

    def manifest(self, header: dict[str, Any], data: bytes) -> Iterator[dict[str, Any]]:
        """The manifest store with that id under `store`, base64; null when there is none."""
        assert self._repository is not None
        store = self._repository.manifest(header["manifest_id"])
        yield {"store": None if store is None else base64.b64encode(store).decode()}

    def _refused(self, data: bytes) -> list[Any] | None:
        from nonesuch.foundation.errors import InputError
        from nonesuch.foundation.images import open_image

        try:
            image = open_image(data, where="upload", max_pixels=sys.maxsize)
        except InputError:
            return None  # not an image; the rest of the file may still be worth reading
        if image.width * image.height > self._max_pixels:
            size = f"{image.width}×{image.height}"
            return [413, f"the image has {size} pixels; the limit is {self._max_pixels / 1e6:g} million"]
        return None


def main() -> None:
    """Serve until the parent closes the pipe."""
    children.end_with_parent()
    children.begin()
    warnings.simplefilter("ignore")  # libraries log every oddity of an untrusted file
    # What native code prints must not mix with the responses.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C on a terminal reaches us too; the parent decides
    settings = json.loads(sys.stdin.buffer.readline())

    import cv2

    from nonesuch.provenance.verifying.allowance import PATIENCE
    from nonesuch.provenance.verifying.worker import CATALOG_MEMORY, MAX_MEMORY, limit_memory, say, say_all

    cv2.setNumThreads(1)
    jobs = Jobs(settings)
    jobs.warm()
    limit_memory(MAX_MEMORY + (CATALOG_MEMORY if settings["catalog"] else 0))
    say(out, {"ready": True})
    while line := sys.stdin.buffer.readline():
        header = json.loads(line)
        data = sys.stdin.buffer.read(header["size"])
        # If the parent is gone while its image hangs us, nothing else would end this process.
        signal.alarm(int(PATIENCE * settings["seconds"]) + 10)
        say_all(out, _answers(jobs, header, data))
        signal.alarm(0)


def _answers(jobs: Jobs, header: dict[str, Any], data: bytes) -> Iterator[dict[str, Any]]:
    from nonesuch.foundation.errors import InputError

    try:
        yield from getattr(jobs, header["job"])(header, data)
    except InputError as error:
        yield {"refused": [400, error.message]}


if __name__ == "__main__":
    main()
