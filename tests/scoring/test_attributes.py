from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.foundation.errors import InputError
from nonesuch.scoring.measures.attributes import UNSURE, parse_attributes, shares


def test_sets_of_attributes() -> None:
    assert parse_attributes("woman, man; young,old ;") == (("woman", "man"), ("young", "old"))
    for bad in ("", "woman", "woman,man;old", ";"):
        with pytest.raises(InputError, match="two or more"):
            parse_attributes(bad)


def test_shares_count_the_likeliest_and_set_the_unsure_apart() -> None:
    found = np.array([[0.9, 0.1], [0.8, 0.2], [0.55, 0.45], [0.1, 0.9]], np.float32)
    one, two, unsure = shares(found, ("a", "b"), np.ones(4, bool), sure=0.6)
    assert (one.count, two.count, unsure.count) == (2, 1, 1)
    assert unsure.attribute == UNSURE
    # Wilson's interval of 2 of 4
    assert (one.low, one.high) == pytest.approx((0.150, 0.850), abs=1e-3)
    assert one.probability == pytest.approx(0.5875)


@given(st.lists(st.floats(0, 1, width=32), max_size=30), st.floats(0, 1))
def test_counts_add_up_and_intervals_hold_the_share(first: list[float], sure: float) -> None:
    found = np.array([[p, 1 - p] for p in first], np.float32).reshape(-1, 2)
    result = shares(found, ("a", "b"), np.ones(len(first), bool), sure=sure)
    assert sum(one.count for one in result) == len(first)
    assert all(
        0 <= one.low <= one.share + 1e-9 and one.share <= one.high + 1e-9 and one.high <= 1 for one in result
    )
