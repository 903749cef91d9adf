"""Which recipes a run draws: each once, in the matrix's order, without those that the catalog has."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from flows.job import _Keys, pending, prepare

SWEEP = """\
name: twice
model: noise
prompt: "a {subject}"
facets:
  subject: [{name: one, text: panda}, {name: other, text: panda}, fox]
seeds: {count: 4}
settings: {width: 64, height: 64, steps: 1}
"""


def test_cells_that_come_to_one_recipe_are_drawn_once(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SWEEP)
    matrix = prepare(tmp_path / "s.yaml", tmp_path / "out", online=False).matrix
    nothing = np.zeros(0, np.uint64)
    drawn = list(pending(matrix, nothing))
    assert [recipe.plan_index for recipe in drawn] == [0, 1, 2, 3, 8, 9, 10, 11]
    published = np.sort(np.array([recipe.watermark_id for recipe in drawn[2:]], np.uint64))
    assert list(pending(matrix, published)) == drawn[:2]


def test_keys_are_a_set() -> None:
    generator = random.Random(0)
    spread = [generator.getrandbits(64) for _ in range(500)]
    near = [(7 << 32) + (place << 20) for place in range(200)]  # all begin looking at one slot
    told = [*spread, *near, 0, 0, 2**64 - 1, *generator.sample(spread, 99), *near]
    keys, seen = _Keys(len(told)), set()
    for key in told:
        assert keys.add(key) is (key not in seen)
        seen.add(key)
