"""The ways through real pipelines with random weights: each changes pixels, is deterministic, and keeps images
independent of their batch."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_pipelines
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nonesuch.foundation.errors import InputError, NonesuchError
from nonesuch.foundation.files import file_digest
from nonesuch.generators.backends import open_backend
from nonesuch.generators.init_images import start_picture
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.sweep import make_sweep

pytestmark = pytest.mark.slow
Pipelines = Callable[[str], Path]


def picture(path: Path, width: int = 64, height: int = 64) -> Path:
    """A picture with edges: a red left half, a blue right half, a white square."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 220
    pixels[:, width // 2 :, 2] = 220
    pixels[height // 4 : height // 2, width // 4 : width // 2] = 255
    Image.fromarray(pixels).save(path)
    return path


def recipes(model: Path | str, folder: Path, chosen: dict[str, Any], **keys: Any) -> list[Recipe]:
    """The recipes of a sweep with these settings."""
    base = {"width": 64, "height": 64, "steps": 4, "guidance": 4.0, "dtype": "float32"}
    sweep = {
        "name": "a", "model": str(model), "prompt": "a red panda", "seeds": [1, 2], "settings": base | chosen,
    }  # fmt: skip
    return list(open_matrix(make_sweep(sweep | keys, folder)))


def drawn(model: Path | str, wanted: list[Recipe], batch_size: int = 4) -> list[np.ndarray]:
    backend = open_backend(str(model), device="cpu", batch_size=batch_size)
    drawings = list(backend.draw(wanted))
    assert [one.reason for one in drawings if one.status != "ok"] == []
    return [one.image.astype(int) for one in drawings if one.image is not None]


def check_way(model: Path, plain: list[Recipe], way: list[Recipe]) -> list[np.ndarray]:
    """A way's pictures: others than the plain ones, the same again, and the same alone as in a batch."""
    assert len({one.id for one in plain + way}) == len(plain) + len(way)
    assert [Recipe.from_json(one.to_json()) for one in way] == way
    together = drawn(model, way)
    before = drawn(model, plain, batch_size=1)
    for one, other in zip(together, before, strict=True):
        assert one.shape != other.shape or np.abs(one - other).max() > 1
    assert all(np.array_equal(a, b) for a, b in zip(together, drawn(model, way), strict=True))
    alone = drawn(model, way, batch_size=1)
    assert all(np.abs(a - b).max() <= 2 for a, b in zip(together, alone, strict=True))
    return together


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("upscaler", ["lanczos", "latent"])
def test_a_high_resolution_pass(pipelines: Pipelines, tmp_path: Path, family: str, upscaler: str) -> None:
    model = pipelines(family)
    hires = recipes(model, tmp_path, {"hires": {"scale": 1.5, "strength": 0.6, "upscaler": upscaler}})
    assert {(one.width, one.height, one.first_size) for one in hires} == {(96, 96, (64, 64))}
    images = check_way(model, recipes(model, tmp_path, {}), hires)
    assert {image.shape for image in images} == {(96, 96, 3)}


def test_a_refiner_does_the_last_steps(pipelines: Pipelines, tmp_path: Path) -> None:
    model, refiner = pipelines("sdxl"), pipelines("sdxl_refiner")
    refined = recipes(model, tmp_path, {"refiner": {"model": str(refiner), "at": 0.5}})
    check_way(model, recipes(model, tmp_path, {}), refined)
    longer = recipes(model, tmp_path, {"refiner": {"model": str(refiner), "at": 0.75}})
    assert np.abs(drawn(model, refined)[0] - drawn(model, longer)[0]).max() > 1
    both = recipes(
        model, tmp_path, {"refiner": {"model": str(refiner), "at": 0.5}, "hires": {"upscaler": "latent"}}
    )
    assert drawn(model, both)[0].shape == (128, 128, 3)


@pytest.mark.parametrize("upscaler", ["lanczos", "network", "x4_upscaler"])
def test_finished_pictures_are_enlarged(pipelines: Pipelines, tmp_path: Path, upscaler: str) -> None:
    name = upscaler
    if upscaler == "network":
        name = str(tiny_pipelines.esrgan(tmp_path / "net.safetensors"))
    elif upscaler != "lanczos":
        name = str(pipelines(upscaler))
    model = pipelines("sd1")
    more = {"steps": 2} if upscaler == "x4_upscaler" else {}
    larger = recipes(model, tmp_path, {"upscale": {"scale": 2.5, "upscaler": name, **more}})
    images = check_way(model, recipes(model, tmp_path, {}), larger)
    assert {image.shape for image in images} == {(160, 160, 3)}


def test_tiles_of_an_upscaling_network_leave_no_seam(tmp_path: Path) -> None:
    from nonesuch.generators.backends import enlarging
    from nonesuch.generators.ways.recipe_extras import Upscaler

    upscaler = Upscaler("network", str(tiny_pipelines.esrgan(tmp_path / "net.safetensors")), "d")
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (enlarging.TILE + 90, 100, 3)).astype(np.uint8)
    made = [
        enlarging.Enlargers(device="cpu", dtype=None, network=False).enlarged(  # type: ignore[arg-type]
            upscaler, [large], (200, 2 * large.shape[0]), []
        )[0]
        for _ in range(2)
    ]
    assert np.array_equal(*made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enlarging, "TILE", 4096)
        whole = enlarging.Enlargers(device="cpu", dtype=None, network=False).enlarged(  # type: ignore[arg-type]
            upscaler, [large], (200, 2 * large.shape[0]), []
        )[0]
    assert np.abs(made[0].astype(int) - whole).max() <= 1


def test_a_pickle_is_no_upscaler(pipelines: Pipelines, tmp_path: Path) -> None:
    import pickle

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(print))
    wanted = recipes(pipelines("sd1"), tmp_path, {"upscale": {"upscaler": "evil.pth"}})
    with pytest.raises(InputError, match="no upscaling network"):
        open_backend(str(pipelines("sd1")), device="cpu").check(wanted[0])


