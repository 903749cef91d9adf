"""Embedding the watermark: choose the pattern's place, shape it to the image, add it to luma."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import InputError
from nonesuch.provenance.watermark.detecting import message
from nonesuch.provenance.watermark.embedding import informed, shaping
from nonesuch.provenance.watermark.pattern import code, layout, luma
from nonesuch.provenance.watermark.pattern.layout import KX, ROWS, TILE

# A watermark so faint that rounding to whole grey levels alone spends what SSIM allows is none: that happens under 0.39.
LEAST_STRENGTH, MOST_STRENGTH = 0.5, 10.0
SMALLEST = 64  # pixels on the shorter side
LEAST_PSNR = 44.02  # dB at strength 1, for images of 512 x 512 and up
LEAST_SSIM = 0.9903  # by estimate, which is right to some 0.0002

FULL = 512 * 512  # pixels from which an image has room enough
CLEAR = 20.0  # margin that smaller images are to be read with; messages are lost under 14
RAISED_FROM = 96  # pixels on the shorter side; less of a tile is not read for certain at any strength
MOST_RAISED = 1.9  # times the amplitude to reach it
_STEEP = 1.6  # the margin grows as the amplitude to the power of 1 / 1.6, measured

_STEP = 4  # pixels between those that tell the mean response

RGB = npt.NDArray[np.uint8]


def embed(image: RGB, payload: int, *, strength: float = 1.0, key: bytes | None = None) -> RGB:
    """A marked copy of `image`, uint8 [H, W, 3], that bears `payload` (64 bits).

    `strength` scales the amplitude: 1 keeps PSNR >= 44 dB and SSIM >= 0.99 from 512 x 512 up, and
    is stronger in smaller images, which have less room, and once more in those of them, from 96 pixels up,
    where it could hardly be read. `key` makes a watermark that only its holder can read; None uses the public key. The same arguments give the same bytes; every image gets
    another pattern (see `informed`).
    Raises InputError for another kind of array, a payload out of range or an image under 64 pixels.
    """
    _check_arguments(image, payload, strength)
    secret = layout.PUBLIC_KEY if key is None else key
    host = _host(image)
    payload = operator.index(payload)
    marked, place = _marked(image, host, payload, strength, secret, None)
    if host.plane.size >= FULL or min(host.plane.shape) < RAISED_FROM:
        return marked
    groups = luma.carriers(luma.folded(luma.grey(marked)))
    lacking = CLEAR * strength / max(message.clarity(groups, place.variant, place.values, place.shift), 1.0)
    if lacking > 1.0:
        raised = strength * min(lacking**_STEEP, MOST_RAISED)
        marked, _ = _marked(image, host, payload, raised, secret, place)
    return marked


@dataclass(frozen=True, slots=True)
class _Host:
    """What of the image itself the watermark goes by."""

    plane: npt.NDArray[np.uint8]  # luma [H, W]
    deviation: luma.Floats  # local, every _STEP pixels
    carriers: luma.Complex  # [n]
    power: luma.Floats  # [RINGS]
    sample: shaping.Sample


def _host(image: RGB) -> _Host:
    from scipy import fft

    plane = luma.grey(image)
    tiles, deviation = luma.folded_and_deviation(plane, _STEP)
    carriers = luma.carriers(tiles.sum(axis=0), fft) / luma.PASSED
    return _Host(plane, deviation, carriers, shaping.ring_powers(carriers), shaping.sampled(plane))


def _marked(
    image: RGB, host: _Host, payload: int, strength: float, secret: bytes, place: informed.Place | None
) -> tuple[RGB, informed.Place]:
    """The image with the watermark at one strength, and the pattern's place: the given one or the best."""
    height, width = host.plane.shape
    loudness = _loudness(height, width, strength)
    psnr = LEAST_PSNR - 20.0 * float(np.log10(loudness))
    shape = shaping.best_shape(
        host.sample,
        host.power / (height * width),
        least_psnr=psnr,
        least_ssim=1.0 - (1.0 - LEAST_SSIM) * loudness**2,
        loudness=loudness,
    )
    local = shaping.local_strength(host.plane, shape.quarters, host.sample.rows)
    # what one unit of the tile's carriers becomes after flattening and folding
    passed = float((local[::_STEP, ::_STEP] / host.deviation).mean())
    response = shape.factor * passed * height * width / TILE**2
    if place is None:
        place = informed.best_place(host.carriers, host.power, shape.amplitudes, payload, secret)
    tile = _tile(informed.resisting(place, host.carriers, host.power, shape.amplitudes, response))
    row = np.tile(tile, (1, -(-width // TILE)))[:, :width]
    for top in range(0, height, TILE):
        local[top : top + TILE] *= row[: height - top]
    # strength and tile may agree by chance: hold the PSNR by what is really added
    added = float(np.vdot(local, local)) / local.size
    factor = min(shape.factor, float(np.sqrt(shaping.power_allowed(psnr) / added)))
    marked = np.empty(image.shape, np.uint8)
    for top in range(0, height, TILE):
        part = local[top : top + TILE]
        change = cv2.addWeighted(part, factor, part, 0.0, 0.0, dtype=cv2.CV_16S)
        cv2.add(image[top : top + TILE], cv2.merge([change] * 3), marked[top : top + TILE], dtype=cv2.CV_8U)
    return marked, place


def _check_arguments(image: RGB, payload: int, strength: float) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"an image to mark is {image.dtype} {list(image.shape)}", hint="Pass uint8 [H, W, 3]."
        )
    if min(image.shape[:2]) < SMALLEST:
        raise InputError(
            f"an image of {image.shape[1]}x{image.shape[0]} pixels can't hold a watermark",
            hint=f"Each side needs at least {SMALLEST} pixels.",
        )
    try:
        operator.index(payload)
    except TypeError as error:
        raise InputError(
            f"watermark payload {payload!r} is not a whole number", hint="It holds 64 bits, unsigned."
        ) from error
    if not 0 <= payload < 1 << code.PAYLOAD_BITS:
        raise InputError(f"watermark payload {payload} is out of range", hint="It holds 64 bits, unsigned.")
    if not LEAST_STRENGTH <= strength <= MOST_STRENGTH:
        raise InputError(
            f"watermark strength {strength} is out of range",
            hint=f"Use {LEAST_STRENGTH} to {MOST_STRENGTH:.0f}; 1 is usual; below it the watermark survives much less.",
        )


def _loudness(height: int, width: int, strength: float) -> float:
    # images under 512 x 512 have fewer tiles to add up: 1.2 dB more for each halving of their area, 4.8 at most
    halvings = max(0.0, float(np.log2(FULL / (height * width))))
    return float(strength * 10.0 ** (min(1.2 * halvings, 4.8) / 20.0))


def _tile(values: luma.Complex) -> luma.Floats:
    from scipy import fft

    spectrum = np.zeros((TILE, TILE // 2 + 1), np.complex64)
    spectrum[ROWS, KX] = values
    tile = fft.irfft2(spectrum, s=(TILE, TILE)).astype(np.float32)
    return np.asarray(tile / tile.std(), dtype=np.float32)
