"""The ways as a sweep file states them. Every key may be left out in one place and set in another: facet values
merge into the sweep's own; what must be there is asked for when a recipe is made."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from nonesuch.generators.recipe import MAX_SEED
from nonesuch.generators.sweepfile.strict import Strict

Margin: TypeAlias = Annotated[int, Field(ge=0, le=8192, description="px")]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Model: TypeAlias = Annotated[str, Field(min_length=1, description="hub id or folder")]
UpscalerName: TypeAlias = Annotated[
    str,
    Field(
        min_length=1,
        description="lanczos, latent (hires only), a file of an ESRGAN-like network, or an upscaling pipeline",
    ),
]


class ExtendSetting(Strict):
    """Outpainting: margins to draw around the init image."""

    left: Margin | None = None
    top: Margin | None = None
    right: Margin | None = None
    bottom: Margin | None = None
    fill: (
        Annotated[Literal["edge", "mirror"], Field(description="what the margins hold before noise")] | None
    ) = None


class BetweenSetting(Strict):
    """A frame on the way to another prompt, another seed, or both."""

    prompt: Annotated[str, Field(min_length=1, description="template, as the sweep's prompt")] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    at: Annotated[Share, Field(description="0 is the sweep's own end, 1 the other")] | None = None


class RefinerSetting(Strict):
    """A second model for the last denoising steps, as of SDXL."""

    model: Model | None = None
    revision: Annotated[str, Field(min_length=1)] | None = None
    at: (
        Annotated[float, Field(gt=0, lt=1, description="share of the steps that the base model does")] | None
    ) = None


class ControlSetting(Strict):
    """A ControlNet and its image."""

    model: Model | None = None
    revision: Annotated[str, Field(min_length=1)] | None = None
    image: Annotated[str, Field(min_length=1, description="relative to the sweep file")] | None = None
    preprocess: (
        Annotated[Literal["none", "canny"], Field(description="none: the image is a control map")] | None
    ) = None
    low: Annotated[int, Field(ge=0, le=1000, description="of canny")] | None = None
    high: Annotated[int, Field(ge=0, le=1000, description="of canny")] | None = None
    scale: Annotated[float, Field(ge=0, le=10)] | None = None
    start: Share | None = None
    end: Share | None = None


class ImagePromptSetting(Strict):
    """An image as a prompt, through an IP-Adapter."""

    image: Annotated[str, Field(min_length=1, description="relative to the sweep file")] | None = None
    adapter: Annotated[str, Field(min_length=1, description="safetensors file")] | None = None
    encoder: Annotated[str, Field(min_length=1, description="folder of its CLIP vision model")] | None = None
    scale: Annotated[float, Field(ge=0, le=10)] | None = None


class HiresSetting(Strict):
    """High-resolution pass: the drawing enlarged, then drawn again from itself."""

    scale: Annotated[float, Field(gt=1, le=8, description="of the side")] | None = None
    strength: Annotated[float, Field(gt=0, le=1, description="how far to leave the first drawing")] | None = (
        None
    )
    steps: Annotated[int, Field(ge=1, le=1000, description="the sweep's when left out")] | None = None
    upscaler: UpscalerName | None = None


class UpscaleSetting(Strict):
    """The finished image made larger."""

    scale: Annotated[float, Field(gt=1, le=16, description="of the side")] | None = None
    upscaler: UpscalerName | None = None
    steps: Annotated[int, Field(ge=1, le=1000, description="of an upscaling pipeline")] | None = None
    guidance: Annotated[float, Field(ge=0, le=100, description="of an upscaling pipeline")] | None = None


def _control_form(value: Any) -> str:
    return "form:several" if isinstance(value, list | tuple) else "form:control"


ControlSettings: TypeAlias = Annotated[
    Annotated[ControlSetting, Tag("form:control")]
    | Annotated[Annotated[list[ControlSetting], Field(min_length=1, max_length=8)], Tag("form:several")],
    Discriminator(_control_form),
]

WAY_SETTINGS: Final[dict[str, type[Strict]]] = {
    "extend": ExtendSetting,
    "between": BetweenSetting,
    "control": ControlSetting,
    "image_prompt": ImagePromptSetting,
    "refiner": RefinerSetting,
    "hires": HiresSetting,
    "upscale": UpscaleSetting,
}

# Facets that set one key of a way by their name: hires_strength, control_scale, between_at.
WAY_FACETS: Final[dict[str, tuple[str, str]]] = {
    f"{way}_{key}": (way, key) for way, cls in WAY_SETTINGS.items() for key in cls.model_fields
}


class WaySettings(Strict):
    """The ways among a sweep's settings."""

    extend: ExtendSetting | None = None
    between: BetweenSetting | None = None
    control: Annotated[ControlSettings, Field(description="one ControlNet, or a list")] | None = None
    image_prompt: ImagePromptSetting | None = None
    refiner: RefinerSetting | None = None
    hires: HiresSetting | None = None
    upscale: UpscaleSetting | None = None

    @model_validator(mode="after")
    def _says_something(self) -> WaySettings:
        for name in WAY_SETTINGS:
            way = getattr(self, name)
            if isinstance(way, Strict) and not way.model_fields_set:
                raise ValueError(f"{name} is empty; give it its keys")
        return self

    def chosen_ways(self) -> dict[str, Any]:
        """What is set, as plain mappings of the keys that are set; several controls as a list of them."""
        found: dict[str, Any] = {}
        for name in WAY_SETTINGS:
            way = getattr(self, name)
            if isinstance(way, Strict):
                found[name] = way.model_dump(exclude_none=True)
            elif way is not None:
                found[name] = [one.model_dump(exclude_none=True) for one in way]
        return found


def merged(before: Any, after: Any) -> Any:
    """A way's keys with those of a later place over them; a list of controls replaces what was before."""
    return {**before, **after} if isinstance(before, dict) and isinstance(after, dict) else after
