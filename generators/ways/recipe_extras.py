"""What a recipe may hold beyond text to image: frozen parts, their identity, and what of them is published.

A part's fields marked `local` say where a file lies. They are no part of the identity, which has digests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final, TypeAlias

PICTURE: Final = {"local": "picture"}  # where an image lies: it may name a person, so it is never published
MODEL: Final = {"local": "model"}  # where weights lie: their file's name is published
NOTE: Final = {"local": "note"}  # as the sweep said it; the sizes before and after are what counts


@dataclass(frozen=True, slots=True)
class Extend:
    """Outpainting: margins around the image, in px of the image that is drawn."""

    left: int
    top: int
    right: int
    bottom: int
    fill: str  # what the margins hold before noise: "edge" or "mirror"


@dataclass(frozen=True, slots=True)
class Between:
    """A frame on the way from the recipe's own prompt and seed to others."""

    prompt: str  # the other end's
    seed: int  # the other end's
    at: float  # how far, between 0 and 1


@dataclass(frozen=True, slots=True)
class Refiner:
    """A second model that does the last denoising steps."""

    model: str = field(metadata=MODEL)  # hub id or folder
    digest: str
    at: float  # share of the steps that the first model does


@dataclass(frozen=True, slots=True)
class Control:
    """A ControlNet and the image that guides it."""

    model: str = field(metadata=MODEL)  # hub id or folder
    digest: str
    image: str = field(metadata=PICTURE)
    image_digest: str  # SHA-256 of the file
    preprocess: str  # "none" or "canny"
    low: int  # thresholds of canny, 0 … 1000
    high: int
    scale: float
    start: float  # share of the steps at which it begins, 0 … 1
    end: float  # and ends


@dataclass(frozen=True, slots=True)
class ImagePrompt:
    """An image as a prompt, through an IP-Adapter."""

    adapter: str = field(metadata=MODEL)  # safetensors file
    adapter_digest: str
    encoder: str | None = field(metadata=MODEL)  # folder of the CLIP vision model; None: the pipeline's own
    encoder_digest: str | None
    image: str = field(metadata=PICTURE)
    image_digest: str
    scale: float


@dataclass(frozen=True, slots=True)
class Upscaler:
    """What makes an image larger."""

    kind: str  # "lanczos", "latent" (the latents, before decoding), "network" (ESRGAN and its kin) or "pipeline"
    model: str | None = field(default=None, metadata=MODEL)
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Hires:
    """High-resolution pass: the image enlarged, then drawn again from itself."""

    width: int  # px before
    height: int
    strength: float
    steps: int
    upscaler: Upscaler
    scale: float = field(metadata=NOTE)


@dataclass(frozen=True, slots=True)
class Upscale:
    """The finished image made larger."""

    width: int  # px before
    height: int
    upscaler: Upscaler
    scale: float = field(metadata=NOTE)
    steps: int | None = None  # of an upscaler that is a diffusion pipeline
    guidance_scale: float | None = None


Part: TypeAlias = Extend | Between | Refiner | Control | ImagePrompt | Hires | Upscale

# In the order in which they act; also the recipe's fields.
PARTS: Final[Mapping[str, type]] = {
    "extend": Extend,
    "between": Between,
    "controls": Control,
    "image_prompt": ImagePrompt,
    "refiner": Refiner,
    "hires": Hires,
    "upscale": Upscale,
}


def identity(part: Any) -> Any:
    """A part's canonical form: what changes pixels, numbers as floats where the field is one."""
    if isinstance(part, tuple):
        return [identity(one) for one in part]
    if not dataclasses.is_dataclass(part):
        return part
    return {
        one.name: identity(value)
        for one in dataclasses.fields(part)
        if "local" not in one.metadata and (value := getattr(part, one.name)) is not None
    }


def told(part: Any, *, paths: bool) -> Any:
    """A part as catalogs (`paths`) and credentials (file names alone) tell it; images by their digest."""
    if isinstance(part, tuple):
        return [told(one, paths=paths) for one in part]
    if not dataclasses.is_dataclass(part):
        return part
    found = {}
    for one in dataclasses.fields(part):
        value, kind = getattr(part, one.name), one.metadata.get("local")
        if value is None or kind == "picture":
            continue
        found[one.name] = (
            PurePath(value).name
            if kind == "model" and not paths and _is_path(value)
            else told(value, paths=paths)
        )
    return found


def part_from(name: str, data: Any) -> Any:
    """The part of a recipe's field that JSON holds; images' paths that were not published are "".

    Raises TypeError, KeyError or ValueError for data that is none.
    """
    if data is None:
        return None
    if name == "controls":
        return tuple(_made(Control, one) for one in data)
    return _made(PARTS[name], data)


def _made(cls: Any, data: Mapping[str, Any]) -> Any:
    values = dict(data)
    if isinstance(values.get("upscaler"), Mapping):
        values["upscaler"] = _made(Upscaler, values["upscaler"])
    for one in dataclasses.fields(cls):
        if one.name not in values and one.metadata.get("local") in ("picture", "model"):
            values[one.name] = None if one.name in ("encoder", "model") and cls is not Control else ""
    if cls is ImagePrompt:
        values.setdefault("encoder_digest", None)
    return cls(**values)


def _is_path(name: str) -> bool:
    return PurePath(name).is_absolute()
