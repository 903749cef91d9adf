"""The images that a batch of recipes starts from or is guided by, as arguments of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import RGB
from nonesuch.generators.init_images import DEFAULT_FIT, extended, start_mask, start_picture
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.ways.recipe_extras import Control


def start_of(recipe: Recipe) -> RGB:
    """The image that a recipe starts from, uint8 [H, W, 3] at the first pass's size, margins filled."""
    path, digest, fit = Path(str(recipe.init_image)), str(recipe.init_image_digest), recipe.fit or DEFAULT_FIT
    if recipe.extend is not None:
        return extended(path, digest, *recipe.first_size, fit, recipe.extend)[0]
    return start_picture(path, digest, *recipe.first_size, fit)


def mask_of(recipe: Recipe) -> npt.NDArray[np.uint8]:
    """Its mask, uint8 [H, W], 255 where it is drawn anew."""
    fit = recipe.fit or DEFAULT_FIT
    if recipe.extend is not None:
        path, digest = Path(str(recipe.init_image)), str(recipe.init_image_digest)
        return extended(path, digest, *recipe.first_size, fit, recipe.extend)[1]
    return start_mask(Path(str(recipe.mask)), str(recipe.mask_digest), *recipe.first_size, fit)


def start_arguments(recipes: Sequence[Recipe], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A form's arguments for what a batch starts from; none for text alone."""
    if recipes[0].init_image is None:
        return {}
    found: dict[str, Any] = {}
    if "strength" in parameters:
        found["strength"] = recipes[0].strength
        found["image"] = [Image.fromarray(start_of(recipe)) for recipe in recipes]
    if "mask_image" in parameters:
        found["mask_image"] = [Image.fromarray(mask_of(recipe)) for recipe in recipes]
    return found


def control_arguments(
    recipes: Sequence[Recipe], size: tuple[int, int], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """A form's arguments for the images that guide ControlNets at this size; none without ControlNets.

    Raises InputError when the pipeline has no such arguments.
    """
    controls = recipes[0].controls
    if not controls:
        return {}
    maps = [
        torch.stack([_tensor(control_map(recipe.controls[place], size, recipe.fit)) for recipe in recipes if recipe.controls])
        for place in range(len(controls))
    ]  # fmt: skip
    name = "control_image" if "control_image" in parameters else "image"
    several = len(controls) > 1
    found: dict[str, Any] = {
        name: maps if several else maps[0],
        "controlnet_conditioning_scale": _each([one.scale for one in controls]),
        "control_guidance_start": _each([one.start for one in controls]),
        "control_guidance_end": _each([one.end for one in controls]),
    }
    if name not in parameters or "controlnet_conditioning_scale" not in parameters:
        raise InputError("this pipeline takes no ControlNet", where="control")
    return {key: value for key, value in found.items() if key in parameters}


def control_map(control: Control, size: tuple[int, int], fit: str | None) -> RGB:
    """The control image at `size`, by the rule of the init image; with "canny", its edges white on black.

    Canny, IEEE PAMI 8(6), 1986, as OpenCV does it on the grey image with thresholds `low` and `high`.
    """
    picture = start_picture(Path(control.image), control.image_digest, *size, fit or DEFAULT_FIT)
    if control.preprocess == "none":
        return picture
    edges = cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), control.low, control.high)
    return np.repeat(np.asarray(edges, dtype=np.uint8)[..., None], 3, axis=2)


def _tensor(picture: RGB) -> torch.Tensor:
    """float32 [3, H, W] in 0 … 1."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def _each(values: list[float]) -> Any:
    return values if len(values) > 1 else values[0]
