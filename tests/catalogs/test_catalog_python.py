"""A catalog as a Python object: parameters, len, notebooks, pickling, closing."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalog_samples import SCHEMA, make_row
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.catalogs.exports.selection import select
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.foundation.errors import InputError

NAMES = ["O'Brien", "{catalog}", "' OR true --", "$name", '"', "\\", "Zoë", ""]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    out = tmp_path_factory.mktemp("named")
    rows = [make_row(i) | {"artist": name} for i, name in enumerate(NAMES)]
    publish_shard(out, "demo-0", rows, SCHEMA)
    return Catalog(str(out))


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_is_a_value_whatever_is_in_it(named: Catalog, name: str) -> None:
    found = named.query("artist = $name", parameters={"name": name})
    assert list(found["artist"]) == [name]
    assert named.count(["artist <> $name", "seed >= $least"], parameters={"name": name, "least": 0}) == 7
    assert list(named.query("artist = $name", group="artist", parameters={"name": name})["images"]) == [1]
    assert len(named.query("pick IS NULL AND artist = $n", sample=5, parameters={"n": name})) <= 1
    assert select(named, where="artist = $n", parameters={"n": name}, with_files=False).table.num_rows == 1


@given(st.text())
def test_no_text_becomes_sql(named: Catalog, text: str) -> None:
    assert named.count("artist = $text", parameters={"text": text}) == NAMES.count(text)


def test_parameters_may_be_lists_and_numpy_scalars(named: Catalog) -> None:
    some = {"some": NAMES[:3], "least": np.float32(-1)}
    assert named.count("artist IN $some AND alignment > $least", parameters=some) == 3
    assert named.count("artist IS NOT DISTINCT FROM $none", parameters={"none": None}) == 0


@pytest.mark.parametrize(
    ("where", "parameters", "message"),
    [
        ("artist = $name", None, r"no value for the parameter \$name"),
        ("artist = $name", {"nmae": "x"}, r"no value for the parameter \$name"),
        ("artist = $name", {"name": "x", "other": 1}, r"no condition names \$other"),
        (None, {"name": "x"}, r"no condition names \$name"),
        ("artist = ?", {"name": "x"}, "no value for the parameter"),
        ("artist = $name", {"name": object()}, "type object can't be compared"),
        ("artist = $name", {"name": np.zeros(2)}, "type ndarray can't be compared"),
        ("artist = $name", {"a b": "x"}, "'a b' is not a name"),
        ("alignment > $least", {"least": "much"}, "much"),
    ],
)
def test_wrong_parameters_are_explained(named: Catalog, where: Any, parameters: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        named.query(where, parameters=parameters)


def test_its_length_is_the_number_of_rows(demo: Callable[..., Path]) -> None:
    catalog = Catalog(demo(count=12, per=5, failed=(3,)))
    assert len(catalog) == 12
    assert catalog


def test_a_notebook_shows_its_first_rows_escaped(tmp_path: Path) -> None:
    rows = [make_row(i) | {"artist": "<script>alert(1)</script>"} for i in range(12)]
    publish_shard(tmp_path / "<b>", "demo-0", rows, SCHEMA)
    shown = Catalog(tmp_path / "<b>")._repr_html_()
    assert "12 rows, the first 10" in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 10
    assert set(re.findall(r"</?(\w+)", shown)) == {"p", "table", "thead", "tbody", "tr", "th", "td"}


def test_it_pickles_as_its_place(
    demo: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = demo(count=5)
    monkeypatch.chdir(out.parent)
    data = pickle.dumps(Catalog(out.name, threads=1))
    monkeypatch.chdir("/")
    again = pickle.loads(data)
    assert len(again) == 5
    assert repr(again) == f"Catalog({str(out.resolve())!r})"


def test_with_closes_it(demo: Callable[..., Path]) -> None:
    with Catalog(demo(count=5)) as catalog:
        assert catalog.count("pick IS NULL") == 5
    with pytest.raises(InputError, match="was closed"):
        len(catalog)
    catalog.close()
