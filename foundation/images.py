"""Opening untrusted images: byte and pixel limits before anything is decoded."""

from __future__ import annotations

import io
import os
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.limits import MAX_BYTES, MAX_PIXELS

# What is opened at all: other formats of Pillow's are rare here, and some start other programs (EPS, Ghostscript).
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "TIFF", "BMP")
_HEVC_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"])

RGB = npt.NDArray[np.uint8]  # [H, W, 3], sRGB, 0–255


def read_limited(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The file's bytes. Raises InputError when it is missing, not a file, or over `max_bytes`."""
    try:
        if not path.is_file():
            if path.is_dir():
                with os.scandir(path):  # raises what is wrong with a folder that may not be read
                    raise InputError("is a folder", where=str(path), hint="Name a file.")
            raise InputError("no such file", where=str(path))
        size = path.stat().st_size
        if size > max_bytes:
            raise InputError(
                f"is {size:,} bytes; the limit is {max_bytes:,}",
                where=str(path),
                hint="Use a smaller file.",
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(error.strerror or str(error), where=str(path)) from error


def is_heif(data: bytes) -> bool:
    """Whether the file says that it holds HEVC images, as phones take them (ISO/IEC 23008-12, annex B)."""
    if data[4:8] != b"ftyp":
        return False
    box = data[8 : min(int.from_bytes(data[:4], "big"), 512)]
    return not _HEVC_BRANDS.isdisjoint(box[start : start + 4] for start in range(0, len(box), 4))


def known_formats(data: bytes) -> tuple[str, ...]:
    """Pillow's names of the formats that `data` may be opened as: HEIF too where the extra `heif` is installed."""
    if is_heif(data):
        with suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener(thumbnails=False)
            return ("HEIF",)
    return FORMATS


def open_image(data: bytes, *, where: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A Pillow image whose header has been read and whose size has been checked; pixels not decoded yet.

    Raises InputError for unknown formats, broken headers and more than `max_pixels` pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=known_formats(data))
    except UnidentifiedImageError as error:
        known = known_formats(data)
        if is_heif(data) and "HEIF" not in known:
            raise InputError(
                "is HEIF; its pixels and metadata are read where the extra heif is installed",
                where=where,
                hint="Install it: uv pip install 'nonesuch[heif]'.",
            ) from error
        raise InputError(
            "is not an image of a known format", where=where, hint=f"Known: {', '.join(known)}."
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"has far more pixels than the limit of {max_pixels:,}", where=where) from error
    except Exception as error:  # Pillow's plugins raise many kinds on hostile headers
        raise InputError(f"broken image header ({error})", where=where) from error
    if image.width * image.height > max_pixels:
        raise InputError(
            f"is {image.width}x{image.height} pixels; the limit is {max_pixels:,} pixels", where=where
        )
    return image


def decode_rgb(data: bytes, *, where: str, max_pixels: int = MAX_PIXELS) -> RGB:
    """The image as uint8 [H, W, 3], transparency laid on white. Raises InputError when it can't be decoded."""
    image = open_image(data, where=where, max_pixels=max_pixels)
    try:
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return np.asarray(image.convert("RGB"))
    except Exception as error:  # truncated or corrupt pixel data, in whatever form the plugin says so
        raise InputError(f"broken image data ({error})", where=where) from error
