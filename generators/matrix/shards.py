"""Shards: runs of consecutive recipes that are drawn, retried, published and resumed as one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nonesuch.foundation.errors import InputError
from nonesuch.generators.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Shard:
    """One unit of scheduling; all its recipes share `group`."""

    sweep: str  # name of the sweep
    index: int  # place in the cut, from 0
    recipes: tuple[Recipe, ...]
    key: str  # 16 hex digits over the recipes' ids: the same recipes give the same key wherever they lie
    again: bool = (
        False  # the catalog has rows of its recipes, whose images were lost: new ones take their place
    )

    @property
    def name(self) -> str:
        """A file name without suffix, `SWEEP-KEY`: it depends on what the shard holds, not on its place."""
        return f"{self.sweep}-{self.key}"


def cut_shards(recipes: Iterable[Recipe], size: int, *, sweep: str, again: bool = False) -> Iterator[Shard]:
    """Cut consecutive recipes into shards of at most `size` that share their group, lazily and in order.

    `again` says of all of them that the catalog has rows of their recipes.
    Raises InputError for a size below 1.
    """
    if size < 1:
        raise InputError(f"a shard holds at least one recipe, not {size}", where="shard_size")
    held: list[Recipe] = []
    index = 0
    for recipe in recipes:
        if held and (len(held) == size or held[0].group != recipe.group):
            yield _shard(sweep, index, held, again)
            index += 1
            held = []
        held.append(recipe)
    if held:
        yield _shard(sweep, index, held, again)


def split_shard(shard: Shard) -> tuple[Shard, Shard]:
    """The two halves of a shard of two recipes or more, in order; both keep its index."""
    middle = (len(shard.recipes) + 1) // 2
    first, second = (list(part) for part in (shard.recipes[:middle], shard.recipes[middle:]))
    return (
        _shard(shard.sweep, shard.index, first, shard.again),
        _shard(shard.sweep, shard.index, second, shard.again),
    )


def _shard(sweep: str, index: int, recipes: list[Recipe], again: bool) -> Shard:
    digest = hashlib.sha256("\n".join(recipe.id for recipe in recipes).encode())
    return Shard(sweep=sweep, index=index, recipes=tuple(recipes), key=digest.hexdigest()[:16], again=again)
