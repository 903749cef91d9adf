"""The bandit by itself: it finds what is good, spares what is known to be bad, and repeats itself."""

from __future__ import annotations

import numpy as np

from nonesuch.generators.matrix.thompson import Seen, choose, gather, generator

ARMS = gather([(a, b) for a in range(6) for b in range(5)])


def seen(worth: np.ndarray, pulls: int, seed: int = 0) -> Seen:
    noise = np.random.default_rng(seed).normal(0, 0.3, (len(worth), pulls))
    return Seen(np.repeat(np.arange(len(worth)), pulls), (worth[:, None] + noise).ravel())


def test_the_same_scores_give_the_same_choice() -> None:
    known = seen(np.arange(30) / 10, 2)
    left = np.full(30, 4)
    first, again = (choose(ARMS, known, left, 40, generator(7, 3)) for _ in range(2))
    assert (first == again).all()
    assert (first != choose(ARMS, known, left, 40, generator(7, 4))).any()


def test_a_combination_better_than_its_values_promise_is_kept() -> None:
    worth = np.zeros(30)
    worth[13] = 5.0  # neither its row nor its column is good otherwise
    chosen = choose(ARMS, seen(worth, 3), np.full(30, 100), 50, generator(0, 1))
    assert (chosen == 13).mean() > 0.9


def test_a_good_value_is_tried_with_partners_it_was_never_seen_with() -> None:
    tried = [arm for arm in range(30) if arm != 9]  # the best value of each facet, never together
    worth = 2.0 * (ARMS[tried, 0] == 1) + 2.0 * (ARMS[tried, 1] == 4)
    known = Seen(np.repeat(tried, 2), np.repeat(worth, 2) + np.tile([-0.1, 0.1], len(tried)))
    assert (choose(ARMS, known, np.full(30, 10), 10, generator(1, 1)) == 9).sum() >= 8


def test_it_takes_no_more_of_an_arm_than_is_left_and_ends() -> None:
    left = np.zeros(30, np.int64)
    left[[2, 5]] = 3
    chosen = choose(ARMS, Seen(np.zeros(0, np.int64), np.zeros(0)), left, 100, generator(0, 1))
    assert np.bincount(chosen, minlength=30)[[2, 5]].tolist() == [3, 3]
    assert len(chosen) == 6
    assert left[2] == 3  # the caller's array is its own


def test_equal_scores_and_a_sweep_without_facets_are_no_trouble() -> None:
    one = gather([()])
    known = Seen(np.zeros(4, np.int64), np.ones(4))
    assert choose(one, known, np.array([2]), 5, generator(0, 1)).tolist() == [0, 0]
