"""From an image to the tile's carriers: luma, local contrast flattened, all tiles folded into one.

Flattening divides what differs from its surroundings by its local strength, so that a strong edge
weighs no more than a faint texture: close to the best linear detector for a watermark that was itself
scaled by local texture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from nonesuch.provenance.watermark.pattern.layout import HIGHEST, KX, KY, LOWEST, ROWS, TILE

WINDOW = 5  # side in pixels of the neighbourhood that "local" means
WIDE = 9  # another, for images that have lost their fine structure
_SILENCE = 4.0  # variance in squared grey levels below which a neighbourhood counts as flat
_LIMIT = 2.5  # flattened values are cut off here, in local standard deviations
_WIDER = 7  # the window for equalised luma, whose coarse structure is gone already
_BANDS = 64  # of radial frequency, in which equalising measures the power
_TABLE = 1024  # entries over radial frequency that its gains are looked up in
_SPAN = 0.75  # cycles a pixel that bands and table cover: more than the diagonal's
_LOUD = 1e6  # a coefficient's power counts for no more than this
_LEVEL = 20.0  # grey levels, root mean square, that equalised luma is brought to

RGB = npt.NDArray[np.uint8]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Complex = npt.NDArray[np.complex64]


def grey(image: RGB) -> Bytes:
    """BT.601 luma, uint8 [H, W], of uint8 [H, W, 3]."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def luma(image: RGB) -> Floats:
    """BT.601 luma in whole grey levels, float32 [H, W], of uint8 [H, W, 3]."""
    return grey(image).astype(np.float32)


def local_mean(plane: Floats | Bytes, window: int) -> Floats:
    """The mean over the square of side `window` pixels around each pixel of `plane` [H, W]."""
    return np.asarray(cv2.boxFilter(plane, cv2.CV_32F, (window, window)), dtype=np.float32)


def local_square(plane: Floats | Bytes, window: int) -> Floats:
    """The mean of the squares over the square of side `window` pixels around each pixel of `plane` [H, W]."""
    return np.asarray(cv2.sqrBoxFilter(plane, cv2.CV_32F, (window, window)), dtype=np.float32)


