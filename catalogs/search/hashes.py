"""Perceptual hashes: 64-bit fingerprints that stay near each other when an image is re-encoded or resized.

The hashes are imagehash's, taken from a 128x128 box reduction of the image: fifty times cheaper than
from 1024x1024 and within a few bits of it (docs/catalog.md has the figures).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.images import RGB

REDUCTION = 128  # pixels, both sides; the hashes themselves ignore the aspect
FACTS = f"imagehash from a {REDUCTION}x{REDUCTION} box reduction"
NAMES = ("phash", "dhash", "whash", "colorhash")


def perceptual_hashes(image: RGB) -> dict[str, int]:
    """The four hashes of an image, uint8 [H, W, 3], as whole numbers below 2**64, first bit highest.

    phash      64 bits, signs of the low DCT frequencies against their median (Zauner 2010)
    dhash      64 bits, signs of horizontal differences
    whash      64 bits, Haar wavelet approximation against its median
    colorhash  42 bits, shares of black, grey and six hues, faint and bright

    A hash of 0 means "none" in the catalog; only images without any feature have it.
    """
    import imagehash
    from PIL import Image

    small = Image.fromarray(image).resize((REDUCTION, REDUCTION), Image.Resampling.BOX)
    grey = small.convert("L")
    return {
        "phash": _number(imagehash.phash(grey).hash),
        "dhash": _number(imagehash.dhash(grey).hash),
        "whash": _number(_wavelet_bits(np.asarray(grey))),
        "colorhash": _number(_color_bits(np.asarray(grey), np.asarray(small.convert("HSV")))),
    }


def _wavelet_bits(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """[8, 8] bits of imagehash.whash of [128, 128] grey levels, thirty times as fast.

    The Haar approximation at 8 x 8 is the sum of each block but for a factor, and removing the coarsest
    level only shifts all of them. On whole numbers ties stay ties, where imagehash lets rounding decide.
    """
    side = REDUCTION // 8
    blocks = grey.reshape(8, side, 8, side).sum(axis=(1, 3), dtype=np.int64)
    return np.asarray(blocks > np.median(blocks))


def _color_bits(grey: npt.NDArray[np.uint8], hsv: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """[14, 3] bits of imagehash.colorhash, the same and five times as fast: pixels are counted by tables."""
    lit = grey >= 256 // 8
    hue, saturation = hsv[..., 0][lit], hsv[..., 1][lit]
    counts = np.bincount(_HUE_BIN[hue] + _SATURATION_BIN[saturation], minlength=24)
    shares = [(grey.size - int(lit.sum())) / grey.size, int(counts[:6].sum()) / grey.size]
    colored = max(1, int(counts[6:].sum()))
    levels = [min(7, int(share * 8)) for share in shares]
    levels += [min(7, int(int(count) * 8 * 1.0 / colored)) for count in counts[6:18]]
    # imagehash's own code for 0 to 7: its second bit is set in 4 and 5 too
    return np.array([[level > 3, level > 1, level & 1] for level in levels], np.bool_)


# imagehash's bins: six equal ones over the bytes of hue; grey below 256 // 3 of saturation, faint below
# 256 * 2 // 3, and bright above it (that value itself is in none of them).
_HUE_BIN: Final = np.minimum(np.arange(256) * 6 // 255, 5)
_SATURATION_BIN: Final = np.repeat([0, 6, 18, 12], [256 // 3, 256 * 2 // 3 - 256 // 3, 1, 255 - 256 * 2 // 3])


def distance(a: int, b: int) -> int:
    """How many bits differ, 0 to 64; for phash up to about 8 means the same image."""
    return (a ^ b).bit_count()


def distances(hashes: npt.NDArray[np.uint64], wanted: int) -> npt.NDArray[np.uint8]:
    """`distance` of every hash, uint64 [N], to one."""
    counts: npt.NDArray[np.uint8] = np.bitwise_count(hashes ^ np.uint64(wanted))
    return counts


def _number(bits: npt.NDArray[np.bool_]) -> int:
    return int("".join("1" if bit else "0" for bit in bits.ravel()), 2)
