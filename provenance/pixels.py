"""An image's pixels for verification: decoded once, only when asked for, within the limits.

A large image costs as much memory as Pillow needs to decode it and little more: watermarks are looked for in its
middle (their pattern repeats), and it is compared with a catalog's images at a smaller size.
"""

from __future__ import annotations

import math
import struct
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import RGB, open_image
from nonesuch.foundation.limits import MAX_PIXELS
from nonesuch.provenance.credentials.reading import sniff_mime

WHOLE = 16_000_000  # pixels up to which an image is looked at whole
_MIDDLE = 3968  # pixels on a side of the part of a larger image in which watermarks are looked for


class Pixels:
    """An image's pixels, decoded once and only when asked for; `error` says why they could not be."""

    def __init__(self, data: bytes, where: str, max_pixels: int = MAX_PIXELS) -> None:
        self._data = data
        self._where = where
        self._max_pixels = max_pixels
        self._decoded: npt.NDArray[np.uint8] | None = None  # [H, W, 3 or 4]; of a large image its middle
        self._reduced: RGB | None = None  # a large image, smaller
        self._done = False
        self.error: str | None = None

    def rgb(self) -> RGB | None:
        """uint8 [H, W, 3] as stored, transparency ignored; of an image over WHOLE pixels, its middle."""
        pixels = self._pixels()
        return None if pixels is None else np.ascontiguousarray(pixels[..., :3])

    def view(self) -> RGB | None:
        """uint8 [H, W, 3], the whole image; one over WHOLE pixels at a whole fraction of its size."""
        pixels = self.rgb()
        return pixels if self._reduced is None else self._reduced

    def rgba(self) -> npt.NDArray[np.uint8] | None:
        """uint8 [H, W, 4]; None when the image can't be decoded or is over WHOLE. Opaque ones get alpha 255."""
        pixels = self._pixels()
        if pixels is None or self._reduced is not None:
            return None
        if pixels.shape[2] == 4:
            return pixels
        return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])

    def _pixels(self) -> npt.NDArray[np.uint8] | None:
        if not self._done:
            self._done = True
            try:
                self._decoded = self._decode()
            except InputError as error:
                self.error = error.message
        return self._decoded

    def _decode(self) -> npt.NDArray[np.uint8]:
        try:
            return self._by_pillow(self._data)
        except InputError:
            # Pillow refuses a PNG for a wrong checksum in a chunk of no matter; browsers show it.
            bare = essential_png(self._data)
            if bare is None:
                raise
            return self._by_pillow(bare)

    def _by_pillow(self, data: bytes) -> npt.NDArray[np.uint8]:
        image = open_image(data, where=self._where, max_pixels=self._max_pixels)
        mode = "RGBA" if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info else "RGB"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow remarks on every oddity of an untrusted file
                if image.width * image.height <= WHOLE:
                    return np.asarray(image.convert(mode))
                image.load()
                self._reduced = _reduced(image)
                return np.asarray(_middle(image).convert(mode))
        except MemoryError as error:
            raise InputError("needs more memory than one file may have", where=self._where) from error
        except Exception as error:  # broken pixel data, in whatever form the plugin says so
            raise InputError(f"broken image data ({error})", where=self._where) from error


def _middle(image: Image.Image) -> Image.Image:
    width = min(image.width, max(_MIDDLE, WHOLE // image.height))
    height = min(image.height, WHOLE // width)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _reduced(image: Image.Image) -> RGB:
    factor = math.ceil(math.sqrt(image.width * image.height / WHOLE))
    plain = image.convert("RGB") if image.mode in ("1", "P", "PA") else image
    return np.asarray(plain.reduce(factor).convert("RGB"))


def essential_png(data: bytes) -> bytes | None:
    """A PNG's header, palette, transparency and image alone; None for other files and for broken structures."""
    if sniff_mime(data) != "image/png":
        return None
    kept, position = [data[:8]], 8
    while position + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, position)
        end = position + 12 + size
        kind = data[position + 4 : position + 8]
        if end > len(data):
            return None
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[position:end])
        if kind == b"IEND":
            return b"".join(kept)
        position = end
    return None
