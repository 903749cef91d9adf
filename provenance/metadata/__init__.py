"""Evidence from what other programs write into their files, behind one protocol; nonesuch.formats parses it.

`read_metadata` asks every registered reader; further readers register under the entry point group
`nonesuch.metadata`.
"""

from __future__ import annotations

from collections.abc import Iterator

from nonesuch.formats.raw_fields import Source
from nonesuch.foundation.registry import Registry
from nonesuch.provenance.metadata.finding import Finding, MetadataReader

__all__ = ["READERS", "Finding", "MetadataReader", "Source", "read_metadata"]

READERS: Registry[MetadataReader] = Registry("metadata reader", "metadata")
for _name, _reader in {
    "automatic1111": "programs:Automatic1111",
    "comfyui": "programs:ComfyUI",
    "exif": "exif:Exif",
    "fooocus": "programs:Fooocus",
    "invokeai": "programs:InvokeAI",
    "iptc": "iptc:Iptc",
    "midjourney": "midjourney:Midjourney",
    "novelai": "novelai_signature:NovelAI",
    "stealth-pnginfo": "programs:StealthPnginfo",
    "swarmui": "programs:SwarmUI",
    "xmp": "xmp:Xmp",
}.items():
    READERS.register(_name, f"{__name__}.{_reader}")


def read_metadata(source: Source) -> Iterator[Finding]:
    """Every finding of every reader; a reader that stumbles over a file finds nothing in it."""
    for name in READERS:
        try:
            finding = READERS.get(name)().read(source)
        except Exception:  # a reader, perhaps someone else's, must not stop the others
            continue
        if finding is not None:
            yield finding
