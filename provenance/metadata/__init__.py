"""What other generators write into their files: one small module for each, behind one protocol.

`read_metadata` asks every registered reader; further readers register under the entry point group
`nonesuch.metadata`.
"""

from __future__ import annotations

from collections.abc import Iterator

from nonesuch.foundation.registry import Registry
from nonesuch.provenance.metadata.finding import Finding, MetadataReader
from nonesuch.provenance.metadata.raw_fields import Source

__all__ = ["READERS", "Finding", "MetadataReader", "Source", "read_metadata"]

READERS: Registry[MetadataReader] = Registry("metadata reader", "metadata")
for _name, _reader in {
    "automatic1111": "automatic1111:Automatic1111",
    "comfyui": "comfyui:ComfyUI",
    "exif": "exif:Exif",
    "fooocus": "fooocus:Fooocus",
    "invokeai": "invokeai:InvokeAI",
    "iptc": "iptc:Iptc",
    "midjourney": "midjourney:Midjourney",
    "novelai": "novelai:NovelAI",
    "stealth-pnginfo": "stealth:StealthPnginfo",
    "swarmui": "swarmui:SwarmUI",
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
