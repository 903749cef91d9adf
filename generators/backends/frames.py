"""Frames between two recipes: noise between two seeds' on the sphere, text embeddings between two prompts'.

Spherical interpolation (Shoemake, SIGGRAPH 1985) keeps the length that Gaussian noise has in many dimensions
(White, arXiv:1609.04468); on the straight way half-way frames would be drawn from noise of too low a variance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends.prompts import Embeddings, PromptEncoder, shape_of
from nonesuch.generators.recipe import Recipe


def slerp(one: torch.Tensor, other: torch.Tensor, at: float) -> torch.Tensor:
    """The tensor `at` (0 … 1) of the way from one to the other, on the great circle of their directions."""
    a, b = one.double().flatten(), other.double().flatten()
    cosine = torch.clamp((a @ b) / (a.norm() * b.norm()), -1, 1)
    angle = torch.arccos(cosine)
    if float(angle.sin()) < 1e-6:  # alike or opposite: no circle
        return torch.lerp(one, other, at)
    weights = torch.sin((1 - at) * angle) / angle.sin(), torch.sin(at * angle) / angle.sin()
    return (weights[0] * one.double() + weights[1] * other.double()).to(one.dtype)


def embedded(encoder: PromptEncoder, recipe: Recipe, options: Mapping[str, Any]) -> Embeddings | None:
    """A recipe's prompt as `encoder` has it, between its two ends' where it is a frame; None when prompts go in as text."""

    def encoded(prompt: str) -> Embeddings | None:
        return encoder.embeddings(
            prompt,
            recipe.negative_prompt,
            guided=recipe.guidance_scale > 1,
            options=options,
            syntax=recipe.prompt_syntax,
        )

    own = encoded(recipe.prompt)
    if recipe.between is None or recipe.between.prompt == recipe.prompt:
        return own
    return embeddings_between(own, encoded(recipe.between.prompt), recipe.between.at)


def embeddings_between(one: Embeddings | None, other: Embeddings | None, at: float) -> Embeddings:
    """Text embeddings `at` of the way, value by value; of attention masks, all that either prompt uses.

    Raises InputError for a pipeline that takes prompts as text, or encodes the two to different lengths.
    """
    if one is None or other is None or shape_of(one) != shape_of(other):
        raise InputError("this model's encoded prompts can't be interpolated", where="between")
    found: dict[str, Any] = {}
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            last = other[name]
            whole = not value.is_floating_point()
            found[name] = torch.maximum(value, last) if whole else torch.lerp(value, last.to(value), at)
        else:
            found[name] = [torch.lerp(a, b.to(a), at) for a, b in zip(value, other[name], strict=True)]
    return found


@contextmanager
def noise_between(form: Any, recipes: Sequence[Recipe]) -> Iterator[None]:
    """While it holds, the form starts each recipe from noise between its own seed's and its other end's.

    Pipelines of diffusers make their first latents in `prepare_latents`, whose generators are replaced here: its
    result is homogeneous in the noise, so what lies between two results was drawn from noise between the two.
    Raises InputError for a pipeline without that method.
    """
    ends = [recipe.between for recipe in recipes]
    if all(end is None or end.seed == recipe.seed for end, recipe in zip(ends, recipes, strict=True)):
        yield
        return
    original = getattr(form, "prepare_latents", None)
    if original is None:
        raise InputError(f"{type(form).__name__} does not show how it makes its noise", where="between")
    others = [
        torch.Generator("cpu").manual_seed(end.seed if end else recipe.seed)
        for end, recipe in zip(ends, recipes, strict=True)
    ]

    def prepared(*arguments: Any, **named: Any) -> Any:
        first = original(*arguments, **named)
        swapped = [others if _generators(one) else one for one in arguments]
        last = original(*swapped, **{k: others if _generators(v) else v for k, v in named.items()})
        parts = first if isinstance(first, tuple) else (first,)
        lasts = last if isinstance(last, tuple) else (last,)
        mixed = torch.stack(
            [slerp(a, b, end.at if end else 0.0) for a, b, end in zip(parts[0], lasts[0], ends, strict=True)]
        )
        return (mixed, *parts[1:]) if isinstance(first, tuple) else mixed

    form.prepare_latents = prepared
    try:
        yield
    finally:
        del form.prepare_latents


def _generators(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], torch.Generator)
