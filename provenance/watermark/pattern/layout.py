"""Where the watermark's energy lies: the tile's carriers, its keyed pilots, and which coded bit each carries.

A tile is 128 x 128 pixels and repeats over the luma plane. Its carriers are DFT coefficients at 3.5 to 32
cycles per tile, off both axes, where images and block codecs put their strongest lines. The same
set maps onto itself under quarter turns and mirrors.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nonesuch.provenance.watermark.pattern.code import CODED_BITS

TILE = 128  # side of the tile in pixels of the marked image
LOWEST, HIGHEST = 3.5, 32.0  # radius of the band in cycles per tile
RING_WIDTH = 2.0  # cycles per tile; noise and signal are estimated ring by ring
RINGS = int(HIGHEST / RING_WIDTH)
PILOTS = 8  # variants of the pattern a key has; the image's content decides which one it bears
PILOT_SHARE = 0.18  # of the carriers, and so of the energy

_HALF_POWER = np.float32(1.0 / np.sqrt(2.0))  # the real or imaginary part of a carrier of one of four phases

PUBLIC_KEY = b"nonesuch public watermark key 1"  # the default: anyone can detect, as the law asks

Complex = npt.NDArray[np.complex64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def _carriers() -> tuple[Ints, Ints]:
    ky, kx = np.meshgrid(np.arange(-TILE // 2, TILE // 2), np.arange(1, TILE // 2), indexing="ij")
    radius = np.hypot(ky, kx)
    inside = (radius >= LOWEST) & (radius < HIGHEST) & (ky != 0)
    return ky[inside].astype(np.int64), kx[inside].astype(np.int64)


KY, KX = _carriers()  # [n] signed rows and positive columns of the tile's half spectrum
RING: Ints = (np.hypot(KY, KX) / RING_WIDTH).astype(np.int64)  # [n] ring of each carrier
RING_SIZE: Floats = np.bincount(RING, minlength=RINGS).astype(np.float32)  # [RINGS] carriers in each
ROWS: Ints = KY % TILE  # [n] row index into an rfft2 of the tile


@dataclass(frozen=True, slots=True)
class Layout:
    """One variant of a key's pattern."""

    pilot: Ints  # [m] indices of the pilot's carriers
    pilot_values: Complex  # [m] unit phases, one of four
    data: Ints  # [d] indices of the data carriers
    bits: Ints  # [2d] coded bit borne by each real dimension: first all real parts, then all imaginary
    signs: Floats  # [2d] +1 or -1, the keyed scrambling of each dimension


def key_stream(key: bytes, label: str, size: int) -> npt.NDArray[np.uint8]:
    """`size` pseudo-random bytes from SHAKE-256 over key and label: the same for ever, on every machine."""
    frame = len(key).to_bytes(4, "big") + key + label.encode()
    return np.frombuffer(hashlib.shake_256(frame).digest(size), dtype=np.uint8)


def _keyed_order(key: bytes, label: str, size: int) -> Ints:
    return np.argsort(key_stream(key, label, 8 * size).view("<u8"), kind="stable")


@lru_cache(maxsize=8)
def layouts(key: bytes) -> tuple[Layout, ...]:
    """The PILOTS variants of the pattern of `key`. Pilot positions are shared, all else differs.

    Each ring gives the same share of its carriers to the pilot, and each coded bit gets one
    dimension from every stretch of the band, so that losing a band weakens all bits alike.
    """
    order = _keyed_order(key, "carriers", len(RING))
    order = order[np.argsort(RING[order], kind="stable")]
    steps = np.floor(np.arange(len(order) + 1) * PILOT_SHARE)
    is_pilot = np.diff(steps) > 0
    pilot, data = np.sort(order[is_pilot]), np.sort(order[~is_pilot])
    dimension_ring = np.concatenate([RING[data], RING[data]])
    return tuple(_variant(key, number, pilot, data, dimension_ring) for number in range(PILOTS))


