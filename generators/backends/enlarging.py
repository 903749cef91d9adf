"""Making images larger: Lanczos, networks of the ESRGAN kind through spandrel, upscaling pipelines of diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from nonesuch.foundation.errors import DependencyError, DrawingError, InputError
from nonesuch.foundation.images import RGB
from nonesuch.generators.backends import model_facts
from nonesuch.generators.backends.pipelines import first_line, load_pipeline
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.ways.recipe_extras import Upscaler

TILE: Final = 512  # px; larger images go through a network in tiles
OVERLAP: Final = 32  # px that a tile sees of its neighbours


class Enlargers:
    """Loads upscalers as they are asked for, and keeps them."""

    def __init__(self, *, device: str, dtype: torch.dtype, network: bool) -> None:
        self._device = device
        self._dtype = dtype
        self._network = network
        self._loaded: dict[str, Any] = {}

    def load(self, upscaler: Upscaler) -> None:
        """Load what an upscaler needs. Raises InputError, DependencyError or DrawingError when it can't be."""
        if upscaler.digest is not None and upscaler.digest not in self._loaded:
            made = self._open_network if upscaler.kind == "network" else self._open_pipeline
            self._loaded[upscaler.digest] = made(upscaler)

    def enlarged(
        self,
        upscaler: Upscaler,
        pictures: Sequence[RGB],
        size: tuple[int, int],
        recipes: Sequence[Recipe],
    ) -> list[RGB]:
        """The images (uint8 [H, W, 3]) at `size`, width and height in px.

        A network or pipeline enlarges by its own factor; Lanczos brings its result to the size.
        """
        self.load(upscaler)
        if upscaler.kind == "network":
            network = self._loaded[str(upscaler.digest)]
            pictures = [_through(network, picture, self._device) for picture in pictures]
        elif upscaler.kind == "pipeline":
            pipe = self._loaded[str(upscaler.digest)]
            pictures = [
                self._drawn(pipe, picture, recipe) for picture, recipe in zip(pictures, recipes, strict=True)
            ]
        return [_resized(picture, size) for picture in pictures]

    def _drawn(self, pipe: Any, picture: RGB, recipe: Recipe) -> RGB:
        """One image through an upscaling pipeline, by the recipe's own prompt and seed."""
        part = recipe.upscale
        arguments = {
            "prompt": recipe.prompt,
            "negative_prompt": recipe.negative_prompt or None,
            "image": Image.fromarray(picture),
            "generator": torch.Generator("cpu").manual_seed(recipe.seed),
            "num_inference_steps": 20 if part is None or part.steps is None else part.steps,
            "guidance_scale": 1.0 if part is None or part.guidance_scale is None else part.guidance_scale,
            "output_type": "np",
        }
        with torch.inference_mode():
            image = pipe(**arguments).images[0]
        if not np.isfinite(image).all():
            raise DrawingError("the upscaler drew NaN or infinite values")
        return np.ascontiguousarray((image * 255).round().astype(np.uint8))

    def _open_pipeline(self, upscaler: Upscaler) -> Any:
        commit = str(upscaler.digest).partition("@")[2] or None
        facts = model_facts(str(upscaler.model), commit, network=self._network)
        pipe = load_pipeline(
            facts, device=self._device, dtype=self._dtype, network=self._network, as_it_is=True
        )
        if "Upscale" not in type(pipe).__name__:
            raise InputError(f"{type(pipe).__name__} does not enlarge images", where="upscaler")
        return pipe

    def _open_network(self, upscaler: Upscaler) -> Any:
        """A network of the ESRGAN kind; of pickled files, tensors alone are read."""
        try:
            import spandrel
        except ImportError as error:
            raise DependencyError(
                "upscaling networks need the package spandrel",
                where=upscaler.model,
                hint="Install it: pip install 'nonesuch[upscale]'. Without it, use upscaler: lanczos.",
            ) from error
        path = Path(str(upscaler.model))
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import load_file

                state = load_file(path)
            else:
                state = torch.load(path, map_location="cpu", weights_only=True)
            network = spandrel.ModelLoader(device=self._device).load_from_state_dict(state)
        except Exception as error:  # unknown architectures, broken files, pickles that hold more than tensors
            raise InputError(
                f"is no upscaling network that can be used: {first_line(error)}", where=str(path)
            ) from error
        if not isinstance(network, spandrel.ImageModelDescriptor) or network.scale < 2:
            raise InputError("does not enlarge images", where=str(path))
        if (network.input_channels, network.output_channels) != (3, 3):
            raise InputError("is not for images of three channels", where=str(path))
        return network.eval()


def _through(network: Any, picture: RGB, device: str) -> RGB:
    """The image through a network, in overlapping tiles where it is large: only each tile's middle is kept."""
    height, width = picture.shape[:2]
    scale = int(network.scale)
    made = np.empty((height * scale, width * scale, 3), np.uint8)
    inner = TILE - 2 * OVERLAP
    for top in range(0, height, inner):
        for left in range(0, width, inner):
            box = (max(0, top - OVERLAP), max(0, left - OVERLAP))
            tile = picture[box[0] : top + inner + OVERLAP, box[1] : left + inner + OVERLAP]
            pixels = (
                torch.from_numpy(np.ascontiguousarray(tile)).permute(2, 0, 1)[None].to(device).float() / 255
            )
            with torch.inference_mode():
                drawn = network(pixels)[0]
            if not bool(torch.isfinite(drawn).all()):
                raise DrawingError("the upscaler drew NaN or infinite values")
            tall, wide = min(inner, height - top), min(inner, width - left)
            y, x = (top - box[0]) * scale, (left - box[1]) * scale
            kept = drawn[:, y : y + tall * scale, x : x + wide * scale].clamp(0, 1) * 255
            made[top * scale : (top + tall) * scale, left * scale : (left + wide) * scale] = (
                kept.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
            )
    return made


def _resized(picture: RGB, size: tuple[int, int]) -> RGB:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
