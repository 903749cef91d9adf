"""The variants of one pipeline: text to image, image to image, inpainting, each with or without ControlNets.

Forms share their weights; what differs is the code that runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import diffusers
import torch

from nonesuch.foundation.errors import DrawingError, InputError
from nonesuch.generators.backends.pipelines import first_line, read_config
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.ways.recipe_extras import Control

Kind = Literal["text", "image", "inpaint"]

_AUTO: Final = {
    "text": diffusers.AutoPipelineForText2Image,
    "image": diffusers.AutoPipelineForImage2Image,
    "inpaint": diffusers.AutoPipelineForInpainting,
}
_CANT: Final = {
    "text": "can't draw from text",
    "image": "can't start from an image",
    "inpaint": "can't fill a mask",
}
_LATENTS_INPAINTED: Final = (4, 9)  # channels that diffusers' inpainting of UNets knows: SD 1.x to SDXL


class Forms:
    """Makes the forms of a pipeline as they are asked for, and keeps them and their ControlNets."""

    def __init__(self, pipe: Any, *, device: str, dtype: torch.dtype, network: bool) -> None:
        self._pipe = pipe
        self._device = device
        self._dtype = dtype
        self._network = network
        self._made: dict[tuple[str, tuple[str, ...]], Any] = {("text", ()): pipe}
        self._nets: dict[str, Any] = {}  # ControlNets by digest

    def forget(self) -> None:
        """Drop the forms, because the pipeline's parts have changed; ControlNets stay."""
        self._made = {("text", ()): self._pipe}

    def of(self, kind: Kind, controls: Sequence[Control] = ()) -> Any:
        """The form of this kind. Raises InputError when diffusers has none of it."""
        key = (kind, tuple(one.digest for one in controls))
        if key not in self._made:
            self._made[key] = self._make(kind, controls)
        return self._made[key]

    def for_start(self, recipe: Recipe) -> tuple[Any, bool]:
        """The form that a recipe's first pass needs, and whether a mask is kept by blending latents instead.

        Masks are filled by diffusers' own inpainting where it knows the pipeline, else by blending on the form
        that starts from an image, or from text at a strength of 1. Raises InputError when none of them is there.
        """
        controls = recipe.controls or ()
        if recipe.init_image_digest is None:
            return self.of("text", controls), False
        if not recipe.masked:
            return self.of("image", controls), False
        if self._inpaints():
            try:
                return self.of("inpaint", controls), False
            except InputError:
                pass
        try:
            return self.of("image", controls), True
        except InputError:
            if recipe.strength != 1:
                raise InputError(
                    f"{type(self._pipe).__name__} fills masks from noise alone",
                    where="strength",
                    hint="Use strength: 1.",
                ) from None
            return self.of("text", controls), True

    def _inpaints(self) -> bool:
        unet = getattr(self._pipe, "unet", None)
        return unet is None or unet.config.in_channels in _LATENTS_INPAINTED

    def _make(self, kind: Kind, controls: Sequence[Control]) -> Any:
        more: dict[str, Any] = {}
        if controls:
            nets = [self._net(one) for one in controls]
            more["controlnet"] = nets[0] if len(nets) == 1 else nets
        try:
            made = _AUTO[kind].from_pipe(self._pipe, **more)
        except (ValueError, TypeError) as error:
            said = "takes no ControlNet" if controls else _CANT[kind]
            raise InputError(
                f"{type(self._pipe).__name__} {said}",
                where="control" if controls else {"image": "init_image"}.get(kind, "mask"),
            ) from error
        made.set_progress_bar_config(disable=True)
        return made

    def _net(self, control: Control) -> Any:
        if control.digest not in self._nets:
            self._nets[control.digest] = self._loaded(control)
        return self._nets[control.digest]

    def _loaded(self, control: Control) -> Any:
        commit = control.digest.partition("@")[2] or None
        options: dict[str, Any] = {"local_files_only": not self._network}
        if commit is not None:
            options["revision"] = commit
        try:
            name = read_config(control.model, **options).get("_class_name", "ControlNetModel")
            cls = getattr(diffusers, name, None)
            if cls is None or "ControlNet" not in name:
                raise InputError(f"{name} is no ControlNet", where="control")
            net = cls.from_pretrained(control.model, dtype=self._dtype, use_safetensors=True, **options)
        except InputError:
            raise
        except Exception as error:  # diffusers, safetensors and the hub client each raise their own
            raise DrawingError(
                f"the ControlNet can't be loaded: {first_line(error)}", where=control.model
            ) from error
        return net.to(self._device).eval()
