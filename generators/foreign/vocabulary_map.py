"""What is taken over from another program's recipe, and its words for schedulers, weights and LoRAs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nonesuch.formats.record import LoraName
from nonesuch.foundation.errors import InputError
from nonesuch.generators.prompt_syntax import check_prompt
from nonesuch.generators.schedulers import DEFAULT, SCHEDULERS
from nonesuch.generators.ways.again import FindFile

# AUTOMATIC1111's and ComfyUI's names, in lower case and without what says nothing, by ours.
_SAMPLERS: Final = {
    "euler": "euler", "euler karras": "euler_karras", "euler a": "euler_a", "k euler": "euler",
    "k euler a": "euler_a", "k euler ancestral": "euler_a", "euler ancestral": "euler_a", "ddim": "ddim", "ddpm": "ddpm",
    "lms": "lms", "heun": "heun", "dpm2": "kdpm2", "dpm2 a": "kdpm2_a", "dpm 2": "kdpm2", "dpm 2 ancestral": "kdpm2_a",
    "lcm": "lcm", "unipc": "unipc", "plms": "pndm", "pndm": "pndm", "deis": "deis", "dpm++ 2m": "dpmpp_2m",
    "dpmpp 2m": "dpmpp_2m", "dpm++ 2m karras": "dpmpp_2m_karras", "dpmpp 2m karras": "dpmpp_2m_karras",
    "dpm++ 2m sde": "dpmpp_2m_sde", "dpm++ 2m sde karras": "dpmpp_2m_sde_karras", "dpmpp 2m sde": "dpmpp_2m_sde",
    "dpmpp 2m sde karras": "dpmpp_2m_sde_karras", "uni pc": "unipc",
}  # fmt: skip
_USUAL_SCHEDULES: Final = frozenset({"", "automatic", "normal", "uniform"})
_LONG: Final = 45  # words that may come to more tokens than CLIP takes at once


@dataclass(frozen=True, slots=True)
class Taken:
    """What a sweep file takes over."""

    recipe: dict[str, Any]  # fields of the recipe that are known better now
    settings: dict[str, Any]  # of the sweep file
    left_out: tuple[str, ...]  # sentences for a person, on what is lost or has to be put right


def known_scheduler(name: str, schedule: str = "") -> tuple[str | None, str | None]:
    """Our name of another program's sampler and schedule, None when there is none; and what of them is lost."""
    if name == DEFAULT or name in SCHEDULERS:
        found: str | None = name
    else:
        found = _SAMPLERS.get(_plain(name))
    told = _plain(schedule)
    if told in _USUAL_SCHEDULES:
        return found, None if found else f"No scheduler is known here by the name {name!r}."
    both = _SAMPLERS.get(f"{_plain(name)} {told}")
    if both is not None:
        return both, None
    if found is None:
        return None, f"No scheduler is known here by the name {name!r} with the schedule {schedule!r}."
    return found, f"The schedule {schedule!r} of the sampler {name!r} is lost."


def lora_settings(lora: LoraName, find: FindFile, what: str) -> tuple[dict[str, Any], str | None]:
    """The setting of a LoRA by the name of its file, and what to do where the file is not found."""
    file = bare(lora.name)  # a path in a stranger's picture is nobody's to open
    file = file if "." in file else f"{file}.safetensors"
    path = find("", file)
    missing = None if path else f"{what} is not here: {file}. Put it at {file}."
    return {"path": path or file, "weight": lora.weight}, missing


def only_named(lora: Any) -> bool:
    """Whether a recipe's LoRA is another program's name, not a file that this project used."""
    return isinstance(lora, Mapping) and "name" in lora


def bare(name: str) -> str:
    """A file's name without its folders, of either system."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def prompt_syntax(*prompts: str) -> tuple[str | None, str | None]:
    """ "a1111" where prompts hold weights or are longer than CLIP takes at once; what of them can't be read."""
    if not any(re.search(r"[()\[\]]|\bBREAK\b", one) or len(one.split()) > _LONG for one in prompts):
        return None, None
    try:
        for one in prompts:
            check_prompt(one, where="prompt")
    except InputError as error:
        return None, f"The prompt is taken as plain text: {error.message}."
    return "a1111", None


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").split())
