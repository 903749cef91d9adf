"""An image's pixels for verification: decoded once, only when asked for, within the limits."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import numpy.typing as npt

from foundation.errors import InputError
from foundation.images import MAX_PIXELS, RGB, open_image
from provenance.credentials import sniff_mime


class Pixels:
    """An image's pixels, decoded once and only when asked for; `error` says why they could not be."""

    def __init__(self, data: bytes, where: str, max_pixels: int = MAX_PIXELS) -> None:
        self._data = data
        self._where = where
        self._max_pixels = max_pixels
        self._decoded: npt.NDArray[np.uint8] | None = None
        self._done = False
        self.error: str | None = None

    def rgb(self) -> RGB | None:
        """uint8 [H, W, 3] as stored, transparency ignored."""
        pixels = self._pixels()
        return None if pixels is None else np.ascontiguousarray(pixels[..., :3])

    def rgba(self) -> npt.NDArray[np.uint8] | None:
        """uint8 [H, W, 4]; None when the picture can't be decoded. Opaque pictures get alpha 255."""
        pixels = self._pixels()
        if pixels is None or pixels.shape[2] == 4:
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
            return self._by_pillow()
        except InputError:
            pixels = self._by_libpng()
            if pixels is None:
                raise
            return pixels

    def _by_libpng(self) -> npt.NDArray[np.uint8] | None:
        """A PNG that Pillow refuses (for a wrong checksum in a chunk of no matter) and browsers show."""
        head = self._data[:33]
        if sniff_mime(head) != "image/png" or len(head) < 33:
            return None
        width, height = struct.unpack(">II", head[16:24])
        if not 0 < width * height <= self._max_pixels:
            return None
        import cv2

        logging = cv2.utils.logging
        level = logging.getLogLevel()
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)  # it would print what is wrong with the file
        try:
            decoded = cv2.imdecode(np.frombuffer(self._data, np.uint8), cv2.IMREAD_COLOR_RGB)
        except cv2.error:
            return None
        finally:
            logging.setLogLevel(level)
        return None if decoded is None else np.asarray(decoded, np.uint8)

    def _by_pillow(self) -> npt.NDArray[np.uint8]:
        image = open_image(self._data, where=self._where, max_pixels=self._max_pixels)
        alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow remarks on every oddity of a stranger's file
                return np.asarray(image.convert("RGBA" if alpha else "RGB"))
        except Exception as error:  # broken pixel data, in whatever form the plugin says so
            raise InputError(f"broken image data ({error})", where=self._where) from error