def test_controlnets_guide(pipelines: Pipelines, tmp_path: Path) -> None:
    model, net = pipelines("sd1"), str(pipelines("controlnet"))
    picture(tmp_path / "pose.png", 80, 60)
    control = {"model": net, "image": "pose.png", "scale": 0.8}
    plain = recipes(model, tmp_path, {})
    guided = recipes(model, tmp_path, {"control": control})
    images = check_way(model, plain, guided)
    edges = drawn(model, recipes(model, tmp_path, {"control": {**control, "preprocess": "canny"}}))
    assert np.abs(edges[0] - images[0]).max() > 1
    short = drawn(model, recipes(model, tmp_path, {"control": {**control, "end": 0.5}}))
    assert np.abs(short[0] - images[0]).max() > 1
    several = recipes(model, tmp_path, {"control": [control, {**control, "preprocess": "canny"}]})
    twice = check_way(model, plain, several)
    assert np.abs(twice[0] - images[0]).max() > 1


def test_controlnets_go_with_pictures_masks_and_enlarging(pipelines: Pipelines, tmp_path: Path) -> None:
    model, net = pipelines("sd1"), str(pipelines("controlnet"))
    picture(tmp_path / "pose.png")
    Image.fromarray(np.pad(np.full((32, 32), 255, np.uint8), 16)).save(tmp_path / "mask.png")
    control = {"control": {"model": net, "image": "pose.png"}}
    for more in (
        {"init_image": "pose.png"},
        {"init_image": "pose.png", "mask": "mask.png", "strength": 1.0},
        {"hires": {"scale": 1.5}},
    ):
        plain, guided = recipes(model, tmp_path, more), recipes(model, tmp_path, more | control)
        assert np.abs(drawn(model, guided)[0] - drawn(model, plain)[0]).max() > 1


