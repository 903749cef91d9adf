"""The recipe: every resolved parameter of one image, and the identity made from them.

A recipe's id is a hash over what changes pixels and nothing else; it serves resume,
duplicate work, the catalog key, the watermark payload and the credential.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from nonesuch.foundation.canonical import canonical_digest, canonical_json
from nonesuch.foundation.errors import InputError
from nonesuch.generators.ways import recipe_extras
from nonesuch.generators.ways.recipe_extras import (
    Between,
    Control,
    Extend,
    Hires,
    ImagePrompt,
    Refiner,
    Upscale,
)

IDENTITY: Final = "nonesuch/recipe/1"  # version tag of the canonical form; a new form takes a new number
MAX_SEED: Final = 2**63 - 1  # what torch.Generator and a signed 64-bit column both hold

Scalar: TypeAlias = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Lora:
    """One low-rank adapter that is added to the model."""

    path: str  # where the safetensors file lies; not part of the identity
    digest: str  # SHA-256 of the file, 64 hex digits
    weight: float  # its scale; 1.0 is as trained


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the pixels of one image, with its place in the sweep."""

    backend: str  # kind of backend: "diffusers", "noise"
    model: str  # as the sweep names it; not part of the identity, model_digest is
    model_digest: str  # weights digest of a folder, or "hub id@commit"
    prompt: str
    negative_prompt: str  # "" for none
    seed: int  # 0 … 2**63 - 1
    width: int  # px
    height: int  # px
    steps: int
    guidance_scale: float
    scheduler: str  # friendly name, "default" for the model's own
    dtype: str  # "auto" (the device decides), "float32", "bfloat16" or "float16"
    loras: tuple[Lora, ...] = ()
    options: tuple[tuple[str, Scalar], ...] = ()  # sorted; further arguments of the pipeline
    init_image: str | None = None  # where the image it starts from lies; not part of the identity
    init_image_digest: str | None = None  # SHA-256 of that file
    strength: float | None = None  # how far to leave the init image, above 0 … 1
    fit: str | None = None  # "crop", "pad" or "stretch": how the init image comes to width x height
    mask: str | None = None  # where the inpainting mask lies; not part of the identity
    mask_digest: str | None = None  # SHA-256 of that file; white is drawn anew
    parent: str | None = None  # id of the recipe whose image it starts from
    extend: Extend | None = None  # margins drawn around the init image
    between: Between | None = None  # on the way to another prompt and seed
    controls: tuple[Control, ...] | None = None  # ControlNets
    image_prompt: ImagePrompt | None = None  # IP-Adapter
    refiner: Refiner | None = None  # a second model for the last steps
    hires: Hires | None = None  # enlarged and drawn again; width and height are those after it
    upscale: Upscale | None = None  # enlarged at the end; width and height are those after it
    prompt_syntax: str | None = None  # "a1111" or "compel": how its prompts are read; None as plain text
    facets: tuple[tuple[str, str], ...] = ()  # (facet, value name); not part of the identity
    plan_index: int = 0  # place in the sweep's expansion; not part of the identity

    @property
    def id(self) -> str:
        """SHA-256 of the canonical form, 64 hex digits: two recipes with the same id draw the same image."""
        return canonical_digest(self._identity())

    @property
    def watermark_id(self) -> int:
        """The 64-bit payload of the image's watermark: the id's first 16 hex digits."""
        return int(self.id[:16], 16)

    @property
    def group(self) -> tuple[Any, ...]:
        """What recipes must share to be drawn in one batch and to lie in one shard; hashable."""
        return (
            self.backend,
            self.model,
            self.model_digest,
            self.dtype,
            self.loras,
            self.width,
            self.height,
            self.steps,
            self.scheduler,
            self.guidance_scale,
            self.options,
            self.prompt_syntax,
            self.strength,
            self.init_image_digest is None,
            self.masked,
            self.between is None,
            # the images of controls may differ within a batch
            tuple(dataclasses.replace(one, image="", image_digest="") for one in self.controls or ()),
            self.image_prompt,
            self.refiner,
            self.hires,
            self.upscale,
        )

    @property
    def masked(self) -> bool:
        """Whether part of the init image is kept as it is: a mask, or margins to draw around it."""
        return self.mask_digest is not None or self.extend is not None

    @property
    def first_size(self) -> tuple[int, int]:
        """Width and height of the first drawing, px: before it is enlarged."""
        before = self.hires or self.upscale
        return (self.width, self.height) if before is None else (before.width, before.height)

    @property
    def chain_size(self) -> tuple[int, int]:
        """Width and height of the last drawing by diffusion, px: before the finished image is enlarged."""
        return (
            (self.width, self.height) if self.upscale is None else (self.upscale.width, self.upscale.height)
        )

    def ways(self, *, paths: bool) -> dict[str, Any]:
        """The parts beyond one drawing, by the recipe's field, as catalogs (`paths`) and credentials tell them."""
        return {
            name: recipe_extras.told(part, paths=paths)
            for name in recipe_extras.PARTS
            if (part := getattr(self, name)) is not None
        }

    def to_json(self) -> str:
        """One line of canonical JSON from which from_json makes an equal recipe."""
        data = dataclasses.asdict(self)
        for name in recipe_extras.PARTS:
            if data[name] is None:
                del data[name]  # most recipes have none of them
        return canonical_json(data).decode()

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that to_json wrote. Raises InputError when the text is not one."""
        import json

        try:
            data = json.loads(text)
            data["loras"] = tuple(Lora(**lora) for lora in data["loras"])
            for pairs in ("options", "facets"):
                data[pairs] = tuple((str(name), value) for name, value in data[pairs])
            for name in recipe_extras.PARTS.keys() & data.keys():
                data[name] = recipe_extras.part_from(name, data[name])
            return cls(**data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"is not a recipe ({error})", where="recipe") from error

    def _identity(self) -> Mapping[str, Any]:
        """The canonical form: names are fixed for good, and optional parts that are absent stay out of it,
        so that a later field does not change the id of a recipe that does without it."""
        form: dict[str, Any] = {
            "identity": IDENTITY,
            "backend": self.backend,
            "model": self.model_digest,
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "seed": self.seed,
            "size": [self.width, self.height],
            "steps": self.steps,
            "guidance_scale": float(self.guidance_scale),
            "scheduler": self.scheduler,
            "dtype": self.dtype,
        }
        if self.loras:
            form["loras"] = [[lora.digest, float(lora.weight)] for lora in self.loras]
        if self.options:
            form["options"] = {name: _plain(value) for name, value in self.options}
        if self.init_image_digest is not None:
            form["init_image"] = self.init_image_digest
        if self.strength is not None:
            form["strength"] = float(self.strength)
        if self.fit is not None:
            form["fit"] = self.fit
        if self.mask_digest is not None:
            form["mask"] = self.mask_digest
        if self.parent is not None:
            form["parent"] = self.parent
        for name in recipe_extras.PARTS:
            if (part := getattr(self, name)) is not None:
                form[name] = recipe_extras.identity(part)
        if self.prompt_syntax is not None:
            form["prompt_syntax"] = self.prompt_syntax
        return form


def _plain(value: Scalar) -> Scalar:
    """1.0 and 1 mean the same to a pipeline, so they are the same in an identity."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
