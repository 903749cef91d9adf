"""Images to start from: read within limits, turned upright, and brought to the size that is drawn.

Three rules bring an image of another shape to width x height: `crop` scales it to cover the size and cuts
the middle out, `pad` scales it to fit inside and repeats its border outwards, `stretch` ignores its shape.
A mask goes the same way as its image.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import RGB, open_image, read_limited
from nonesuch.generators.digests import file_digests
from nonesuch.generators.ways.recipe_extras import Extend

DEFAULT_FIT: Final = "crop"
DEFAULT_STRENGTH: Final = 0.6  # keeps the composition and redraws the rest
FITS: Final = ("crop", "pad", "stretch")


def picture_digest(path: Path, *, where: str) -> str:
    """SHA-256 of an image's file. Raises InputError when it is missing or no image that can be opened."""
    size = picture_size(path, where=where)
    if min(size) < 8:
        raise InputError(f"{path} is {size[0]}x{size[1]} pixels, too small for an init image", where=where)
    return file_digests([path])[path]


def check_mask(mask: Path, picture: Path, *, where: str) -> None:
    """Raise InputError for a mask whose size is not its image's."""
    of_mask, of_picture = picture_size(mask, where=where), picture_size(picture, where=where)
    if of_mask != of_picture:
        raise InputError(
            f"the mask {mask} is {of_mask[0]}x{of_mask[1]} pixels, its image {of_picture[0]}x{of_picture[1]}",
            where=where,
            hint="Draw the mask on a copy of the image: white where it is to be drawn anew.",
        )


def start_picture(path: Path, digest: str, width: int, height: int, fit: str) -> RGB:
    """The image as uint8 [height, width, 3], upright as its EXIF orientation says, transparency on white.

    Raises InputError when the file is no longer the one of that SHA-256, or can't be decoded.
    """
    return np.asarray(_fitted(_opened(path, digest), width, height, fit))


def whole_picture(path: Path, digest: str) -> RGB:
    """The image as uint8 [H, W, 3] at its own size. Raises as start_picture does."""
    return np.asarray(_opened(path, digest))


def start_mask(path: Path, digest: str, width: int, height: int, fit: str) -> RGB:
    """The mask as uint8 [height, width], 255 where the image is drawn anew. Raises as start_picture does."""
    grey = _fitted(_opened(path, digest), width, height, fit).convert("L")
    return np.where(np.asarray(grey) >= 128, np.uint8(255), np.uint8(0))


def extended(
    path: Path, digest: str, width: int, height: int, fit: str, margins: Extend
) -> tuple[RGB, npt.NDArray[np.uint8]]:
    """The image within its margins, uint8 [height, width, 3], and the mask that is 255 in the margins.

    The image comes to the size inside the margins by `fit`; `fill` says what the margins hold before noise:
    the border's pixels repeated ("edge") or the image mirrored ("mirror"). Raises as start_picture does.
    """
    size = (width - margins.left - margins.right, height - margins.top - margins.bottom)
    inside = start_picture(path, digest, *size, fit)
    sides = ((margins.top, margins.bottom), (margins.left, margins.right))
    canvas = np.pad(inside, (*sides, (0, 0)), mode="symmetric" if margins.fill == "mirror" else "edge")
    mask = np.pad(np.zeros(inside.shape[:2], np.uint8), sides, constant_values=255)
    return canvas, mask


def laid_over(picture: RGB, drawn: RGB, mask: npt.NDArray[np.uint8]) -> RGB:
    """The drawing inside the mask and the untouched image outside, all [H, W, …] of one size.

    The seam is softened inwards over a few pixels: no pixel outside the mask changes.
    """
    soft = Image.fromarray(mask).filter(ImageFilter.GaussianBlur(max(1, min(mask.shape) // 128)))
    # a blurred edge is at 50 %; twice what lies above that is 0 at the edge and 1 inside
    inner = np.clip(2.0 * (np.asarray(soft, dtype=np.float32) / 255.0) - 1.0, 0.0, 1.0)
    share = np.where(mask > 0, inner, 0.0)[..., None]
    return np.asarray((picture * (1 - share) + drawn * share).round(), dtype=np.uint8)


def _opened(path: Path, digest: str) -> Image.Image:
    data = read_limited(path)
    if hashlib.sha256(data).hexdigest() != digest:
        raise InputError(
            "has changed since the sweep was planned", where=str(path), hint="Run the sweep again."
        )
    image = open_image(data, where=str(path))
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return image.convert("RGB")
    except Exception as error:  # truncated or corrupt pixel data, in whatever form the plugin says so
        raise InputError(f"broken image data ({error})", where=str(path)) from error


def _fitted(image: Image.Image, width: int, height: int, fit: str) -> Image.Image:
    if fit == "stretch":
        return image.resize((width, height), Image.Resampling.LANCZOS)
    if fit == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    inside = ImageOps.contain(image, (width, height), Image.Resampling.LANCZOS)
    left, top = (width - inside.width) // 2, (height - inside.height) // 2
    sides = ((top, height - inside.height - top), (left, width - inside.width - left), (0, 0))
    return Image.fromarray(np.pad(np.asarray(inside), sides, mode="edge"))


def picture_size(path: Path, *, where: str) -> tuple[int, int]:
    """Width and height, px, after the EXIF orientation, from the header alone. Raises InputError."""
    if path.is_dir():
        raise InputError(
            f"{path} is a folder",
            where=where,
            hint="Make its images the values of a facet: facets: {picture: {images: FOLDER}}.",
        )
    try:
        image = open_image(read_limited(path), where=str(path))
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except InputError as error:
        raise InputError(f"{error.where}: {error.message}", where=where, hint=error.hint) from error
    except Exception as error:  # EXIF blocks break in many ways
        raise InputError(f"{path}: broken metadata ({error})", where=where) from error
    return (image.height, image.width) if turned else (image.width, image.height)
