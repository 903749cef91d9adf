from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.foundation.errors import InputError
from nonesuch.generators.recipe import Lora, Recipe

BASE = Recipe(
    backend="diffusers",
    model="embedded",
    model_digest="ab" * 32,
    prompt="a painting of a panda by Katsushika Hokusai",
    negative_prompt="blurry",
    seed=7,
    width=128,
    height=128,
    steps=20,
    guidance_scale=5.0,
    scheduler="dpmpp_2m",
    dtype="float32",
)
FULL = dataclasses.replace(
    BASE,
    loras=(Lora("ink.safetensors", "cd" * 32, 0.8),),
    options=(("clip_skip", 1), ("eta", 0.5)),
    init_image_digest="ef" * 32,
    strength=0.6,
    mask_digest="01" * 32,
    parent="23" * 32,
)

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
real = st.floats(0, 100, allow_nan=False)
recipes = st.builds(
    Recipe,
    backend=text, model=text, model_digest=text, prompt=text, negative_prompt=text,
    seed=st.integers(0, 2**63 - 1), width=st.integers(8, 4096), height=st.integers(8, 4096),
    steps=st.integers(1, 99), guidance_scale=real, scheduler=text, dtype=text,
    loras=st.lists(st.builds(Lora, path=text, digest=text, weight=real), max_size=2).map(tuple),
    options=st.dictionaries(text, st.booleans() | st.integers() | real | text, max_size=3).map(
        lambda options: tuple(sorted(options.items()))
    ),
    init_image_digest=st.none() | text, strength=st.none() | real, mask_digest=st.none() | text,
    parent=st.none() | text, facets=st.lists(st.tuples(text, text), max_size=3).map(tuple),
    plan_index=st.integers(0, 2**62),
)  # fmt: skip


def test_the_identity_never_drifts() -> None:
    assert BASE.id == "7bab4779eaed1bb58380a2fd127688063010945a3ed96a74d57f60065ed8096e"
    assert FULL.id == "7529ab8e96683cc0875dd7673bd93dc718b4f0b4e27cb956a5f33d411b2a5a31"
    assert BASE.watermark_id == int(BASE.id[:16], 16)


@given(recipes)
def test_json_gives_the_same_recipe_back(recipe: Recipe) -> None:
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.id == recipe.id


@given(recipes, recipes)
def test_different_pixels_have_different_ids(one: Recipe, other: Recipe) -> None:
    def pixels(recipe: Recipe) -> Recipe:
        loras = tuple(dataclasses.replace(lora, path="") for lora in recipe.loras)
        return dataclasses.replace(recipe, model="", facets=(), plan_index=0, loras=loras)

    assert (one.id == other.id) == (pixels(one) == pixels(other))


@pytest.mark.parametrize(
    "change",
    [{"prompt": "x"}, {"negative_prompt": ""}, {"seed": 8}, {"width": 64}, {"height": 64}, {"steps": 21},
     {"guidance_scale": 5.5}, {"scheduler": "euler"}, {"dtype": "auto"}, {"model_digest": "00"},
     {"backend": "noise"}, {"options": (("eta", 0.1),)}, {"strength": 0.5}, {"parent": "00"},
     {"init_image_digest": "00"}, {"mask_digest": "00"}, {"loras": (Lora("a", "b", 1.0),)}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_each_part_that_changes_pixels_changes_the_id(change: dict[str, object]) -> None:
    assert dataclasses.replace(BASE, **change).id != BASE.id  # type: ignore[arg-type]


def test_names_and_places_are_not_part_of_the_id() -> None:
    renamed = dataclasses.replace(BASE, model="/elsewhere", facets=(("subject", "panda"),), plan_index=9)
    assert renamed.id == BASE.id
    moved = dataclasses.replace(FULL, loras=(Lora("/elsewhere/ink.safetensors", "cd" * 32, 0.8),))
    assert moved.id == FULL.id


def test_whole_numbers_mean_the_same_with_and_without_a_point() -> None:
    assert dataclasses.replace(BASE, guidance_scale=5).id == BASE.id
    one = dataclasses.replace(BASE, options=(("eta", 1),))
    assert one.id == dataclasses.replace(BASE, options=(("eta", 1.0),)).id


def test_prompt_and_seed_share_a_batch_and_settings_do_not() -> None:
    assert dataclasses.replace(BASE, prompt="x", negative_prompt="y", seed=1).group == BASE.group
    for change in ({"steps": 9}, {"width": 64}, {"scheduler": "euler"}, {"model_digest": "00"}):
        assert dataclasses.replace(BASE, **change).group != BASE.group  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", ["", "[]", "{}", '{"loras": 1}', BASE.to_json().replace("seed", "sead")])
def test_what_is_no_recipe_is_refused(broken: str) -> None:
    with pytest.raises(InputError, match="is not a recipe"):
        Recipe.from_json(broken)
