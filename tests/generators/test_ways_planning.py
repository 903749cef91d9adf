"""The ways at planning: facets that set their keys, sizes, identities, and what is refused with which words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nonesuch.foundation.errors import InputError
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.resweep import again
from nonesuch.generators.sweepfile.sweep import load_sweep, make_sweep


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(tmp_path / "start.png")
    Image.new("L", (96, 64), 255).save(tmp_path / "mask.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text(json.dumps({"cross_attention_dim": 2048}))
    return tmp_path


def planned(folder: Path, chosen: dict[str, Any], **keys: Any) -> list[Recipe]:
    sweep = {"name": "a", "model": "noise", "prompt": "a fox", "settings": chosen} | keys
    return list(open_matrix(make_sweep(sweep, folder)))


def test_every_key_of_a_way_is_a_facet(folder: Path) -> None:
    recipes = planned(
        folder,
        {"hires": {"scale": 2}},
        facets={"hires_strength": [0.3, 0.6], "hires_upscaler": ["lanczos", "latent"]},
    )
    assert {(one.hires.strength, one.hires.upscaler.kind) for one in recipes if one.hires} == {
        (0.3, "lanczos"), (0.6, "lanczos"), (0.3, "latent"), (0.6, "latent"),
    }  # fmt: skip
    assert {(one.width, one.first_size) for one in recipes} == {(256, (128, 128))}
    assert len({one.id for one in recipes}) == 4


def test_the_other_end_of_frames_is_a_template(folder: Path) -> None:
    recipes = planned(
        folder, {"between": {"prompt": "a {subject} by Monet"}}, prompt="a {subject}",
        facets={"subject": ["fox", "owl"], "frame": {"frames": 3}},
    )  # fmt: skip
    told = {(dict(one.facets)["subject"], dict(one.facets)["frame"]): one for one in recipes}
    middle = told["owl", "1"].between
    assert middle is not None
    assert (middle.prompt, middle.at) == ("a owl by Monet", 0.5)
    assert (told["owl", "0"].between, told["owl", "2"].prompt) == (None, "a owl by Monet")


@settings(max_examples=30)
@given(margins=st.tuples(*[st.integers(0, 60)] * 4), width=st.integers(8, 200), height=st.integers(8, 200))
def test_a_picture_grows_by_its_margins(
    tmp_path_factory: pytest.TempPathFactory, margins: tuple[int, ...], width: int, height: int
) -> None:
    from nonesuch.generators.init_images import extended

    folder = tmp_path_factory.mktemp("m")
    Image.new("RGB", (width, height), "red").save(folder / "a.png")
    extend = dict(zip(("left", "top", "right", "bottom"), margins, strict=True))
    chosen = {"init_image": "a.png", "extend": extend}
    if not sum(margins):
        with pytest.raises(InputError, match="all margins are 0"):
            planned(folder, chosen)
        return
    (recipe,) = planned(folder, chosen)
    assert (recipe.width, recipe.height) == (
        width + margins[0] + margins[2],
        height + margins[1] + margins[3],
    )
    assert recipe.extend is not None
    canvas, mask = extended(
        folder / "a.png", str(recipe.init_image_digest), recipe.width, recipe.height, "crop", recipe.extend
    )
    assert canvas.shape[:2] == mask.shape == (recipe.height, recipe.width)
    assert int((mask == 0).sum()) == width * height


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ("{extend: {left: 8}}", "has no effect without an init_image"),
        ("{init_image: start.png, mask: mask.png, extend: {left: 8}}", "a mask goes without extend"),
        ("{init_image: start.png, extend: {left: 60}, size: 64x64}", "leave no room"),
        ("{init_image: start.png, mask: mask.png, hires: {scale: 2}}", "draws all of the image again"),
        ("{init_image: start.png, between: {seed: 3, at: 0.5}}", "start from noise"),
        ("{between: {at: 0.5}}", "needs a prompt, a seed"),
        ("{between: {seed: 3}}", "the position of the frames"),
        ("{hires: {scael: 2}}", "unknown key 'scael'"),
        ("{hires: {}}", "hires is empty"),
        ("{hires: {upscaler: nowhere.pth}}", "there is no file"),
        ("{upscale: {upscaler: latent}}", "high-resolution pass only"),
        ("{upscale: {steps: 3}}", "of an upscaling pipeline"),
        ("{control: {image: start.png}}", "control needs model"),
        ("{control: {model: net}}", "control needs image"),
        ("{control: {model: net, image: text.png}}", "not an image"),
        ("{control: {model: net, image: gone.png}}", "no such file"),
        ("{control: {model: net, image: start.png, start: 0.5, end: 0.5}}", "start must lie before end"),
        ("{control: {model: ./nothing, image: start.png}}", "there is no folder"),
        ("{image_prompt: {image: start.png, adapter: a.bin}}", "not a file of .safetensors"),
        ("{refiner: {at: 0.8}}", "refiner needs model"),
    ],
)
def test_bad_ways_are_told_with_their_line(
    folder: Path, write_sweep: Callable[[str], Path], chosen: str, said: str
) -> None:
    path = write_sweep(f'name: bad\nmodel: noise\nprompt: "a fox"\nsettings: {chosen}\n')
    with pytest.raises(InputError, match=said) as caught:
        open_matrix(load_sweep(path))
    assert "sweep.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"refiner": {"model": "embedded"}}, "can't pass its latents to a refiner"),
        ({"control": {"model": "net", "image": "start.png"}}, "for text of 2048 numbers"),
    ],
)
def test_what_the_embedded_model_can_not_is_told_at_planning(
    folder: Path, chosen: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        planned(folder, chosen, model="embedded")


def test_a_second_pass_of_the_web_ui_is_taken_over_and_the_rest_is_told() -> None:
    from nonesuch.formats.a1111 import parse

    told = parse(
        "a fox <lora:ink:0.8>\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, "
        "Size: 512x768, Model: dream, Denoising strength: 0.4, Hires upscale: 1.5, Hires steps: 10, "
        'Hires upscaler: Latent, Lora hashes: "ink: abc", ControlNet 0: "Module: canny, Model: x", Clip skip: 2'
    )
    assert told is not None
    made = again({"source": "automatic1111", **told.recipe()}, name="fox")
    assert made.data["settings"]["hires"] == {
        "scale": 1.5,
        "upscaler": "latent",
        "strength": 0.4,
        "steps": 10,
    }
    for word in ("LoRA 'ink'", "picture of ControlNet 0", "the file 'x'"):
        assert any(word in line for line in made.left_out), word
    settings = made.data["settings"]
    assert made.data["prompt"] == "a fox"
    assert settings["loras"] == [{"path": "ink.safetensors", "weight": 0.8}]
    assert settings["control"] == {"model": "x", "image": "controlnet-0.png", "preprocess": "canny"}
    assert settings["options"] == {"clip_skip": 1}
    started = parse(
        "a fox\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Denoising strength: 0.4, Mask blur: 4"
    )
    assert started is not None
    lost = again({"source": "automatic1111", **started.recipe()}, name="fox")
    assert any("strength 0.4" in line for line in lost.left_out)
    assert any("inpainted" in line for line in lost.left_out)


@pytest.mark.slow
def test_the_table_of_abilities_is_that_of_the_installed_diffusers() -> None:
    from inspect import signature

    import diffusers
    from diffusers.pipelines import auto_pipeline

    from nonesuch.generators.ways.abilities import ABILITIES

    starting = {cls.__name__ for cls in auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING.values()}
    guided = {cls.__name__ for cls in auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()}
    for name, known in ABILITIES.items():
        cls = getattr(diffusers, name)
        base = name.removesuffix("Pipeline")
        assert ("image" in known) == (f"{base}Img2ImgPipeline" in starting), name
        assert ("control" in known) == (f"{base}ControlNetPipeline" in guided), name
        assert ("refiner" in known) == ("denoising_end" in signature(cls.__call__).parameters), name
        if "image_prompt" in known:
            assert hasattr(cls, "load_ip_adapter"), name
