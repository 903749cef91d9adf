"""Informed embedding: uses the image where it agrees with the watermark, and reduces it where it does not.

The choice among variants and shifts is informed embedding (Cox, Miller and McKellips, Proc. IEEE
87(7), 1999; Miller, Doerr and Cox, IEEE Trans. Image Proc. 13(6), 2004): of 131,072 patterns that all say
the same, the one that agrees best with the image is some four standard deviations ahead, and the choice
varies from image to image, so that averaging many images averages the pattern away. Quietening
is improved spread spectrum (Malvar and Florencio, IEEE Trans. Signal Proc. 51(4), 2003), done for each coded bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nonesuch.provenance.watermark.pattern import code, layout
from nonesuch.provenance.watermark.pattern.layout import KX, RING, ROWS, TILE, Layout

_ATTACK_NOISE = 4.0  # noise power, in units of the host's, that quietening reckons with

Complex = npt.NDArray[np.complex64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Place:
    """The pattern that was chosen."""

    variant: Layout
    values: Complex  # [n] unit-magnitude carriers of the tile before the shift
    shift: tuple[int, int]  # rows down and columns right


def best_place(host: Complex, power: Floats, amplitudes: Floats, payload: int, key: bytes) -> Place:
    """The variant and shift whose pattern agrees best with the image.

    `host` [n] are the image's own carriers, `power` [RINGS] their ring powers and `amplitudes` [n]
    those that the watermark's carriers will have.
    """
    from scipy import fft

    coded = code.encode(code.message_bits(payload, key))
    level = np.sqrt(power[RING]) + 1e-6
    # a whisper of keyed noise decides where the image itself is silent
    noise = layout.key_stream(key, f"place {payload}", 2 * len(host)).astype(np.float32) - 127.5
    whisper = (noise[: len(host)] + 1j * noise[len(host) :]) * 1e-5
    weighted = (host / level + whisper) * amplitudes / level
    variants = layout.layouts(key)
    candidates = layout.patterns(key, coded)
    spectrum = np.zeros((len(candidates), TILE, TILE // 2 + 1), np.complex64)
    spectrum[:, ROWS, KX] = weighted * candidates.conj()
    banded = spectrum[:, :, : int(KX.max()) + 1]  # the transforms of the other columns are zeros
    banded[...] = fft.ifft(banded, axis=1)
    agreement = fft.irfft(spectrum, TILE, axis=2)
    number, dy, dx = (int(i) for i in np.unravel_index(int(agreement.argmax()), agreement.shape))
    return Place(variants[number], candidates[number], (dy, dx))


def resisting(place: Place, host: Complex, power: Floats, amplitudes: Floats, response: float) -> Complex:
    """Carriers [n] of the tile to add: the pattern, less a share of what the host says of each coded bit.

    `response` turns a carrier of a tile of unit variance into its effect on the folded image.
    """
    variant = place.variant
    tile_level = TILE**2 / np.sqrt(2.0 * float((amplitudes**2).sum()))
    mark = amplitudes * np.float32(tile_level)  # magnitudes of the carriers of a tile of unit variance
    level = np.sqrt(power[RING]) + 1e-6
    signal = mark[variant.data] * response / level[variant.data]  # in units of the host's
    weights = np.concatenate([signal, signal])
    still = layout.shifted(host / level, -place.shift[0], -place.shift[1])[variant.data]
    soft = np.concatenate([still.real, still.imag]) * variant.signs * weights
    bits = np.bincount(variant.bits, soft, minlength=code.CODED_BITS)
    norms = np.bincount(variant.bits, weights**2, minlength=code.CODED_BITS) + 1e-12
    said = (bits / norms)[variant.bits] * weights * variant.signs
    half = len(variant.data)
    # per coded bit, the watermark's power over the host's: its real dimensions carry half of each
    strength = float(norms.mean())
    share = _best_share(strength)
    quiet = place.values * mark
    kept = np.sqrt(max(strength - share**2, 0.0) / strength)
    quiet[variant.data] *= np.float32(kept)
    quiet[variant.data] -= share * (said[:half] + 1j * said[half:]) * level[variant.data] / response
    return layout.shifted(quiet.astype(np.complex64), *place.shift)


def _best_share(strength: float) -> float:
    shares = np.linspace(0.0, 0.95 * min(1.0, np.sqrt(strength)), 40)
    clarity = (strength - shares**2) / ((1.0 - shares) ** 2 + _ATTACK_NOISE)
    return float(shares[int(clarity.argmax())])
