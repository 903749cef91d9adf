"""Architectures of the speed benchmark: as large as the published ones, and their small variants really draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from benchmarks.architectures import ARCHITECTURES, build, module
from nonesuch.generators.backends import model_facts, open_backend
from nonesuch.generators.recipe import Recipe


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of the scaled-down pipelines, each built once."""
    folder = tmp_path_factory.mktemp("architectures")

    def made(name: str) -> Path:
        path = folder / name
        return path if path.is_dir() else build(name, path, tiny=True)

    return made


@pytest.mark.parametrize(
    ("name", "part", "millions"),
    [
        ("sd15", "unet", 859.5),
        ("sd15", "text_encoder", 123.1),
        ("sd15", "vae", 83.65),
        ("sdxl", "unet", 2567.5),
        ("sdxl", "text_encoder_2", 694.7),
        ("sd3", "transformer", 2028.3),
    ],
)
def test_parts_are_as_large_as_published(name: str, part: str, millions: float) -> None:
    parameters = list(module(name, part).parameters())
    assert {parameter.device.type for parameter in parameters} == {"meta"}
    assert sum(parameter.numel() for parameter in parameters) / 1e6 == pytest.approx(millions, rel=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_are_half_precision_safetensors_and_the_same_every_time(
    name: str, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    again = build(name, tmp_path / name, tiny=True)
    files = sorted(tiny(name).rglob("*.safetensors"))
    assert len(files) == len(ARCHITECTURES[name].parts) - 1  # all but the scheduler
    for file in files:
        with safe_open(file, "pt") as weights:
            assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {"BF16"}  # noqa: SIM118
        assert file.read_bytes() == (again / file.relative_to(tiny(name))).read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_projects_backend_draws_them(name: str, tiny: Callable[[str], Path]) -> None:
    facts = model_facts(str(tiny(name)))
    recipes = [
        Recipe(
            backend=facts.backend, model=facts.model, model_digest=facts.digest, prompt="a painting of a fox",
            negative_prompt="", seed=seed, width=64, height=64, steps=3, guidance_scale=5.0,
            scheduler="default", dtype="auto",
        )
        for seed in range(2)
    ]  # fmt: skip
    backend = open_backend(str(tiny(name)), device="cpu")
    drawings = list(backend.draw(recipes))
    backend.close()
    assert [(drawing.status, drawing.batch_size) for drawing in drawings] == [("ok", 2)] * 2
    first, second = (np.asarray(drawing.image, float) for drawing in drawings)
    assert first.std() > 10  # of 255: something to encode, not one colour
    assert np.abs(first - second).mean() > 5
