"""How strong the mark may be, where in the picture and where in the spectrum.

In the picture: proportional to local contrast, since texture hides noise (Podilchuk and Zeng, IEEE
JSAC 16(4), 1998; Barni, Bartolini and Piva, IEEE Trans. Image Proc. 10(5), 2001), less in deep
shadow. In the spectrum: inversely to the picture's own power plus what a codec is expected to
destroy. Over all: the largest gain that keeps both PSNR and SSIM (Wang et al., IEEE Trans. Image
Proc. 13(4), 2004) above their floors.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from provenance.watermark.layout import KX, KY, RING, RING_SIZE, RING_WIDTH, RINGS, TILE
from provenance.watermark.luma import local_mean

_FAINT = 5.0  # variance in squared grey levels that a flat neighbourhood is taken to have
_BARE = 0.65  # factor where nothing varies at all
_BARE_MOST = 0.55  # grey levels, root mean square, of the mark there at strength 1
_STRONG = 3600.0  # and the most that any is taken to have
_CODEC_POWER = 100.0  # squared grey levels a codec destroys at low frequencies
_CODEC_CORNER = 0.1  # cycles a pixel where that has doubled
_ROUNDING = 1.0 / 12.0  # squared grey levels that rounding adds
_SSIM_WINDOW = 7
_SSIM_C1, _SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Floats = npt.NDArray[np.float32]


def local_strength(plane: Floats) -> tuple[Floats, Floats]:
    """Relative amplitude [H, W] the mark may have around each pixel of luma, and the local variance [H, W]."""
    mean = local_mean(plane, _SSIM_WINDOW)
    variance = local_mean(plane * plane, _SSIM_WINDOW)
    variance -= mean * mean
    np.maximum(variance, 0.0, out=variance)
    strength = np.minimum(variance + np.float32(_FAINT), np.float32(_STRONG))
    np.sqrt(strength, out=strength)
    mean *= np.float32(0.05)
    mean += np.float32(0.4)
    strength *= np.clip(mean, 0.4, 1.0, out=mean)
    # a painted surface without any grain shows the least change
    strength *= np.minimum(variance * np.float32(1.4) + np.float32(_BARE), np.float32(1.0))
    return strength, variance


def ring_powers(values: npt.NDArray[np.complex64]) -> Floats:
    """Mean power in each ring [RINGS] of carriers [n], smoothed over neighbouring rings."""
    power = np.bincount(RING, np.abs(values) ** 2, minlength=RINGS)
    kernel = np.array([0.25, 0.5, 0.25])
    smooth = np.convolve(power, kernel, "same") / np.maximum(np.convolve(RING_SIZE, kernel, "same"), 1e-9)
    return smooth.astype(np.float32)


def ring_amplitudes(host: Floats, mean_square: float) -> Floats:
    """Amplitude [RINGS] for the carriers of each ring.

    `host` [RINGS] is the flattened picture's power per pixel in each ring; `mean_square` that of
    the local strength, which turns the codec's grey levels into the same unit.
    """
    frequency = (np.arange(RINGS) + 0.5) * RING_WIDTH / TILE
    codec = _CODEC_POWER * (1.0 + (frequency / _CODEC_CORNER) ** 4) / mean_square
    return (1.0 / np.sqrt(host + codec)).astype(np.float32)


def _seen_by_ssim() -> Floats:
    # share of each carrier's power that varies inside SSIM's window instead of moving its mean
    def box(k: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        phase = np.pi * k / TILE
        return np.asarray(np.sin(_SSIM_WINDOW * phase) / (_SSIM_WINDOW * np.sin(phase)))

    return (1.0 - (box(KX) * box(KY)) ** 2).astype(np.float32)


_SEEN = _seen_by_ssim()


def power_allowed(least_psnr: float) -> float:
    """Squared grey levels a pixel, before rounding, that leave a PSNR of `least_psnr` dB."""
    return float(255.0**2 / 10.0 ** (least_psnr / 10.0) - _ROUNDING)


def gain(
    amplitudes: Floats,
    strength: Floats,
    variance: Floats,
    *,
    least_psnr: float,
    least_ssim: float,
    loudness: float,
) -> float:
    """Largest factor on `strength` * unit-variance tile that keeps the expected PSNR (dB) and SSIM.

    `amplitudes` [n] are those of the carriers; rounding to whole grey levels is counted in. Bare
    surfaces get no more than half a grey level times `loudness`, whatever the floors allow.
    """
    power = amplitudes**2
    seen = float((power * _SEEN).sum() / power.sum())
    # every third pixel each way tells these means well enough
    strength, variance = strength[::3, ::3], variance[::3, ::3]
    square = strength * strength
    by_psnr = power_allowed(least_psnr) / float(square.mean())
    weight = 1.0 / (2.0 * variance + _SSIM_C2)
    lost = max(1.0 - least_ssim - _ROUNDING * float(weight.mean()), 0.0)
    by_ssim = lost / (seen * float((square * weight).mean()))
    bare = _BARE_MOST * loudness / (_BARE * float(np.sqrt(_FAINT)))
    return min(float(np.sqrt(min(by_psnr, by_ssim))), bare)
