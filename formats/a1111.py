"""AUTOMATIC1111's `parameters` text (and that of Forge, SD.Next, Civitai, which write the same).

Prompt lines, optional `Negative prompt:` lines, one line of `key: value` pairs; in PNG text, or in the EXIF
UserComment of JPEG and WebP, which wins.
"""

from __future__ import annotations

import json
import re
from typing import Final

from nonesuch.formats.raw_fields import IMAGE_DESCRIPTION, Source
from nonesuch.formats.record import FurtherPass, LoraName, Record, number, record, text, whole

MAX_TEXT = 1 << 20  # characters; longer texts are no parameters
_MAX_LAST_LINE = 64 << 10
# The web UI's own pattern, with its repeats bounded so that hostile text can't make it crawl.
_PAIR = re.compile(r'\s{0,8}(\w[\w \-/]{1,60}):\s{0,8}("(?:\\.|[^\\"]){1,8192}"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt:"
# What samplers are told. Size, Model and Version stand in cameras' and other programs' settings too, Steps and Seed
# in those of simulations: two of these, one of which only samplers have.
_TOLD = frozenset({"Steps", "Sampler", "CFG scale", "Seed", "Model hash"})
_UNMISTAKABLE = frozenset({"CFG scale", "Model hash"})
# A sampler is also what draws water, or from a posterior: these are names of diffusion's.
_SAMPLER = re.compile(
    r"\b(?:Euler|Heun|DPM|DPM2|LMS|DDIM|DDPM|PLMS|UniPC|LCM|DEIS|TCD|Restart|IPNDM)\b", re.IGNORECASE
)
_AFTER = ("Template:", "Negative Template:")  # lines that an extension for wildcards adds below
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
_LORA: Final = re.compile(
    r"<(?:lora|lyco):([^:<>]{1,200})(?::([-+]?[\d.]{1,12}))?[^<>]{0,100}>", re.IGNORECASE
)


def read(source: Source) -> Record | None:
    """The parameters of a file, wherever they stand."""
    texts = source.texts
    for told in (
        source.user_comment,
        texts.get("parameters"),
        texts.get("comment"),
        source.exif.get(IMAGE_DESCRIPTION),
        source.iptc.get("caption"),
    ):
        found = parse(told) if told else None
        if found is not None:
            return found
    return None


def parse(parameters: str) -> Record | None:
    """The record of an A1111 text; None when its last line is not one of at least three pairs, a sampler's."""
    if len(parameters) > MAX_TEXT:
        return None
    *lines, last = parameters.strip().split("\n")
    while lines and last.startswith(_AFTER):
        last = lines.pop()
    if len(last) > _MAX_LAST_LINE or last.startswith("{"):
        return None
    pairs = {key.strip(): _unquote(value.strip()) for key, value in _PAIR.findall(last)}
    of_diffusion = _UNMISTAKABLE & pairs.keys() or _SAMPLER.search(pairs.get("Sampler", ""))
    if len(pairs) < 3 or len(_TOLD & pairs.keys()) < 2 or not of_diffusion:
        return None
    prompt, negative = _split_prompt(lines)
    size = _SIZE.fullmatch(pairs.pop("Size", ""))
    return record(
        "automatic1111",
        _program(pairs),
        prompt=prompt,
        negative_prompt=negative,
        seed=pairs.pop("Seed", None),
        steps=pairs.pop("Steps", None),
        guidance_scale=pairs.pop("CFG scale", None),
        scheduler=pairs.pop("Sampler", None),
        schedule=pairs.pop("Schedule type", None),
        width=size and size[1],
        height=size and size[2],
        model=pairs.pop("Model", None),
        model_hash=pairs.pop("Model hash", None),
        loras=(*loras_of_prompt(prompt)[1], *loras_of_prompt(negative)[1]),
        passes=_high_resolution_pass(pairs),
        other=pairs,
    )


def loras_of_prompt(prompt: str) -> tuple[str, list[LoraName]]:
    """The prompt without `<lora:name:0.8>`, and the LoRAs that stood there."""
    found = [LoraName(name.strip(), _weight(weight)) for name, weight in _LORA.findall(prompt)]
    return (prompt if not found else re.sub(r"(?:\s*,)?\s*$", "", _LORA.sub("", prompt)).strip()), found


def _high_resolution_pass(pairs: dict[str, str]) -> tuple[FurtherPass, ...]:
    """*Hires. fix*, taken out of the pairs; what else begins with "Hires" stays there."""
    if "Hires upscale" not in pairs and "Hires resize" not in pairs:
        return ()
    size = _SIZE.fullmatch(pairs.pop("Hires resize", ""))
    one = FurtherPass(
        scale=number(pairs.pop("Hires upscale", None)),
        width=whole(size and size[1]),
        height=whole(size and size[2]),
        upscaler=text(pairs.pop("Hires upscaler", None)),
        strength=number(pairs.pop("Denoising strength", None)),
        steps=whole(pairs.pop("Hires steps", None)) or None,  # 0 stands for as many as in the first pass
    )
    return (one,)


def _program(pairs: dict[str, str]) -> str:
    """The program that wrote the parameters, with its version: others than AUTOMATIC1111 say so."""
    version, app = pairs.get("Version", ""), pairs.get("App", "")
    return version if version.startswith("Fooocus") else f"{app or 'AUTOMATIC1111'} {version}".strip()


def _split_prompt(lines: list[str]) -> tuple[str, str]:
    for index, line in enumerate(lines):
        if line.startswith(_NEGATIVE):
            negative = [line[len(_NEGATIVE) :].strip(), *lines[index + 1 :]]
            return "\n".join(lines[:index]).strip(), "\n".join(negative).strip()
    return "\n".join(lines).strip(), ""


def _unquote(value: str) -> str:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value


def _weight(told: str) -> float:
    try:
        return float(told or 1)
    except ValueError:
        return 1.0
