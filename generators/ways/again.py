"""The settings that repeat a recipe's init image and ways, from plain data as credentials and catalogs hold it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

FindFile: TypeAlias = Callable[[str, str], str | None]
"""The path of a file by its SHA-256 or, where that is empty or of a folder, its name; None when it is not to be had."""

_MISSING: Final = "picture-{0}.png"


def start_and_ways(recipe: Mapping[str, Any], find: FindFile) -> tuple[dict[str, Any], list[str]]:
    """The settings of what a recipe starts from and of its ways, and a sentence for each file that is not found.

    An image that is not found stands under a name made from its digest; sizes are those of the first pass.
    """
    return _Writer(find).settings(recipe)


class _Writer:
    """Gathers what is missing while settings are written."""

    def __init__(self, find: FindFile) -> None:
        self._find = find
        self._missing: list[str] = []

    def settings(self, recipe: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        found: dict[str, Any] = {}
        digest = recipe.get("init_image_digest")
        if digest:
            found["init_image"] = self._picture(digest, "the image it starts from")
            found |= {
                name: recipe[name] for name in ("strength", "fit", "parent") if recipe.get(name) is not None
            }
        if recipe.get("mask_digest"):
            found["mask"] = self._picture(recipe["mask_digest"], "its mask")
        if extend := recipe.get("extend"):
            found["extend"] = dict(extend)
        if between := recipe.get("between"):
            prompt = str(between["prompt"]).replace("{", "{{").replace("}", "}}")
            found["between"] = {"prompt": prompt, "seed": between["seed"], "at": between["at"]}
        if controls := recipe.get("controls"):
            written = [self._control(one) for one in controls]
            found["control"] = written[0] if len(written) == 1 else written
        if guide := recipe.get("image_prompt"):
            found["image_prompt"] = self._image_prompt(guide)
        if refiner := recipe.get("refiner"):
            found["refiner"] = {**self._model(refiner), "at": refiner["at"]}
        upscale, hires = recipe.get("upscale"), recipe.get("hires")
        for name, part in (
            ("upscale", upscale),
            ("hires", hires),
        ):  # the first pass's size is the earlier one's
            if part:
                found[name] = self._larger(part)
                found |= {"width": part["width"], "height": part["height"]}
        return found, self._missing

    def _control(self, part: Mapping[str, Any]) -> dict[str, Any]:
        kept = (
            "preprocess",
            "scale",
            "start",
            "end",
            *(("low", "high") if part["preprocess"] == "canny" else ()),
        )
        image = self._picture(part["image_digest"], "the image of a ControlNet")
        return {**self._model(part), "image": image, **{name: part[name] for name in kept}}

    def _image_prompt(self, part: Mapping[str, Any]) -> dict[str, Any]:
        found = {
            "image": self._picture(part["image_digest"], "the image of the image prompt"),
            "adapter": self._find(part["adapter_digest"], part["adapter"]) or part["adapter"],
            "scale": part["scale"],
        }
        if part.get("encoder"):
            found["encoder"] = self._find(part["encoder_digest"], part["encoder"]) or part["encoder"]
        return found

    def _larger(self, part: Mapping[str, Any]) -> dict[str, Any]:
        upscaler = part["upscaler"]
        name = upscaler["kind"]
        if name not in ("lanczos", "latent"):
            name = self._find(upscaler["digest"], upscaler["model"]) or upscaler["model"]
        found = {"scale": part["scale"], "upscaler": name}
        found |= {key: part[key] for key in ("strength", "steps") if part.get(key) is not None}
        if part.get("guidance_scale") is not None:
            found["guidance"] = part["guidance_scale"]
        return found

    def _model(self, part: Mapping[str, Any]) -> dict[str, Any]:
        name, _, commit = str(part["digest"]).partition("@")
        if commit:
            return {"model": name, "revision": commit}
        return {"model": self._find(part["digest"], part["model"]) or part["model"]}

    def _picture(self, digest: str, what: str) -> str:
        path = self._find(digest, "")
        if path is None:
            path = _MISSING.format(digest[:12])
            self._missing.append(
                f"{what[0].upper()}{what[1:]} is not here: its SHA-256 is {digest}. Put it at {path}."
            )
        return path


def nothing_found(digest: str, name: str) -> None:
    """A FindFile that has no file."""
    return None
