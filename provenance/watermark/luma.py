"""From a picture to the tile's carriers: luma, local contrast flattened, all tiles folded into one.

Flattening divides what differs from its surroundings by its local strength, so that a strong edge
weighs no more than a faint texture: close to the best linear detector for a mark that was itself
scaled by local texture.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from provenance.watermark.layout import KX, ROWS, TILE

WINDOW = 9  # side in pixels of the neighbourhood that "local" means
_SILENCE = 4.0  # variance in squared grey levels below which a neighbourhood counts as flat
_LIMIT = 2.5  # flattened values are cut off here, in local standard deviations

RGB = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Complex = npt.NDArray[np.complex64]


def luma(image: RGB) -> Floats:
    """BT.601 luma, float32 [H, W], 0 to 255, of uint8 [H, W, 3]."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def local_mean(plane: Floats, window: int) -> Floats:
    """The mean over the square of side `window` pixels around each pixel of `plane` [H, W]."""
    return np.asarray(cv2.blur(plane, (window, window)), dtype=np.float32)


def flatten(plane: Floats, window: int = WINDOW) -> Floats:
    """[H, W] high-passed, divided by its local standard deviation and cut off at +-2.5."""
    return flattened(plane, window)[0]


def flattened(plane: Floats, window: int = WINDOW) -> tuple[Floats, Floats]:
    """What `flatten` returns, and the local standard deviation [H, W] it divided by."""
    detail = plane - local_mean(plane, window)
    deviation = local_mean(detail * detail, window)
    deviation += np.float32(_SILENCE)
    np.sqrt(deviation, out=deviation)
    detail /= deviation
    return np.clip(detail, -_LIMIT, _LIMIT, out=detail), deviation


def fold(plane: Floats) -> Floats:
    """Sums of the tiles of `plane` [H, W] in four groups [4, TILE, TILE], by parity of tile row and column.

    The tile that starts at (0, 0) belongs to group 0; incomplete tiles count as far as they go.
    """
    height, width = plane.shape
    rows, columns = -(-height // TILE), -(-width // TILE)
    if (rows * TILE, columns * TILE) != (height, width):
        plane = np.pad(plane, ((0, rows * TILE - height), (0, columns * TILE - width)))
    tiles = plane.reshape(rows, TILE, columns, TILE)
    groups = [tiles[top::2, :, left::2].sum(axis=(0, 2)) for top in range(2) for left in range(2)]
    return np.stack(groups)


def carriers(tiles: Floats) -> Complex:
    """The carriers [..., n] of tiles [..., TILE, TILE]."""
    from scipy import fft

    spectrum = fft.rfft2(tiles, axes=(-2, -1))
    return np.ascontiguousarray(spectrum[..., ROWS, KX], dtype=np.complex64)
