"""Columns of published rows change in place, in parts of any age, and nothing else does."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.storage.amend import amend_rows
from nonesuch.catalogs.storage.parts import part_files, publish_shard
from nonesuch.foundation.errors import CatalogError


def row(number: int) -> dict[str, object]:
    return {
        "recipe_id": f"{number:064x}",
        "sweep": "s",
        "status": "ok",
        "seed": number,
        "timestamp": "queued",
    }


def published(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "catalog").set_index("recipe_id").sort_index()


def test_only_the_named_rows_and_columns_change(tmp_path: Path) -> None:
    schema = catalog_schema({}, {}, None)
    publish_shard(tmp_path, "a", [row(1), row(2)], schema)
    publish_shard(tmp_path, "b", [row(3)], schema)
    untouched = part_files(tmp_path)[1].stat().st_mtime_ns
    before = published(tmp_path)
    assert amend_rows(tmp_path, {f"{2:064x}": {"timestamp": "authority", "bytes": 7}}) == 1
    after = published(tmp_path)
    assert after["timestamp"].tolist() == ["queued", "authority", "queued"]
    assert after["bytes"].iloc[1] == 7
    assert after["bytes"].isna().tolist() == [True, False, True]
    rest = [name for name in after if name not in ("timestamp", "bytes")]
    pd.testing.assert_frame_equal(before[rest], after[rest])
    assert part_files(tmp_path)[1].stat().st_mtime_ns == untouched


def test_a_part_without_the_column_gets_it(tmp_path: Path) -> None:
    publish_shard(tmp_path, "a", [row(1), row(2)], catalog_schema({}, {}, None))
    path = part_files(tmp_path)[0]
    old = pq.read_table(path).drop_columns(["timestamp", "source_type"])
    pq.write_table(old, path)
    assert amend_rows(tmp_path, {f"{1:064x}": {"timestamp": "authority"}}) == 1
    stamps = published(tmp_path)["timestamp"]
    assert stamps.iloc[0] == "authority"
    assert stamps.isna().tolist() == [False, True]


def test_unknown_columns_are_refused_and_unknown_rows_are_none(tmp_path: Path) -> None:
    publish_shard(tmp_path, "a", [row(1)], catalog_schema({}, {}, None))
    assert amend_rows(tmp_path, {}) == 0
    assert amend_rows(tmp_path, {f"{9:064x}": {"bytes": 1}}) == 0
    with pytest.raises(CatalogError, match="no fixed column subject"):
        amend_rows(tmp_path, {f"{1:064x}": {"subject": "fox"}})
