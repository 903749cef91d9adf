"""Images as prompts, through IP-Adapter (Ye et al., arXiv:2308.06721) as diffusers loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPVisionModelWithProjection

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends.pipelines import first_line
from nonesuch.generators.init_images import whole_picture
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.ways.recipe_extras import ImagePrompt


def use_image_prompt(pipe: Any, prompt: ImagePrompt | None, *, device: str, dtype: torch.dtype) -> None:
    """Give the pipeline this IP-Adapter and no other.

    Raises InputError for a pipeline that takes none, and for weights that do not fit it.
    """
    if hasattr(pipe, "unload_ip_adapter") and getattr(pipe.unet, "encoder_hid_proj", None) is not None:
        pipe.unload_ip_adapter()
    if prompt is None:
        return
    if not hasattr(pipe, "load_ip_adapter") or not hasattr(pipe, "unet"):
        raise InputError(f"{type(pipe).__name__} takes no image prompt", where="image_prompt")
    try:
        if prompt.encoder is not None:
            encoder = CLIPVisionModelWithProjection.from_pretrained(
                prompt.encoder, dtype=dtype, use_safetensors=True, local_files_only=True
            )
            pipe.register_modules(image_encoder=encoder.to(device).eval())
        elif getattr(pipe, "image_encoder", None) is None:
            raise InputError(
                "this pipeline has no image encoder of its own",
                where="image_prompt",
                hint="Name the adapter's: image_prompt: {encoder: FOLDER}.",
            )
        weights: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        for name, tensor in load_file(prompt.adapter).items():
            part, _, key = name.partition(".")
            if part in weights:
                weights[part][key] = tensor
        if not all(weights.values()):
            raise InputError("holds no IP-Adapter", where=prompt.adapter)
        pipe.load_ip_adapter(weights, subfolder="", weight_name="", image_encoder_folder=None)
    except InputError:
        raise
    except Exception as error:  # shapes that do not fit come as several kinds
        raise InputError(f"does not fit the model: {first_line(error)}", where=prompt.adapter) from error
    pipe.set_ip_adapter_scale(prompt.scale)


def image_prompt_arguments(recipe: Recipe) -> dict[str, Any]:
    """A form's arguments for a recipe's image prompt; none without one."""
    prompt = recipe.image_prompt
    if prompt is None:
        return {}
    return {"ip_adapter_image": [Image.fromarray(whole_picture(Path(prompt.image), prompt.image_digest))]}
