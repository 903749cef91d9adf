"""Catalog benchmark: builds synthetic catalogs, then times this project beside DuckDB, pyarrow, pandas, polars.

    python -m benchmarks.catalog --rows 1000000 --folder /tmp/bench
    python -m benchmarks.catalog --rows 10000000 --folder /tmp/bench --skip pandas

Prints a Markdown table: the best wall time of five warm runs, with the processor time of that run behind
it (on a shared machine the second number is the one to compare). polars is timed when it is installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from benchmarks.catalog_rows import SCORES, build
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.duplicates import near_pairs
from nonesuch.catalogs.search.embeddings import most_alike
from nonesuch.catalogs.search.lookup import by_phash, by_recipe, by_watermark
from nonesuch.catalogs.search.stats import facet_stats
from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.storage.parts import part_files, published_ids
from nonesuch.flows.catalog_folder import RECORD_COLUMNS


def main() -> None:
    """Build, time, print."""
    options = _options()
    rng = np.random.default_rng(0)
    folder: Path = options.folder
    table = folder / f"rows-{options.rows}"
    if options.rows:
        if not table.exists():
            build(table, options.rows, options.part_rows, 0, rng)
            report_size("as drawn", table)
            if options.unmerged:
                queries(table, options.skip, "parts as drawn")
            started = time.perf_counter()
            done = compact(table, everything=True)
            print(f"compaction: {time.perf_counter() - started:.0f} s, {done}\n")
        report_size("merged", table)
        queries(table, options.skip, "merged")
        look_ups(table)
    if options.likeness_rows:
        vectors = folder / f"vectors-{options.likeness_rows}-{options.dim}"
        if not vectors.exists():
            build(vectors, options.likeness_rows, options.part_rows, options.dim, rng)
            compact(vectors, everything=True)
        likeness(vectors, options.dim, rng)
    if options.hashes:
        duplicates(options.hashes, rng)


def queries(out: Path, skip: list[str], label: str) -> None:
    """Filter, top, aggregate: each library on the same files."""
    catalog = Catalog(out)
    files = [str(path) for path in part_files(out)]
    where = "artist = 'artist 03' AND alignment > 0.3"
    mine: dict[str, Callable[[], Any]] = {
        "count": lambda: catalog.count(),
        "filter, top 20, all columns": lambda: catalog.query(where, order="aesthetic", top=20, as_arrow=True),
        "filter, top 20, four columns": lambda: catalog.query(
            where,
            order="aesthetic",
            top=20,
            columns=["recipe_id", "prompt", "aesthetic", "file"],
            as_arrow=True,
        ),
        "top 20, all columns": lambda: catalog.query(order="aesthetic", top=20, as_arrow=True),
        "mean by artist": lambda: catalog.query(group="artist", as_arrow=True),
        "top 5 of each artist": lambda: catalog.query(
            top_per=("artist", 5), order="aesthetic", columns=["recipe_id"]
        ),
        "statistics of all pairs": lambda: facet_stats(catalog, scores=["aesthetic"]),
        "published ids": lambda: published_ids(out),
    }
    columns = {"this project": {name: timed(work) for name, work in mine.items()}}
    for name, others in (
        ("DuckDB", _duckdb(files)),
        ("pyarrow", _pyarrow(files)),
        ("pandas", _pandas(files)),
        ("polars", _polars(files)),
    ):
        if name not in skip and others:
            columns[name] = {row: timed(work) for row, work in others.items()}
    print_table(f"{catalog.count():,} rows, {label}, {len(files)} parts", columns)


def look_ups(out: Path) -> None:
    """One image by each of its names, warm and with another image each time."""
    catalog = Catalog(out)
    rows = catalog.query(sample=6, columns=["recipe_id", "watermark_id", "phash"], as_arrow=True).to_pylist()
    wheel = iter(rows * 100)
    columns = {
        "this project": {
            "by recipe id": timed(lambda: by_recipe(catalog, next(wheel)["recipe_id"])),
            "by watermark id": timed(lambda: by_watermark(catalog, next(wheel)["watermark_id"])),
            "by recipe id, what a verdict needs": timed(
                lambda: by_recipe(catalog, next(wheel)["recipe_id"], RECORD_COLUMNS)
            ),
            "by watermark id, what a verdict needs": timed(
                lambda: by_watermark(catalog, next(wheel)["watermark_id"], RECORD_COLUMNS)
            ),
            "by phash, distance 8": timed(lambda: by_phash(catalog, next(wheel)["phash"])),
        }
    }
    print_table(f"look-ups among {catalog.count():,} rows", columns)


def likeness(out: Path, dim: int, rng: np.random.Generator) -> None:
    """The 20 images nearest to a random vector, exactly."""
    catalog = Catalog(out)

    def search(where: str | None = None) -> Any:
        return most_alike(
            catalog, rng.standard_normal(dim), columns=["recipe_id"], where=where, as_arrow=True
        )

    columns = {
        "this project": {
            "top 20 by cosine": timed(search),
            "the same of one artist": timed(lambda: search("artist = 'artist 03'")),
        }
    }
    print_table(f"likeness over {catalog.count():,} embeddings of {dim}", columns)


def duplicates(count: int, rng: np.random.Generator) -> None:
    """All near pairs among random and clustered hashes, and whether planted ones are all found."""
    columns: dict[str, dict[str, tuple[float, float]]] = {}
    for name, hashes in (
        ("random", _random_hashes(count, rng)),
        ("clustered", _clustered_hashes(count, rng)),
    ):
        columns[name] = {}
        for distance in (3, 4, 8):
            started, cpu = time.perf_counter(), time.process_time()
            pairs, _ = near_pairs(hashes, distance)
            spent = (time.perf_counter() - started, time.process_time() - cpu)
            missed = _missed(hashes, pairs, distance)
            columns[name][f"distance {distance}: {len(pairs):,} pairs, {missed} missed"] = spent
    for name, rows in columns.items():
        print_table(f"near pairs among {count:,} {name} hashes", {"this project": rows})


def timed(work: Callable[[], Any], runs: int = 5) -> tuple[float, float]:
    """Wall and processor seconds of the fastest of some runs, after one to warm up."""
    work()
    best = (float("inf"), 0.0)
    for _ in range(runs):
        started, cpu = time.perf_counter(), time.process_time()
        work()
        best = min(best, (time.perf_counter() - started, time.process_time() - cpu))
    return best


def print_table(title: str, columns: dict[str, dict[str, tuple[float, float]]]) -> None:
    """Milliseconds, wall and processor, one row for each piece of work."""
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    print(f"| {title}, ms (processor) | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for row in rows:
        cells = [column.get(row) for column in columns.values()]
        shown = ["–" if c is None else f"{c[0] * 1000:.1f} ({c[1] * 1000:.1f})" for c in cells]
        print(f"| {row} | {' | '.join(shown)} |")
    print(flush=True)


def report_size(label: str, out: Path) -> None:
    """Bytes a row of the parts and of their indexes."""
    parts = part_files(out)
    rows = sum(pq.read_metadata(path).num_rows for path in parts)
    size = sum(path.stat().st_size for path in parts)
    extra = sum(path.stat().st_size for path in (out / "catalog").glob("_index-*"))
    print(
        f"{label}: {rows:,} rows in {len(parts)} parts, {size / rows:.0f} bytes a row, indexes {extra / rows:.0f}\n"
    )


def _duckdb(files: list[str]) -> dict[str, Callable[[], Any]]:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET parquet_metadata_cache = true")
    source = f"read_parquet({files}, union_by_name = true)"
    where = "artist = 'artist 03' AND alignment > 0.3"

    def run(sql: str) -> Callable[[], Any]:
        return lambda: connection.sql(sql).to_arrow_table()

    return {
        "count": run(f"SELECT count(*) FROM {source}"),
        "filter, top 20, all columns": run(
            f"SELECT * FROM {source} WHERE {where} ORDER BY aesthetic DESC LIMIT 20"
        ),
        "filter, top 20, four columns": run(
            f"SELECT recipe_id, prompt, aesthetic, file FROM {source} WHERE {where} ORDER BY aesthetic DESC LIMIT 20"
        ),
        "top 20, all columns": run(f"SELECT * FROM {source} ORDER BY aesthetic DESC LIMIT 20"),
        "mean by artist": run(
            f"SELECT artist, count(*), {', '.join(f'avg({s})' for s in SCORES)} FROM {source} GROUP BY artist"
        ),
        "top 5 of each artist": run(
            f"SELECT recipe_id FROM {source} QUALIFY row_number() OVER (PARTITION BY artist ORDER BY aesthetic DESC) <= 5"
        ),
    }


def _pyarrow(files: list[str]) -> dict[str, Callable[[], Any]]:
    data = pads.dataset(files)
    chosen = (pads.field("artist").cast(pa.string()) == "artist 03") & (pads.field("alignment") > 0.3)

    def top(columns: list[str], condition: Any) -> Any:
        table = data.to_table(columns=columns, filter=condition)
        return table.take(pc.select_k_unstable(table, 20, [("aesthetic", "descending")]))

    return {
        "count": data.count_rows,
        "filter, top 20, four columns": lambda: top(["recipe_id", "prompt", "aesthetic", "file"], chosen),
        "mean by artist": lambda: (
            data.to_table(columns=["artist", *SCORES])
            .unify_dictionaries()
            .group_by("artist")
            .aggregate([(score, "mean") for score in SCORES])
        ),
    }


def _pandas(files: list[str]) -> dict[str, Callable[[], Any]]:
    import pandas

    columns = ["recipe_id", "prompt", "aesthetic", "file", "artist", "alignment"]

    def top() -> Any:
        frame = pandas.read_parquet(files, columns=columns)
        return frame[(frame["artist"] == "artist 03") & (frame["alignment"] > 0.3)].nlargest(20, "aesthetic")

    def mean() -> Any:
        return pandas.read_parquet(files, columns=["artist", *SCORES]).groupby("artist", observed=True).mean()

    return {"filter, top 20, four columns": top, "mean by artist": mean}


def _polars(files: list[str]) -> dict[str, Callable[[], Any]]:
    try:
        import polars as pl
    except ImportError:
        return {}
    lazy = pl.scan_parquet(files)
    chosen = lazy.filter((pl.col("artist") == "artist 03") & (pl.col("alignment") > 0.3))
    four = chosen.select("recipe_id", "prompt", "aesthetic", "file")
    return {
        "count": lambda: lazy.select(pl.len()).collect(),
        "filter, top 20, all columns": lambda: chosen.sort("aesthetic", descending=True).head(20).collect(),
        "filter, top 20, four columns": lambda: four.sort("aesthetic", descending=True).head(20).collect(),
        "mean by artist": lambda: lazy.group_by("artist").agg([pl.col(s).mean() for s in SCORES]).collect(),
    }


def _random_hashes(count: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint64]]:
    hashes = rng.integers(0, 2**64, count, np.uint64)
    hashes[: count // 100] = hashes[-(count // 100) :] ^ np.uint64(0b1000100001)  # some planted at distance 3
    return np.unique(hashes)


def _clustered_hashes(count: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint64]]:
    # A sweep draws many versions of one scene: a hundredth as many scenes as images, 0 to 12 bits apart.
    hashes = rng.integers(0, 2**64, count // 100, np.uint64)[rng.integers(0, count // 100, count)]
    for _ in range(12):
        flip = np.uint64(1) << rng.integers(0, 64, count, np.uint64)
        hashes = np.where(rng.random(count) < 0.5, hashes ^ flip, hashes)
    return np.unique(hashes)


def _missed(hashes: Any, pairs: Any, distance: int) -> int:
    """Pairs that an exhaustive comparison of 200 hashes with all others finds and `pairs` does not hold."""
    found = {(int(a), int(b)) for a, b in pairs[np.isin(pairs, np.arange(200)).any(axis=1)]}
    missed = 0
    for one in range(200):
        near = np.flatnonzero(np.bitwise_count(hashes ^ hashes[one]) <= distance)
        missed += sum((min(one, int(n)), max(one, int(n))) not in found for n in near if n != one)
    return missed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the catalogs are built and kept")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--part-rows", type=int, default=10_000, help="rows of a part before it is merged")
    parser.add_argument("--unmerged", action="store_true", help="time the queries before merging too")
    parser.add_argument("--likeness-rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--hashes", type=int, default=1_000_000)
    parser.add_argument("--skip", nargs="*", default=[], help="libraries to leave out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
