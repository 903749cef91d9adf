"""The files behind the images: signed originals unchanged, and thumbnails, created when missing.

Files are found by recipe id. A path in the catalog that leads out of the output folder, as for imports, is
followed only to bytes with the digest that the catalog recorded.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nonesuch.catalogs.storage.mirror import local_file
from nonesuch.catalogs.thumbnails import LONGEST, thumbnail, thumbnail_path
from nonesuch.foundation.errors import InputError, NonesuchError
from nonesuch.foundation.files import atomic_write
from nonesuch.foundation.images import decode_rgb, open_image, read_limited
from nonesuch.provenance.credentials.reading import sniff_mime
from nonesuch.web.gallery.kept import Kept
from nonesuch.web.gallery.reader import Gallery
from nonesuch.web.upload_limits import Refused

# What a browser only shows in an image element and never runs.
_SHOWN = ("image/png", "image/jpeg", "image/webp", "image/avif", "image/gif")
_NAMES = {"image/jpeg": ".jpg", "image/tiff": ".tiff"}


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """Bytes of an image file."""

    data: bytes
    mime: str  # application/octet-stream for what browsers must not show


class ImageFiles:
    """The files of one catalog's images. `max_pixels` limits what is decoded for a thumbnail."""

    def __init__(self, gallery: Gallery, max_pixels: int) -> None:
        self._gallery = gallery
        self._max_pixels = max_pixels
        self._made: Kept[str, ImageBytes] = Kept(200)  # thumbnails that could not be written

    def original(self, recipe_id: str) -> ImageBytes:
        """The signed file, byte for byte. Raises Refused 404 when there is none."""
        row: dict[str, Any] | None = None
        file = self._gallery.files.get(recipe_id)
        if file is None:
            row = self._gallery.row(recipe_id)
            file = None if row is None else row["file"]
        if not file:
            raise Refused(404, "this image has no file")
        outside = _leads_out(file)
        try:
            data = read_limited(local_file(self._gallery.folder, file))
        except NonesuchError as error:
            raise Refused(404, f"the file of this image is gone ({error.message})") from error
        if outside:
            # Imported in place. Whoever wrote the catalog must have known the bytes, so that an untrusted catalog
            # can't name any file of this machine.
            row = row or self._gallery.row(recipe_id)
            if row is None or hashlib.sha256(data).hexdigest() != row["sha256"]:
                raise Refused(
                    404,
                    "the file of this image is outside the folder, and is not the file that was catalogued",
                )
        mime = sniff_mime(data)
        return ImageBytes(data, mime if mime in _SHOWN else "application/octet-stream")

    def small(self, recipe_id: str) -> ImageBytes:
        """The thumbnail; the original when it is small enough. Raises Refused 404 without a file."""
        path = thumbnail_path(self._gallery.folder, recipe_id)
        with contextlib.suppress(OSError):
            return ImageBytes(path.read_bytes(), "image/webp")
        kept = self._made.get(recipe_id)
        return kept if kept is not None else self._make(recipe_id, path)

    def _make(self, recipe_id: str, path: Path) -> ImageBytes:
        original = self.original(recipe_id)
        try:
            header = open_image(original.data, where=recipe_id[:16], max_pixels=self._max_pixels)
            if max(header.size) <= LONGEST and original.mime in _SHOWN:
                return original
            image = decode_rgb(original.data, where=recipe_id[:16], max_pixels=self._max_pixels)
        except InputError as error:
            raise Refused(404, f"the file of this image can't be shown ({error.message})") from error
        data = thumbnail(image)
        if data is None:
            return original
        made = ImageBytes(data, "image/webp")
        try:
            atomic_write(path, data)
        except NonesuchError:  # a read-only folder, or a full disk: it is still shown
            self._made.put(recipe_id, made)
        return made


def file_name(recipe_id: str, mime: str) -> str:
    """The file name of a downloaded original."""
    kind = mime.rpartition("/")[2]
    suffix = _NAMES.get(mime, f".{kind}" if mime in _SHOWN else ".bin")
    return f"{recipe_id[:16]}{suffix}"


def _leads_out(file: str) -> bool:
    """Whether a path of the catalog leads out of the output folder. Raises Refused 404 when it is not a path."""
    path = PurePosixPath(file)
    if path.is_absolute() or "\0" in file or "\\" in file:
        raise Refused(404, "the catalog does not say where the file of this image is")
    return ".." in path.parts
