"""The watermarks that can be chosen: nonesuch's own, TrustMark as an optional extra, and other packages'."""

from __future__ import annotations

from dataclasses import dataclass

from nonesuch.foundation.registry import Registry
from nonesuch.provenance.watermark import ALGORITHM
from nonesuch.provenance.watermark.base import RGB, Algorithm, Found

ALGORITHMS: Registry[Algorithm] = Registry("watermark", "watermarks")


@dataclass(frozen=True, slots=True)
class Nonesuch:
    """This project's own, at its default strength, found by a full search."""

    key: bytes | None = None  # as given to `embed` and `detect`
    name: str = ALGORITHM

    def embed(self, image: RGB, payload: int) -> RGB:
        from nonesuch.provenance.watermark.embedding import embed

        return embed.embed(image, payload, key=self.key)

    def detect(self, image: RGB) -> Found | None:
        from nonesuch.provenance.watermark.detecting import detect

        found = detect.detect(image, key=self.key)
        return None if found is None else Found(found.payload, found.false_alarm)


ALGORITHMS.register("nonesuch", Nonesuch)
ALGORITHMS.register("trustmark", "nonesuch.provenance.watermark.trustmark:open_trustmark")
