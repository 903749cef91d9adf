"""From recipes back to sweep files: the same recipe id again, and refined sweeps that load."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.resweep import again, refined, slug
from nonesuch.generators.sweepfile.sweep import Sweep, load_sweep, make_sweep

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)


def only(sweep: Sweep) -> Recipe:
    (recipe,) = open_matrix(sweep)
    return recipe


def told(recipe: Recipe) -> dict[str, object]:
    """As the credential tells it."""
    found: dict[str, object] = json.loads(recipe.to_json())
    return found


@settings(max_examples=60)
@given(
    prompt=TEXT,
    negative=TEXT | st.just(""),
    seed=st.integers(0, 2**63 - 1),
    steps=st.integers(1, 1000),
    guidance=st.floats(0, 100, allow_nan=False),
    scheduler=st.sampled_from(["default", "ddim", "euler_a"]),
)
def test_the_sweep_written_from_a_recipe_draws_that_recipe(
    prompt: str, negative: str, seed: int, steps: int, guidance: float, scheduler: str
) -> None:
    sweep = {
        "name": "one",
        "model": "noise",
        "prompt": prompt.replace("{", "{{").replace("}", "}}"),
        "negative": negative.replace("{", "{{").replace("}", "}}"),
        "seeds": [seed],
        "settings": {"steps": steps, "guidance": guidance, "scheduler": scheduler, "width": 64, "height": 72},
    }
    before = only(make_sweep(sweep))
    assert before.prompt == prompt
    made = again(told(before), name="again")
    assert made.left_out == ()
    assert only(make_sweep(made.data)).id == before.id


def test_the_file_holds_what_the_data_says(tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        only(make_sweep({"name": "a", "model": "noise", "prompt": "x"})),
        prompt='a "fox": {1} # not\na comment',
    )
    (tmp_path / "again.yaml").write_text(again(told(recipe), name="my fox!").text())
    loaded = load_sweep(tmp_path / "again.yaml")
    assert only(loaded).prompt == recipe.prompt
    assert loaded.name == "my-fox"


def test_another_program_s_words_are_translated_or_told() -> None:
    foreign = {
        "prompt": "a cat", "seed": 5, "steps": 30, "guidance_scale": 7.5, "scheduler": "DPM++ 2M Karras",
        "width": 512, "height": 768, "model": "dreamshaper_8", "model_hash": "879db523c3",
    }  # fmt: skip
    made = again(foreign, name="cat")
    assert made.data["settings"] == {
        "width": 512, "height": 768, "steps": 30, "guidance": 7.5, "scheduler": "dpmpp_2m_karras",
    }  # fmt: skip
    assert "879db523c3" in made.text()
    unknown = again(foreign | {"scheduler": "Restart"}, name="cat")
    assert "scheduler" not in unknown.data["settings"]
    assert any("Restart" in line for line in unknown.left_out)


def test_refining_starts_from_each_image_larger_and_longer(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((64, 64, 3), 9, np.uint8)).save(tmp_path / "b.png")
    base = only(
        make_sweep(
            {"name": "a", "model": "noise", "prompt": "a {{fox}}", "settings": {"width": 64, "height": 64}}
        )
    )
    images = [
        ({**told(base), "recipe_id": letter * 64, "seed": place}, tmp_path / f"{letter}.png")
        for place, letter in enumerate("ab")
    ]
    made = refined(images, name="better", scale=1.5, strength=0.3, seeds=2)
    recipes = list(open_matrix(make_sweep(made.data)))
    assert len(recipes) == 4
    assert {recipe.parent for recipe in recipes} == {"a" * 64, "b" * 64}
    assert {(r.width, r.height, r.strength, r.prompt) for r in recipes} == {(96, 96, 0.3, "a {fox}")}
    assert {recipe.steps for recipe in recipes} == {min(150, 2 * base.steps)}


@given(name=st.text(max_size=100))
def test_any_text_becomes_a_name(name: str) -> None:
    make_sweep({"name": slug(name), "model": "noise", "prompt": "x"})
