"""How strong the watermark may be, where in the image and where in the spectrum.

In the image: with local contrast, since texture hides noise (Podilchuk and Zeng, IEEE JSAC 16(4),
1998; Barni, Bartolini and Piva, IEEE Trans. Image Proc. 10(5), 2001), less in deep shadow. Proportional
to it where SSIM sets the limit. Where PSNR does, to its root: a watermark is read best where the image is
calm, and there SSIM leaves room for more. In the spectrum: inversely to the image's own power plus what a codec is expected to
destroy. Over all: the largest gain that keeps both PSNR and SSIM (Wang et al., IEEE Trans. Image
Proc. 13(4), 2004) above their floors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from nonesuch.provenance.watermark.pattern.layout import KX, KY, RING, RING_SIZE, RING_WIDTH, RINGS, TILE
from nonesuch.provenance.watermark.pattern.luma import Bytes, local_mean, local_square

_FAINT = 0.5  # variance in squared grey levels that a flat neighbourhood is taken to have
_BARE = 0.65  # factor where nothing varies at all
_BARE_MOST = 0.55  # grey levels, root mean square, of the watermark there at strength 1
_STRONG = 256.0  # and the most that any is taken to have: beside a hard edge, more would show
_CODEC_POWER = 100.0  # squared grey levels a codec destroys at low frequencies
_CODEC_CORNER = 0.08  # cycles a pixel where that has doubled
_ROUNDING = 1.0 / 12.0  # squared grey levels that rounding adds
_SSIM_WINDOW = 7
_ENOUGH = 512 * 1024  # pixels of which the sample may look at all
_SSIM_C1, _SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies around each pixel of luma."""

    mean: Floats  # [H, W] in grey levels
    variance: Floats  # [H, W] in squared grey levels
    hiding: Floats  # [H, W] 0.2 to 1: less in shadow, and where nothing varies


@dataclass(frozen=True, slots=True)
class Sample:
    """Pixels of luma that stand for all of them."""

    variance: Floats  # as in Surroundings
    hiding: Floats
    by_variance: Floats  # 1 - SSIM lost for each squared grey level there that varies within SSIM's window
    by_mean: Floats  # and for each that moves the window's mean
    rows: tuple[Surroundings, ...]  # of all rows of tiles, for `local_strength`; none of large images


def surroundings(plane: Floats | Bytes) -> Surroundings:
    """Local mean and variance, and how far the place hides a watermark apart from them, of luma [H, W]."""
    mean = local_mean(plane, _SSIM_WINDOW)
    variance = local_square(plane, _SSIM_WINDOW)
    hiding = mean * mean
    variance -= hiding  # by rounding it may fall a hundredth below 0
    np.multiply(mean, np.float32(0.05), out=hiding)
    hiding += np.float32(0.4)
    np.clip(hiding, 0.4, 1.0, out=hiding)
    # a painted surface without any grain shows the least change
    grain = variance * np.float32(1.4)
    grain += np.float32(_BARE)
    hiding *= np.clip(grain, 0.0, 1.0, out=grain)
    return Surroundings(mean, variance, hiding)


