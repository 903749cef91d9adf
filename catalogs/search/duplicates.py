"""Duplicates: groups of images that are the same file, look nearly the same, or have nearly the same embedding.

In each group the best image comes first, and every other one is a duplicate of that first one: groups do
not grow through chains of small differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import EMBEDDING
from nonesuch.catalogs.search.expressions import Where, each_condition
from nonesuch.catalogs.storage.indexes import embedding_matrix
from nonesuch.foundation.errors import InputError

if TYPE_CHECKING:
    import pandas

Kind = Literal["exact", "near", "semantic"]
Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]  # [P, 2], first < second

_BANDS = 3  # of 22, 21 and 21 bits: about log2 of a million, where a bucket holds about one hash
_BLOCK = 1 << 21  # candidate pairs looked at together
_MOST_SEMANTIC = 100_000  # images whose embeddings are compared all with all
_MAX_DISTANCE = 11


def duplicate_groups(
    catalog: Catalog,
    kind: Kind = "near",
    *,
    distance: int = 4,
    likeness: float = 0.95,
    order: str | None = None,
    where: Where = None,
) -> pandas.DataFrame:
    """The images that have duplicates, group by group, the best of each first.

    kind      exact: the same file digest; near: phash within `distance` bits; semantic: cosine of the
              embeddings of at least `likeness`
    order     what is best, as in Catalog.query; None: first in the plan
    where     only among the rows that meet this condition, or all of several

    Columns: group (from 0), keep (true for the first of a group), distance (bits or 1 - cosine to the
    first; 0 for exact), recipe_id, file, and `order`'s column when it is one. Raises InputError for
    unknown kinds, distances over 11 and more than 100,000 images to compare by meaning.
    """
    column = {"exact": "sha256", "near": "phash", "semantic": EMBEDDING}.get(kind)
    if column is None:
        raise InputError(f"unknown kind of duplicate {kind!r}", hint="Use exact, near or semantic.")
    present = f"{column} <> 0" if kind == "near" else f"{column} IS NOT NULL"
    condition = each_condition(where, present)
    if kind == "semantic" and catalog.count(condition) > _MOST_SEMANTIC:
        raise InputError(
            f"more than {_MOST_SEMANTIC:,} images to compare by meaning",
            where="dedupe",
            hint="Choose among them with a condition, or remove near duplicates first.",
        )
    shown = ["recipe_id", "file"]
    if order is not None and order in catalog.schema.names and order not in shown:
        shown.append(order)
    table = catalog.query(
        condition, order=order or "plan_index", columns=list(dict.fromkeys([*shown, column])), as_arrow=True
    )
    if kind == "semantic":
        of_value = np.arange(table.num_rows)
        pairs, gaps = alike_pairs(embedding_matrix(table[column]), likeness)
    elif kind == "near":
        distinct, of_value = _distinct(np.asarray(table[column].to_numpy(), np.uint64))
        pairs, gaps = near_pairs(distinct, distance)
    else:
        of_value = table[column].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        pairs, gaps = np.zeros((0, 2), np.int64), np.zeros(0)
    places, group, gap = _grouped(of_value, *_led(pairs, gaps, int(of_value.max(initial=-1)) + 1))
    chosen = table.select(shown).take(pa.array(places))
    first = np.ones(len(group), bool)
    first[1:] = group[1:] != group[:-1]
    front: dict[str, Any] = {"group": group, "keep": first, "distance": gap}
    whole = pa.table({**front, **{name: chosen[name] for name in shown}})
    frame: pandas.DataFrame = whole.to_pandas()
    return frame


def near_pairs(hashes: Hashes, distance: int) -> tuple[Pairs, npt.NDArray[np.float64]]:
    """All pairs of distinct 64-bit hashes [N] that differ in at most `distance` bits, with how many.

    None is missed. Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): of three bands of bits,
    one must differ in at most distance // 3 bits, so each hash looks into the buckets that near.
    """
    if not 0 <= distance <= _MAX_DISTANCE:
        raise InputError(
            f"a distance of {distance} bits", where="distance", hint=f"Use 0 to {_MAX_DISTANCE}."
        )
    found = np.concatenate([np.zeros((0, 2), np.int64), *_band_pairs(hashes, distance)])
    codes = np.unique(found[:, 0] * max(1, len(hashes)) + found[:, 1])  # the bands find some pairs twice
    pairs = np.column_stack(np.divmod(codes, max(1, len(hashes))))
    return pairs, np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]).astype(float)


def alike_pairs(vectors: npt.NDArray[np.float16], likeness: float) -> tuple[Pairs, npt.NDArray[np.float64]]:
    """All pairs of embeddings [N, dim] whose cosine is at least `likeness`, with 1 - cosine."""
    if not 0 < likeness <= 1:
        raise InputError(f"a likeness of {likeness}", where="likeness", hint="Use a cosine, such as 0.95.")
    unit = vectors.astype(np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
    step = max(1, _BLOCK * 8 // max(1, len(unit)))
    found, gaps = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for start in range(0, len(unit), step):
        cosines = unit[start : start + step] @ unit[start:].T
        row, column = np.nonzero(cosines >= likeness)
        later = column > row
        row, column = row[later], column[later]
        found.append(np.column_stack([row + start, column + start]).astype(np.int64))
        gaps.append(np.clip(1 - cosines[row, column].astype(float), 0, None))
    return np.concatenate(found), np.concatenate(gaps)


def _band_pairs(hashes: Hashes, distance: int) -> Iterator[Pairs]:
    radius, rest = divmod(distance, _BANDS)
    for band in range(_BANDS):
        # Norouzi et al., section 3.1: only the first `rest` + 1 bands need the whole radius.
        reach = radius if band <= rest else radius - 1
        if reach < 0:
            continue
        keys, width = _band(hashes, band)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        start = np.searchsorted(keys, np.arange((1 << width) + 1)).astype(np.int64)
        for flips in range(reach + 1):
            for bits in combinations(range(width), flips):
                mask = sum(1 << bit for bit in bits)
                yield from _bucket_pairs(hashes, order, keys, start, mask, distance)


def _bucket_pairs(
    hashes: Hashes,
    order: npt.NDArray[np.int64],
    keys: npt.NDArray[np.int64],
    start: npt.NDArray[np.int64],
    mask: int,
    distance: int,
) -> Iterator[Pairs]:
    if mask:
        # of two keys that differ by the mask, only the one without its highest bit asks
        asking = np.flatnonzero(keys & (1 << (mask.bit_length() - 1)) == 0)
        low, high = start[keys[asking] ^ mask], start[(keys[asking] ^ mask) + 1]
    else:
        asking = np.arange(len(keys))
        low, high = asking + 1, start[keys + 1]
    counts = high - low
    some = counts > 0
    asking, low, counts = asking[some], low[some], counts[some]
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(asking):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + _BLOCK, side="right")))
        size = counts[begin:end]
        left = np.repeat(asking[begin:end], size)
        offset = np.arange(size.sum()) - np.repeat(ends[begin:end] - size - done, size)
        right = np.repeat(low[begin:end], size) + offset
        one, other = order[left], order[right]
        near = np.bitwise_count(hashes[one] ^ hashes[other]) <= distance
        yield np.sort(np.column_stack([one[near], other[near]]), axis=1)
        begin = end


def _band(hashes: Hashes, band: int) -> tuple[npt.NDArray[np.int64], int]:
    # Every third bit: neighbouring bits of a pHash belong to neighbouring frequencies and go together.
    places = range(band, 64, _BANDS)
    keys = np.zeros(len(hashes), np.int64)
    for target, place in enumerate(places):
        keys |= ((hashes >> np.uint64(place)) & np.uint64(1)).astype(np.int64) << target
    return keys, len(places)


def _distinct(values: Hashes) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """The values without repetition, in the order in which they first come, and each row's place in it."""
    unique, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return unique[order], place[inverse.ravel()]


