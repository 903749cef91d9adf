"""The space of a matrix's combinations: counting, indexing and sampling it without walking through it.

A combination is one position on each axis. Clauses leave combinations out (`exclude`) or keep them
(`only`); the count and the combination of any rank follow from sums over the axes' positions grouped
by the clauses they still match, so neither takes time in the number of combinations.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt

_DIRECT: Final = 1 << 20  # samples up to this size are made by permuting and sorting: 8 MB
_BLOCK: Final = 1 << 16  # ranks looked at in one go otherwise
_ROUNDS: Final = 6


class Space:
    """An ordered space of combinations, the last axis fastest.

    `masks[axis][position]` has a bit for each clause that the position does not rule out;
    `exclude` and `only` are the bits of the clauses of each kind.
    """

    def __init__(self, masks: Sequence[Sequence[int]], exclude: int = 0, only: int = 0) -> None:
        self._masks = masks
        self._lengths = [len(axis) for axis in masks]
        self._exclude = exclude
        self._only = only
        self._classes = [Counter(axis) for axis in masks]
        self._below: dict[tuple[int, int], int] = {}
        self._sums: dict[tuple[int, int], list[int]] = {}
        self.count = self._completions(0, exclude | only)

    def combination(self, rank: int) -> tuple[int, ...]:
        """The positions of the combination of a rank, 0 ≤ rank < count, in the order of the space."""
        mask = self._exclude | self._only
        positions = []
        for axis, classes in enumerate(self._classes):
            if len(classes) == 1:
                mask &= self._masks[axis][0]
                position, rank = divmod(rank, self._completions(axis + 1, mask))
            else:
                sums = self._running_sums(axis, mask)
                position = bisect_right(sums, rank)
                if position:
                    rank -= sums[position - 1]
                mask &= self._masks[axis][position]
            positions.append(position)
        return tuple(positions)

    def _completions(self, axis: int, mask: int) -> int:
        """How many ways there are to continue from `axis` with the clauses in `mask` still matching."""
        if axis == len(self._lengths):
            kept = not mask & self._exclude and (not self._only or mask & self._only)
            return 1 if kept else 0
        key = (axis, mask)
        if key not in self._below:
            self._below[key] = sum(
                size * self._completions(axis + 1, mask & cls) for cls, size in self._classes[axis].items()
            )
        return self._below[key]

    def _running_sums(self, axis: int, mask: int) -> list[int]:
        key = (axis, mask)
        if key not in self._sums:
            self._sums[key] = list(
                accumulate(self._completions(axis + 1, mask & position) for position in self._masks[axis])
            )
        return self._sums[key]


def sample_ranks(count: int, size: int, seed: int) -> Iterator[int]:
    """`size` different ranks below `count` (at most 2**62), ascending, in constant memory.

    The ranks are the first `size` places of a keyed permutation of all ranks (a Feistel network with
    cycle walking: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002), so a
    larger sample of the same count and seed holds every smaller one.
    """
    if size >= count:
        yield from range(count)
        return
    permutation = _Permutation(count, seed)
    if size <= _DIRECT:
        chosen = np.sort(permutation.forward(np.arange(size, dtype=np.uint64)))
        yield from array("Q", chosen.tobytes())
        return
    for start in range(0, count, _BLOCK):
        ranks = np.arange(start, min(start + _BLOCK, count), dtype=np.uint64)
        yield from ranks[permutation.backward(ranks) < size].tolist()


class _Permutation:
    """A keyed permutation of the integers below `count`, on arrays of uint64."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = np.uint64(count)
        self._half = np.uint64(max(1, (max(count - 1, 1).bit_length() + 1) // 2))
        self._low = np.uint64((1 << int(self._half)) - 1)
        self._keys = [
            np.uint64(int.from_bytes(hashlib.sha256(f"{seed}:{turn}".encode()).digest()[:8], "big"))
            for turn in range(_ROUNDS)
        ]

    def forward(self, ranks: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Where each rank goes."""
        return self._walk(ranks, forward=True)

    def backward(self, ranks: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Which rank goes to each."""
        return self._walk(ranks, forward=False)

    def _walk(self, ranks: npt.NDArray[np.uint64], *, forward: bool) -> npt.NDArray[np.uint64]:
        """The network permutes a power of four; values outside the range walk on until they are inside."""
        values = self._network(ranks, forward=forward)
        outside = np.flatnonzero(values >= self._count)
        while outside.size:
            values[outside] = self._network(values[outside], forward=forward)
            outside = outside[values[outside] >= self._count]
        return values

    def _network(self, values: npt.NDArray[np.uint64], *, forward: bool) -> npt.NDArray[np.uint64]:
        left, right = values >> self._half, values & self._low
        if forward:
            for key in self._keys:
                left, right = right, left ^ self._mix(right, key)
        else:
            for key in reversed(self._keys):
                left, right = right ^ self._mix(left, key), left
        return (left << self._half) | right

    def _mix(self, half: npt.NDArray[np.uint64], key: np.uint64) -> npt.NDArray[np.uint64]:
        """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), cut to half a word."""
        mixed = half + key
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (mixed ^ (mixed >> np.uint64(31))) & self._low
