"""Starting from a picture: shapes, turns and masks, what a sweep may say, and drawing with real pipelines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import file_digest
from nonesuch.generators.backends import model_facts, open_backend
from nonesuch.generators.backends.base import Drawing
from nonesuch.generators.init_images import FITS, laid_over, start_mask, start_picture
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.models import EMBEDDED_FOLDER
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.sweep import load_sweep, make_sweep
from nonesuch.generators.sweepfile.values.facets import CatalogFacet, FoundImage

pytestmark = pytest.mark.slow

Pipelines = Callable[[str], Path]


def picture(path: Path, width: int = 96, height: int = 64) -> Path:
    """A picture with a red left half and a blue right half."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 220
    pixels[:, width // 2 :, 2] = 220
    Image.fromarray(pixels).save(path)
    return path


@settings(max_examples=30)
@given(
    source=st.tuples(st.integers(8, 90), st.integers(8, 90)),
    wanted=st.tuples(st.integers(8, 90), st.integers(8, 90)),
    fit=st.sampled_from(FITS),
)
def test_every_fit_gives_the_wanted_size(
    tmp_path_factory: pytest.TempPathFactory, source: tuple[int, int], wanted: tuple[int, int], fit: str
) -> None:
    path = picture(tmp_path_factory.mktemp("p") / "a.png", *source)
    made = start_picture(path, file_digest(path), *wanted, fit)
    assert made.shape == (wanted[1], wanted[0], 3)


def test_crop_cuts_the_middle_out_and_pad_keeps_all_of_it(tmp_path: Path) -> None:
    path = picture(tmp_path / "wide.png", 120, 40)
    digest = file_digest(path)
    cropped = start_picture(path, digest, 40, 40, "crop")
    padded = start_picture(path, digest, 40, 40, "pad")
    assert cropped[20, 3, 0] > 150
    assert cropped[20, -3, 2] > 150
    assert padded[1, 3, 0] > 150  # the border is repeated, not black
    assert np.array_equal(padded[0], padded[5])


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    made = start_picture(tmp_path / "turned.png", file_digest(tmp_path / "turned.png"), 40, 80, "crop")
    assert made[:30].mean() > 250
    assert made[50:].mean() < 5


def test_a_picture_that_changed_after_planning_is_refused(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    digest = file_digest(path)
    picture(path, 64, 64)
    with pytest.raises(InputError, match="changed since"):
        start_picture(path, digest, 64, 64, "crop")


def test_nothing_outside_the_mask_changes() -> None:
    rng = np.random.default_rng(0)
    before, drawn = (rng.integers(0, 256, (48, 48, 3)).astype(np.uint8) for _ in range(2))
    mask = np.zeros((48, 48), np.uint8)
    mask[10:30, 10:30] = 255
    after = laid_over(before, drawn, mask)
    assert np.array_equal(after[mask == 0], before[mask == 0])
    assert np.array_equal(after[18:22, 18:22], drawn[18:22, 18:22])


def test_masks_are_black_and_white(tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((64, 64)).save(tmp_path / "m.png")
    mask = start_mask(tmp_path / "m.png", file_digest(tmp_path / "m.png"), 32, 32, "stretch")
    assert set(np.unique(mask)) == {0, 255}


class TestSweepFile:
    def test_a_folder_of_pictures_is_a_facet(
        self, tmp_path: Path, write_sweep: Callable[[str], Path]
    ) -> None:
        (tmp_path / "selfies").mkdir()
        for name in ("anna.png", "bert.png"):
            picture(tmp_path / "selfies" / name, 64 if name < "b" else 80)
        path = write_sweep(
            """
            name: faces
            model: noise
            prompt: "a portrait by Munch"
            facets:
              selfie: {images: selfies}
              strength: [0.4, 0.8]
            """
        )
        recipes = list(open_matrix(load_sweep(path)))
        assert [dict(recipe.facets)["selfie"] for recipe in recipes] == ["anna", "bert"] * 2
        assert {recipe.strength for recipe in recipes} == {0.4, 0.8}
        assert len({recipe.id for recipe in recipes}) == 4
        assert recipes[0].init_image_digest == file_digest(tmp_path / "selfies" / "anna.png")
        assert recipes[0].fit == "crop"

    def test_where_the_picture_lies_does_not_change_the_identity(self, tmp_path: Path) -> None:
        ids = set()
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir()
            picture(tmp_path / folder / "start.png")
            sweep = {
                "name": "a",
                "model": "noise",
                "prompt": "a fox",
                "settings": {"init_image": "start.png"},
            }
            ids |= {recipe.id for recipe in open_matrix(make_sweep(sweep, tmp_path / folder))}
        assert len(ids) == 1

    def test_images_of_a_catalog_bring_prompt_and_parent(self, tmp_path: Path) -> None:
        path = tmp_path / "sweep.yaml"
        path.write_text(
            'name: refined\nmodel: noise\nprompt: "{chosen}, in detail"\n'
            'facets:\n  chosen: {catalog: out, where: "stars > 3", top: 2}\n'
        )
        asked: list[CatalogFacet] = []

        def find(facet: CatalogFacet, folder: Path) -> list[FoundImage]:
            asked.append(facet)
            assert folder == tmp_path
            return [FoundImage("ab" * 32, picture(tmp_path / "x.png"), "a {fox} by Hokusai")]

        (recipe,) = open_matrix(load_sweep(path, find_images=find))
        assert asked[0].where == "stars > 3"
        assert recipe.prompt == "a {fox} by Hokusai, in detail"
        assert recipe.parent == "ab" * 32

    @pytest.mark.parametrize(
        ("settings_text", "said"),
        [
            ("{init_image: nowhere.png}", "no such file"),
            ("{init_image: text.png}", "not an image"),
            ("{strength: 0.5}", "has no effect without an init_image"),
            ("{init_image: a.png, strength: 0}", "greater than 0"),
            ("{init_image: a.png, mask: small.png}", "32x32 pixels, its image 96x64"),
            ("{init_image: a.png, fit: fill}", "'crop', 'pad' or 'stretch'"),
        ],
    )
    def test_bad_input_is_told_at_planning(
        self, tmp_path: Path, write_sweep: Callable[[str], Path], settings_text: str, said: str
    ) -> None:
        picture(tmp_path / "a.png")
        picture(tmp_path / "small.png", 32, 32)
        (tmp_path / "text.png").write_text("not a picture")
        path = write_sweep(f'name: bad\nmodel: noise\nprompt: "a fox"\nsettings: {settings_text}\n')
        with pytest.raises(InputError, match=said) as caught:
            open_matrix(load_sweep(path))
        assert "sweep.yaml" in str(caught.value.where)


def recipe_for(folder: Path, start: Path, **changes: object) -> Recipe:
    facts = model_facts(str(folder))
    base = Recipe(
        backend=facts.backend, model=facts.model, model_digest=facts.digest, prompt="a red panda",
        negative_prompt="", seed=3, width=64, height=64, steps=4, guidance_scale=4.0, scheduler="default",
        dtype="float32", init_image=str(start), init_image_digest=file_digest(start), strength=0.5, fit="crop",
    )  # fmt: skip
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def drawn(model: Path | str, recipes: list[Recipe], batch_size: int = 4) -> list[np.ndarray]:
    drawings: list[Drawing] = list(
        open_backend(str(model), device="cpu", batch_size=batch_size).draw(recipes)
    )
    assert [drawing.reason for drawing in drawings if drawing.image is None] == []
    return [drawing.image.astype(int) for drawing in drawings if drawing.image is not None]


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_pictures_to_start_from_do_not_depend_on_their_batch(
    pipelines: Pipelines, tmp_path: Path, family: str
) -> None:
    start = picture(tmp_path / "start.png")
    recipes = [recipe_for(pipelines(family), start, seed=seed) for seed in range(3)]
    together = drawn(pipelines(family), recipes)
    alone = drawn(pipelines(family), recipes, batch_size=1)
    assert all(np.abs(one - other).max() <= 1 for one, other in zip(together, alone, strict=True))
    assert np.abs(together[0] - together[1]).max() > 1


def test_a_pipeline_without_that_form_says_so(pipelines: Pipelines, tmp_path: Path) -> None:
    start = picture(tmp_path / "start.png")
    recipe = recipe_for(pipelines("pixart"), start, options=(("use_resolution_binning", False),))
    with pytest.raises(InputError, match="can't start from an image"):
        open_backend(str(pipelines("pixart")), device="cpu").check(recipe)


def masked(folder: Path, tmp_path: Path, **changes: object) -> Recipe:
    mask = np.zeros((96, 96), np.uint8)
    mask[24:72, 24:72] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return recipe_for(
        folder,
        picture(tmp_path / "start.png", 96, 96),
        strength=1.0,
        mask=str(tmp_path / "mask.png"),
        mask_digest=file_digest(tmp_path / "mask.png"),
        **changes,
    )


def test_inpainting_draws_inside_the_mask_alone(pipelines: Pipelines, tmp_path: Path) -> None:
    recipe = masked(pipelines("sd1"), tmp_path)
    start = start_picture(Path(str(recipe.init_image)), str(recipe.init_image_digest), 64, 64, "crop")
    (image,) = drawn(pipelines("sd1"), [recipe])
    assert np.array_equal(image[:15], start[:15])
    assert np.abs(image[24:40, 24:40] - start[24:40, 24:40]).mean() > 10


@pytest.mark.slow
class TestEmbeddedModel:
    def recipe(self, tmp_path: Path, **changes: object) -> Recipe:
        start = picture(tmp_path / "start.png", 160, 160)
        facts = model_facts("embedded")
        shape = {"width": 128, "height": 128, "steps": 12, "model": "embedded", "model_digest": facts.digest}
        return recipe_for(EMBEDDED_FOLDER, start, **(shape | changes))

    def test_a_higher_strength_leaves_the_picture_further_behind(self, tmp_path: Path) -> None:
        recipe = self.recipe(tmp_path)
        start = start_picture(Path(str(recipe.init_image)), str(recipe.init_image_digest), 128, 128, "crop")
        distances = [
            float(np.abs(drawn("embedded", [self.recipe(tmp_path, strength=strength)])[0] - start).mean())
            for strength in (0.2, 0.6, 1.0)
        ]
        assert distances[0] < distances[1] < distances[2]

    def test_it_fills_a_mask_and_keeps_the_rest(self, tmp_path: Path) -> None:
        facts = model_facts("embedded")
        recipe = masked(
            EMBEDDED_FOLDER, tmp_path, model="embedded", model_digest=facts.digest, width=128, height=128
        )
        start = start_picture(Path(str(recipe.init_image)), str(recipe.init_image_digest), 128, 128, "crop")
        (image,) = drawn("embedded", [recipe])
        assert np.array_equal(image[:31], start[:31])
        assert np.abs(image[48:80, 48:80] - start[48:80, 48:80]).mean() > 10


def test_a_folder_is_told_to_be_a_facet(tmp_path: Path) -> None:
    (tmp_path / "selfies").mkdir()
    sweep = {"name": "s", "prompt": "a fox", "settings": {"init_image": "selfies"}}
    with pytest.raises(InputError, match=r"selfies is a folder\n.*facets: \{picture: \{images:"):
        open_matrix(make_sweep(sweep, tmp_path))


def test_a_catalog_that_is_not_there_is_named(tmp_path: Path) -> None:
    from nonesuch.flows.run.catalog_init_images import find_images

    (tmp_path / "s.yaml").write_text(
        'name: s\nprompt: "{chosen}"\nfacets: {chosen: {catalog: last-night, where: "stars > 3"}}\n'
    )
    with pytest.raises(
        InputError, match=r"s\.yaml:3: facets\.chosen: .*last-night.*there is no catalog here"
    ):
        load_sweep(tmp_path / "s.yaml", find_images=find_images)
