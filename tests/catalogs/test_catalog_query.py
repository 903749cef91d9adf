"""Queries: checked against plain Python over the same rows, and against what people get wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from catalog_samples import DIM, SCHEMA, make_row
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.catalogs.exports.selection import select
from nonesuch.catalogs.picks.agreement import agreement
from nonesuch.catalogs.picks.side_by_side import compare, grid_rows
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.search.duplicates import duplicate_groups
from nonesuch.catalogs.search.embeddings import diverse, most_alike
from nonesuch.catalogs.search.expressions import Where, quoted
from nonesuch.catalogs.search.lookup import by_phash
from nonesuch.catalogs.search.stats import facet_stats
from nonesuch.catalogs.storage.parts import drop_failed, publish_shard
from nonesuch.catalogs.storage.retention import Policy, retain
from nonesuch.foundation.errors import CatalogError, InputError

FAILED = (3, 31)


@pytest.fixture
def catalog(demo: Callable[..., Path]) -> Catalog:
    return Catalog(demo(count=60, per=7, failed=FAILED))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    out = tmp_path_factory.mktemp("shared")
    publish_shard(out, "demo-0", [make_row(i) for i in range(30)], SCHEMA)
    return Catalog(out)


def as_stored(index: int) -> dict[str, Any]:
    row = make_row(index, status="failed" if index in FAILED else "ok")
    for name in ("alignment", "aesthetic"):
        row[name] = float(np.float32(row[name])) if name in row else None
    return row


ROWS = [as_stored(i) for i in range(60)]


def test_a_condition_and_an_order_find_the_same_rows_as_python(catalog: Catalog) -> None:
    got = catalog.query("artist = 'Edvard Munch' AND alignment > 0.3", order="aesthetic", top=7)
    rows = [r for r in ROWS if r["artist"] == "Edvard Munch" and (r["alignment"] or 0) > 0.3]
    rows.sort(key=lambda r: -r["aesthetic"])
    assert got["plan_index"].tolist() == [r["plan_index"] for r in rows[:7]]
    assert "embedding" not in got.columns
    assert got["prompt"].tolist() == [r["prompt"] for r in rows[:7]]


def test_exact_numbers_compare_as_written(catalog: Catalog) -> None:
    assert catalog.count("guidance_scale = 7.1") == 60


@pytest.mark.parametrize("top", [None, 60])
def test_rows_without_a_score_come_last_either_way(catalog: Catalog, top: int | None) -> None:
    for descending in (True, False):
        got = catalog.query(order="aesthetic", descending=descending, top=top)
        assert got["plan_index"].tolist()[-2:] == list(FAILED)


def test_the_direction_follows_what_the_column_is(catalog: Catalog) -> None:
    assert catalog.query(order="plan_index", top=1)["plan_index"].tolist() == [0]
    assert catalog.query(order="subject", top=1)["subject"].tolist() == ["castle"]
    best = max(r["aesthetic"] for r in ROWS if r["aesthetic"] is not None)
    assert catalog.query(order="aesthetic", top=1)["aesthetic"].tolist() == [best]
    worst = catalog.query("aesthetic IS NOT NULL", order="aesthetic asc", top=1)
    assert worst["aesthetic"].tolist() == [min(r["aesthetic"] for r in ROWS if r["aesthetic"] is not None)]
    several = catalog.query(order=["subject", "aesthetic desc"], columns=["subject", "aesthetic"])
    assert several["subject"].tolist() == sorted(several["subject"].tolist())


def test_an_expression_can_rank(catalog: Catalog) -> None:
    got = catalog.query(order="aesthetic + 10 * alignment", top=3)
    scored = [r for r in ROWS if r["aesthetic"] is not None]
    scored.sort(key=lambda r: -(r["aesthetic"] + 10 * r["alignment"]))
    assert got["plan_index"].tolist() == [r["plan_index"] for r in scored[:3]]


def test_groups_count_fail_and_average(catalog: Catalog) -> None:
    got = catalog.query(group="subject", order="aesthetic").set_index("subject")
    for subject in got.index:
        rows = [r for r in ROWS if r["subject"] == subject]
        drawn = [r["aesthetic"] for r in rows if r["aesthetic"] is not None]
        assert got.loc[subject, "images"] == len(drawn)
        assert got.loc[subject, "failed"] == len(rows) - len(drawn)
        assert got.loc[subject, "aesthetic_mean"] == pytest.approx(np.mean(drawn))
    assert got["aesthetic_mean"].is_monotonic_decreasing
    pairs = catalog.query(group=["subject", "artist"], order="images", top=2)
    assert len(pairs) == 2
    assert list(pairs.columns[:4]) == ["subject", "artist", "images", "failed"]


def test_the_best_of_each_group(catalog: Catalog) -> None:
    got = catalog.query(top_per=("artist", 3), order="aesthetic")
    for artist in ("Edvard Munch", "Katsushika Hokusai"):
        rows = [r for r in ROWS if r["artist"] == artist and r["aesthetic"] is not None]
        rows.sort(key=lambda r: -r["aesthetic"])
        seen = got[got["artist"] == artist]["plan_index"].tolist()
        assert seen == [r["plan_index"] for r in rows[:3]]
    with pytest.raises(InputError, match="needs an order"):
        catalog.query(top_per=("artist", 3))


def test_a_sample_does_not_depend_on_the_parts(tmp_path: Path, catalog: Catalog) -> None:
    publish_shard(tmp_path, "whole", [r for r in ROWS if r["status"] == "ok"], SCHEMA)
    whole = Catalog(tmp_path)
    first = catalog.query("status = 'ok'", sample=9)["recipe_id"].tolist()
    assert len(first) == 9
    assert first == whole.query(sample=9)["recipe_id"].tolist()
    assert first != whole.query(sample=9, sample_seed=1)["recipe_id"].tolist()
    assert 1 <= len(whole.query(sample=0.2)) <= 25
    for bad in (0, 1.5, -3):
        with pytest.raises(InputError, match="neither a number of rows nor a fraction"):
            whole.query(sample=bad)


def test_arrow_keeps_the_types_of_the_catalog(catalog: Catalog) -> None:
    for options in ({}, {"top": 5}):
        table = catalog.query(
            columns=["Subject", "embedding", "watermark_id", "drawn_at"], as_arrow=True, **options
        )
        assert isinstance(table, pa.Table)
        assert table.column_names == ["subject", "embedding", "watermark_id", "drawn_at"]
        for field in table.schema:
            assert field.type == SCHEMA.field(field.name).type
    whole = catalog.query(columns=["plan_index", "embedding"], order="plan_index")
    np.testing.assert_array_equal(whole["embedding"][0], ROWS[0]["embedding"])
    assert whole["embedding"][FAILED[0]] is None
    assert len(whole["embedding"][0]) == DIM


def test_an_answer_without_rows_still_has_its_columns(catalog: Catalog) -> None:
    for options in ({}, {"top": 5}, {"top": 5, "order": "aesthetic"}):
        got = catalog.query("subject = 'unicorn'", **options)
        assert len(got) == 0
        assert "aesthetic" in got.columns


def test_many_rows_come_back_in_order(tmp_path: Path) -> None:
    for part in range(3):
        rows = [make_row(i) for i in range(part * 2100, (part + 1) * 2100)]
        publish_shard(tmp_path, f"demo-{part}", rows, SCHEMA)
    got = Catalog(tmp_path).query(order="aesthetic", top=6000, columns=["aesthetic", "plan_index"])
    assert len(got) == 6000
    assert got["aesthetic"].is_monotonic_decreasing
    assert got["plan_index"].is_unique


def test_a_catalog_sees_what_is_published_and_dropped_later(catalog: Catalog) -> None:
    assert catalog.count() == 60
    publish_shard(catalog.folder, "demo-later", [make_row(100)], SCHEMA)
    assert catalog.count() == 61
    drop_failed(catalog.folder, "demo")
    assert catalog.count() == 59
    assert len(catalog.query(top=100)) == 59


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("artst = 'x'", "Did you mean artist"),
        ('artist = "Hokusai"', "single quotes"),
        ("alignment > > 1", "syntax error"),
        ("alignment > ", "syntax error"),
        ("1 = 1; DROP TABLE x", "syntax error|Only SELECT|statement"),
        ("1 = 1; SELECT 2", "statement"),
        ("1 = 1) OR (1 = 1", "syntax error"),
        ("artist FROM read_csv('/etc/passwd')", "a statement"),
        ("(SELECT count(*) FROM read_text('/etc/hostname')) = 1", "subquery"),
        ("EXISTS (SELECT 1)", "subquery"),
        ("read_text('/etc/hostname') IS NULL", "read_text"),
        ("current_setting('allowed_directories') = 'x'", "current_setting"),
        ("row_number() OVER () = 1", "window"),
        ("$1 = 1", "parameter"),
        ("COLUMNS('a.*') = 1", "star"),
        ("sum(aesthetic) > 1", "aggregates"),
        ("aesthetic > 'abc'", "abc"),
        ("filename = 'x'", "no column 'filename'"),
        ("x" * 30_000, "longer than"),
    ],
)
def test_what_is_wrong_with_a_condition_is_said(shared: Catalog, where: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shared.query(where)
    with pytest.raises(InputError, match=message):
        shared.query(where, top=3)


EITHER, BOTH = "subject = 'fox' OR subject = 'panda' -- or", "seed < 3"


def _rounded(stats: pd.DataFrame) -> str:
    """Statistics without what the engine's threads decide: the order of addition, and which of equal images is the best."""
    return str((stats.drop(columns="best_recipe").round(9)).to_dict("records")).replace("-0.0,", "0.0,")


