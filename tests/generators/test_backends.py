"""Backends draw with real pipelines: tiny random ones of four families, saved as folders and loaded as users' are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nonesuch.foundation.errors import DrawingError, InputError
from nonesuch.generators.backends import BACKENDS, Drawing, model_facts, open_backend
from nonesuch.generators.backends.prompts import returned_names
from nonesuch.generators.recipe import Lora, Recipe
from nonesuch.generators.schedulers import SCHEDULERS

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

Pipelines = Callable[[str], Path]
# float32 sums come out in another order in another batch: one step of 255 is rounding.
TOLERANCE = 1
FAMILIES = ["sd1", "sdxl", "pixart", "flux"]


def recipes_for(folder: Path, count: int, **changes: Any) -> list[Recipe]:
    """`count` recipes over two prompts and several seeds."""
    facts = model_facts(str(folder))
    options = (("use_resolution_binning", False),) if facts.pipeline == "PixArtAlphaPipeline" else ()
    side = 16 if facts.pipeline in ("FluxPipeline", "PixArtAlphaPipeline") else 64
    base = Recipe(
        backend=facts.backend, model=facts.model, model_digest=facts.digest, prompt="", negative_prompt="",
        seed=0, width=side, height=side, steps=2, guidance_scale=4.0,
        scheduler="default", dtype="float32", options=options,
    )  # fmt: skip
    prompts = ["a red panda", "blue castle by night"]
    return [
        dataclasses.replace(base, **{"prompt": prompts[index % 2], "seed": index // 2} | changes)
        for index in range(count)
    ]


def draw(folder: Path, recipes: list[Recipe], batch_size: int) -> list[Drawing]:
    backend = open_backend(str(folder), device="cpu", batch_size=batch_size)
    drawings = list(backend.draw(recipes))
    backend.close()
    return drawings


def difference(one: Drawing, other: Drawing) -> int:
    assert one.image is not None
    assert other.image is not None
    return int(np.abs(one.image.astype(int) - other.image).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_does_not_depend_on_its_batch(pipelines: Pipelines, family: str) -> None:
    recipes = recipes_for(pipelines(family), 8)
    together = draw(pipelines(family), recipes, batch_size=8)
    alone = draw(pipelines(family), recipes, batch_size=1)
    assert [drawing.recipe for drawing in together] == recipes
    assert {drawing.status for drawing in together} == {"ok"}
    assert {drawing.batch_size for drawing in together} == {8}
    assert {drawing.batch_size for drawing in alone} == {1}
    for one, other in zip(together, alone, strict=True):
        assert one.image is not None
        assert one.image.shape == (one.recipe.height, one.recipe.width, 3)
        assert one.image.dtype == np.uint8
        assert difference(one, other) <= TOLERANCE
    assert difference(together[0], together[2]) > 20  # another seed
    assert difference(together[0], together[1]) > TOLERANCE  # another prompt


@pytest.mark.parametrize("family", ["sd1", "sdxl", "pixart"])
def test_the_negative_prompt_reaches_the_picture(pipelines: Pipelines, family: str) -> None:
    recipes = recipes_for(pipelines(family), 1) + recipes_for(pipelines(family), 1, negative_prompt="owl.")
    plain, against = draw(pipelines(family), recipes, batch_size=2)
    assert difference(plain, against) > TOLERANCE


def test_embeddings_draw_what_the_pipeline_draws_from_text(pipelines: Pipelines) -> None:
    for family in FAMILIES:
        recipe = recipes_for(pipelines(family), 1)[0]
        backend = open_backend(str(pipelines(family)), device="cpu")
        backend.load()
        (embedded,) = backend.draw([recipe])
        backend._encoder.encodes = False  # type: ignore[attr-defined]
        (from_text,) = backend.draw([recipe])
        assert difference(embedded, from_text) <= TOLERANCE


def test_each_distinct_prompt_is_encoded_once(pipelines: Pipelines) -> None:
    backend = open_backend(str(pipelines("sd1")), device="cpu", batch_size=3)
    backend.load()
    pipe = backend._pipe  # type: ignore[attr-defined]
    seen: list[str] = []
    encode = pipe.encode_prompt

    def counting(*args: Any, **keys: Any) -> Any:
        if keys.get("prompt"):
            seen.append(keys["prompt"])
        return encode(*args, **keys)

    pipe.encode_prompt = counting
    list(backend.draw(recipes_for(pipelines("sd1"), 8)))
    assert sorted(seen) == ["a red panda", "blue castle by night"]


@pytest.mark.parametrize("name", ["euler_a", "dpmpp_2m_sde", "lcm"])
def test_schedulers_that_draw_noise_at_every_step_keep_images_apart(pipelines: Pipelines, name: str) -> None:
    recipes = recipes_for(pipelines("sd1"), 4, scheduler=name, steps=3)
    together = draw(pipelines("sd1"), recipes, batch_size=4)
    backwards = draw(pipelines("sd1"), recipes[::-1], batch_size=3)[::-1]
    for one, other in zip(together, backwards, strict=True):
        assert difference(one, other) <= TOLERANCE


def test_every_scheduler_name_draws_or_says_why_not(pipelines: Pipelines) -> None:
    (base,) = recipes_for(pipelines("sd1"), 1, steps=3)
    recipes = [dataclasses.replace(base, scheduler=name) for name in SCHEDULERS]
    drawings = draw(pipelines("sd1"), recipes, batch_size=1)
    refused = {drawing.recipe.scheduler for drawing in drawings if drawing.status == "failed"}
    assert refused <= {"flow_euler", "flow_heun", "lms"}, [one.reason for one in drawings]
    assert {"flow_euler", "flow_heun"} <= refused
    images = [drawing.image.tobytes() for drawing in drawings if drawing.image is not None]
    assert len(set(images)) > len(images) // 2


def test_a_flow_matching_model_keeps_to_its_schedulers(pipelines: Pipelines) -> None:
    backend = open_backend(str(pipelines("flux")), device="cpu")
    with pytest.raises(InputError, match="does not work with"):
        backend.check(recipes_for(pipelines("flux"), 1, scheduler="ddim")[0])
    with pytest.raises(InputError, match="unknown scheduler"):
        backend.check(recipes_for(pipelines("flux"), 1, scheduler="best")[0])
    with pytest.raises(InputError, match="takes no option 'eta'"):
        backend.check(recipes_for(pipelines("flux"), 1, options=(("eta", 1),))[0])


def test_one_recipe_s_failure_leaves_the_others(pipelines: Pipelines) -> None:
    recipes = [
        dataclasses.replace(recipe, seed=seed) for seed, recipe in enumerate(recipes_for(pipelines("sd1"), 6))
    ]
    backend = open_backend(str(pipelines("sd1")), device="cpu", batch_size=6)
    backend.load()
    scheduler_refused = dataclasses.replace(recipes[5], scheduler="flow_euler")
    unet = backend._pipe.unet  # type: ignore[attr-defined]
    poison = _noise_of(recipes[2])

    def fail_on_one(_: Any, args: Any, keys: Any) -> None:
        if any(torch.equal(latent, poison) for latent in args[0]):
            raise RuntimeError("this latent is cursed")

    unet.register_forward_pre_hook(fail_on_one, with_kwargs=True)
    drawings = list(backend.draw([*recipes[:5], scheduler_refused]))
    assert [one.status for one in drawings] == ["ok", "ok", "failed", "ok", "ok", "failed"]
    assert drawings[2].reason == "RuntimeError: this latent is cursed"
    assert "does not work with" in drawings[5].reason
    assert drawings[2].image is None
    whole = draw(pipelines("sd1"), recipes, batch_size=6)
    assert difference(whole[3], drawings[3]) <= TOLERANCE


def _noise_of(recipe: Recipe) -> torch.Tensor:
    return torch.randn((1, 4, 32, 32), generator=torch.Generator("cpu").manual_seed(recipe.seed))[0]


@pytest.mark.parametrize("kind", ["device", "cpu"])
def test_out_of_memory_halves_the_batch_and_goes_on(pipelines: Pipelines, kind: str) -> None:
    recipes = recipes_for(pipelines("sd1"), 12)
    backend = open_backend(str(pipelines("sd1")), device="cpu", batch_size=8)
    backend.load()
    sizes: list[int] = []

    def full_above_three(_: Any, args: Any, keys: Any) -> None:
        latents = len(args[0]) // 2  # guidance doubles the batch
        sizes.append(latents)
        if latents > 3:
            if kind == "device":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            torch.empty(1 << 60, dtype=torch.uint8)  # what the real allocator says

    backend._pipe.unet.register_forward_pre_hook(full_above_three, with_kwargs=True)  # type: ignore[attr-defined]
    drawings = list(backend.draw(recipes))
    assert [one.status for one in drawings] == ["ok"] * 12
    assert {one.batch_size for one in drawings} == {2}
    assert [size for size in sizes if size > 3] == [8, 4]
    for one, other in zip(drawings, draw(pipelines("sd1"), recipes, batch_size=1), strict=True):
        assert difference(one, other) <= TOLERANCE


def test_out_of_memory_even_alone_is_a_status(pipelines: Pipelines) -> None:
    backend = open_backend(str(pipelines("sd1")), device="cpu", batch_size=2)
    backend.load()

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    backend._pipe.unet.register_forward_pre_hook(full)  # type: ignore[attr-defined]
    drawings = list(backend.draw(recipes_for(pipelines("sd1"), 3)))
    assert [(one.status, one.reason) for one in drawings] == [
        ("failed", "out of memory even with one image")
    ] * 3


def test_broken_pictures_are_flagged_not_hidden(pipelines: Pipelines) -> None:
    recipes = recipes_for(pipelines("sd1"), 4)
    backend = open_backend(str(pipelines("sd1")), device="cpu", batch_size=4)
    backend.load()

    def spoil(_: Any, __: Any, decoded: Any) -> Any:
        decoded[0][0] = float("nan")
        decoded[0][1] = -3.0
        return decoded

    backend._pipe.vae.decoder.register_forward_hook(lambda m, a, out: spoil(m, a, (out,))[0])  # type: ignore[attr-defined]
    nan, black, good, _ = backend.draw(recipes)
    assert (nan.status, nan.image) == ("flagged", None)
    assert "NaN" in nan.reason
    assert black.status == "flagged"
    assert "black" in black.reason
    assert black.image is not None
    assert black.image.max() == 0
    assert good.status == "ok"


def test_loras_change_the_picture_by_their_weight_and_leave_no_trace(
    pipelines: Pipelines, tmp_path: Path
) -> None:
    path = _lora(pipelines("sd1"), tmp_path)
    (base,) = recipes_for(pipelines("sd1"), 1)

    def with_weight(weight: float) -> Recipe:
        return dataclasses.replace(base, loras=(Lora(str(path), "00" * 32, weight),))

    recipes = [base, with_weight(1.0), with_weight(0.5), with_weight(0.0), base]
    plain, full, half, none, again = draw(pipelines("sd1"), recipes, batch_size=4)
    assert {one.status for one in (plain, full, half, none, again)} == {"ok"}
    assert difference(plain, full) > 5
    assert difference(full, half) > TOLERANCE
    assert difference(plain, none) <= TOLERANCE
    assert difference(plain, again) == 0


def test_a_lora_for_another_model_is_refused(pipelines: Pipelines, tmp_path: Path) -> None:
    import tiny_pipelines

    other = tiny_pipelines.sd1(tmp_path / "other", block_out_channels=(8, 16))
    path = _lora(other, tmp_path)
    recipe = recipes_for(pipelines("sd1"), 1, loras=(Lora(str(path), "00" * 32, 1.0),))[0]
    plain = recipes_for(pipelines("sd1"), 1)[0]
    refused, good = draw(pipelines("sd1"), [recipe, plain], batch_size=1)
    assert refused.status == "failed"
    assert "fit the model" in refused.reason
    assert difference(good, draw(pipelines("sd1"), [plain], batch_size=1)[0]) == 0


def _lora(folder: Path, out: Path) -> Path:
    """A random LoRA on the attention of a pipeline's UNet."""
    import diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(1)
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipe.unet.add_adapter(
        LoraConfig(r=4, init_lora_weights=False, target_modules=["to_q", "to_v", "to_out.0"])
    )
    state = {name: tensor * 8 for name, tensor in get_peft_model_state_dict(pipe.unet).items()}
    pipe.save_lora_weights(out, unet_lora_layers=state, weight_name="ink.safetensors")
    return out / "ink.safetensors"


