"""The space against plain itertools, and the sample against what a sample must be."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.generators.matrix import space as space_module
from nonesuch.generators.matrix.space import Space, sample_ranks

axes = st.lists(st.lists(st.integers(0, 15), min_size=1, max_size=5), min_size=0, max_size=4)


@given(axes, st.integers(0, 15))
def test_counting_and_indexing_agree_with_walking(masks: list[list[int]], split: int) -> None:
    exclude, only = split, 15 & ~split
    kept = []
    for combination in itertools.product(*(range(len(axis)) for axis in masks)):
        matching = 15
        for axis, position in zip(masks, combination, strict=True):
            matching &= axis[position]
        if not matching & exclude and (not only or matching & only):
            kept.append(combination)
    space = Space(masks, exclude, only)
    assert space.count == len(kept)
    assert [space.combination(rank) for rank in range(space.count)] == kept


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**40))
def test_a_sample_is_ascending_and_of_its_size(count: int, size: int, seed: int) -> None:
    ranks = list(sample_ranks(count, size, seed))
    assert len(ranks) == min(size, count)
    assert ranks == sorted(set(ranks))
    assert ranks[0] >= 0
    assert ranks[-1] < count


@given(st.integers(2, 3000), st.data(), st.integers(0, 2**40))
def test_a_larger_sample_holds_the_smaller_one(count: int, data: st.DataObject, seed: int) -> None:
    small = data.draw(st.integers(1, count))
    large = data.draw(st.integers(small, count))
    assert set(sample_ranks(count, small, seed)) <= set(sample_ranks(count, large, seed))


def test_scanning_and_sorting_choose_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sorted_ones = list(sample_ranks(200_000, 5_000, 3))
    monkeypatch.setattr(space_module, "_DIRECT", 0)
    assert list(sample_ranks(200_000, 5_000, 3)) == sorted_ones


def test_a_sample_never_drifts() -> None:
    assert list(sample_ranks(1000, 8, 0)) == SAMPLE_0
    assert list(sample_ranks(1000, 8, 1)) != SAMPLE_0


SAMPLE_0 = [78, 94, 256, 272, 339, 358, 486, 539]


def test_a_sample_is_even() -> None:
    tenths = Counter(rank // 1000 for rank in sample_ranks(10_000, 2_000, 5))
    assert all(130 < tenths[tenth] < 270 for tenth in range(10))  # 200 each, standard deviation 13
    pairs = Counter(rank % 2 for rank in sample_ranks(10_000, 2_000, 5))
    assert 850 < pairs[0] < 1150


def test_a_sample_of_a_huge_space_takes_no_walk() -> None:
    ranks = list(sample_ranks(2**61, 50, 1))
    assert len(ranks) == 50
    assert max(ranks) > 2**60
