"""The columns: names that are refused, unions of sweeps, and the documentation that follows the code."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import (
    FIXED,
    RESERVED,
    catalog_schema,
    column_table,
    facet_field,
    merge_schemas,
    role_of,
    score_columns,
)
from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.storage.parts import prepare_catalog, publish_shard
from nonesuch.foundation.errors import InputError

DOCS = Path(__file__).parents[2] / "docs" / "catalog.md"


def test_every_column_says_what_it_means_in_the_file_itself() -> None:
    schema = catalog_schema({"subject": "string"}, {"alignment": "float32"}, 4)
    for field in schema:
        assert len(field.metadata[b"description"]) > 5, field.name
        assert role_of(field) != "unknown"
    assert len(FIXED) >= 40
    assert score_columns(schema) == ["alignment"]


@pytest.mark.parametrize("name", ["seed", "Prompt", "embedding", "images", "likeness"])
def test_a_facet_can_not_hide_a_column(name: str) -> None:
    assert name.lower() in RESERVED
    with pytest.raises(InputError, match="column of its own"):
        facet_field(name, "string")


@pytest.mark.parametrize("name", ["", " a", 'a"b', "a;b", "a\nb", "9lives", "x" * 64])
def test_a_facet_needs_a_name_that_readers_take(name: str) -> None:
    with pytest.raises(InputError, match="can't be called"):
        facet_field(name, "string")


def test_a_facet_and_a_score_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="same name as facet 'Mood'"):
        catalog_schema({"Mood": "string"}, {"mood": "float32"}, None)
    with pytest.raises(InputError, match="type 'text'"):
        catalog_schema({"mood": "text"}, {}, None)


def test_a_union_keeps_every_column_and_widens_numbers() -> None:
    first = catalog_schema({"subject": "string", "size": "int64"}, {"alignment": "float32"}, 4)
    second = catalog_schema({"artist": "string", "size": "float64"}, {"sharpness": "int32"}, None)
    union = merge_schemas(first, second, where="x")
    assert {"subject", "artist", "size", "alignment", "sharpness", "embedding"} <= set(union.names)
    assert union.field("size").type == pa.float64()
    assert len(set(union.names)) == len(union.names)
    assert merge_schemas(union, first, where="x") == union


def test_sweeps_that_can_not_share_a_catalog_are_told_so() -> None:
    base = catalog_schema({"size": "int64"}, {}, 4)
    with pytest.raises(InputError, match="embeddings of 4 numbers"):
        merge_schemas(base, catalog_schema({}, {}, 8), where="x")
    with pytest.raises(InputError, match="'size' is int64 in this catalog and string"):
        merge_schemas(base, catalog_schema({"size": "string"}, {}, None), where="x")
    with pytest.raises(InputError, match="upper and lower case"):
        merge_schemas(base, catalog_schema({"Size": "int64"}, {}, None), where="x")


def test_the_documentation_holds_the_column_table() -> None:
    assert column_table() in DOCS.read_text(encoding="utf-8"), "run: python -m nonesuch.catalogs.schema"


def test_a_facet_that_a_catalog_has_as_text_stays_text_when_numbers_come(tmp_path: Path) -> None:
    old = catalog_schema({"count": "string", "size": "int64"}, {}, None)
    new = catalog_schema({"count": "float64", "size": "int64"}, {}, None)
    row = {"recipe_id": "0" * 64, "sweep": "s", "status": "ok", "count": "2", "size": 1}
    publish_shard(tmp_path, "s-0", [row], old)
    publish_shard(tmp_path, "s-1", [row | {"recipe_id": "1" * 64, "count": 2.5}], new)
    publish_shard(tmp_path, "s-2", [row | {"recipe_id": "2" * 64, "count": None}], new)
    assert sorted(map(str, pd.read_parquet(tmp_path / "catalog")["count"])) == ["2", "2.5", "nan"]
    assert Catalog(tmp_path).count("count = '2.5'") == 1
    compact(tmp_path, everything=True)
    assert Catalog(tmp_path).count("count = '2.5'") == 1
    with pytest.raises(InputError, match="one text makes all text"):
        prepare_catalog(tmp_path, catalog_schema({"size": "string"}, {}, None))


def test_whole_numbers_and_fractions_share_a_column(tmp_path: Path) -> None:
    row = {"recipe_id": "0" * 64, "sweep": "s", "status": "ok", "count": 2}
    publish_shard(tmp_path, "s-0", [row], catalog_schema({"count": "int64"}, {}, None))
    half = row | {"recipe_id": "1" * 64, "count": 2.5}
    publish_shard(tmp_path, "s-1", [half], catalog_schema({"count": "float64"}, {}, None))
    assert sorted(pd.read_parquet(tmp_path / "catalog")["count"]) == [2.0, 2.5]
    assert Catalog(tmp_path).count("count > 1.5") == 2
