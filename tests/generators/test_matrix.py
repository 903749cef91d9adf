from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.foundation.errors import InputError
from nonesuch.generators.matrix.expansion import Matrix
from nonesuch.generators.matrix.plan import open_matrix, plan, record_speed
from nonesuch.generators.sweepfile.sweep import make_sweep


def matrix(folder: Path = Path(), **keys: Any) -> Matrix:
    return open_matrix(make_sweep({"name": "x", "model": "noise"} | keys, folder))


def facets_of(one: Matrix) -> list[dict[str, str]]:
    return [dict(recipe.facets) | {"seed": str(recipe.seed)} for recipe in one]


def test_the_full_product_in_the_file_s_order_seeds_fastest() -> None:
    one = matrix(prompt="{b} {a}", facets={"a": ["1", "2"], "b": ["x", "y"]}, seeds=[5, 3])
    assert [(recipe.prompt, recipe.seed) for recipe in one] == [
        (f"{b} {a}", seed) for a, b, seed in itertools.product("12", "xy", [5, 3])
    ]
    assert [recipe.plan_index for recipe in one] == list(range(8))
    assert list(one) == list(one)


def test_settings_are_outermost_slowest_first() -> None:
    one = matrix(
        prompt="{a}", facets={"a": ["p", "q"], "guidance": [1, 2], "steps": [5, 9], "size": ["64x32", 16]}
    )
    assert [axis.facets[0] for axis in one.axes] == ["size", "steps", "guidance", "a"]
    recipes = list(one)
    assert [recipe.prompt for recipe in recipes] == ["p", "q"] * 8
    assert (recipes[0].width, recipes[0].height, recipes[0].steps, recipes[0].guidance_scale) == (
        64,
        32,
        5,
        1.0,
    )
    assert len([key for key, _ in itertools.groupby(recipes, key=lambda recipe: recipe.group)]) == 8


def test_values_may_carry_settings_and_options_merge() -> None:
    one = matrix(
        prompt="{a}",
        facets={"a": ["p", {"name": "fine", "settings": {"steps": 40, "options": {"eta": 1}}}]},
        settings={"steps": 10, "options": {"clip_skip": 2}},
    )
    plain, fine = one
    assert (plain.steps, plain.options) == (10, (("clip_skip", 2),))
    assert (fine.steps, fine.options, fine.prompt) == (40, (("clip_skip", 2), ("eta", 1)), "fine")


def test_zip_goes_in_step() -> None:
    one = matrix(
        prompt="{a}{b}{c}", facets={"a": ["1", "2"], "c": ["-", "+"], "b": ["x", "y"]}, zip=[["a", "b"]]
    )
    assert [recipe.prompt for recipe in one] == ["1x-", "1x+", "2y-", "2y+"]
    with pytest.raises(InputError, match="a 2, b 1"):
        matrix(prompt="{a}{b}", facets={"a": ["1", "2"], "b": ["x"]}, zip=[["a", "b"]])


names = st.sampled_from("abc")
clauses = st.lists(
    st.dictionaries(st.sampled_from("xyz"), names | st.lists(names, min_size=1, max_size=2), min_size=1),
    max_size=4,
)


