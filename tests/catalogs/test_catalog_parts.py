"""Publishing: whole parts or none, one truth for resuming, and readers that see every column."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from catalog_samples import DIM, SCHEMA, make_row

from catalogs.parts import (
    SCHEMA_FILE,
    check_parts,
    drop_failed,
    part_files,
    prepare_catalog,
    publish_shard,
    published_ids,
    read_schema,
    recipe_key,
    rows_to_table,
)
from catalogs.query import Catalog
from catalogs.schema import catalog_schema
from foundation.errors import CatalogError, InputError, StorageError


def test_pandas_reads_a_catalog_back(demo: Callable[..., Path]) -> None:
    out = demo(count=20, per=5, failed=(7,))
    frame = pd.read_parquet(out / "catalog").sort_values("plan_index").reset_index(drop=True)
    assert len(frame) == 20
    assert frame["watermark_id"].dtype == np.uint64
    for index in range(20):
        row = make_row(index, status="failed" if index == 7 else "ok")
        seen = frame.iloc[index]
        assert seen["watermark_id"] == row.get("watermark_id", 0)
        assert seen["recipe_id"] == row["recipe_id"]
        assert seen["drawn_at"] == pd.Timestamp(row["drawn_at"])
        assert seen["subject"] == row["subject"]
        if index == 7:
            assert seen["embedding"] is None
            assert np.isnan(seen["aesthetic"])
        else:
            np.testing.assert_array_equal(seen["embedding"], row["embedding"])
            assert seen["embedding"].dtype == np.float16


def test_sweeps_with_other_facets_share_a_catalog_with_every_reader(tmp_path: Path) -> None:
    first = catalog_schema({"zeta": "string", "strokes": "int64"}, {"late": "float32"}, DIM)
    second = catalog_schema({"alpha": "string", "strokes": "float64"}, {"early": "bool"}, None)

    def row(index: int, sweep: str, **facets: object) -> dict[str, object]:
        full = make_row(index, sweep=sweep)
        dropped = ("subject", "artist", "alignment", "aesthetic", "subject_rank", "blank", "strokes")
        return {k: v for k, v in full.items() if k not in dropped} | facets

    publish_shard(tmp_path, "zz-0", [row(0, "zz", zeta="a", strokes=3, late=0.5)], first)
    plain = row(1, "aa", alpha="b", strokes=0.5, early=True)
    del plain["embedding"]
    publish_shard(tmp_path, "aa-0", [plain], second)

    expected = {"zeta", "alpha", "strokes", "late", "early", "embedding"}
    frame = pd.read_parquet(tmp_path / "catalog").set_index("sweep")
    assert expected <= set(frame.columns)
    assert frame.loc["zz", "strokes"] == 3.0
    assert frame.loc["aa", "strokes"] == 0.5
    assert frame.loc["aa", "embedding"] is None
    assert pd.isna(frame.loc["zz", "alpha"])
    table = pq.read_table(tmp_path / "catalog")
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), DIM)
    assert expected <= set(Catalog(tmp_path).query(columns=sorted(expected)).columns)
    files = sorted(str(p) for p in (tmp_path / "catalog").glob("*.parquet"))
    relation = duckdb.connect().sql(f"SELECT * FROM read_parquet({files}, union_by_name=true)")
    assert expected <= set(relation.columns)


def test_a_part_is_never_overwritten_unless_asked(demo: Callable[..., Path]) -> None:
    out = demo(count=5, per=5)
    with pytest.raises(CatalogError, match="exists already"):
        publish_shard(out, "demo-00000", [make_row(99)], SCHEMA)
    publish_shard(out, "demo-00000", [make_row(99)], SCHEMA, replace=True)
    assert Catalog(out).query()["plan_index"].tolist() == [99]


@pytest.mark.parametrize("name", ["", "../x", ".hidden", "_x", "0-abc", "!x"])
def test_part_names_that_readers_would_miss_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        publish_shard(tmp_path, name, [make_row(0)], SCHEMA)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe_id": "ABC"}, "64 lower-case hex"),
        ({"status": "fine"}, "needs a status"),
        ({"colour": 1}, "no column colour"),
        ({"seed": "seven"}, "column 'seed'"),
        ({"embedding": np.zeros(3)}, r"\(3,\)"),
        ({"width": 2**40}, "column 'width'"),
    ],
)
def test_rows_that_do_not_fit_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        rows_to_table([make_row(0) | change], SCHEMA)


def test_rows_must_be_distinct_and_some() -> None:
    with pytest.raises(CatalogError, match="same recipe_id"):
        rows_to_table([make_row(0), make_row(0)], SCHEMA)
    with pytest.raises(CatalogError, match="at least one row"):
        rows_to_table([], SCHEMA)


def test_published_ids_are_the_sorted_beginnings_of_the_recipe_ids(demo: Callable[..., Path]) -> None:
    out = demo(count=50, per=7, failed=(3,))
    expected = sorted(recipe_key(make_row(i)["recipe_id"]) for i in range(50))
    assert published_ids(out).tolist() == expected
    assert published_ids(out / "catalog").tolist() == expected
    assert published_ids(out / "nowhere").tolist() == []


def test_dropping_failed_rows_makes_them_new_again(demo: Callable[..., Path]) -> None:
    out = demo(count=20, per=5, failed=(3, 10, 11, 12, 13, 14))
    assert drop_failed(out, "other") == 0
    assert drop_failed(out, "demo") == 6
    left = Catalog(out).query(order="plan_index")
    assert left["plan_index"].tolist() == [i for i in range(20) if i not in (3, 10, 11, 12, 13, 14)]
    assert [p.name for p in part_files(out)] == [f"demo-0000{i}.parquet" for i in (0, 1, 3)]
    assert pq.read_schema(part_files(out)[0]).equals(SCHEMA)
    assert drop_failed(out, "demo") == 0


def test_a_truncated_part_is_named_with_what_to_do(demo: Callable[..., Path]) -> None:
    out = demo(count=10, per=5)
    path = part_files(out)[1]
    os.truncate(path, path.stat().st_size // 2)
    for read in (published_ids, check_parts, lambda o: Catalog(o).query()):
        with pytest.raises(CatalogError, match="damaged") as caught:
            read(out)
        assert path.name in str(caught.value)
        assert "--repair" in str(caught.value)


def test_a_changed_page_is_found(demo: Callable[..., Path]) -> None:
    out = demo(count=200, per=200)
    path = part_files(out)[0]
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    data[start + 200] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CatalogError, match="damaged"):
        published_ids(out)


def test_nothing_half_written_is_left_behind(demo: Callable[..., Path]) -> None:
    out = demo(count=10, per=5)
    names = {p.name for p in (out / "catalog").iterdir()}
    assert names == {SCHEMA_FILE, "demo-00000.parquet", "demo-00001.parquet"}


def test_an_output_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        prepare_catalog(tmp_path / "file" / "out", SCHEMA)


def test_writers_of_different_sweeps_do_not_lose_each_others_columns(tmp_path: Path) -> None:
    def write(number: int) -> None:
        schema = catalog_schema({f"facet{number}": "string"}, {}, None)
        row = {"recipe_id": f"{number:064x}", "sweep": f"s{number}", "status": "ok", f"facet{number}": "x"}
        publish_shard(tmp_path, f"s{number}-0", [row], schema)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    schema = read_schema(tmp_path)
    assert schema is not None
    assert {f"facet{n}" for n in range(12)} <= set(schema.names)
    assert len(pd.read_parquet(tmp_path / "catalog")) == 12