def test_pictures_that_guide_differ_within_a_batch(pipelines: Pipelines, tmp_path: Path) -> None:
    model, net = pipelines("sd1"), str(pipelines("controlnet"))
    (tmp_path / "maps").mkdir()
    picture(tmp_path / "maps" / "a.png")
    picture(tmp_path / "maps" / "b.png", 120, 40)
    guided = recipes(
        model, tmp_path, {"control": {"model": net}}, seeds=[1],
        facets={"map": {"images": "maps", "sets": "control_image"}},
    )  # fmt: skip
    assert len({one.group for one in guided}) == 1
    together, alone = drawn(model, guided), drawn(model, guided, batch_size=1)
    assert np.abs(together[0] - together[1]).max() > 1
    assert all(np.abs(a - b).max() <= 2 for a, b in zip(together, alone, strict=True))


def test_an_image_prompt_and_leaving_it_again(pipelines: Pipelines, tmp_path: Path) -> None:
    model, adapter = pipelines("sd1"), pipelines("ip_adapter")
    picture(tmp_path / "look.png", 50, 70)
    prompt = {
        "image": "look.png", "adapter": str(adapter / "adapter.safetensors"),
        "encoder": str(adapter / "encoder"), "scale": 1.0,
    }  # fmt: skip
    plain = recipes(model, tmp_path, {})
    prompted = recipes(model, tmp_path, {"image_prompt": prompt})
    images = check_way(model, plain, prompted)
    weaker = drawn(model, recipes(model, tmp_path, {"image_prompt": {**prompt, "scale": 0.2}}))
    assert np.abs(weaker[0] - images[0]).max() > 1
    mixed = drawn(model, [plain[0], prompted[0], plain[1]])
    before = drawn(model, plain, batch_size=1)
    assert np.array_equal(mixed[0], before[0])
    assert np.array_equal(mixed[2], before[1])


@pytest.mark.parametrize("family", ["sd1", "sdxl", "pixart", "flux"])
def test_frames_lead_from_one_recipe_to_another(pipelines: Pipelines, tmp_path: Path, family: str) -> None:
    model = pipelines(family)
    size = {"width": 32, "height": 32} if family in ("pixart", "flux") else {}
    size |= {"options": {"use_resolution_binning": False}} if family == "pixart" else {}
    frames = recipes(
        model, tmp_path, {**size, "between": {"prompt": "a blue fox", "seed": 9}}, seeds=[1],
        facets={"frame": {"frames": 5}},
    )  # fmt: skip
    ends = recipes(model, tmp_path, size, prompt="a blue fox", seeds=[9])
    assert frames[0].id == recipes(model, tmp_path, size, seeds=[1])[0].id
    assert frames[-1].id == ends[0].id
    images = drawn(model, frames)
    assert all(np.abs(a - b).max() > 1 for a, b in itertools.pairwise(images))
    alone = drawn(model, frames, batch_size=1)
    assert all(np.abs(a - b).max() <= 2 for a, b in zip(images, alone, strict=True))


@settings(max_examples=40)
@given(at=st.floats(0, 1), seed=st.integers(0, 99))
def test_noise_between_two_seeds_keeps_its_length(at: float, seed: int) -> None:
    import torch

    from nonesuch.generators.backends.frames import slerp

    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.randn(4, 16, 16, generator=generator) for _ in range(2))
    lengths = [float(tensor.norm()) for tensor in (one, other)]
    assert min(lengths) * 0.98 <= float(slerp(one, other, at).norm()) <= max(lengths) * 1.02
    assert torch.allclose(slerp(one, other, 0.0), one)
    assert torch.allclose(slerp(one, other, 1.0), other)