@given(clauses, clauses, st.booleans(), st.none() | st.integers(1, 60) | st.floats(0.01, 1))
def test_exclude_only_zip_and_sample_agree_with_plain_filters(
    exclude: list[dict[str, Any]], only: list[dict[str, Any]], zipped: bool, sample: int | float | None
) -> None:
    def matches(cell: dict[str, str], clause: dict[str, Any]) -> bool:
        return all(cell[facet] in (list(wanted)) for facet, wanted in clause.items())

    expected = []
    for x, y, z, seed in itertools.product("abc", "abc", "abc", "01"):
        cell = {"x": x, "y": y, "z": z, "seed": seed}
        if zipped and x != y:
            continue
        if any(matches(cell, one) for one in exclude):
            continue
        if not only or any(matches(cell, one) for one in only):
            expected.append(cell)
    keys: dict[str, Any] = {
        "prompt": "{x}{y}{z}", "facets": {name: list("abc") for name in "xyz"},
        "exclude": exclude, "only": only, "zip": [["x", "y"]] if zipped else [], "seeds": [0, 1],
    }  # fmt: skip
    if not expected:
        with pytest.raises(InputError, match="leave no combination"):
            matrix(**keys, sample=sample)
        return
    one = matrix(**keys, sample=sample)
    found = facets_of(one)
    assert one.count() == len(found)
    if sample is None:
        assert found == expected
    else:
        wanted = sample if isinstance(sample, int) else max(1, round(sample * len(expected)))
        assert len(found) == min(wanted, len(expected))
        places = [expected.index(cell) for cell in found]
        assert places == sorted(set(places))


def test_choose_makes_every_combination() -> None:
    one = matrix(prompt="by {a}", facets={"a": {"values": ["p", "q", "r"], "choose": 2}})
    assert [recipe.prompt for recipe in one] == ["by p and q", "by p and r", "by q and r"]
    assert dict(next(iter(one)).facets) == {"a": "p + q"}


def test_negative_texts() -> None:
    one = matrix(
        prompt="{a}",
        negative="blurry, {b}",
        facets={"a": ["p", {"name": "q", "negative": "snow, "}], "b": ["dark", {"name": "none", "text": ""}]},
    )
    assert [recipe.negative_prompt for recipe in one] == [
        "blurry, dark", "blurry", "blurry, dark, snow", "blurry, snow",
    ]  # fmt: skip
    own = matrix(prompt="{a}", negative="{a}, worst", facets={"a": [{"name": "p", "negative": "n"}, "q"]})
    assert [recipe.negative_prompt for recipe in own] == ["n, worst", "worst"]


def test_literal_braces_and_commas_stay() -> None:
    one = matrix(prompt="{{{a}}},, x", negative="a,, b", facets={"a": ["p"]})
    assert next(iter(one)).prompt == "{p},, x"
    assert next(iter(one)).negative_prompt == "a,, b"


def test_facet_texts_are_those_of_the_prompt() -> None:
    one = matrix(prompt="{a}", facets={"a": ["p", {"name": "q", "text": "a long q"}], "steps": [1, 2]})
    assert one.facet_texts == {"a": {"p": "p", "q": "a long q"}}


