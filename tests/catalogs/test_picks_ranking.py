"""Bradley-Terry strengths: planted ones come back, and graphs that say too little are told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonesuch.catalogs.picks.bradley_terry import ranking
from nonesuch.foundation.errors import InputError


def planted(strengths: np.ndarray, rounds: int, seed: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(rounds):
        i, j = rng.choice(len(strengths), 2, replace=False)
        wins = rng.random() < 1 / (1 + np.exp(strengths[j] - strengths[i]))
        pairs.append((f"{i:02d}", f"{j:02d}") if wins else (f"{j:02d}", f"{i:02d}"))
    return pairs


def test_planted_strengths_come_back_within_their_intervals() -> None:
    strengths = np.random.default_rng(1).normal(0, 1, 20)
    strengths -= strengths.mean()
    covered = []
    for seed in range(10):
        found = ranking(planted(strengths, 3000, seed))
        assert found.groups == 1
        assert found.settled
        for image in found.images:
            true = strengths[int(image.recipe_id)]
            assert image.low is not None
            assert image.high is not None
            covered.append(image.low <= true <= image.high)
            assert abs(image.strength - true) < 0.6
    assert 0.9 < np.mean(covered) <= 1


def test_two_images_follow_the_closed_form() -> None:
    # With one drawn comparison each against strength 0 the fit is symmetric: p = sqrt(odds) of the counts.
    found = ranking([("a", "b")] * 30 + [("b", "a")] * 10)
    first, second = found.images
    assert (first.recipe_id, first.wins, first.losses, first.rank) == ("a", 30, 10, 1)
    assert (second.recipe_id, second.rank) == ("b", 2)
    assert first.strength == pytest.approx(-second.strength)
    assert first.strength - second.strength == pytest.approx(np.log(3), abs=0.05)
    assert first.low is not None
    assert second.high is not None
    assert first.low < first.strength


def test_an_undefeated_image_stays_finite_and_is_told() -> None:
    found = ranking([("a", "b"), ("b", "c"), ("a", "c")])
    assert [image.recipe_id for image in found.images] == ["a", "b", "c"]
    assert not found.settled
    assert all(abs(image.strength) < 5 for image in found.images)


def test_images_never_compared_form_groups_of_their_own() -> None:
    found = ranking([("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("x", "y"), ("y", "x"), ("x", "y")])
    assert found.groups == 2
    assert [(image.group, image.rank) for image in found.images] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]
    assert {image.recipe_id for image in found.images if image.group == 1} == {"x", "y"}
    for group in (0, 1):
        inside = [image.strength for image in found.images if image.group == group]
        assert np.mean(inside) == pytest.approx(0, abs=1e-9)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda p: p[0] != p[1]),
        min_size=1,
        max_size=40,
    )
)
def test_one_more_win_never_lowers_and_names_do_not_matter(games: list[tuple[int, int]]) -> None:
    pairs = [(str(a), str(b)) for a, b in games]
    found = {image.recipe_id: image for image in ranking(pairs).images}
    renamed = {
        image.recipe_id: image for image in ranking([(f"z{b}"[::-1], f"z{a}"[::-1]) for a, b in pairs]).images
    }
    for name, image in found.items():
        mirrored = renamed[f"z{name}"[::-1]]
        assert mirrored.strength == pytest.approx(-image.strength, abs=1e-6)
    winner, loser = pairs[0]
    more = {image.recipe_id: image for image in ranking([*pairs, (winner, loser)]).images}
    before = found[winner].strength - found[loser].strength
    assert more[winner].strength - more[loser].strength > before - 1e-6


def test_nothing_to_rank_is_told() -> None:
    with pytest.raises(InputError, match="no images were compared"):
        ranking([])
    with pytest.raises(InputError, match="confidence"):
        ranking([("a", "b")], confidence=95)
