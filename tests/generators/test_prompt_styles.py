from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nonesuch.foundation.errors import InputError
from nonesuch.generators.matrix.expansion import Matrix
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.sweepfile.sweep import make_sweep

STYLES = """name,prompt,negative_prompt
Heading,,
Film,"cinematic {prompt}, 35mm","cartoon"
Bright,high key,"{prompt}, dark"
"""


def matrix(folder: Path, **keys: Any) -> Matrix:
    (folder / "styles.csv").write_text(STYLES, "utf-8")
    return open_matrix(
        make_sweep({"name": "x", "model": "noise", "prompt": "a fox", "negative": "text"} | keys, folder)
    )


def test_a_facet_of_styles_dresses_prompt_and_negative(tmp_path: Path) -> None:
    one = matrix(tmp_path, facets={"look": {"styles": "styles.csv", "names": ["none", "Film", "Bright"]}})
    assert [(r.prompt, r.negative_prompt) for r in one] == [
        ("a fox", "text"), ("cinematic a fox, 35mm", "text, cartoon"), ("a fox, high key", "text, dark"),
    ]  # fmt: skip
    everything = matrix(tmp_path, facets={"look": {"styles": "styles.csv"}})
    assert [dict(r.facets)["look"] for r in everything] == ["Film", "Bright"]


def test_styles_of_the_sweep_go_on_one_after_another(tmp_path: Path) -> None:
    (one,) = matrix(tmp_path, styles={"file": "styles.csv", "names": ["Bright", "Film"]})
    assert one.prompt == "cinematic a fox, high key, 35mm"
    assert one.negative_prompt == "text, dark, cartoon"


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ({"file": "styles.csv", "names": ["Flim"]}, "no style 'Flim'"),
        ({"file": "none.csv", "names": ["x"]}, "no file"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, use: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        matrix(tmp_path, styles=use)


def test_negative_prompts_are_crossed_like_any_facet(tmp_path: Path) -> None:
    """As a template of a facet, and as values that have a negative text alone."""
    crossed = matrix(tmp_path, negative="{against}", facets={"against": ["blurry", "text, logo", {"name": "none", "text": ""}]},
                     seeds={"count": 2})  # fmt: skip
    assert [r.negative_prompt for r in crossed] == ["blurry", "blurry", "text, logo", "text, logo", "", ""]
    both = matrix(
        tmp_path, prompt="a {s}", negative="text, {against}",
        facets={"s": ["fox", {"name": "elsa", "text": "girl", "negative": "hat"}], "against": ["blurry", "dark"]},
    )  # fmt: skip
    assert [r.negative_prompt for r in both] == [
        "text, blurry",
        "text, dark",
        "text, blurry, hat",
        "text, dark, hat",
    ]