ASKED: dict[str, Callable[[Catalog, Where], Any]] = {
    "query": lambda c, where: c.query(where, as_arrow=True),
    "group": lambda c, where: c.query(where, group="subject", as_arrow=True),
    "count": lambda c, where: c.count(where),
    "stats": lambda c, where: _rounded(facet_stats(c, where=where)),
    "agreement": lambda c, where: agreement(c, where=where),
    "duplicates": lambda c, where: duplicate_groups(c, "semantic", likeness=0.3, where=where).to_dict(
        "records"
    ),
    "diverse": lambda c, where: diverse(c, 5, order="aesthetic", where=where, as_arrow=True),
    "likeness": lambda c, where: most_alike(c, np.ones(DIM), where=where, as_arrow=True),
    "look-up": lambda c, where: by_phash(c, 1, max_distance=64, top=99, where=where),
    "compare": lambda c, where: compare(c, by="artist", where=where),
    "grid": lambda c, where: grid_rows(c, by="artist", where=where),
    "retain": lambda c, where: retain(c.folder, Policy(where=where)),
    "export": lambda c, where: select(c, where=where, with_files=False).table,
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_of_several_conditions_all_hold_whatever_is_asked(
    shared: Catalog, asked: Callable[[Catalog, Where], Any]
) -> None:
    one = asked(shared, "(subject = 'fox' OR subject = 'panda') AND seed < 3")
    assert asked(shared, [EITHER, BOTH]) == one
    assert asked(shared, (BOTH, EITHER)) == one
    assert one not in (asked(shared, EITHER), asked(shared, BOTH))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("subjct = 'fox'", r"where \"subjct = 'fox'\": there is no column 'subjct'"),
        ("seed >", r"where: 'seed >': syntax error"),
        ("frob(seed) = 1", r"where 'frob\(seed\) = 1': "),
        ("seed = 1) OR (seed = 2", r"where: 'seed = 1\) OR \(seed = 2': "),
        ("  ", "a condition is empty"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_the_condition_that_is_wrong_is_named(shared: Catalog, wrong: str, message: str, place: int) -> None:
    given = [EITHER, BOTH]
    given.insert(place, wrong)
    with pytest.raises(InputError, match=message) as told:
        shared.query(given)
    assert "panda" not in str(told.value)


def test_an_empty_condition_is_not_every_row(shared: Catalog) -> None:
    for where in ("", [""], ["seed < 3", " "]):
        with pytest.raises(InputError, match="empty"):
            shared.count(where)
        with pytest.raises(InputError, match="empty"):
            retain(shared.folder, Policy(where=where))
    with pytest.raises(InputError, match="every image would be deleted"):
        retain(shared.folder, Policy(where=[]))


def test_a_comment_can_not_hide_the_rest(shared: Catalog) -> None:
    assert shared.count("plan_index < 5 -- all of them") == 5


@given(st.text(max_size=40))
def test_no_text_gets_past_as_anything_but_a_condition(shared: Catalog, text: str) -> None:
    try:
        count = shared.count(text)
    except InputError:
        return
    assert 0 <= count <= 30


@given(st.text(alphabet="Aartis'\"%_() =<>|&", max_size=25))
def test_quotes_never_break_out(shared: Catalog, text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    assert shared.count(f"prompt = {quoted}") == 0
    assert shared.count(f"prompt <> {quoted}") == 30


def test_the_engine_reads_nothing_outside_the_catalog(shared: Catalog, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for sql in (
        f"SELECT * FROM read_csv('{secret}')",
        f"COPY (SELECT 1) TO '{tmp_path}/x.csv'",
        "SET threads = 2",
    ):
        with pytest.raises(
            (InputError, CatalogError), match=r"disabled|locked|Permission|not allowed|Cannot"
        ):
            shared.engine.read(lambda session, sql=sql: session.sql(sql))
    assert not (tmp_path / "x.csv").exists()


def test_options_that_make_no_sense_are_refused(shared: Catalog) -> None:
    with pytest.raises(InputError, match="not a number of rows"):
        shared.query(top=0)
    with pytest.raises(InputError, match="goes with where, order and top only"):
        shared.query(group="subject", sample=3)
    with pytest.raises(InputError, match="no column 'mood'"):
        shared.query(columns=["mood"])
    with pytest.raises(InputError, match=r"no column 'subjct'\n.*subject"):
        shared.query(group="subjct")


def test_a_folder_without_a_catalog_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no catalog here"):
        Catalog(tmp_path)


def test_a_folder_with_an_odd_name_works(tmp_path: Path) -> None:
    out = tmp_path / "it's [a] *odd* name"
    publish_shard(out, "demo-0", [make_row(i) for i in range(5)], SCHEMA)
    assert Catalog(out).count() == 5
    assert len(Catalog(str(out)).query(top=3)) == 3
    assert len(pd.read_parquet(out / "catalog")) == 5


def test_the_word_that_stands_for_the_rows_is_refused(demo: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="stands for the catalog's rows"):
        Catalog(demo(10, 10)).query("prompt = '{catalog}'")


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A catalog whose facets have names that are words of SQL."""
    out = tmp_path_factory.mktemp("worded")
    facets = {"order": "string", "group": "string", "first": "string", "left": "int64"}
    rows = [
        make_row(i) | {"order": "first" if i % 2 else "second", "group": "a", "first": "x", "left": i}
        for i in range(6)
    ]
    known = catalog_schema(facets, {"aesthetic": "float32"}, None)
    publish_shard(out, "w-0", [{n: row[n] for n in known.names if n in row} for row in rows], known)
    return Catalog(out)


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("order = 'first'", """in double quotes, "order": "order" = 'first'"""),
        ("é = 'é' AND Order = 1", """in double quotes, "order": é = 'é' AND "order" = 1"""),
        (
            "left > 1 and group = 'left' -- order",
            """"left" and "group": "left" > 1 and "group" = 'left' -- order""",
        ),
        ("order = 'first' AND", """in double quotes, "order\""""),
        ("seed = = 1", "Write a condition such as"),
    ],
)
def test_a_column_named_like_a_word_of_sql_is_shown_in_quotes(worded: Catalog, where: str, hint: str) -> None:
    with pytest.raises(InputError) as told:
        worded.query(where)
    assert str(told.value).endswith(hint) or "such as" in hint
    assert hint in str(told.value)


def test_columns_named_like_words_of_sql_are_found_in_quotes_and_as_keys(worded: Catalog) -> None:
    assert worded.count("\"order\" = 'first' AND first = 'x'") == 3
    assert worded.query(order=["left desc"])["left"].tolist() == [5, 4, 3, 2, 1, 0]
    assert worded.query(group="order", order="order")["order"].tolist() == ["first", "second"]
    with pytest.raises(InputError, match='Did you mean "order"'):
        worded.count("ordr = 'first'")


def test_every_word_that_sql_keeps_for_itself_is_quoted(worded: Catalog) -> None:
    words = worded.engine.parser.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
    for (word,) in words:
        shown = json.loads(
            worded.engine.parser.execute(
                "SELECT json_serialize_sql(?)", [f"SELECT {quoted(word)}"]
            ).fetchone()[0]
        )
        column = shown["statements"][0]["node"]["select_list"][0]
        assert column["column_names"] == [word]
