"""Thumbnails: small WebP copies of large images, for looking through a catalog.

OUT/thumbnails/ab/RECIPE-ID.webp, written while the image is in memory. They are derived, belong to no column of
the catalog and may be deleted: a missing one is made again when it is needed.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from PIL import Image

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import atomic_write
from nonesuch.foundation.images import RGB

FOLDER = "thumbnails"
LONGEST = 320  # px of the longest side; smaller images need no thumbnail
_QUALITY = 82  # of WebP: no visible loss at this size, about 15 kB
_RECIPE_ID = re.compile(r"[0-9a-f]{64}")


def thumbnail_path(out: Path, recipe_id: str) -> Path:
    """Where an image's thumbnail lies in an output folder. Raises InputError for what is no recipe id."""
    if not _RECIPE_ID.fullmatch(recipe_id):
        raise InputError(f"{recipe_id[:80]!r} is not a recipe id", hint="Give all of its 64 hex digits.")
    return out / FOLDER / recipe_id[:2] / f"{recipe_id}.webp"


def thumbnail(image: RGB) -> bytes | None:
    """An image, uint8 [H, W, 3], as WebP with its longest side at LONGEST px; None when it is no larger."""
    height, width = image.shape[:2]
    longest = max(width, height)
    if longest <= LONGEST:
        return None
    size = (max(1, round(width * LONGEST / longest)), max(1, round(height * LONGEST / longest)))
    # When shrinking, Hamming is as sharp as bicubic and takes half of Lanczos's time.
    small = Image.fromarray(image).resize(size, Image.Resampling.HAMMING)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=_QUALITY, method=2)
    return buffer.getvalue()


def write_thumbnail(out: Path, recipe_id: str, image: RGB, *, scratch: Path | None = None) -> None:
    """Write an image's thumbnail, if it needs one, and leave it to the system when it reaches the disk.

    Raises StorageError as atomic_write does.
    """
    data = thumbnail(image)
    if data is not None:
        atomic_write(thumbnail_path(out, recipe_id), data, scratch=scratch, flush=False)
