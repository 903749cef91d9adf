"""The options of verification. Light to import: code that only hands files to other processes needs no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nonesuch.foundation.limits import MAX_PIXELS
from nonesuch.provenance.verifying.catalog_protocol import CatalogLookup

if TYPE_CHECKING:
    from nonesuch.provenance.credentials.trustlist import TrustSet

Search = Literal["aligned", "full"]

ONLINE_HOSTS = ("cai-manifests.adobe.com",)  # where makers keep manifests that files only point to


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How to question an image; picklable."""

    trust: Path | None = None  # a PEM file in place of the pinned C2PA list
    home: Path | None = None  # where the own anchors are
    catalog: CatalogLookup | None = None
    online: bool = False  # fetch manifests that lie elsewhere, from `online_hosts` only
    online_hosts: tuple[str, ...] = ONLINE_HOSTS
    search: Search = "full"  # for the watermark: over scale, rotation and flip, or as the image stands
    watermark_key: bytes | None = field(default=None, repr=False)  # a secret one, besides the public key
    max_pixels: int = MAX_PIXELS  # larger images are not decoded: credential and metadata speak alone

    def load_trust(self) -> TrustSet:
        """The trust set that these options name. Raises InputError for a trust file that can't be used."""
        from nonesuch.provenance.credentials.trustlist import load_trust

        hosts = self.online_hosts if self.online else ()
        return load_trust(self.trust, self.home, online_hosts=hosts)
