"""A view and its address are the same thing; cursors come back as they went."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from gallery_samples import SCHEMA
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.foundation.errors import InputError
from nonesuch.web.gallery.filter_columns import columns_of
from nonesuch.web.gallery.paging import Key, decode, encode
from nonesuch.web.gallery.view import PICKS, SHOWN, SIZES, View, chips, conditions, parse_view, query

pytestmark = pytest.mark.slow

COLUMNS = columns_of(SCHEMA, SCHEMA)

texts = (
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40).map(str.strip).filter(bool)
)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)
ids = st.text("0123456789abcdef", min_size=64, max_size=64)


@st.composite
def views(draw: st.DrawFn) -> View:
    facets = tuple(
        (name, tuple(draw(st.lists(texts, min_size=1, max_size=3, unique=True))))
        for name in COLUMNS.axes
        if draw(st.booleans())
    )
    ranges = tuple(
        (name, least, most)
        for name in COLUMNS.scores
        for least, most in [draw(st.tuples(st.none() | numbers, st.none() | numbers))]
        if least is not None or most is not None
    )
    ranked = draw(st.sampled_from(["", "like", "near", "twins"]))
    return View(
        order=draw(st.sampled_from(COLUMNS.orders)),
        down=draw(st.booleans()),
        facets=facets,
        ranges=ranges,
        shown=draw(st.sampled_from(SHOWN)),
        words=draw(st.just("") | texts),
        like=draw(texts) if ranked == "like" else "",
        near=draw(ids) if ranked == "near" else "",
        twins=draw(ids) if ranked == "twins" else "",
        pick=draw(st.sampled_from(["", *PICKS])),
        stars=draw(st.integers(0, 5)),
        tag=draw(st.sampled_from(["", "cover", "a/b c"])),
        size=draw(st.sampled_from(SIZES)),
    )


@given(views())
def test_an_address_says_the_whole_view(view: View) -> None:
    assert parse_view(parse_qsl(query(view, COLUMNS)[1:]), COLUMNS) == view


@given(views())
def test_without_every_chip_nothing_is_filtered(view: View) -> None:
    for _ in range(40):
        on = chips(view)
        if not on:
            break
        view = on[0].without
    assert conditions(view, COLUMNS) == {"[status]": "status IN ('ok', 'flagged')"}


@given(views(), st.text(max_size=30))
def test_conditions_are_one_expression_each(view: View, words: str) -> None:
    import duckdb

    from nonesuch.catalogs.search.expressions import checked_expression

    connection = duckdb.connect()
    found = conditions(View(**{**_plain(view), "words": words}), COLUMNS)
    for sql in found.values():
        assert "{catalog}" not in sql
        checked_expression(connection, sql, [*SCHEMA.names, "pick", "stars", "tags"], what="where")


@given(st.none() | numbers | st.just(float("nan")), st.integers(-1, 2**62), ids)
def test_cursors_come_back(value: float | None, plan: int, recipe_id: str) -> None:
    key = Key(value, plan, recipe_id)
    assert repr(decode(encode(key), "float")) == repr(key)


@given(st.text(max_size=200))
def test_other_texts_are_no_cursors(text: str) -> None:
    with pytest.raises(InputError):
        decode(text, "text")


def _plain(view: View) -> dict[str, object]:
    from dataclasses import fields

    return {one.name: getattr(view, one.name) for one in fields(view)}


@pytest.mark.parametrize(
    "address", ["tag=a&tag=b", "q=owl&q=night", "status=ok&status=all", "min.aesthetic=1&min.aesthetic=2"]
)
def test_of_two_values_none_is_dropped_silently(address: str) -> None:
    with pytest.raises(InputError, match="given twice"):
        parse_view(parse_qsl(address), COLUMNS)
    same = address.split("&")[0]
    assert parse_view(parse_qsl(f"{same}&{same}"), COLUMNS) == parse_view(parse_qsl(same), COLUMNS)