def sampled(plane: Floats | Bytes) -> Sample:
    """Some 30,000 pixels of luma [H, W], evenly spread: they tell the means well enough."""
    step = max(1, round(float(np.sqrt(plane.size / 30_000))))
    count = max(8, TILE // max(1, plane.size // _ENOUGH))
    kept, parts = [], []
    for around in _surroundings_by_rows(plane, count):
        # every window that holds the pixel loses by its own variance: noise beside an edge is noise on calm ground
        lost = local_mean(np.reciprocal(2.0 * around.variance + np.float32(_SSIM_C2)), _SSIM_WINDOW)
        mean = around.mean[::step, ::step]
        moved = np.reciprocal(2.0 * mean * mean + np.float32(_SSIM_C1))
        parts.append(
            (around.variance[::step, ::step], around.hiding[::step, ::step], lost[::step, ::step], moved)
        )
        if count == TILE:
            kept.append(around)
    variance, hiding, by_variance, by_mean = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Sample(variance, hiding, by_variance, by_mean, tuple(kept))


def _surroundings_by_rows(plane: Floats | Bytes, count: int = TILE) -> Iterator[Surroundings]:
    # the first `count` pixel rows of each row of tiles
    halo = _SSIM_WINDOW // 2
    for top in range(0, plane.shape[0], TILE):
        first = max(0, top - halo)
        around = surroundings(plane[first : top + count + halo])
        inside = slice(top - first, top - first + count)
        yield Surroundings(around.mean[inside], around.variance[inside], around.hiding[inside])


def local_strength(
    plane: Floats | Bytes, quarters: int, rows: Iterable[Surroundings] | None = None
) -> Floats:
    """Relative amplitude [H, W] the watermark may have around each pixel of luma [H, W].

    It is the local deviation to the power of `quarters` / 4, 2 to 4, less where little hides the watermark.
    `rows` are the sample's, if there are any.
    """
    strength = np.empty(plane.shape, np.float32)
    for number, around in enumerate(rows or _surroundings_by_rows(plane)):
        strength[number * TILE : (number + 1) * TILE] = _strength(around.variance, around.hiding, quarters)
    return strength


def _strength(variance: Floats, hiding: Floats, quarters: int) -> Floats:
    strength = variance + np.float32(_FAINT)
    np.clip(strength, 0.0, _STRONG, out=strength)
    cv2.sqrt(strength, strength)
    if quarters < 4:
        cv2.sqrt(strength, strength)
        if quarters == 3:
            strength *= np.sqrt(strength)
    strength *= hiding
    return strength


def ring_powers(values: npt.NDArray[np.complex64]) -> Floats:
    """Mean power in each ring [RINGS] of carriers [n], smoothed over neighbouring rings."""
    power = np.bincount(RING, np.abs(values) ** 2, minlength=RINGS)
    kernel = np.array([0.25, 0.5, 0.25])
    smooth = np.convolve(power, kernel, "same") / np.maximum(np.convolve(RING_SIZE, kernel, "same"), 1e-9)
    return smooth.astype(np.float32)


def ring_amplitudes(host: Floats, mean_square: float) -> Floats:
    """Amplitude [RINGS] for the carriers of each ring.

    `host` [RINGS] is the flattened image's power per pixel in each ring; `mean_square` that of
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
    """Squared grey levels per pixel, before rounding, that leave a PSNR of `least_psnr` dB."""
    return float(255.0**2 / 10.0 ** (least_psnr / 10.0) - _ROUNDING)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the watermark's amplitude follows the image, and how strong it may be."""

    quarters: int  # for `local_strength`
    factor: float  # on local strength times a tile of unit variance
    amplitudes: Floats  # [n] of the carriers, relative to one another


def best_shape(
    sample: Sample, host: Floats, *, least_psnr: float, least_ssim: float, loudness: float
) -> Shape:
    """The flattest amplitude whose limit is the PSNR (dB), or the one proportional to local contrast.

    The factor is the largest that keeps the expected PSNR and SSIM, rounding to whole grey levels
    counted in. Bare surfaces get no more than half a grey level times `loudness`, whatever the floors
    allow. `host` [RINGS] is the flattened image's power per pixel in each ring.
    """
    lost = max(1.0 - least_ssim - _ROUNDING * float(sample.by_variance.mean()), 0.0)
    for quarters in (2, 3, 4):
        strength = _strength(sample.variance, sample.hiding, quarters)
        square = strength * strength
        amplitudes = ring_amplitudes(host, float(square.mean()))[RING]
        power = amplitudes**2
        seen = float((power * _SEEN).sum() / power.sum())
        weight = seen * sample.by_variance + (1.0 - seen) * sample.by_mean
        by_psnr = float(np.sqrt(power_allowed(least_psnr) / float(square.mean())))
        by_ssim = float(np.sqrt(lost / float((square * weight).mean())))
        bare = _BARE_MOST * loudness / (_BARE * _FAINT ** (quarters / 8))
        if by_psnr <= min(by_ssim, bare):
            break
    return Shape(quarters, min(by_psnr, by_ssim, bare), amplitudes)