@pytest.mark.parametrize("family", ["pixart", "flux", "sd1"])
@pytest.mark.parametrize("scheduler", ["default", "heun"])
def test_margins_are_drawn_and_the_picture_is_kept(
    pipelines: Pipelines, tmp_path: Path, family: str, scheduler: str
) -> None:
    if family == "flux" and scheduler == "heun":
        pytest.skip("flow matching has no Heun by that name")
    model = pipelines(family)
    picture(tmp_path / "start.png", 32, 32)
    chosen: dict[str, Any] = {
        "init_image": "start.png", "extend": {"left": 16, "right": 16, "fill": "mirror"}, "scheduler": scheduler,
    }  # fmt: skip
    chosen |= {"options": {"use_resolution_binning": False}} if family == "pixart" else {}
    sweep = {
        "name": "a",
        "model": str(model),
        "prompt": "a panda",
        "seeds": [1, 2],
        "settings": chosen | {"steps": 4},
    }
    wanted = list(open_matrix(make_sweep(sweep, tmp_path)))
    assert {(one.width, one.height, one.strength) for one in wanted} == {(64, 32, 1.0)}
    first, second = drawn(model, wanted)
    start = start_picture(
        Path(str(wanted[0].init_image)), file_digest(tmp_path / "start.png"), 32, 32, "crop"
    )
    assert np.array_equal(first[:, 16:48], start)
    assert np.abs(first - second)[:, :12].max() > 1
    alone = drawn(model, wanted, batch_size=1)
    assert np.abs(alone[0] - first).max() <= 2


def test_blending_pulls_the_drawing_towards_what_is_kept(pipelines: Pipelines, tmp_path: Path) -> None:
    """The latents outside the mask are the picture's: with none of it masked, decoding gives the picture back."""
    from nonesuch.generators.backends.blending import decoded, encoded
    from nonesuch.generators.backends.diffusers_backend import DiffusersBackend

    model = pipelines("pixart")
    picture(tmp_path / "start.png", 32, 32)
    Image.new("L", (32, 32), 0).save(tmp_path / "none.png")
    (wanted,) = recipes(
        model, tmp_path,
        {"init_image": "start.png", "mask": "none.png", "strength": 1.0, "width": 32, "height": 32,
         "options": {"use_resolution_binning": False}}, seeds=[1],
    )  # fmt: skip
    backend = open_backend(str(model), device="cpu", batch_size=1)
    assert isinstance(backend, DiffusersBackend)
    backend.check(wanted)
    (pixels,) = backend._images([wanted])
    start = start_picture(Path(str(wanted.init_image)), str(wanted.init_image_digest), 32, 32, "crop")
    expected = decoded(backend._pipe.vae, encoded(backend._pipe.vae, start[None]))[0]
    assert float((pixels - expected).abs().max()) < 1e-4


def test_what_a_pipeline_can_not_is_told(pipelines: Pipelines, tmp_path: Path) -> None:
    picture(tmp_path / "start.png")
    Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
    net = str(pipelines("controlnet"))
    for family, chosen in (
        ("pixart", {"init_image": "start.png", "mask": "mask.png", "strength": 0.5}),
        ("pixart", {"control": {"model": net, "image": "start.png"}}),
        ("pixart", {"hires": {"scale": 2}}),
        ("sd1", {"refiner": {"model": str(pipelines("sdxl_refiner"))}}),
        ("flux", {"image_prompt": {"image": "start.png", "adapter": "x.safetensors"}}),
    ):
        with pytest.raises(NonesuchError) as caught:
            recipes(pipelines(family), tmp_path, chosen)
        assert isinstance(caught.value, InputError)


def test_a_missing_ability_is_told_when_loading_too(pipelines: Pipelines, tmp_path: Path) -> None:
    """Where planning does not know the pipeline's class."""
    picture(tmp_path / "start.png")
    (one, _) = recipes(pipelines("sd1"), tmp_path, {"refiner": None, "init_image": "start.png"})
    with pytest.raises(InputError, match="start from an image"):
        open_backend(str(pipelines("pixart")), device="cpu").check(dataclasses.replace(one, options=()))
