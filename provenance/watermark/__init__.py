"""The invisible watermark: 64 bits in luma, detected after compression, cropping, scaling and rotation.

`embed` and `detect` are all that others need; what they import is loaded at their first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonesuch.provenance.watermark.detecting.detect import Detection, Transform, detect
    from nonesuch.provenance.watermark.embedding.embed import embed

ALGORITHM = "org.nonesuch.watermark.1"  # name in C2PA soft bindings; the value is 16 hex digits

__all__ = ["ALGORITHM", "Detection", "Transform", "detect", "embed"]

_HOMES = {
    "Detection": "detecting.detect",
    "Transform": "detecting.detect",
    "detect": "detecting.detect",
    "embed": "embedding.embed",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
