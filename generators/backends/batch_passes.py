"""One batch through its passes: the first drawing, a refiner's last steps, the high-resolution pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final

import torch
from PIL import Image

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import RGB
from nonesuch.generators.backends import model_facts
from nonesuch.generators.backends.blending import blending_arguments, decoded
from nonesuch.generators.backends.enlarging import Enlargers
from nonesuch.generators.backends.forms import Forms
from nonesuch.generators.backends.frames import embedded, noise_between
from nonesuch.generators.backends.image_prompts import image_prompt_arguments
from nonesuch.generators.backends.input_images import control_arguments, start_arguments
from nonesuch.generators.backends.pipelines import load_pipeline, rgb_bytes, use_scheduler
from nonesuch.generators.backends.prompts import Embeddings, PromptEncoder, stacked
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.ways.recipe_extras import Refiner

# Decoded and encoded in tiles above this: a VAE's memory grows with the pixels.
TILED_PIXELS: Final = 1536 * 1536


@dataclass(frozen=True, slots=True)
class Prompted:
    """A batch's recipes with their prompts as the pipeline takes them."""

    recipes: list[Recipe]
    embedded: list[Embeddings | None]

    def words(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that stand for the prompts."""
        known = [one for one in self.embedded if one is not None]
        if len(known) == len(self.recipes):
            # Text beside its embeddings is refused, and some pipelines' text defaults to "".
            texts = {"prompt", "negative_prompt"} & set(parameters)
            return {**dict.fromkeys(texts), **stacked(known)}
        words: dict[str, Any] = {"prompt": [recipe.prompt for recipe in self.recipes]}
        if any(recipe.negative_prompt for recipe in self.recipes):
            words["negative_prompt"] = [recipe.negative_prompt for recipe in self.recipes]
        return words


class Passes:
    """What a loaded pipeline needs to take recipes through all their passes."""

    def __init__(self, pipe: Any, *, device: str, dtype: torch.dtype, network: bool) -> None:
        self.forms = Forms(pipe, device=device, dtype=dtype, network=network)
        self.enlargers = Enlargers(device=device, dtype=dtype, network=network)
        self._scheduler = pipe.scheduler
        self._device = device
        self._dtype = dtype
        self._network = network
        self._refiner: tuple[str, Any, PromptEncoder] | None = None

    def prepare(self, recipe: Recipe) -> Any:
        """Make every form that the recipe's group needs, with its scheduler; returns that of the first pass.

        Raises InputError for what the model can't do.
        """
        form, _ = self.forms.for_start(recipe)
        needed = [form]
        if recipe.refiner is not None:
            if "denoising_end" not in signature(form.__call__).parameters:
                raise InputError(
                    f"{type(form).__name__} can't pass its latents to a refiner", where="refiner"
                )
            needed.append(self._refining(recipe.refiner)[0])
        if recipe.hires is not None:
            needed.append(self.forms.of("image", recipe.controls or ()))
            self.enlargers.load(recipe.hires.upscaler)
        if recipe.upscale is not None:
            self.enlargers.load(recipe.upscale.upscaler)
        for one in needed:
            use_scheduler(one, recipe.scheduler, self._scheduler)
        return form

    def draw(self, batch: Prompted) -> list[torch.Tensor]:
        """The images of recipes that share a group, float [3, H, W] in 0 … 1 on the device, before upscaling."""
        first = batch.recipes[0]
        with torch.inference_mode():
            images = self._first(batch)
            if first.hires is not None:
                images = self._again(batch, images)
        return list(images)

    def upscaled(self, recipe: Recipe, picture: RGB) -> RGB:
        """The finished image at the recipe's size."""
        if recipe.upscale is None:
            return picture
        return self.enlargers.enlarged(
            recipe.upscale.upscaler, [picture], (recipe.width, recipe.height), [recipe]
        )[0]

    def _first(self, batch: Prompted) -> torch.Tensor:
        first = batch.recipes[0]
        form, blends = self.forms.for_start(first)
        parameters = signature(form.__call__).parameters
        arguments = start_arguments(batch.recipes, parameters)
        if blends:
            arguments |= blending_arguments(form, batch.recipes, parameters)
        latent = first.refiner is not None or (
            first.hires is not None and first.hires.upscaler.kind == "latent"
        )
        if first.refiner is not None:
            arguments["denoising_end"] = first.refiner.at
        with noise_between(form, batch.recipes):
            images = self._called(
                form, batch, first.first_size, first.steps, arguments, output="latent" if latent else "pt"
            )
        if first.refiner is not None:
            latent = first.hires is not None and first.hires.upscaler.kind == "latent"
            images = self._refined(batch, images, first.refiner, output="latent" if latent else "pt")
        return images

    def _again(self, batch: Prompted, images: torch.Tensor) -> torch.Tensor:
        """The high-resolution pass: the drawing (or its latents) enlarged, then drawn again from itself."""
        first = batch.recipes[0]
        assert first.hires is not None
        width, height = first.chain_size
        form = self.forms.of("image", first.controls or ())
        tiled = width * height > TILED_PIXELS and hasattr(form.vae, "enable_tiling")
        if tiled:
            form.vae.enable_tiling()
        try:
            pictures = self._enlarged(form.vae, batch, images)
            arguments = {
                "image": [Image.fromarray(one) for one in pictures],
                "strength": first.hires.strength,
            }
            return self._called(form, batch, (width, height), first.hires.steps, arguments, output="pt")
        finally:
            if tiled:
                form.vae.disable_tiling()

    def _enlarged(self, vae: Any, batch: Prompted, images: torch.Tensor) -> list[RGB]:
        first = batch.recipes[0]
        assert first.hires is not None
        width, height = first.chain_size
        if first.hires.upscaler.kind == "latent":
            if images.ndim != 4:
                raise InputError("latents of this model can't be enlarged", where="hires")
            scale = images.shape[-1] / first.hires.width
            size = (round(height * scale), round(width * scale))
            larger = torch.nn.functional.interpolate(images.float(), size=size, mode="bicubic")
            return [_finite(one) for one in decoded(vae, larger)]
        pictures = [_finite(one) for one in images]
        return self.enlargers.enlarged(first.hires.upscaler, pictures, (width, height), batch.recipes)

    def _refined(
        self, batch: Prompted, latents: torch.Tensor, refiner: Refiner, *, output: str
    ) -> torch.Tensor:
        form, encoder = self._refining(refiner)
        first = batch.recipes[0]
        prompted = [embedded(encoder, recipe, {}) for recipe in batch.recipes]
        arguments = {"image": latents, "denoising_start": refiner.at}
        return self._called(
            form,
            Prompted(batch.recipes, prompted),
            first.first_size,
            first.steps,
            arguments,
            output=output,
            own=False,
        )

    def _refining(self, refiner: Refiner) -> tuple[Any, PromptEncoder]:
        """The refiner's form that starts from latents, and its encoder of prompts."""
        if self._refiner is None or self._refiner[0] != refiner.digest:
            commit = refiner.digest.partition("@")[2] or None
            facts = model_facts(refiner.model, commit, network=self._network)
            pipe = load_pipeline(
                facts, device=self._device, dtype=self._dtype, network=self._network, as_it_is=True
            )
            if "denoising_start" not in signature(pipe.__call__).parameters:
                pipe = Forms(pipe, device=self._device, dtype=self._dtype, network=self._network).of("image")
            if "denoising_start" not in signature(pipe.__call__).parameters:
                raise InputError(
                    f"{type(pipe).__name__} can't refine another model's latents", where="refiner"
                )
            self._refiner = (refiner.digest, pipe, PromptEncoder(pipe, self._device))
        return self._refiner[1], self._refiner[2]

    def _called(
        self,
        form: Any,
        batch: Prompted,
        size: tuple[int, int],
        steps: int,
        arguments: Mapping[str, Any],
        *,
        output: str,
        own: bool = True,
    ) -> torch.Tensor:
        """One call of a form; `own` says whether the recipe's options, controls and image prompt are meant for it."""
        first = batch.recipes[0]
        parameters = signature(form.__call__).parameters
        common: dict[str, Any] = {
            "height": size[1],
            "width": size[0],
            "num_inference_steps": steps,
            "guidance_scale": first.guidance_scale,
            # On the CPU, so that a seed means the same noise whatever the device.
            "generator": [torch.Generator("cpu").manual_seed(recipe.seed) for recipe in batch.recipes],
            "output_type": output,
        }
        common = {name: value for name, value in common.items() if name in parameters}
        if own:
            common |= control_arguments(batch.recipes, size, parameters) | image_prompt_arguments(first)
        # the first pass's form has been asked for each option; that of a later one may lack some
        options = {name: value for name, value in first.options if own and name in parameters}
        images: torch.Tensor = form(**batch.words(parameters), **common, **arguments, **options).images
        return images


def _finite(pixels: torch.Tensor) -> RGB:
    """uint8 [H, W, 3] of a float tensor [3, H, W] in 0 … 1. Raises InputError when a value is not finite."""
    picture = rgb_bytes(pixels)
    if picture is None:
        raise InputError("the first pass holds NaN or infinite values", where="hires")
    return picture
