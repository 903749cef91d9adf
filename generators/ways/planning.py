"""From the ways of a cell's settings to the fields of its recipe: images and weights by digest, all checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends import model_facts
from nonesuch.generators.digests import weights_digest
from nonesuch.generators.init_images import (
    DEFAULT_FIT,
    DEFAULT_STRENGTH,
    check_mask,
    picture_digest,
    picture_size,
)
from nonesuch.generators.models import ModelFacts, component_facts
from nonesuch.generators.sweepfile.yaml_lines import Source
from nonesuch.generators.ways.abilities import check_ability, check_way
from nonesuch.generators.ways.recipe_extras import (
    Control,
    Extend,
    Hires,
    ImagePrompt,
    Refiner,
    Upscale,
    Upscaler,
)
from nonesuch.generators.ways.way_settings import WAY_SETTINGS

DEFAULT_HIRES: Final = {"scale": 2.0, "strength": 0.5, "upscaler": "lanczos"}
DEFAULT_UPSCALE: Final = {"scale": 2.0, "upscaler": "lanczos"}
DEFAULT_REFINER_AT: Final = 0.8
DEFAULT_CONTROL: Final = {
    "preprocess": "none", "low": 100, "high": 200, "scale": 1.0, "start": 0.0, "end": 1.0,
}  # fmt: skip
DEFAULT_IMAGE_SCALE: Final = 0.6
NETWORKS: Final = (".safetensors", ".pth", ".pt", ".ckpt")  # files of upscaling networks
# Classes of diffusers that enlarge an image, each by the one factor that it was trained for.
UPSCALERS: Final = {"StableDiffusionLatentUpscalePipeline": 2, "StableDiffusionUpscalePipeline": 4}
_SMALLEST: Final = 8  # px; least side of an image within margins


class WayPlanner:
    """Resolves the ways of one sweep; digests and facts are looked up once each.

    Every method raises InputError, at the sweep's line, for what is missing, unreadable or can't go together.
    """

    def __init__(self, source: Source, *, network: bool) -> None:
        self._source = source
        self._network = network
        self._pictures: dict[Path, str] = {}
        self._models: dict[tuple[str, str | None], tuple[str, str]] = {}

    def fields(self, combined: Mapping[str, Any], facts: ModelFacts) -> dict[str, Any]:
        """The recipe's fields for size, start and ways of a cell with these settings."""
        for way in WAY_SETTINGS.keys() & combined.keys():
            check_way(facts, way, where=self._where(("settings", way)))
        found = self._start(combined, facts)
        width, height = self._first_size(combined, facts, found)
        extend = combined.get("extend")
        if extend is not None:
            found["extend"] = self._extend(extend, width, height)
        found |= self._guides(combined, facts)
        refiner = combined.get("refiner")
        if refiner is not None:
            found["refiner"] = self._refiner(refiner, facts)
        before = (width, height)
        where = self._where(("settings",))
        if (hires := combined.get("hires")) is not None:
            if "mask" in combined or extend is not None:
                raise InputError(
                    "a high-resolution pass draws all of the image again, also what a mask keeps",
                    where=self._where(("settings", "hires")),
                    hint="Let a second sweep enlarge the result: facets: {image: {catalog: …}}.",
                )
            check_ability(facts, "image", where=where)
            settings = DEFAULT_HIRES | hires
            width, height = (
                max(
                    facts.size_multiple,
                    round(side * settings["scale"] / facts.size_multiple) * facts.size_multiple,
                )
                for side in before
            )
            found["hires"] = Hires(
                *before, float(settings["strength"]), int(settings.get("steps") or combined.get("steps", facts.defaults.steps)),
                self._upscaler(settings["upscaler"], ("settings", "hires", "upscaler"), latent=True),
                float(settings["scale"]),
            )  # fmt: skip
        if (upscale := combined.get("upscale")) is not None:
            found["upscale"], width, height = self._upscale(DEFAULT_UPSCALE | upscale, width, height)
        return {**found, "width": width, "height": height}

    @staticmethod
    def drawn_sizes(fields: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
        """The sizes, px, at which a recipe of these fields lets its model draw."""
        final = fields["width"], fields["height"]
        hires, upscale = fields.get("hires"), fields.get("upscale")
        last = final if upscale is None else (upscale.width, upscale.height)
        return (last,) if hires is None else ((hires.width, hires.height), last)

    def _where(self, place: tuple[int | str, ...]) -> str:
        return self._source.where(place)

    def _start(self, combined: Mapping[str, Any], facts: ModelFacts) -> dict[str, Any]:
        """The fields of the image that a recipe starts from; empty for text alone."""
        init_image, mask = combined.get("init_image"), combined.get("mask")
        if init_image is None:
            for name in ("mask", "strength", "fit", "parent", "extend"):
                if name in combined:
                    raise InputError(
                        f"{name} has no effect without an init_image",
                        where=self._where(("settings", name)),
                        hint="Name the image to start from: settings: {init_image: image.png}.",
                    )
            return {}
        folder, where = self._source.folder, self._where(("settings", "init_image"))
        strength = 1.0 if "extend" in combined else DEFAULT_STRENGTH
        start: dict[str, Any] = {
            "init_image": str(folder / init_image),
            "init_image_digest": self._digest(folder / init_image, where),
            "strength": float(combined.get("strength", strength)),
            "fit": combined.get("fit", DEFAULT_FIT),
            "parent": combined.get("parent"),
        }
        if mask is not None:
            where = self._where(("settings", "mask"))
            if "extend" in combined:
                raise InputError("a mask goes without extend, which is a mask itself", where=where)
            check_mask(folder / mask, folder / init_image, where=where)
            start |= {"mask": str(folder / mask), "mask_digest": self._digest(folder / mask, where)}
        if start["strength"] < 1 or (mask is None and "extend" not in combined):
            # a mask is filled from pure noise by any pipeline; all else needs its form that starts from an image
            check_ability(facts, "image", where=self._where(("settings", "init_image")))
        if "between" in combined and combined["between"].get("seed") is not None:
            raise InputError(
                "frames between two seeds start from noise, not from an init_image",
                where=self._where(("settings", "between")),
                hint="Leave the seed out of between; frames between two prompts may start from an image.",
            )
        return start

    def _first_size(
        self, combined: Mapping[str, Any], facts: ModelFacts, start: Mapping[str, Any]
    ) -> tuple[int, int]:
        """Width and height of the first drawing: as set, the extended image's own, or the model's default."""
        extend = combined.get("extend")
        if extend is None or "width" in combined or "height" in combined:
            return combined.get("width", facts.defaults.width), combined.get("height", facts.defaults.height)
        width, height = picture_size(Path(start["init_image"]), where=self._where(("settings", "init_image")))
        multiple = facts.size_multiple
        margins = (
            extend.get("left", 0) + extend.get("right", 0),
            extend.get("top", 0) + extend.get("bottom", 0),
        )
        wide, high = (
            max(multiple, round((side + margin) / multiple) * multiple)
            for side, margin in zip((width, height), margins, strict=True)
        )
        return wide, high

    def _extend(self, extend: Mapping[str, Any], width: int, height: int) -> Extend:
        where = self._where(("settings", "extend"))
        left, top, right, bottom = (extend.get(side, 0) for side in ("left", "top", "right", "bottom"))
        margins = Extend(left, top, right, bottom, extend.get("fill", "edge"))
        if not margins.left + margins.top + margins.right + margins.bottom:
            raise InputError(
                "all margins are 0", where=where, hint="For example extend: {left: 64, right: 64}."
            )
        inside = (width - margins.left - margins.right, height - margins.top - margins.bottom)
        if min(inside) < _SMALLEST:
            raise InputError(
                f"the margins leave no room for the image in {width}x{height} pixels",
                where=where,
                hint="Set a larger width and height, or leave both out: then they follow from image and margins.",
            )
        return margins

    def _guides(self, combined: Mapping[str, Any], facts: ModelFacts) -> dict[str, Any]:
        found: dict[str, Any] = {}
        control, prompt = combined.get("control"), combined.get("image_prompt")
        if control is not None:
            check_ability(facts, "control", where=self._where(("settings", "control")))
            each = control if isinstance(control, list) else [control]
            found["controls"] = tuple(self._control(one, facts) for one in each)
        if prompt is not None:
            check_ability(facts, "image_prompt", where=self._where(("settings", "image_prompt")))
            found["image_prompt"] = self._image_prompt(prompt)
        return found

    def _control(self, given: Mapping[str, Any], facts: ModelFacts) -> Control:
        place = ("settings", "control")
        model = self._needed(given, "model", place, "the folder or hub id of a ControlNet")
        image = self._source.folder / self._needed(given, "image", place, "the image that guides it")
        settings: dict[str, Any] = {**DEFAULT_CONTROL, **given}
        where = self._where(place)
        path, digest = self._component(model, given.get("revision"), facts, where)
        if settings["start"] >= settings["end"]:
            raise InputError("start must lie before end", where=where)
        canny = settings["preprocess"] == "canny"
        return Control(
            path, digest, str(image), self._digest(image, where), settings["preprocess"],
            settings["low"] if canny else 0, settings["high"] if canny else 0,
            float(settings["scale"]), float(settings["start"]), float(settings["end"]),
        )  # fmt: skip

    def _image_prompt(self, given: Mapping[str, Any]) -> ImagePrompt:
        place = ("settings", "image_prompt")
        image = self._source.folder / self._needed(given, "image", place, "the image")
        adapter = self._source.folder / self._needed(
            given, "adapter", place, "the IP-Adapter's safetensors file"
        )
        where = self._where(place)
        encoder = given.get("encoder")
        folder = None if encoder is None else (self._source.folder / encoder).resolve()
        return ImagePrompt(
            str(adapter.resolve()), weights_digest(adapter, where=where, what="the IP-Adapter"),
            None if folder is None else str(folder),
            None if folder is None else component_facts(str(folder), None, network=False, where=where).digest,
            str(image), self._digest(image, where), float(given.get("scale", DEFAULT_IMAGE_SCALE)),
        )  # fmt: skip

    def _refiner(self, given: Mapping[str, Any], facts: ModelFacts) -> Refiner:
        place = ("settings", "refiner")
        check_ability(facts, "refiner", where=self._where(place))
        model = self._needed(given, "model", place, "the folder or hub id of a refiner")
        path, digest = self._pipeline(model, given.get("revision"), place)
        return Refiner(path, digest, float(given.get("at", DEFAULT_REFINER_AT)))

    def _upscale(self, settings: Mapping[str, Any], width: int, height: int) -> tuple[Upscale, int, int]:
        place = ("settings", "upscale")
        upscaler = self._upscaler(settings["upscaler"], (*place, "upscaler"), latent=False)
        for name in ("steps", "guidance"):
            if name in settings and upscaler.kind != "pipeline":
                raise InputError(f"{name} is of an upscaling pipeline", where=self._where((*place, name)))
        part = Upscale(
            width, height, upscaler, float(settings["scale"]),
            int(settings.get("steps", 20)) if upscaler.kind == "pipeline" else None,
            float(settings.get("guidance", 1.0)) if upscaler.kind == "pipeline" else None,
        )  # fmt: skip
        return part, round(width * settings["scale"]), round(height * settings["scale"])

    def _upscaler(self, name: str, place: tuple[str, ...], *, latent: bool) -> Upscaler:
        where = self._where(place)
        if name in ("lanczos", "latent"):
            if name == "latent" and not latent:
                raise InputError("latents can be enlarged in a high-resolution pass only", where=where)
            return Upscaler(name)
        if Path(name).suffix in NETWORKS:
            file = (self._source.folder / name).resolve()
            return Upscaler(
                "network",
                str(file),
                weights_digest(file, where=where, what="the upscaler", suffixes=NETWORKS),
            )
        return Upscaler("pipeline", *self._pipeline(name, None, place))

    def _pipeline(self, model: str, revision: str | None, place: tuple[str, ...]) -> tuple[str, str]:
        """Name and digest of a further pipeline, which must be here or may be fetched."""
        if (model, revision) not in self._models:
            try:
                facts = model_facts(model, revision, folder=self._source.folder, network=self._network)
            except InputError as error:
                raise InputError(error.message, where=self._where(place), hint=error.hint) from error
            self._models[model, revision] = facts.model, facts.digest
        return self._models[model, revision]

    def _component(self, model: str, revision: str | None, facts: ModelFacts, where: str) -> tuple[str, str]:
        if (model, revision) not in self._models:
            folder = (self._source.folder / Path(model).expanduser()).resolve()
            name = str(folder) if folder.is_dir() else model
            component = component_facts(name, revision, network=self._network, where=where)
            self._models[model, revision] = name, component.digest
            wanted, own = component.width, facts.text_width
            if wanted is not None and own is not None and wanted != own:
                raise InputError(
                    f"the ControlNet {model} is for text of {wanted} numbers, the model's has {own}",
                    where=where,
                    hint="Use a ControlNet that was trained for this family of models.",
                )
        return self._models[model, revision]

    def _needed(self, given: Mapping[str, Any], key: str, place: tuple[str, ...], what: str) -> str:
        if key not in given:
            raise InputError(f"{place[-1]} needs {key}: {what}", where=self._where(place))
        return str(given[key])

    def _digest(self, picture: Path, where: str) -> str:
        if picture not in self._pictures:
            self._pictures[picture] = picture_digest(picture, where=where)
        return self._pictures[picture]
