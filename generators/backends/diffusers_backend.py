"""Drawing with a diffusers pipeline: batches over prompts and seeds, each image independent of its batch."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final

import torch

from nonesuch.foundation.errors import DrawingError, InputError
from nonesuch.foundation.images import RGB
from nonesuch.foundation.processor import computed
from nonesuch.generators.backends.base import DRAWN_HERE, Drawing
from nonesuch.generators.backends.batch_passes import Passes, Prompted
from nonesuch.generators.backends.frames import embedded
from nonesuch.generators.backends.image_prompts import use_image_prompt
from nonesuch.generators.backends.input_images import mask_of, start_of
from nonesuch.generators.backends.pipelines import (
    best_device,
    is_out_of_memory,
    load_pipeline,
    real_dtype,
    rgb_bytes,
    use_loras,
)
from nonesuch.generators.backends.prompts import PromptEncoder, shape_of
from nonesuch.generators.backends.speed import OPTIONS, Accelerated, Speed, pipeline_options, speed_of
from nonesuch.generators.init_images import laid_over
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.ways.recipe_extras import ImagePrompt

# Pixels in a batch by default: what keeps the device busy without asking for much memory.
_BATCH_PIXELS: Final = {"cuda": 8 * 1024 * 1024, "mps": 1024 * 1024, "cpu": 16 * 128 * 128}
_MAX_BATCH: Final = 64
_MAX_REASON: Final = 300  # characters
# Arguments of a pipeline that the recipe's own fields decide.
_OWN: Final = frozenset(
    {"prompt", "negative_prompt", "height", "width", "num_inference_steps", "guidance_scale", "generator",
     "output_type", "return_dict", "num_images_per_prompt", "latents", "callback_on_step_end",
     "image", "mask_image", "strength", "control_image", "controlnet_conditioning_scale",
     "control_guidance_start", "control_guidance_end", "ip_adapter_image", "callback", "callback_steps"}
)  # fmt: skip


class DiffusersBackend:
    """One text-to-image pipeline on one device."""

    def __init__(
        self, facts: ModelFacts, *, device: str | None, batch_size: int | None, network: bool
    ) -> None:
        self.facts = facts
        self._device = device or best_device()
        self._asked_batch = batch_size
        self._network = network
        self._working: dict[tuple[Any, ...], int] = {}  # batch sizes that memory has allowed, by group
        self._pipe: Any = None
        self._form: Any = None  # what draws first: the pipeline, or its form that starts from an image
        self._passes: Any = None
        self._dtype: torch.dtype | None = None
        self._speed: Speed | None = None

    def load(self) -> None:
        """Bring the weights onto the device, in the dtype of the model's defaults."""
        computed(self._device, lambda: self._load(self.facts.defaults.dtype, speed_of((), self._device)))

    def check(self, recipe: Recipe) -> None:
        """Raise InputError for what the recipe asks of this model that it can't do: an unknown option, a
        negative prompt it does not take, a scheduler or LoRA that does not fit. Loads the model."""
        computed(self._device, lambda: self._check(recipe))

    def draw(self, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
        """One Drawing for each recipe, in order; consecutive recipes of one group share batches.

        Out of memory halves the batch for the rest of the group. A batch that fails in another way
        is drawn again one by one, so that only the recipes at fault fail.
        """
        for _, members in groupby(recipes, key=lambda recipe: recipe.group):
            group = list(members)
            try:
                computed(self._device, partial(self._prepare, group[0]))
            except InputError as error:
                yield from (self._failed(recipe, str(error), 0.0, 1) for recipe in group)
                continue
            yield from self._draw_group(group)

    def _check(self, recipe: Recipe) -> None:
        self._prepare(recipe)
        self._check_negative(recipe)
        if recipe.prompt_syntax is not None:
            self._encoder.embeddings(
                recipe.prompt,
                "",
                guided=False,
                options=pipeline_options(recipe.options),
                syntax=recipe.prompt_syntax,
            )

    def _check_negative(self, recipe: Recipe) -> None:
        if recipe.negative_prompt and "negative_prompt" not in self._parameters:
            raise InputError(f"{type(self._form).__name__} takes no negative prompt", where="negative")

    def close(self) -> None:
        """Drop the pipeline and give the device's memory back."""
        self._pipe = self._form = self._passes = None
        self._dtype = None
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _load(self, dtype: str, speed: Speed) -> None:
        wanted = real_dtype(dtype, self._device)
        if self._pipe is not None and (wanted, speed) == (self._dtype, self._speed):
            return
        if not self.facts.resolved:
            raise DrawingError(
                "the model is not on this machine",
                where=self.facts.model,
                hint="Describe it again with permission to use the network.",
            )
        self.close()
        self._pipe = load_pipeline(self.facts, device=self._device, dtype=wanted, network=self._network)
        self._accelerated = Accelerated(self._pipe, speed, wanted)
        self._dtype, self._speed = wanted, speed
        self._encoder = PromptEncoder(self._pipe, self._device)
        self._passes = Passes(self._pipe, device=self._device, dtype=wanted, network=self._network)
        self._loras: tuple[Any, ...] = ()
        self._image_prompt: ImagePrompt | None = None

    def _prepare(self, recipe: Recipe) -> None:
        """Bring the pipeline into the state that a recipe's group needs."""
        self._load(recipe.dtype, speed_of(recipe.options, self._device))
        if recipe.loras != self._loras:
            self._loras = ()
            self._encoder.forget()
            use_loras(self._pipe, recipe.loras)
            self._loras = recipe.loras
        if recipe.image_prompt != self._image_prompt:
            self._image_prompt = None
            self._passes.forms.forget()
            assert self._dtype is not None  # loading has set it
            use_image_prompt(self._pipe, recipe.image_prompt, device=self._device, dtype=self._dtype)
            self._image_prompt = recipe.image_prompt
        self._form = self._passes.prepare(recipe)
        self._parameters = inspect.signature(self._form.__call__).parameters
        known = sorted(set(self._parameters) - _OWN | OPTIONS)
        for option, _ in recipe.options:
            if option not in known:
                raise InputError(
                    f"{type(self._form).__name__} takes no option {option!r}",
                    where="options",
                    hint=f"Known: {', '.join(known)}.",
                )

    def _draw_group(self, group: list[Recipe]) -> Iterator[Drawing]:
        key = group[0].group
        position = 0
        while position < len(group):
            size = self._working.get(key) or self._batch_size(group[0])
            batch = group[position : position + size]
            drawings = computed(self._device, partial(self._draw_batch, batch))
            if drawings is None and len(batch) > 1:
                self._working[key] = len(batch) // 2
                if self._device.startswith("cuda"):
                    torch.cuda.empty_cache()
                continue
            if drawings is None:
                drawings = [self._failed(batch[0], "out of memory even with one image", 0.0, 1)]
            yield from drawings
            position += len(batch)

    def _draw_batch(self, batch: list[Recipe]) -> list[Drawing] | None:
        """The drawings of a batch, or None when memory did not suffice."""
        start = time.perf_counter()
        try:
            pictures = [
                self._picture(recipe, image) for recipe, image in zip(batch, self._images(batch), strict=True)
            ]
        except Exception as error:  # anything a pipeline raises belongs to its recipes, not to the sweep
            if is_out_of_memory(error):
                return None
            if len(batch) == 1:
                words = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                reason = " ".join(words.split())[:_MAX_REASON]
                return [self._failed(batch[0], reason, time.perf_counter() - start, 1)]
            alone = [self._draw_batch([recipe]) for recipe in batch]
            return [
                self._failed(recipe, "out of memory even with one image", 0.0, 1)
                if drawn is None
                else drawn[0]
                for recipe, drawn in zip(batch, alone, strict=True)
            ]
        seconds = (time.perf_counter() - start) / len(batch)
        return [
            self._finished(recipe, picture, seconds, len(batch))
            for recipe, picture in zip(batch, pictures, strict=True)
        ]

    def _images(self, batch: list[Recipe]) -> list[torch.Tensor]:
        """Images as float tensors [3, H, W] in 0 … 1 on the device; prompts of unlike length go apart."""
        for recipe in batch:
            self._check_negative(recipe)
        prompted = [embedded(self._encoder, recipe, pipeline_options(recipe.options)) for recipe in batch]
        shapes = [shape_of(one) for one in prompted]
        images: dict[int, torch.Tensor] = {}
        for shape in dict.fromkeys(shapes):
            chosen = [index for index, one in enumerate(shapes) if one == shape]
            self._accelerated.begin()
            drawn = self._passes.draw(
                Prompted([batch[index] for index in chosen], [prompted[index] for index in chosen])
            )
            images.update(zip(chosen, drawn, strict=True))
        return [images[index] for index in range(len(batch))]

    def _picture(self, recipe: Recipe, pixels: torch.Tensor) -> RGB | None:
        """uint8 [H, W, 3]: what a mask keeps laid over it, and enlarged; None when a value is not finite."""
        image = rgb_bytes(pixels)
        if image is None or image.shape[:2] != recipe.chain_size[::-1]:
            return image
        if recipe.masked:
            image = laid_over(start_of(recipe), image, mask_of(recipe))
        upscaled: RGB = self._passes.upscaled(recipe, image)
        return upscaled

    def _finished(self, recipe: Recipe, image: RGB | None, seconds: float, size: int) -> Drawing:
        if image is None:
            status, reason = "flagged", "the image holds NaN or infinite values"
        elif image.shape[:2] != (recipe.height, recipe.width):
            status, reason = "flagged", f"the pipeline drew {image.shape[1]}x{image.shape[0]} pixels"
        elif image.max() == image.min():
            status, reason = (
                "flagged",
                "every pixel has the same value" + (" (black)" if not image.max() else ""),
            )
        else:
            status, reason = "ok", ""
        return Drawing(
            recipe, image, status, reason, seconds, size, self._device, self._dtype_name(),  # type: ignore[arg-type]
            origin=DRAWN_HERE,
        )  # fmt: skip

    def _failed(self, recipe: Recipe, reason: str, seconds: float, size: int) -> Drawing:
        return Drawing(recipe, None, "failed", reason, seconds, size, self._device, self._dtype_name())

    def _dtype_name(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    def _batch_size(self, recipe: Recipe) -> int:
        if self._asked_batch is not None:
            return self._asked_batch
        pixels = _BATCH_PIXELS.get(self._device.split(":")[0], _BATCH_PIXELS["cpu"])
        return max(1, min(_MAX_BATCH, pixels // (recipe.chain_size[0] * recipe.chain_size[1])))
