"""Compiling, step caches and quantisation on tiny pipelines: what they do to pixels and to ids."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tiny_pipelines import sd1

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends import open_backend
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.sweep import make_sweep

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sd1(tmp_path_factory.mktemp("models") / "sd1")


def recipes(folder: Path, size: int = 64, steps: int = 6, **options: bool | str) -> list[Recipe]:
    settings = {"size": f"{size}x{size}", "steps": steps, **({"options": options} if options else {})}
    data = {"name": "a", "model": str(folder), "prompt": "a b c", "seeds": {"count": 2}, "settings": settings}
    return list(open_matrix(make_sweep(data)))


def images(folder: Path, size: int = 64, **options: bool | str) -> np.ndarray:
    backend = open_backend(str(folder))
    drawn = list(backend.draw(recipes(folder, size, **options)))
    assert [drawing.reason for drawing in drawn] == ["", ""]
    return np.stack([drawing.image for drawing in drawn if drawing.image is not None]).astype(int)


def test_options_that_are_not_used_leave_the_id_alone(folder: Path) -> None:
    plain, cached = recipes(folder)[0], recipes(folder, step_cache="pyramid:2")[0]
    assert dataclasses.replace(cached, options=()).id == plain.id != cached.id


def test_compiled_blocks_and_channels_last_change_pixels_by_rounding_only(folder: Path) -> None:
    plain = images(folder)
    assert np.abs(images(folder, compile=True, channels_last=True) - plain).max() <= 1


def test_a_step_cache_changes_pixels_and_forgets_from_drawing_to_drawing(folder: Path) -> None:
    plain, cached = images(folder), images(folder, step_cache="pyramid:2")
    assert (plain != cached).any()
    backend = open_backend(str(folder), batch_size=1)
    alone = [d.image for d in backend.draw(recipes(folder, step_cache="pyramid:2"))]
    assert np.abs(np.stack([i for i in alone if i is not None]).astype(int) - cached).max() <= 1


def test_a_first_block_cache_is_for_transformers(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="first_block"):
        open_backend(str(folder)).check(recipes(folder, step_cache="first_block:0.1")[0])


def test_quantised_weights_change_pixels(folder: Path) -> None:
    assert (images(folder) != images(folder, quantise="fp8")).any()


@pytest.mark.parametrize(
    ("option", "value"),
    [("step_cache", "pyramid:1"), ("step_cache", "magic:2"), ("quantise", "int3"), ("compile", "yes")],
)
def test_a_value_that_there_is_none_of_is_refused(folder: Path, option: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        open_backend(str(folder)).check(recipes(folder, **{option: value})[0])
    assert caught.value.where == f"options.{option}"