def test_only_safetensors_are_loaded(pipelines: Pipelines, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "pickled"
    shutil.copytree(pipelines("sd1"), folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(DrawingError, match="can't be loaded"):
        open_backend(str(folder), device="cpu").load()


def test_half_precision_is_what_was_asked_for(pipelines: Pipelines) -> None:
    recipes = recipes_for(pipelines("sd1"), 1, dtype="bfloat16") + recipes_for(
        pipelines("sd1"), 1, dtype="auto"
    )
    half, auto = draw(pipelines("sd1"), recipes, batch_size=1)
    assert (half.status, half.dtype) == ("ok", "bfloat16")
    assert (auto.status, auto.dtype) == ("ok", "float32")
    assert difference(half, auto) > 0


def test_noise_is_seeded_by_the_recipe() -> None:
    facts = model_facts("noise")
    base = Recipe(
        backend="noise", model="noise", model_digest=facts.digest, prompt="p", negative_prompt="", seed=1,
        width=33, height=17, steps=1, guidance_scale=0.0, scheduler="default", dtype="float32",
    )  # fmt: skip
    other = dataclasses.replace(base, seed=2)
    first, second = open_backend("noise").draw([base, other])
    (again,) = open_backend("noise").draw([base])
    assert first.image is not None
    assert first.image.shape == (17, 33, 3)
    assert difference(first, again) == 0
    assert difference(first, second) > 200
    assert first.image[0, :3].tolist() == NOISE


NOISE = [[19, 203, 208], [234, 252, 209], [149, 199, 105]]


def test_names_of_returned_values_are_read_from_source() -> None:
    def pair() -> Any:
        if BACKENDS:
            return 1
        one = two = 2
        return one, two

    def computed() -> Any:
        return pair()[0]

    assert returned_names(pair) == ("one", "two")
    assert returned_names(computed) == ()
    assert returned_names(len) == ()
