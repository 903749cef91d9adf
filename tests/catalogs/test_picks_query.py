"""Picks as columns: conditions, orders, groups, tops and statistics see what people said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from catalog_samples import SCHEMA, make_row

from nonesuch.catalogs.picks.log import PickLog, open_picks, picks_file
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import facet_field, score_field
from nonesuch.catalogs.search.embeddings import diverse, most_alike
from nonesuch.catalogs.search.stats import facet_stats
from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.foundation.errors import CatalogError, InputError

IDS = [make_row(i)["recipe_id"] for i in range(60)]


@pytest.fixture
def catalog(demo: Callable[..., Path]) -> Catalog:
    return Catalog(demo(count=60, per=20))


@pytest.fixture
def log(catalog: Catalog) -> PickLog:
    return open_picks(catalog.folder, "ada")


def places(catalog: Catalog, where: str, **options: object) -> list[int]:
    found = catalog.query(where, columns=["plan_index"], as_arrow=True, **options)  # type: ignore[arg-type]
    return list(found["plan_index"].to_pylist())


def test_conditions_see_what_was_said_and_follow_it(catalog: Catalog, log: PickLog) -> None:
    assert places(catalog, "stars >= 4") == []
    assert catalog.count("pick is null") == 60
    for index in range(10):
        log.stars(IDS[index], index % 5 + 1)
    log.pick(IDS[20:23])
    log.reject(IDS[23])
    log.tag(IDS[20], "print")
    log.note(IDS[21], "the light")
    assert sorted(places(catalog, "Stars >= 4")) == [3, 4, 8, 9]
    assert sorted(places(catalog, "pick = 'picked'")) == [20, 21, 22]
    assert places(catalog, "pick = 'rejected' and subject = 'castle'") == [23]
    assert places(catalog, "list_contains(tags, 'print')") == [20]
    assert places(catalog, "note like '%light%'") == [21]
    assert catalog.count("pick is null and stars is null") == 46
    log.undo()
    assert places(catalog, "note is not null") == []
    with pytest.raises(InputError, match="Did you mean stars"):
        catalog.count("star > 1")


def test_orders_tops_groups_and_samples(catalog: Catalog, log: PickLog) -> None:
    for index in range(12):
        log.stars(IDS[index], index % 5 + 1)
    assert places(catalog, "true", order=["stars", "plan_index"], top=3) == [4, 9, 3]
    best = catalog.query(
        order="stars", top_per=("subject", 1), columns=["subject", "stars", "plan_index"], as_arrow=True
    ).to_pylist()
    assert [(row["subject"], row["stars"], row["plan_index"]) for row in best] == [
        ("castle", 4, 8),
        ("fox", 5, 4),
        ("panda", 5, 9),
    ]
    per_star = catalog.query(group="stars", order="stars asc", as_arrow=True).to_pylist()
    assert [(row["stars"], row["images"]) for row in per_star] == [
        (1, 3), (2, 3), (3, 2), (4, 2), (5, 2), (None, 48),
    ]  # fmt: skip
    sampled = catalog.query("stars > 3", sample=3, columns=["recipe_id", "stars", "tags"], as_arrow=True)
    assert len(sampled) == 3
    states = log.states()
    for row in sampled.to_pylist():
        assert row["stars"] == states[row["recipe_id"]].stars
        assert row["tags"] is None


def test_rows_fetched_by_likeness_bring_them_along(catalog: Catalog, log: PickLog) -> None:
    log.pick(IDS[::3])
    vector = make_row(7)["embedding"]
    found = most_alike(catalog, vector, where="pick = 'picked'", top=60, columns=["recipe_id", "pick"])
    assert set(found["recipe_id"]) == set(IDS[::3])
    assert set(found["pick"]) == {"picked"}
    unlike = diverse(catalog, 5, order="aesthetic", where="pick is null", columns=["plan_index", "pick"])
    assert all(index % 3 for index in unlike["plan_index"])
    assert unlike["pick"].isna().all()


def test_statistics_by_pick_and_of_stars(catalog: Catalog, log: PickLog) -> None:
    log.pick(IDS[:20])
    log.reject(IDS[20:30])
    log.stars(IDS[:10], 5)
    log.stars(IDS[10:20], 2)
    found = facet_stats(catalog, facets=["pick", "subject"], scores=["stars", "aesthetic"], pairs=False)
    by_pick = found[(found["facet"] == "pick") & (found["score"] == "aesthetic")].set_index("value")
    assert by_pick["images"].to_dict() == {"picked": 20, "rejected": 10}
    stars = found[(found["facet"] == "pick") & (found["score"] == "stars")].set_index("value")
    assert stars["mean"]["picked"] == 3.5


def test_what_names_no_pick_neither_pays_nor_changes(catalog: Catalog, log: PickLog) -> None:
    log.pick(IDS[0])
    log.close()
    log.path.write_bytes(b"broken, " * 1000)
    assert catalog.count("aesthetic > 5") > 0
    assert "pick" not in catalog.query(top=1).columns
    assert "pick" not in catalog.schema.names
    with pytest.raises(CatalogError, match="log of picks"):
        catalog.count("stars > 3")


def test_a_column_of_the_catalog_hides_one_beside_it(tmp_path: Path) -> None:
    # Such a catalog can only be an old one: the names are reserved now.
    for name in ("pick", "Stars", "tags", "note", "taste"):
        with pytest.raises(InputError, match="column of its own"):
            facet_field(name, "string")
    schema = SCHEMA.append(score_field("mood", "int32"))
    publish_shard(tmp_path, "demo-0", [make_row(i, mood=i) for i in range(5)], schema)
    for path in (tmp_path / "catalog").glob("*.parquet"):
        table = pq.read_table(path)
        names = ["stars" if name == "mood" else name for name in table.column_names]
        pq.write_table(table.rename_columns(names), path)
    open_picks(tmp_path).stars(IDS[0], 5)
    open_picks(tmp_path).pick(IDS[1])
    catalog = Catalog(tmp_path)
    assert catalog.count("stars >= 2") == 3
    both = catalog.query("pick = 'picked'", columns=["stars", "pick"], as_arrow=True).to_pylist()
    assert both == [{"stars": 1, "pick": "picked"}]


def test_picks_stay_with_their_images_when_parts_are_merged(catalog: Catalog, log: PickLog) -> None:
    log.pick(IDS[5:40:7])
    before = places(catalog, "pick = 'picked'", order="aesthetic")
    assert len(before) == 5
    compact(catalog.folder)
    assert places(catalog, "pick = 'picked'", order="aesthetic") == before
    assert places(Catalog(catalog.folder), "pick = 'picked'", order="aesthetic") == before
    publish_shard(catalog.folder, "later-0", [make_row(i) for i in range(100, 105)], SCHEMA)
    log.pick(make_row(103)["recipe_id"])
    assert sorted(places(catalog, "pick = 'picked'")) == sorted([*before, 103])


def test_many_rows_come_as_few_do(catalog: Catalog, log: PickLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.stars(IDS[:30], 3)
    few = catalog.query("stars is null", order="aesthetic", columns=["recipe_id", "pick", "aesthetic"])
    monkeypatch.setattr("nonesuch.catalogs.search.fetching._FEW_ROWS", 10)
    many = catalog.query("stars is null", order="aesthetic", columns=["recipe_id", "pick", "aesthetic"])
    assert len(many) == 30
    assert few.equals(many)


def test_querying_makes_no_log(catalog: Catalog) -> None:
    assert catalog.count("stars > 1") == 0
    assert not picks_file(catalog.folder).exists()
