"""What planning costs: counting and expanding matrices of 10⁵, 10⁶ and 10⁷ cells, with the peak memory.

Each figure is taken in a process of its own, so that one does not lend memory to the next:
counting (what `nonesuch plan` does), expanding every recipe, and drawing a sample of 500.

    python benchmarks/plan.py [--json] [--cells 100000 1000000 10000000]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

from nonesuch.generators.matrix.expansion import Matrix
from nonesuch.generators.matrix.plan import open_matrix, plan
from nonesuch.generators.sweepfile.sweep import make_sweep

SEEDS = 10


def matrix_of(cells: int, **changes: Any) -> Matrix:
    """A sweep of subjects × artists × steps × seeds with exclusions, of about `cells` cells."""
    side = round((cells / (2 * SEEDS)) ** 0.5)
    return open_matrix(make_sweep(_sweep(side) | changes))


def count(cells: int) -> int:
    """What `nonesuch plan` does: count, first prompts, estimates."""
    side = round((cells / (2 * SEEDS)) ** 0.5)
    return plan(make_sweep(_sweep(side))).cells


def expand(cells: int) -> int:
    """Make every recipe."""
    return sum(1 for _ in matrix_of(cells))


def sample(cells: int) -> int:
    """Make a sample of 500 recipes."""
    return sum(1 for _ in matrix_of(cells, sample=500))


def sample_half(cells: int) -> int:
    """Make a sample of half the recipes."""
    return sum(1 for _ in matrix_of(cells, sample=0.5))


def _sweep(side: int) -> dict[str, Any]:
    return {
        "name": "bench",
        "model": "noise",
        "prompt": "a painting of a {subject} by {artist}",
        "facets": {
            "subject": [f"subject {index}" for index in range(side)],
            "artist": [f"artist {index}" for index in range(side)],
            "steps": [10, 20],
        },
        "exclude": [{"subject": f"subject {index}", "artist": f"artist {index}"} for index in range(10)],
        "seeds": {"count": SEEDS},
        "limit": 100_000_000,
    }


def _measure(work: Callable[[int], int], cells: int, results: Any) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, busy = time.perf_counter(), time.process_time()
    made = work(cells)
    wall, cpu = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results.put(
        {"work": work.__name__, "cells": cells, "recipes": made, "seconds": round(wall, 3),
         "cpu_seconds": round(cpu, 3), "peak_mb": round(peak / 1024, 1), "grown_mb": round((peak - before) / 1024, 1)}
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--cells", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    if not options.json:
        print(
            f"{'work':12} {'cells':>12} {'recipes':>12} {'seconds':>9} {'CPU s':>9} {'peak MB':>9} {'grown MB':>9}"
        )
    for work in (count, expand, sample, sample_half):
        for cells in options.cells:
            results = context.Queue()
            process = context.Process(target=_measure, args=(work, cells, results))
            process.start()
            row = results.get()
            process.join()
            if options.json:
                print(json.dumps(row), flush=True)
            else:
                print(
                    f"{row['work']:12} {row['cells']:12,} {row['recipes']:12,} {row['seconds']:9.2f} "
                    f"{row['cpu_seconds']:9.2f} {row['peak_mb']:9.1f} {row['grown_mb']:9.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
