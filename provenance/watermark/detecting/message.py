"""Reading a message out of folded tiles: find the pilot's variant and shift, weigh the rings, decode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nonesuch.provenance.watermark.embedding import shaping
from nonesuch.provenance.watermark.pattern import bounds, code, layout
from nonesuch.provenance.watermark.pattern.layout import (
    DIHEDRAL,
    HIGHEST,
    KX,
    PILOTS,
    RING,
    RINGS,
    ROWS,
    TILE,
    Layout,
)

_LIMIT = 2.0  # whitened carriers are cut off here, in standard deviations
_PEAKS = 2  # pilot peaks tried for each turn and weighting

Complex = npt.NDArray[np.complex64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """A message whose check agreed, and where it was found."""

    payload: int
    pilot: float  # height of the pilot's peak in standard deviations
    message: float  # agreement of the message's carriers alone, in standard deviations
    margin: float  # agreement of the whole pattern in standard deviations
    turn: int  # index into layout.DIHEDRAL
    shift: tuple[int, int]  # rows down and columns right by which the tile is rolled


@dataclass(frozen=True, slots=True)
class _Peak:
    turn: int  # index into layout.DIHEDRAL
    variant: int  # of the key's pattern
    shift: tuple[int, int]  # rows down and columns right
    height: float  # standard deviations


@dataclass(frozen=True, slots=True)
class Whitened:
    """Carriers of unit noise, and how much of the watermark each ring seems to hold."""

    values: Complex  # [n], mean power about 1 in each ring
    weights: tuple[Floats, ...]  # [n] each: weightings to search with


def whiten(groups: Complex) -> Whitened:
    """Whitens the carriers [4, n] of four groups of tiles.

    What the groups share and noise does not is their cross power: it says in which rings a watermark
    survived before anything is known of the watermark.
    """
    total = groups.sum(axis=0)
    level = np.sqrt(shaping.ring_powers(total)[RING]) + 1e-6
    values = total / level
    values /= np.maximum(np.abs(values) / _LIMIT, 1.0)
    flat = np.ones(len(RING), np.float32)
    apart = (np.abs(groups) ** 2).sum(axis=0)
    cross = np.bincount(RING, np.abs(total) ** 2 - apart, minlength=RINGS)
    power = np.bincount(RING, np.abs(total) ** 2, minlength=RINGS)
    if np.count_nonzero(np.abs(groups).sum(axis=1)) < 2:
        return Whitened(values.astype(np.complex64), (flat,))
    share = np.convolve(np.clip(cross / np.maximum(power, 1e-9), 0.0, 1.0), [0.25, 0.5, 0.25], "same")
    guided = (0.1 + np.sqrt(share))[RING].astype(np.float32)
    return Whitened(values.astype(np.complex64), (guided, flat))


def turned(values: Complex, turn: int) -> Complex:
    """The carriers [..., n] as they were before the image was turned by DIHEDRAL[turn]."""
    index, flipped = DIHEDRAL[turn]
    taken = values[..., index]
    return np.where(flipped, taken.conj(), taken).astype(np.complex64)


def read(
    groups: Complex,
    key: bytes,
    threshold: float,
    *,
    spare: int = 0,
    tries: int = 2,
    turns: int = len(DIHEDRAL),
    fft: Any = np.fft,
) -> Reading | None:
    """The first message to be believed, over turns, weightings, variants and shifts, or None.

    `groups` [4, n] are the carriers of four groups of tiles. Pilot peaks of at least `threshold`
    standard deviations are decoded, and after them the `tries` highest of the rest. Of these,
    the first `spare` are believed if their check agrees, the others if pilot and message agree
    well enough too (see `bounds`). Only the first `turns` of DIHEDRAL are looked at. `fft` as for `luma.carriers`.
    """
    white = whiten(groups)
    rest: list[tuple[_Peak, Complex]] = []
    for turn in range(turns):
        values = turned(white.values, turn)
        for weights in white.weights:
            for peak in _pilot_peaks(values, weights, key, turn, fft):
                if peak.height < threshold:
                    rest.append((peak, values))
                    break
                found = _decode(values, peak, key)
                if found is not None:
                    return found
    rest.sort(key=lambda entry: -entry[0].height)
    for number, (peak, values) in enumerate(rest[:tries]):
        found = _decode(values, peak, key)
        if found is not None and (number < spare or bounds.agrees(found.pilot, found.message)):
            return found
    return None


def pilot_height(groups: Complex, key: bytes, fft: Any = np.fft) -> float:
    """The tallest pilot peak of an unturned image, in standard deviations, over variants and shifts."""
    white = whiten(groups)
    return next(_pilot_peaks(white.values, white.weights[0], key, 0, fft)).height


def _pilot_peaks(values: Complex, weights: Floats, key: bytes, turn: int, fft: Any) -> Iterator[_Peak]:
    pilot, conjugates = layout.pilots(key)
    weighted = weights[pilot] * values[pilot]
    # the inverse transform adds each carrier and its mirror image: twice the real part
    weighted /= 2.0 * np.sqrt(0.5 * float(np.vdot(weighted, weighted).real) + 1e-12)
    spectrum = np.zeros((PILOTS, TILE, TILE // 2 + 1), np.complex64)
    spectrum[:, ROWS[pilot], KX[pilot]] = weighted * conjugates
    banded = spectrum[:, :, : int(HIGHEST)]  # the transforms of the other columns are zeros
    banded[...] = fft.ifft(banded, axis=1, norm="forward")
    surface = fft.irfft(spectrum, n=TILE, axis=2, norm="forward")
    for _ in range(_PEAKS):
        place = int(surface.argmax())
        number, dy, dx = (int(i) for i in np.unravel_index(place, surface.shape))
        yield _Peak(turn, number, (dy, dx), float(surface[number, dy, dx]))
        surface[number, dy, dx] = -np.inf


def clarity(groups: Complex, variant: Layout, values: Complex, shift: tuple[int, int]) -> float:
    """The margin with which a known pattern, its carriers `values` [n] shifted so, stands in the unturned image."""
    still = layout.shifted(whiten(groups).values, -shift[0], -shift[1])
    strength = _ring_strengths(still, variant)
    likeness = strength[RING] * (still * values.conj()).real
    noise = 0.5 * (strength[RING] * np.abs(still)) ** 2
    return float(likeness.sum() / np.sqrt(noise.sum()))


def _ring_strengths(still: Complex, variant: Layout) -> npt.NDArray[np.float64]:
    """[RINGS] how strongly the pilots of each ring agree."""
    agreement = (still[variant.pilot] * variant.pilot_values.conj()).real
    kernel = np.array([0.5, 1.0, 0.5])
    sums = np.convolve(np.bincount(RING[variant.pilot], agreement, minlength=RINGS), kernel, "same")
    counts = np.convolve(np.bincount(RING[variant.pilot], minlength=RINGS), kernel, "same")
    # shrunk towards the mean of all rings, as far as few pilots leave a ring's own mean uncertain
    strengths: npt.NDArray[np.float64] = np.maximum((sums + 8.0 * agreement.mean()) / (counts + 8.0), 0.02)
    return strengths


def _decode(values: Complex, peak: _Peak, key: bytes) -> Reading | None:
    variant = layout.layouts(key)[peak.variant]
    still = layout.shifted(values, -peak.shift[0], -peak.shift[1])
    strength = _ring_strengths(still, variant)
    dimensions = still[variant.data] * strength[RING[variant.data]]
    soft = np.concatenate([dimensions.real, dimensions.imag]) * variant.signs
    message = code.decode(np.bincount(variant.bits, soft, minlength=code.CODED_BITS).astype(np.float32))
    payload = code.checked_payload(message, key)
    if payload is None:
        return None
    pattern = layout.pattern(variant, code.encode(message))
    likeness = strength[RING] * (still * pattern.conj()).real
    noise = 0.5 * (strength[RING] * np.abs(still)) ** 2
    data = variant.data
    agreed = float(likeness[data].sum() / np.sqrt(noise[data].sum()))
    return Reading(
        payload, peak.height, agreed, float(likeness.sum() / np.sqrt(noise.sum())), peak.turn, peak.shift
    )
