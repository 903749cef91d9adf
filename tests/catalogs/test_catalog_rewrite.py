"""Rewriting columns of a whole catalog: values and types change in one step, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from catalog_samples import SCHEMA, make_row

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import catalog_schema, merge_schemas
from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.storage.indexes import index_files
from nonesuch.catalogs.storage.parts import part_files, publish_shard
from nonesuch.catalogs.storage.rewrite import ROW, rewrite_parts
from nonesuch.foundation.errors import CatalogError


def contents(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "catalog").sort_values("recipe_id").reset_index(drop=True)


def changes(rows: list[int], **columns: pa.Array) -> pa.Table:
    return pa.table({ROW: pa.array(rows, pa.int64()), **columns})


def test_values_change_and_columns_come(demo: Callable[..., Path]) -> None:
    out = demo(count=30, per=10)
    before = contents(out)
    parts = part_files(out)
    untouched = parts[1].stat().st_ino
    schema = merge_schemas(SCHEMA, catalog_schema({}, {"charm": "float32"}, 8), where="test")

    def update(part: Path) -> pa.Table | None:
        if part.name != parts[0].name:
            return None
        return changes(
            [2, 5], charm=pa.array([0.5, None], pa.float32()), status=pa.array(["flagged", "ok"]),
            aesthetic=pa.array([1.0, 2.0], pa.float32()),
        )  # fmt: skip

    assert rewrite_parts(out, schema, update) == 2
    after = contents(out)
    place = after.set_index("plan_index")
    assert place.loc[2, ["charm", "status", "aesthetic"]].tolist() == [0.5, "flagged", 1.0]
    assert place.loc[5, "aesthetic"] == 2.0
    assert np.isnan(place.loc[5, "charm"])
    assert place["charm"].notna().sum() == 1
    same = [name for name in before.columns if name not in ("status", "aesthetic", "embedding")]
    pd.testing.assert_frame_equal(after[same], before[same])
    assert part_files(out)[1].stat().st_ino == untouched
    assert Catalog(out).query("charm = 0.5")["plan_index"].tolist() == [2]
    assert list(after.columns).index("charm") < list(after.columns).index("phash")


def test_embeddings_of_another_length_take_the_place_of_all(demo: Callable[..., Path]) -> None:
    out = demo(count=20, per=10, failed=(3,))
    compact(out)
    indexes = [path.name for path in index_files(part_files(out)[0])]
    publish_shard(out, "later-0", [make_row(40, status="failed", sweep="later")], SCHEMA)
    schema = merge_schemas(
        pa.schema([field for field in SCHEMA if field.name != "embedding"]),
        catalog_schema({}, {}, 4),
        where="test",
    )
    vectors = pa.array([[1, 0, 0, 0]] * 3, pa.list_(pa.float16(), 4))

    def update(part: Path) -> pa.Table | None:
        return changes([0, 1, 2], embedding=vectors) if part.name.startswith("compact") else None

    assert rewrite_parts(out, schema, update) == 3
    table = Catalog(out).query(columns=["embedding"], as_arrow=True)
    assert table.schema.field("embedding").type.list_size == 4
    assert table["embedding"].null_count == 18
    merged = next(path for path in part_files(out) if path.name.startswith("compact"))
    assert [path.name for path in index_files(merged)] == indexes


def test_what_is_published_meanwhile_is_not_lost(demo: Callable[..., Path]) -> None:
    out = demo(count=20, per=10)

    def update(part: Path) -> pa.Table | None:
        if part.name.endswith("00001.parquet"):
            publish_shard(out, "late-0", [make_row(77)], SCHEMA)
        return changes([0], aesthetic=pa.array([99.0], pa.float32()))

    with pytest.raises(CatalogError, match="changed while they were rewritten"):
        rewrite_parts(out, SCHEMA, update)
    after = contents(out)
    assert len(after) == 21
    assert after["aesthetic"].max() < 99
    assert not (out / ".catalog-staged").exists()


def test_a_failing_update_leaves_everything(demo: Callable[..., Path]) -> None:
    out = demo(count=20, per=10)
    before = contents(out)

    def update(part: Path) -> pa.Table | None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        rewrite_parts(out, SCHEMA, update)
    pd.testing.assert_frame_equal(contents(out).drop(columns="embedding"), before.drop(columns="embedding"))