def test_values_from_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("﻿panda\n\n# no\n fox \n", "utf-8")
    (tmp_path / "b.csv").write_text('name,words,no\nx,"an x, big",dim\ny,a y,\n', "utf-8")
    table = pyarrow.table({"words": ["one", "two"], "n": [1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "c.parquet")
    one = matrix(
        tmp_path,
        prompt="{a}/{b}/{c}",
        facets={
            "a": {"file": "a.txt"},
            "b": {"file": "b.csv", "text": "words", "negative": "no"},
            "c": {"file": "c.parquet", "column": "n", "text": "words"},
        },
    )
    recipes = list(one)
    assert len(recipes) == 8
    assert recipes[0].prompt == "panda/an x, big/one"
    assert recipes[0].negative_prompt == "dim"
    assert recipes[-1].facets == (("a", "fox"), ("b", "y"), ("c", "2"))


@pytest.mark.parametrize(
    ("name", "content", "column", "says"),
    [
        ("a.csv", b"name\nx\n", "text", "no column 'text'"),
        ("a.csv", b"", None, "no columns"),
        ("a.csv", b"name\n\xff\n", None, "can't be read as CSV"),
        ("a.csv", b"name,text\n,x\n", None, "has no name"),
        ("a.txt", b"\n#\n", None, "has no values"),
        ("a.txt", b"x\nx\n", None, "two values are named 'x'"),
        ("a.txt", b"x\n", "name", "has no columns"),
        ("a.parquet", b"PAR1 no", None, "can't be read as Parquet"),
    ],
)
def test_bad_files_are_refused(
    tmp_path: Path, name: str, content: bytes, column: str | None, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        matrix(tmp_path, prompt="{a}", facets={"a": {"file": name, "column": column}})


def test_random_texts_are_recorded_and_reproducible(tmp_path: Path) -> None:
    (tmp_path / "weather.txt").write_text("sunny\nrainy\nfoggy\n", "utf-8")

    def texts(draws: int, seed: int = 0) -> list[str]:
        facet = {"dynamic": "{5::__weather__|0.1::dark} {day|night}", "draws": draws, "seed": seed}
        one = matrix(tmp_path, prompt="a {mood} sea", facets={"mood": facet}, wildcards=".")
        for recipe in one:
            assert recipe.prompt == f"a {dict(recipe.facets)['mood']} sea"
        return [dict(recipe.facets)["mood"] for recipe in one]

    assert len(set(texts(6))) == 6
    assert texts(6) == texts(6)
    assert texts(6)[:3] == texts(3)
    assert texts(6) != texts(6, seed=1)
    assert {text.split()[0] for text in texts(8)} == {"sunny", "rainy", "foggy", "dark"}


def test_ten_million_cells_are_counted_and_reached_at_once() -> None:
    one = matrix(
        prompt="{a} {b}",
        facets={"a": [f"a{i}" for i in range(1000)], "b": [f"b{i}" for i in range(1000)]},
        exclude=[{"a": "a0", "b": ["b0", "b1"]}],
        seeds={"count": 10},
    )
    assert one.count() == 9_999_980
    assert next(iter(one)).prompt == "a0 b2"


def write_lora(path: Path, *, width: int) -> None:
    """A safetensors file with one factor of a cross-attention layer."""
    name = b'"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight"'
    header = b'{%s:{"dtype":"F32","shape":[1,%d],"data_offsets":[0,%d]}}' % (name, width, 4 * width)
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * width))


def test_a_lora_for_another_architecture_is_refused_by_the_plan(tmp_path: Path) -> None:
    write_lora(tmp_path / "big.safetensors", width=2048)
    (tmp_path / "text.safetensors").write_bytes(b"weights")
    with pytest.raises(InputError, match=r"big.safetensors does not fit embedded: it is for SDXL"):
        matrix(tmp_path, prompt="p", settings={"loras": [{"path": "big.safetensors"}]}, model="embedded")
    with pytest.raises(InputError, match="not a safetensors file"):
        matrix(tmp_path, prompt="p", settings={"loras": [{"path": "text.safetensors"}]})


def test_loras_are_named_by_file_and_weight(tmp_path: Path) -> None:
    write_lora(tmp_path / "ink.safetensors", width=192)
    one = matrix(tmp_path, prompt="p", facets={"loras": ["none", "ink.safetensors"]})
    without, inked = one
    assert without.loras == ()
    assert inked.loras[0].path == str(tmp_path / "ink.safetensors")
    assert len(inked.loras[0].digest) == 64
    for bad in ("none.safetensors", "ink.bin"):
        with pytest.raises(InputError, match=r"no file|not a safetensors"):
            matrix(tmp_path, prompt="p", settings={"loras": [{"path": bad}]})


def test_a_plan_says_what_will_be_drawn() -> None:
    sweep = make_sweep(
        {
            "name": "x",
            "model": "noise",
            "prompt": "{a}",
            "facets": {"a": list("abcdefgh")},
            "seeds": {"count": 3},
        }
    )
    first = plan(sweep)
    assert (first.cells, first.seeds, first.facets) == (24, 3, (("a", 8),))
    assert first.first_prompts == ("a", "b", "c", "d", "e")
    assert first.seconds > 0
    assert first.bytes > 24 * 128 * 128
    record_speed(list(open_matrix(sweep)), 240.0)
    assert plan(sweep).seconds == pytest.approx(240.0)
    assert "measured" in plan(sweep).seconds_basis
