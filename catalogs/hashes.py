"""Perceptual hashes: 64-bit fingerprints that stay near each other when a picture is re-encoded or resized.

The hashes are imagehash's, taken from a 128x128 box reduction of the picture: fifty times cheaper than
from 1024x1024 and within a few bits of it (docs/catalog.md has the figures).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundation.images import RGB

REDUCTION = 128  # pixels, both sides; the hashes themselves ignore the aspect
FACTS = f"imagehash from a {REDUCTION}x{REDUCTION} box reduction"
NAMES = ("phash", "dhash", "whash", "colorhash")


def perceptual_hashes(image: RGB) -> dict[str, int]:
    """The four hashes of a picture, uint8 [H, W, 3], as whole numbers below 2**64, first bit highest.

    phash      64 bits, signs of the low DCT frequencies against their median (Zauner 2010)
    dhash      64 bits, signs of horizontal differences
    whash      64 bits, Haar wavelet approximation against its median
    colorhash  42 bits, shares of black, grey and six hues, faint and bright

    A hash of 0 means "none" in the catalog; only pictures without any feature have it.
    """
    import imagehash
    from PIL import Image

    small = Image.fromarray(image).resize((REDUCTION, REDUCTION), Image.Resampling.BOX)
    found = {
        "phash": imagehash.phash(small),
        "dhash": imagehash.dhash(small),
        "whash": imagehash.whash(small),
        "colorhash": imagehash.colorhash(small),
    }
    return {name: _number(value.hash) for name, value in found.items()}


def distance(a: int, b: int) -> int:
    """How many bits differ, 0 to 64; for phash up to about 8 means the same picture."""
    return (a ^ b).bit_count()


def distances(hashes: npt.NDArray[np.uint64], wanted: int) -> npt.NDArray[np.uint8]:
    """`distance` of every hash, uint64 [N], to one."""
    counts: npt.NDArray[np.uint8] = np.bitwise_count(hashes ^ np.uint64(wanted))
    return counts


def _number(bits: npt.NDArray[np.bool_]) -> int:
    return int("".join("1" if bit else "0" for bit in bits.ravel()), 2)
