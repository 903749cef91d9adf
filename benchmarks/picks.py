"""Picks benchmark: the log at 130,000 events, and queries that name picks or taste on a synthetic catalog.

    python -m benchmarks.picks --rows 1000000 --folder /tmp/bench

Prints one line for each: processor time, best of three, on one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.catalog_rows import build
from nonesuch.catalogs.picks.agreement import agreement
from nonesuch.catalogs.picks.bradley_terry import ranking
from nonesuch.catalogs.picks.log import open_picks
from nonesuch.catalogs.picks.taste import train_taste
from nonesuch.catalogs.picks.taste_model import write_model
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage.compact import compact


def main() -> None:
    """Build, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=0, help="numbers of an embedding; 0: none")
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        the_log(Path(folder))
    comparisons()
    out: Path = options.folder / f"picks-{options.rows}-{options.dim}"
    if not out.exists():
        build(out, options.rows, 100_000, options.dim, np.random.default_rng(0))
        compact(out, everything=True)
    queries(out)


def the_log(folder: Path) -> None:
    """Many events, then what a gallery asks of them."""
    ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(50_000)]
    log = open_picks(folder, "bench")
    log.pick(ids[:40_000])
    log.stars(ids[:30_000], 4)
    log.reject(ids[30_000:])
    log.undo()
    log.redo()
    print(f"events in the log: {log.last_event():,}")
    timed("one pick", lambda: log.pick(ids[7]))
    timed("one undo", log.undo)
    timed("states of a page of 200", lambda: log.states(ids[::250]))
    timed("all 50,000 states, read anew", lambda: open_picks(folder).states())
    log.states()
    timed("all 50,000 states after one more pick", lambda: (log.pick(ids[9]), log.states()))


def comparisons() -> None:
    """A ranking of 500 images by 5,000 comparisons."""
    rng = np.random.default_rng(1)
    pairs = [tuple(map(str, rng.choice(500, 2, replace=False))) for _ in range(5000)]
    timed("ranking of 500 images by 5,000 comparisons", lambda: ranking([(a, b) for a, b in pairs]))


def queries(out: Path) -> None:
    """Queries with and without columns beside the catalog, agreement, and a taste of 4,000 images."""
    catalog = Catalog(out, threads=1)
    chosen = catalog.query("status = 'ok'", sample=4000, columns=["recipe_id"], as_arrow=True)
    ids = chosen["recipe_id"].to_pylist()
    log = open_picks(out, "bench")
    if not log.last_event():
        log.pick(ids[:2000])
        log.reject(ids[2000:])
    log.close()
    print(f"rows: {catalog.count():,}")
    where = "artist = 'artist 03' AND alignment > 0.3"

    def top(condition: str | None, order: str) -> Callable[[], Any]:
        return lambda: catalog.query(condition, order=order, top=20, as_arrow=True)

    timed("filter, top 20", top(where, "aesthetic"))
    timed("the same among images without a verdict", top(f"pick IS NULL AND {where}", "aesthetic"))
    timed("picked, top 20", top("pick = 'picked'", "aesthetic"))
    timed("how many are picked", lambda: catalog.count("pick = 'picked'"))
    timed("agreement of all scorers", lambda: agreement(catalog), rounds=1)
    started = time.process_time()
    write_model(out, train_taste(catalog))
    print(f"taste of {len(ids):,} images: {time.process_time() - started:.1f} s")
    started = time.process_time()
    top(None, "taste")()
    print(f"top 20 by taste, the first time: {time.process_time() - started:.2f} s")
    timed("top 20 by taste", top(None, "taste"))
    timed("filter, top 20 by taste", top(where, "taste"))


def timed(name: str, work: Callable[[], Any], rounds: int = 3) -> None:
    """Print the least processor time of `rounds`, after one to warm up."""
    work()
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    print(f"{name}: {best * 1000:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