@lru_cache(maxsize=8)
def pilots(key: bytes) -> tuple[Ints, Complex]:
    """Indices [m] of the pilot's carriers, and their conjugated values [PILOTS, m] in each variant."""
    variants = layouts(key)
    return variants[0].pilot, np.stack([variant.pilot_values.conj() for variant in variants])


def _variant(key: bytes, number: int, pilot: Ints, data: Ints, dimension_ring: Ints) -> Layout:
    quarters = key_stream(key, f"pilot {number}", len(pilot)) & 3
    values: Complex = np.exp(0.5j * np.pi * (quarters + 0.5)).astype(np.complex64)
    dimensions = _keyed_order(key, f"dimensions {number}", len(dimension_ring))
    dimensions = dimensions[np.argsort(dimension_ring[dimensions], kind="stable")]
    bits = np.empty(len(dimensions), np.int64)
    for start in range(0, len(dimensions), CODED_BITS):
        chunk = dimensions[start : start + CODED_BITS]
        bits[chunk] = _keyed_order(key, f"bits {number} {start}", CODED_BITS)[: len(chunk)]
    signs = 1.0 - 2.0 * (key_stream(key, f"signs {number}", len(dimensions)) & 1)
    return Layout(pilot, values, data, bits, signs.astype(np.float32))


def pattern(layout: Layout, coded: npt.NDArray[np.uint8]) -> Complex:
    """Unit-magnitude carrier values [n] of one variant that bears `coded` [CODED_BITS] of 0 and 1."""
    values = np.empty(len(RING), np.complex64)
    values[layout.pilot] = layout.pilot_values
    values[layout.data] = _data_values(coded, layout.bits, layout.signs)
    return values


def patterns(key: bytes, coded: npt.NDArray[np.uint8]) -> Complex:
    """`pattern` of every variant of `key` [PILOTS, n]."""
    variants, (pilot, conjugates) = layouts(key), pilots(key)
    bits, signs = _stacked(key)
    values = np.empty((PILOTS, len(RING)), np.complex64)
    values[:, pilot] = conjugates.conj()
    values[:, variants[0].data] = _data_values(coded, bits, signs)
    return values


@lru_cache(maxsize=8)
def _stacked(key: bytes) -> tuple[Ints, Floats]:
    variants = layouts(key)
    return np.stack([one.bits for one in variants]), np.stack([one.signs for one in variants])


def _data_values(coded: npt.NDArray[np.uint8], bits: Ints, signs: Floats) -> Complex:
    soft = np.where(coded, -_HALF_POWER, _HALF_POWER)[bits] * signs
    real, imaginary = np.split(soft, 2, axis=-1)
    values = np.empty(real.shape, np.complex64)
    values.real, values.imag = real, imaginary
    return values


def shifted(values: Complex, dy: int, dx: int) -> Complex:
    """The carriers of the tile rolled down by `dy` and right by `dx` pixels."""
    turn: Complex = np.exp((-2j * np.pi / TILE) * (KY * dy + KX * dx)).astype(np.complex64)
    return values * turn


def _dihedral() -> tuple[tuple[Ints, npt.NDArray[np.bool_]], ...]:
    where = {(int(y), int(x)): i for i, (y, x) in enumerate(zip(KY, KX, strict=True))}
    moves = []
    for mirrored in (False, True):
        for turns in range(4):
            index = np.empty(len(KY), np.int64)
            flipped = np.zeros(len(KY), np.bool_)
            for i, (y, x) in enumerate(zip(KY.tolist(), KX.tolist(), strict=True)):
                if mirrored:
                    x = -x
                for _ in range(turns):
                    y, x = -x, y
                if x < 0:
                    y, x, flipped[i] = -y, -x, True
                index[i] = where[y, x]
            moves.append((index, flipped))
    return tuple(moves)


# [8] for an image that was mirrored (last four) and turned by 0 to 3 quarters counter-clockwise:
# carrier i of the original stands at index[i], conjugated where flipped
DIHEDRAL = _dihedral()
