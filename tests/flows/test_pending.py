"""The set of recipes that a run has seen. What it draws of them: test_failures.py, test_sweep_flow.py."""

from __future__ import annotations

import random

from nonesuch.flows.run.job import _Keys


def test_keys_are_a_set() -> None:
    generator = random.Random(0)
    spread = [generator.getrandbits(64) for _ in range(500)]
    near = [(7 << 32) + (place << 20) for place in range(200)]  # all begin looking at one slot
    told = [*spread, *near, 0, 0, 2**64 - 1, *generator.sample(spread, 99), *near]
    keys, seen = _Keys(len(told)), set()
    for key in told:
        assert keys.add(key) is (key not in seen)
        seen.add(key)