def equalised(plane: Floats) -> Floats:
    """`flatten` of luma [H, W] whose spectrum was first made even over the watermark's frequencies, and cut off above.

    Where an image is blurred, or its edges far outweigh its textures, the local deviation says little
    about the band that the watermark lies in. Made even, it does, and blur is undone as far as rounding allows.
    """
    height, width = (n - n % 2 for n in plane.shape)
    cosines = np.asarray(cv2.dct(np.ascontiguousarray(plane[:height, :width])), dtype=np.float32)
    # a cosine over n pixels with index k has k / 2n cycles a pixel
    down = (np.arange(height, dtype=np.float32) / np.float32(2 * height)) ** 2
    across = (np.arange(width, dtype=np.float32) / np.float32(2 * width)) ** 2
    place = np.sqrt(down[:, None] + across[None, :])
    place *= np.float32(_TABLE / _SPAN)
    entry = place.astype(np.int16)
    seen = cosines[::3, ::3]
    band = (entry[::3, ::3] // (_TABLE // _BANDS)).ravel()
    power = np.bincount(band, np.minimum(seen * seen, np.float32(_LOUD)).ravel(), minlength=_BANDS)
    mean = power / np.maximum(np.bincount(band, minlength=_BANDS), 1)
    cosines *= _gains(mean)[entry]
    even = np.asarray(cv2.dct(cosines, flags=cv2.DCT_INVERSE), dtype=np.float32)
    even *= np.float32(_LEVEL / max(float(even.std()), 1e-3))
    return flatten(even, _WIDER)


def _gains(power: npt.NDArray[np.float64]) -> Floats:
    # [_TABLE] by radial frequency, for the mean power [_BANDS]
    frequency = (np.arange(_TABLE) + 0.5) * (_SPAN / _TABLE)
    centres = (np.arange(_BANDS) + 0.5) * (_SPAN / _BANDS)
    gains = np.interp(frequency, centres, 1.0 / np.sqrt(power + 1e-3))
    gains /= 1.0 + np.exp((frequency - HIGHEST / TILE - 0.02) / 0.01)
    gains *= np.minimum(frequency / (LOWEST / TILE), 1.0)
    return np.asarray(gains, dtype=np.float32)


def flatten(plane: Floats | Bytes, window: int = WINDOW) -> Floats:
    """[H, W] high-passed, divided by its local standard deviation and cut off at +-2.5."""
    return flattened(plane, window)[0]


def flattened(plane: Floats | Bytes, window: int = WINDOW) -> tuple[Floats, Floats]:
    """What `flatten` returns, and the local standard deviation [H, W] it divided by."""
    # fresh memory costs more than the arithmetic: every array is used again
    detail = local_mean(plane, window)
    np.subtract(plane, detail, out=detail)
    deviation = local_square(detail, window)
    deviation += np.float32(_SILENCE)
    cv2.sqrt(deviation, deviation)
    detail /= deviation
    return np.clip(detail, -_LIMIT, _LIMIT, out=detail), deviation


def _passed() -> Floats:
    def box(k: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        phase = np.pi * k / TILE
        return np.asarray(np.sin(WINDOW * phase) / (WINDOW * np.sin(phase)))

    return (1.0 - box(KX) * box(KY)).astype(np.float32)


PASSED = _passed()  # [n] what subtracting the local mean leaves of each carrier


def fold(plane: Floats) -> Floats:
    """Sums of the tiles of `plane` [H, W] in four groups [4, TILE, TILE], by parity of tile row and column.

    The tile that starts at (0, 0) belongs to group 0; incomplete tiles count as far as they go.
    """
    sums = _sums(plane.shape[1])
    for number, top in enumerate(range(0, plane.shape[0], TILE)):
        _add_row(sums, number, plane[top : top + TILE])
    return _grouped(sums)


def folded(plane: Floats | Bytes, window: int = WINDOW) -> Floats:
    """`fold` of `flatten` of luma [H, W], without the flattened plane in between."""
    sums = _sums(plane.shape[1])
    for number, (flat, _) in enumerate(flattened_rows(plane, window)):
        _add_row(sums, number, flat)
    return _grouped(sums)


def folded_and_deviation(plane: Floats | Bytes, step: int) -> tuple[Floats, Floats]:
    """What `folded` returns, and every `step`-th local deviation each way; TILE is to be a multiple of `step`."""
    sums = _sums(plane.shape[1])
    deviations = []
    for number, (flat, deviation) in enumerate(flattened_rows(plane)):
        _add_row(sums, number, flat)
        deviations.append(deviation[::step, ::step])
    return _grouped(sums), np.concatenate(deviations)


def flattened_rows(plane: Floats | Bytes, window: int = WINDOW) -> Iterator[tuple[Floats, Floats]]:
    """`flattened`, one row of tiles at a time: memory that stays in the cache and is used again."""
    halo = 2 * (window // 2)
    for top in range(0, plane.shape[0], TILE):
        first = max(0, top - halo)
        flat, deviation = flattened(plane[first : top + TILE + halo], window)
        inside = slice(top - first, top - first + TILE)
        yield flat[inside], deviation[inside]


def _sums(width: int) -> Floats:
    # [2, TILE, whole tiles]: rows of tiles with an even and with an odd number
    return np.zeros((2, TILE, -(-width // TILE) * TILE), np.float32)


def _add_row(sums: Floats, number: int, row: Floats) -> None:
    # adds row `number` of tiles, [TILE or fewer, W]
    height, width = row.shape
    sums[number % 2, :height, :width] += row


def _grouped(sums: Floats) -> Floats:
    groups = np.zeros((2, 2, TILE, TILE), np.float32)
    for column in range(sums.shape[2] // TILE):
        groups[:, column % 2] += sums[:, :, column * TILE : (column + 1) * TILE]
    return groups.reshape(4, TILE, TILE)


def carriers(tiles: Floats, fft: Any = np.fft) -> Complex:
    """The carriers [..., n] of tiles [..., TILE, TILE].

    SciPy's `fft` takes half of NumPy's time, and longer to import than all the rest of an aligned look.
    """
    rows = fft.rfft(tiles)[..., : int(KX.max()) + 1]
    return np.ascontiguousarray(fft.fft(rows, axis=-2)[..., ROWS, KX], dtype=np.complex64)
