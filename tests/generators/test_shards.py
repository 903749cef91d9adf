from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_recipe import BASE

from nonesuch.foundation.errors import InputError
from nonesuch.generators.matrix.shards import cut_shards
from nonesuch.generators.recipe import Recipe

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=60).map(
    lambda pairs: [dataclasses.replace(BASE, seed=seed, steps=steps) for seed, steps in pairs]
)


@given(rows, st.integers(1, 9))
def test_shards_hold_every_recipe_once_in_order_and_one_group_each(recipes: list[Recipe], size: int) -> None:
    shards = list(cut_shards(recipes, size, sweep="night"))
    assert [recipe for shard in shards for recipe in shard.recipes] == recipes
    assert [shard.index for shard in shards] == list(range(len(shards)))
    for shard in shards:
        assert 1 <= len(shard.recipes) <= size
        assert len({recipe.group for recipe in shard.recipes}) == 1
    for one, following in itertools.pairwise(shards):
        assert len(one.recipes) == size or one.recipes[-1].group != following.recipes[0].group


def test_a_shard_is_named_by_what_it_holds() -> None:
    recipes = [dataclasses.replace(BASE, seed=seed) for seed in range(6)]
    whole = list(cut_shards(recipes, 2, sweep="night"))
    rest = list(cut_shards(recipes[2:], 2, sweep="night"))
    assert [shard.name for shard in rest] == [shard.name for shard in whole[1:]]
    assert len({shard.name for shard in whole}) == 3
    assert whole[0].name.startswith("night-")


def test_cutting_is_lazy() -> None:
    def endless() -> object:
        seed = 0
        while True:
            yield dataclasses.replace(BASE, seed=seed)
            seed += 1

    assert len(next(cut_shards(endless(), 5, sweep="night")).recipes) == 5  # type: ignore[arg-type]


def test_a_shard_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one recipe"):
        list(cut_shards([BASE], 0, sweep="night"))
