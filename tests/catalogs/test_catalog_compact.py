"""Compaction: the same rows in fewer files, whatever else reads, writes or kills meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from catalog_samples import SCHEMA, make_row

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.search.lookup import by_digest, by_manifest, by_phash, by_recipe, by_watermark
from nonesuch.catalogs.storage import locks
from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.storage.indexes import index_files
from nonesuch.catalogs.storage.parts import SCHEMA_FILE, drop_failed, part_files, publish_shard, published_ids
from nonesuch.foundation.errors import CatalogError

pytestmark = pytest.mark.slow


def contents(out: Path) -> pd.DataFrame:
    """Every row as pandas reads it, in the order of their ids, as plain values."""
    frame = pd.read_parquet(out / "catalog").sort_values("recipe_id").reset_index(drop=True)
    frame["embedding"] = [None if e is None else e.tobytes() for e in frame["embedding"]]
    return frame.astype(object).where(frame.notna(), None)


def test_merged_rows_are_the_same_rows_in_a_useful_order(demo: Callable[..., Path]) -> None:
    out = demo(count=200, per=7, failed=(3, 50))
    before = contents(out)
    done = compact(out, rows_per_part=64)
    assert (done.rows, done.parts_before, done.parts_after) == (200, 29, 4)
    pd.testing.assert_frame_equal(contents(out), before, check_dtype=False)
    merged = pq.read_table(out / "catalog")
    assert merged.schema.equals(SCHEMA)
    keys = list(
        zip(*(merged[c].to_pylist() for c in ("artist", "subject", "strokes", "plan_index")), strict=True)
    )
    assert keys == sorted(keys)
    assert compact(out, rows_per_part=64).rows == 0
    leftovers = {p.name for p in out.iterdir()}
    assert leftovers == {"catalog", ".catalog.lock", ".compact.lock"}


def test_new_parts_are_merged_without_touching_large_ones(demo: Callable[..., Path]) -> None:
    out = demo(count=64, per=8)
    compact(out, rows_per_part=64)
    large = part_files(out)[0]
    inode = large.stat().st_ino
    for number in range(3):
        publish_shard(out, f"later-{number}", [make_row(100 + number, sweep="later")], SCHEMA)
    done = compact(out, rows_per_part=64)
    assert (done.rows, done.parts_after) == (3, 2)
    assert large.stat().st_ino == inode
    assert len(index_files(large)) == 6
    assert len(contents(out)) == 67
    assert compact(out, everything=True, rows_per_part=128).parts_after == 1
    assert len(contents(out)) == 67


def test_sweeps_with_other_columns_are_merged(tmp_path: Path) -> None:
    wide = catalog_schema({"mood": "string", "strokes": "float64"}, {}, None)
    base = {"status": "ok", "sweep": "b"}
    publish_shard(tmp_path, "b-0", [base | {"recipe_id": "b" * 64, "mood": "x", "strokes": 0.5}], wide)
    publish_shard(tmp_path, "a-0", [make_row(i) for i in range(4)], SCHEMA)
    publish_shard(tmp_path, "c-0", [base | {"recipe_id": "c" * 64, "mood": None, "strokes": None}], wide)
    before = contents(tmp_path)
    assert compact(tmp_path).rows == 6
    pd.testing.assert_frame_equal(contents(tmp_path), before, check_dtype=False)


def test_look_ups_through_indexes_agree_with_scans(demo: Callable[..., Path]) -> None:
    out = demo(count=150, per=10, failed=(3,))
    scanned = Catalog(out)
    rows = [make_row(i) for i in (0, 77, 149)]
    phash = rows[1]["phash"] ^ 0b11

    def answers() -> list[object]:
        found: list[object] = [
            sorted(
                (r["distance"], r["recipe_id"]) for r in by_phash(scanned, phash, max_distance=30, top=200)
            ),
            by_recipe(scanned, make_row(3)["recipe_id"])[0]["status"],
        ]
        for row in rows:
            found += [
                by_recipe(scanned, row["recipe_id"]),
                sorted(r["plan_index"] for r in by_recipe(scanned, row["recipe_id"][:4])),
                by_recipe(scanned, row["recipe_id"][:20]),
                by_recipe(scanned, row["recipe_id"][:20] + "0123"),
                by_watermark(scanned, row["watermark_id"]),
                by_watermark(scanned, row["watermark_id"] ^ 1),
                by_manifest(scanned, row["manifest_id"]),
                by_manifest(scanned, row["manifest_id"][:-1]),
                by_manifest(scanned, "urn:uuid:other"),
                by_digest(scanned, row["sha256"]),
                by_digest(scanned, row["sha256"][:-1] + ("0" if row["sha256"][-1] != "0" else "1")),
            ]
        return found

    before = answers()
    assert before[2] != []
    assert len(by_manifest(scanned, rows[1]["manifest_id"])) == 1
    compact(out, rows_per_part=64)
    assert len(index_files(part_files(out)[0])) == 6
    assert answers() == before


def test_dropping_rows_of_a_merged_part_drops_its_indexes(demo: Callable[..., Path]) -> None:
    out = demo(count=60, per=10, failed=(3,))
    compact(out)
    catalog = Catalog(out)
    last = make_row(59)
    assert by_watermark(catalog, last["watermark_id"])[0]["plan_index"] == 59
    assert drop_failed(out, "demo") == 1
    assert index_files(part_files(out)[0]) == []
    assert by_watermark(catalog, last["watermark_id"])[0]["plan_index"] == 59
    assert by_recipe(catalog, make_row(3)["recipe_id"]) == []
    assert compact(out).rows == 59
    assert len(index_files(part_files(out)[0])) == 6
    assert by_watermark(catalog, last["watermark_id"])[0]["plan_index"] == 59


def test_a_damaged_part_stops_the_merge_and_loses_nothing(demo: Callable[..., Path]) -> None:
    out = demo(count=30, per=10)
    path = part_files(out)[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(CatalogError, match=path.name):
        compact(out)
    path.write_bytes(whole)
    assert len(contents(out)) == 30
    assert compact(out).rows == 30


def test_only_one_compaction_at_a_time(demo: Callable[..., Path]) -> None:
    out = demo(count=20, per=5)
    with locks.sole_compaction(out / "catalog"), pytest.raises(CatalogError, match="another compaction"):
        compact(out)
    assert compact(out).rows == 20


@pytest.mark.parametrize("interrupted", [False, True])
def test_file_systems_without_exchange(
    demo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    out = demo(count=40, per=5)
    before = contents(out)
    monkeypatch.setattr(locks, "_exchange", lambda one, other: False)
    compact(out, rows_per_part=64)
    if interrupted:  # as if killed between the two renames
        (out / "catalog").rename(out / ".catalog-next")
        assert len(published_ids(out)) == 40
        publish_shard(out, "later-0", [make_row(77, sweep="later")], SCHEMA)
        assert not (out / ".catalog-next").exists()
        assert len(contents(out)) == 41
    else:
        pd.testing.assert_frame_equal(contents(out), before, check_dtype=False)


def _compact_on_and_on(out: Path) -> None:
    while True:
        compact(out, everything=True, rows_per_part=64)


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.long)])
def test_killed_at_any_moment_the_rows_stay(demo: Callable[..., Path], kills: int) -> None:
    out = demo(count=120, per=6)
    before = contents(out)
    started = time.monotonic()
    compact(out, everything=True, rows_per_part=64)
    whole = time.monotonic() - started
    rng = random.Random(kills)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nonesuch.catalogs.storage.compact", "catalog_samples"])
    for _ in range(kills):
        process = context.Process(target=_compact_on_and_on, args=(out,))
        process.start()
        time.sleep(0.02 + 2 * whole * rng.random())
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        pd.testing.assert_frame_equal(contents(out), before, check_dtype=False)
    compact(out, everything=True, rows_per_part=64)
    pd.testing.assert_frame_equal(contents(out), before, check_dtype=False)
    assert {p.name for p in out.iterdir()} == {"catalog", ".catalog.lock", ".compact.lock"}


def test_readers_and_writers_go_on_meanwhile(demo: Callable[..., Path]) -> None:
    out = demo(count=60, per=3)
    catalog = Catalog(out)
    published = 60
    ended = threading.Event()
    trouble: list[str] = []

    def write() -> None:
        nonlocal published
        while not ended.is_set() and published < 200:
            publish_shard(out, f"late-{published:05d}", [make_row(published)], SCHEMA)
            published += 1

    def read() -> None:
        while not ended.is_set():
            low = published
            rows = catalog.query(order="aesthetic", top=10_000, columns=["recipe_id"])
            ids = set(rows["recipe_id"])
            if len(ids) != len(rows) or not low <= len(ids) <= published + 1:
                trouble.append(f"{low} <= {len(rows)} rows, {len(ids)} ids <= {published + 1}")
            try:
                seen = pd.read_parquet(out / "catalog", columns=["recipe_id"])["recipe_id"]
            except FileNotFoundError:
                continue  # it listed the folder before the exchange and opened the parts after it
            if not seen.is_unique or not low <= len(seen) <= published + 1:
                trouble.append(f"pandas saw {len(seen)} rows, {seen.nunique()} ids, from {low} on")

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(6):
            compact(out, everything=turn % 3 == 0, rows_per_part=64)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert trouble == []
    assert np.array_equal(
        published_ids(out),
        np.sort(np.array([int(make_row(i)["recipe_id"][:16], 16) for i in range(published)], np.uint64)),
    )
    assert os.path.exists(out / "catalog" / SCHEMA_FILE)
