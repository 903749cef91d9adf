"""How to draw: the settings of a sweep, which facets and facet values can set too."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from nonesuch.foundation.errors import InputError
from nonesuch.generators.recipe import Scalar
from nonesuch.generators.schedulers import check_scheduler
from nonesuch.generators.sweepfile.strict import Strict as Strict  # its old place
from nonesuch.generators.ways.way_settings import WAY_FACETS, WaySettings

_SIZE: Final = re.compile(r"(\d+)\s*[x×]\s*(\d+)")


class LoraSetting(Strict):
    """A LoRA by the path of its safetensors file."""

    path: Annotated[str, Field(min_length=1, description="safetensors file, relative to the sweep file")]
    weight: Annotated[float, Field(ge=-10, le=10, description="scale; 1.0 is as trained")] = 1.0


Pixels = Annotated[int, Field(ge=8, le=16384)]


class Settings(WaySettings):
    """Settings of a sweep, or of one facet value; what is left out comes from the model's defaults."""

    steps: Annotated[int, Field(ge=1, le=1000, description="denoising steps")] | None = None
    guidance: Annotated[float, Field(ge=0, le=100, description="guidance scale")] | None = None
    width: Annotated[Pixels, Field(description="px")] | None = None
    height: Annotated[Pixels, Field(description="px")] | None = None
    size: Annotated[str, Field(description='both at once, as "512x768"')] | None = None
    scheduler: Annotated[str, Field(description='by name, "default" for the model\'s own')] | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    loras: Annotated[list[LoraSetting], Field(description="added to the model, in order")] | None = None
    model: Annotated[str, Field(min_length=1, description="embedded, noise, a hub id or a folder")] | None = (
        None
    )
    revision: Annotated[str, Field(min_length=1, description="branch, tag or commit of a hub id")] | None = (
        None
    )
    options: (
        Annotated[dict[str, bool | int | float | str], Field(description="further arguments of the pipeline")]
        | None
    ) = None
    init_image: (
        Annotated[str, Field(min_length=1, description="image to start from, relative to the sweep file")]
        | None
    ) = None
    mask: (
        Annotated[str, Field(min_length=1, description="image of the init image's size; white is drawn anew")]
        | None
    ) = None
    strength: (
        Annotated[float, Field(gt=0, le=1, description="how far to leave the init image; 1 leaves it all")]
        | None
    ) = None
    fit: (
        Annotated[
            Literal["crop", "pad", "stretch"],
            Field(description="how an init image of another shape comes to the size that is drawn"),
        ]
        | None
    ) = None
    parent: (
        Annotated[
            str,
            Field(pattern=r"^[0-9a-f]{64}$", description="recipe id of the catalogued image it starts from"),
        ]
        | None
    ) = None

    prompt_syntax: (
        Annotated[
            Literal["plain", "a1111", "compel"],
            Field(description="how brackets and weights in prompts are read; plain reads none"),
        ]
        | None
    ) = None

    @field_validator("steps", "guidance", "width", "height", "strength", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("true and false are not numbers")
        return value

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                check_scheduler(name)
            except InputError as error:
                raise ValueError(f"{error.message}. {error.hint}") from None
        return name

    @field_validator("size", mode="before")
    @classmethod
    def _size_text(cls, size: Any) -> Any:
        if isinstance(size, int) and not isinstance(size, bool):
            return f"{size}x{size}"
        if isinstance(size, str) and not _SIZE.fullmatch(size.strip()):
            raise ValueError(f"{size!r} is not a size; write it as 512x768 (width x height)")
        return size

    @model_validator(mode="after")
    def _one_size(self) -> Settings:
        if self.size is not None and (self.width is not None or self.height is not None):
            raise ValueError("size goes without width and height; give one or the other")
        return self

    def chosen(self) -> dict[str, Any]:
        """What is set, by name, with `size` spelled out as width and height."""
        found = {name: value for name in SETTING_NAMES if (value := getattr(self, name)) is not None}
        found |= self.chosen_ways()
        if "size" in found:
            match = _SIZE.fullmatch(found.pop("size").strip())
            assert match is not None  # the validator has seen it
            found["width"], found["height"] = int(match[1]), int(match[2])
        return found


# Slowest first: what costs most to change between two batches is outermost in the matrix.
SETTING_NAMES: Final = (
    "model",
    "revision",
    "dtype",
    "refiner",
    "control",
    "loras",
    "image_prompt",
    "size",
    "width",
    "height",
    "steps",
    "scheduler",
    "guidance",
    "options",
    "upscale",
    "hires",
    "extend",
    "prompt_syntax",
    "strength",
    "fit",
    "init_image",
    "mask",
    "between",
    "parent",
)


def sets(facet: str) -> bool:
    """Whether plain values of a facet of this name set something."""
    return facet in SETTING_NAMES or facet in WAY_FACETS


def setting_of_facet(facet: str, value: str | int | float) -> Settings:
    """What a plain value of a facet named like a setting sets. Raises pydantic's ValidationError.

    A LoRA is named by its path; "none" goes without.
    """
    if facet == "loras":
        return Settings.model_validate({"loras": [] if value == "none" else [{"path": value}]})
    if facet in WAY_FACETS:
        way, key = WAY_FACETS[facet]
        return Settings.model_validate({way: {key: value}})
    return Settings.model_validate({facet: value})


def sorted_options(options: dict[str, Scalar]) -> tuple[tuple[str, Scalar], ...]:
    """Options in the order in which a recipe holds them."""
    return tuple(sorted(options.items()))