def _led(
    pairs: Pairs, gaps: npt.NDArray[np.float64], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Who leads each value, and how far it is: in order, each leads those near it that no one leads yet."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    gap = np.concatenate([gaps, gaps])
    by_value = np.argsort(both[:, 0], kind="stable")
    both, gap = both[by_value], gap[by_value]
    values, begin = np.unique(both[:, 0], return_index=True)
    ends = np.append(begin[1:], len(both))[: len(begin)]
    leader = np.full(count, -1, np.int64)
    apart = np.zeros(count)
    for value, low, high in zip(values.tolist(), begin.tolist(), ends.tolist(), strict=True):
        if leader[value] < 0:
            leader[value] = value
            free = leader[both[low:high, 1]] < 0
            leader[both[low:high, 1][free]] = value
            apart[both[low:high, 1][free]] = gap[low:high][free]
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    return leader, apart


def _grouped(
    of_value: npt.NDArray[np.int64], leader: npt.NDArray[np.int64], apart: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The rows of groups of two and more, group by group, the nearest to the first one first."""
    led_by = leader[of_value]
    rows = np.lexsort([np.arange(len(led_by)), apart[of_value], led_by])
    sizes = np.bincount(led_by, minlength=len(leader))
    rows = rows[sizes[led_by[rows]] > 1]
    _, group = np.unique(led_by[rows], return_inverse=True)
    return rows, group.ravel().astype(np.int64), apart[of_value[rows]]
