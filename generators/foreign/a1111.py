"""AUTOMATIC1111's parameters (and those of Forge and SD.Next) as settings of a sweep file.

`other` of a recipe holds what has no name of ours by their own: Refiner, ControlNet 0, Clip skip, … LoRAs, schedules
and further passes have the same names whichever program wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from nonesuch.formats.a1111 import loras_of_prompt
from nonesuch.formats.record import LoraName
from nonesuch.generators.foreign.vocabulary_map import (
    Taken,
    known_scheduler,
    lora_settings,
    only_named,
    prompt_syntax,
)
from nonesuch.generators.ways.again import FindFile

# Ways that a sweep file does not have, by the beginning of the key.
_LOST: Final = (
    ("Mask blur", "It was inpainted: name the picture and the mask as settings: init_image, mask"),
    ("Masked content", "What its mask was filled with before drawing is lost"),
    ("TI hashes", "It used textual inversions, which are lost"),
    ("ADetailer", "ADetailer drew faces again, which is lost"),
    ("Hypernet", "It used a hypernetwork, which is lost"),
    ("Tiling", "It tiles, which is lost"),
    ("VAE", "It was decoded by a VAE of its own, which is lost"),
    ("Face restoration", "Its faces were restored, which is lost"),
    ("Seed resize", "Its noise was made for another size, which is lost"),
    ("Hires ", "Its second pass had settings of its own, which are lost"),
)  # fmt: skip
# What says nothing of the pixels, or is said elsewhere.
_SILENT: Final = re.compile(
    r"(Version|Hashes|Size-\d|Batch|Date|Creat|Civitai|User|Template|Negative Template|Lora hashes|Model|denoise)"
)
_PAIR: Final = re.compile(r"([A-Za-z][A-Za-z /]{0,40}):\s{0,4}(\([^)]{0,40}\)|[^,]{0,200})")


def taken(recipe: Mapping[str, Any], find: FindFile, *, whole: bool, loras: bool) -> Taken:
    """What a sweep takes over of a recipe as formats' records tell it; `whole`: the words are AUTOMATIC1111's, so that
    whatever else they hold is named too; `loras`: take LoRAs out of the prompts into settings. `find` looks for LoRAs
    and models by name."""
    return _Taker(recipe, find).taken(whole, loras)


class _Taker:
    def __init__(self, recipe: Mapping[str, Any], find: FindFile) -> None:
        self._given = recipe
        self._left = dict(recipe.get("other") or {})  # what nothing has spoken for yet
        self._find = find
        self._recipe: dict[str, Any] = {}
        self._settings: dict[str, Any] = {}
        self._said: list[str] = []
        self._starts = False  # whether it starts from a picture

    def taken(self, whole: bool, loras: bool) -> Taken:
        if loras:
            self._loras()
        if whole:
            self._prompt_syntax()
        self._scheduler()
        self._hires()
        self._from_a_picture()
        self._refiner()
        self._controls()
        self._variation()
        self._clip_skip()
        for start, said in _LOST:
            keys = [key for key in self._left if str(key).startswith(start)]
            if keys:
                self._said.append(f"{said} ({'; '.join(f'{key}: {self._left.pop(key)}' for key in keys)}).")
        rest = [f"{key}: {value}" for key, value in self._left.items() if not _SILENT.match(str(key))]
        if whole and rest:
            self._said.append(f"Not taken over: {'; '.join(rest)}.")
        return Taken(self._recipe, self._settings, tuple(self._said))

    def _loras(self) -> None:
        told = [one for one in self._given.get("loras") or () if only_named(one)]
        named = [LoraName(str(one["name"]), float(one.get("weight", 1))) for one in told]
        if not named:
            return
        for name in ("prompt", "negative_prompt"):
            self._recipe[name] = loras_of_prompt(str(self._given.get(name) or ""))[0]
        written = [lora_settings(one, self._find, f"Its LoRA {one.name!r}") for one in named]
        self._recipe["loras"] = ()
        self._settings["loras"] = [setting for setting, _ in written]
        self._said += [missing for _, missing in written if missing]

    def _prompt_syntax(self) -> None:
        known = {**self._given, **self._recipe}
        syntax, unread = prompt_syntax(
            *(str(known.get(name) or "") for name in ("prompt", "negative_prompt"))
        )
        if syntax:
            self._settings["prompt_syntax"] = syntax
        if unread:
            self._said.append(unread)

    def _scheduler(self) -> None:
        if name := self._given.get("scheduler"):
            found, lost = known_scheduler(str(name), str(self._given.get("schedule") or ""))
            self._recipe["scheduler"] = found
            if lost:
                self._said.append(lost)

    def _hires(self) -> None:
        """The high-resolution pass; its img2img does a strength's share of the steps as ours does."""
        for number, told in enumerate(self._given.get("passes") or ()):
            scale = told.get("scale") or self._scale_of(told)
            if number or scale is None or not 1 < scale <= 8:
                words = "; ".join(f"{key}: {value}" for key, value in told.items())
                self._said.append(f"Its {'further' if number else 'high-resolution'} pass is lost ({words}).")
                continue
            name = str(told.get("upscaler") or "")
            hires: dict[str, Any] = {"scale": scale, "upscaler": "lanczos"}
            if name.lower().startswith("latent"):
                hires["upscaler"] = "latent"
            elif not name.lower().startswith("lanczos"):
                self._said.append(f"Its upscaler {name!r} is no file here; Lanczos stands in.")
            strength, steps = told.get("strength"), told.get("steps")
            if strength is not None and 0 < strength <= 1:
                hires["strength"] = strength
            if steps is not None and 1 <= steps <= 1000:
                hires["steps"] = steps
            self._settings["hires"] = hires

    def _scale_of(self, told: Mapping[str, Any]) -> float | None:
        """The scale that a size of the second pass means; None where its shape is another."""
        sides = [(told.get(name), self._given.get(name)) for name in ("width", "height")]
        if not all(theirs and first for theirs, first in sides):
            return None
        across, down = (float(theirs) / float(first) for theirs, first in sides if theirs and first)
        return across if abs(across - down) < 0.02 * across else None

    def _from_a_picture(self) -> None:
        strength = self._left.pop("Denoising strength", None)
        if strength and not self._given.get("passes"):
            self._said.append(
                f"It was drawn from a picture at strength {strength}: name that picture as settings: init_image."
            )
            self._starts = True

    def _refiner(self) -> None:
        told = str(self._left.pop("Refiner", "")).partition(" [")[0].strip()
        at = _number(self._left.pop("Refiner switch at", None))
        if not told:
            return
        if at is None or not 0 < at < 1:
            self._said.append(f"Its refiner {told!r} is lost: when it took over is not known.")
            return
        self._settings["refiner"] = {"model": self._find("", told) or told, "at": at}
        self._said.append(
            f"Its refiner was the file {told!r}: name its folder or hub id (settings: refiner)."
        )

    def _controls(self) -> None:
        keys = [key for key in self._left if re.fullmatch(r"ControlNet(?: \d{1,2})?", str(key))]
        written = [one for key in keys if (one := self._control(key, str(self._left.pop(key)))) is not None]
        if written:
            self._settings["control"] = written[0] if len(written) == 1 else written

    def _control(self, key: str, text: str) -> dict[str, Any] | None:
        told = {name.strip().lower(): value.strip() for name, value in _PAIR.findall(text)}
        model = told.get("model", "").partition(" [")[0]
        if not model or model.lower() == "none":
            self._said.append(f"{key} is lost ({text}).")
            return None
        picture = f"{key.lower().replace(' ', '-')}.png"
        module = told.get("module", told.get("preprocessor", "none")).lower()
        both = re.fullmatch(r"\(([\d.]+),\s*([\d.]+)\)", told.get("starting/ending", ""))
        values = {
            "scale": told.get("weight"),
            "start": both[1] if both else told.get("guidance start"),
            "end": both[2] if both else told.get("guidance end"),
        }
        numbers = {name: number for name, text in values.items() if (number := _number(text)) is not None}
        found: dict[str, Any] = {"model": self._find("", model) or model, "image": picture, **numbers}
        if module == "canny":
            thresholds = (("low", "threshold a"), ("high", "threshold b"))
            kept = {name: _number(told.get(theirs)) for name, theirs in thresholds}
            found |= {
                "preprocess": "canny",
                **{n: int(v) for n, v in kept.items() if v is not None and v >= 0},
            }
        elif module != "none":
            self._said.append(
                f"{key} used the preprocessor {module!r}: its picture has to be a ready control map."
            )
        if "control mode" in told and told["control mode"].lower() != "balanced":
            self._said.append(f"The control mode {told['control mode']!r} of {key} is lost.")
        self._said.append(f"The picture of {key} is not here: no metadata hold it. Put it at {picture}.")
        self._said.append(f"{key} was the file {model!r}: name its folder or hub id (settings: control).")
        return found

    def _variation(self) -> None:
        seed = _number(self._left.pop("Variation seed", None))
        at = _number(self._left.pop("Variation seed strength", None))
        if seed is None or not at:
            return
        if self._starts or not 0 <= at <= 1 or seed < 0:
            self._said.append(f"Its noise lay {at:g} of the way to seed {seed:.0f}, which is lost.")
            return
        self._settings["between"] = {"seed": int(seed), "at": at}

    def _clip_skip(self) -> None:
        layers = _number(self._left.pop("Clip skip", None))
        if layers is not None and layers > 1:  # 1 is the last layer; diffusers counts what is skipped
            self._settings["options"] = {"clip_skip": int(layers) - 1}


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if abs(found) < 2**63 else None
