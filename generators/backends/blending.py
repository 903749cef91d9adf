"""Keeping what lies outside a mask while any pipeline draws: after each step the latents there are replaced by
the image's own, noised as far as the step has come.

Avrahami, Lischinski, Fried, "Blended Diffusion", CVPR 2022, and "Blended Latent Diffusion", SIGGRAPH 2023; the
known part of RePaint (Lugmayr et al., CVPR 2022) without its jumps back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends.input_images import mask_of, start_of
from nonesuch.generators.recipe import Recipe


def blending_arguments(form: Any, recipes: Sequence[Recipe], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The form's arguments that keep what lies outside the recipes' masks.

    Raises InputError for a pipeline that does not show its latents.
    """
    keeper = _Keeper(form, recipes)
    if "callback_on_step_end" in parameters:
        return {"callback_on_step_end": keeper.on_step_end, "callback_on_step_end_tensor_inputs": ["latents"]}
    if "callback" in parameters:  # the older form, which sees the very tensor that is used next
        return {"callback": keeper.in_place, "callback_steps": 1}
    raise InputError(f"{type(form).__name__} can't fill a mask: it does not show its latents", where="mask")


class _Keeper:
    """The batch's images in latents, encoded at the first step."""

    def __init__(self, form: Any, recipes: Sequence[Recipe]) -> None:
        self._form = form
        self._recipes = recipes
        self._known: torch.Tensor | None = None  # [B, C, h, w]
        self._inside: torch.Tensor  # [B, 1, h, w], 1 where it is drawn
        self._noise: torch.Tensor  # as _known

    def on_step_end(self, form: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return {**tensors, "latents": self._blended(step, tensors["latents"])}

    def in_place(self, step: int, timestep: Any, latents: torch.Tensor) -> None:
        # this form counts steps, of which schedulers of second order have two timesteps each
        order = getattr(self._form.scheduler, "order", 1)
        last = len(self._form.scheduler.timesteps) - 1
        latents.copy_(self._blended(min(step * order + order - 1, last), latents))

    def _blended(self, step: int, latents: torch.Tensor) -> torch.Tensor:
        known = self._encoded(latents)
        scheduler = self._form.scheduler
        steps = scheduler.timesteps
        # forms that start from an image leave out the first ones
        following = len(steps) - getattr(self._form, "num_timesteps", len(steps)) + step + 1
        if following < len(steps):
            known = _noised(scheduler, known, self._noise, steps[following : following + 1])
        return latents * self._inside + known.to(latents.dtype) * (1 - self._inside)

    def _encoded(self, latents: torch.Tensor) -> torch.Tensor:
        if self._known is None:
            pictures = np.stack([start_of(recipe) for recipe in self._recipes])
            masks = torch.from_numpy(np.stack([mask_of(recipe) for recipe in self._recipes]))
            known = encoded(self._form.vae, pictures)
            if latents.shape != known.shape:
                raise InputError(
                    f"{type(self._form).__name__} can't fill a mask: its latents are not of the shape of the image",
                    where="mask",
                )
            # A latent is drawn when any pixel of it is: those outside the mask are laid over at the end.
            inside = torch.nn.functional.adaptive_max_pool2d(masks[:, None].float() / 255, latents.shape[-2:])
            self._inside = inside.to(latents.device, latents.dtype)
            self._noise = torch.stack(
                [
                    torch.randn(known.shape[1:], generator=torch.Generator("cpu").manual_seed(recipe.seed))
                    for recipe in self._recipes
                ]
            ).to(latents.device, known.dtype)
            self._known = known.to(latents.device)
        return self._known


def encoded(vae: Any, pictures: np.ndarray) -> torch.Tensor:
    """The latents of images (uint8 [B, H, W, 3]) as the denoiser sees them: the likeliest, not a sample."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(vae.device, vae.dtype) / 127.5 - 1
    latents = torch.cat([retrieve_latents(vae.encode(one[None]), sample_mode="argmax") for one in pixels])
    mean, std = (getattr(vae.config, name, None) for name in ("latents_mean", "latents_std"))
    if mean is not None and std is not None:
        shape = (1, -1, 1, 1)
        mean, std = (torch.tensor(one).view(shape).to(latents) for one in (mean, std))
        latents = (latents - mean) / std
    else:
        latents = latents - (getattr(vae.config, "shift_factor", None) or 0)
    return latents * float(vae.config.scaling_factor)


def decoded(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Images (float [B, 3, H, W] in 0 … 1) of latents as the denoiser sees them; the inverse of `encoded`."""
    mean, std = (getattr(vae.config, name, None) for name in ("latents_mean", "latents_std"))
    latents = latents.to(vae.dtype)
    if mean is not None and std is not None:
        shape = (1, -1, 1, 1)
        mean, std = (torch.tensor(one).view(shape).to(latents) for one in (mean, std))
        latents = latents * std / vae.config.scaling_factor + mean
    else:
        latents = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0)
    pixels = torch.cat([vae.decode(one[None], return_dict=False)[0] for one in latents])
    return (pixels / 2 + 0.5).clamp(0, 1)


def _noised(scheduler: Any, known: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    noised: torch.Tensor
    if hasattr(scheduler, "scale_noise"):  # flow matching
        noised = scheduler.scale_noise(known, timestep, noise)
    else:
        noised = scheduler.add_noise(known, noise, timestep)
    return noised
