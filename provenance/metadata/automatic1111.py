"""AUTOMATIC1111's `parameters` text (and that of Forge, SD.Next, Civitai, which write the same).

Prompt lines, optional `Negative prompt:` lines, one line of `key: value` pairs; in PNG text, or in the EXIF
UserComment of JPEG and WebP, which wins.
"""

from __future__ import annotations

import json
import re
from typing import Any

from nonesuch.provenance.metadata.finding import Finding, excerpt, recipe
from nonesuch.provenance.metadata.raw_fields import Source

MAX_TEXT = 1 << 20  # characters; longer texts are no parameters
_MAX_LAST_LINE = 64 << 10
# The web UI's own pattern, with its repeats bounded so that hostile text can't make it crawl.
_PAIR = re.compile(r'\s{0,8}(\w[\w \-/]{1,60}):\s{0,8}("(?:\\.|[^\\"]){1,8192}"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt:"
_IMAGE_DESCRIPTION = 0x010E
# What samplers are told. Size, Model and Version stand in cameras' and other programs' settings too, Steps and Seed
# in those of simulations: two of these, one of which only samplers have.
_TOLD = frozenset({"Steps", "Sampler", "CFG scale", "Seed", "Model hash"})
_UNMISTAKABLE = frozenset({"CFG scale", "Model hash"})
# A sampler is also what draws water, or from a posterior: these are names of diffusion's.
_SAMPLER = re.compile(
    r"\b(?:Euler|Heun|DPM|DPM2|LMS|DDIM|DDPM|PLMS|UniPC|LCM|DEIS|TCD|Restart|IPNDM)\b", re.IGNORECASE
)
_AFTER = ("Template:", "Negative Template:")  # lines that an extension for wildcards adds below


class Automatic1111:
    """Reads `parameters` that are text, not JSON."""

    def read(self, source: Source) -> Finding | None:
        texts = source.texts
        for text in (
            source.user_comment,
            texts.get("parameters"),
            texts.get("comment"),
            source.exif.get(_IMAGE_DESCRIPTION),
            source.iptc.get("caption"),
        ):
            parsed = parse(text) if text else None
            if parsed is not None:
                return Finding(
                    "automatic1111",
                    "ai-generated",
                    "claimed",
                    f"AUTOMATIC1111 parameters: “{excerpt(parsed.get('prompt'))}”",
                    generator=program(parsed),
                    recipe=parsed,
                )
        return None


def program(parsed: dict[str, Any]) -> str:
    """The program that wrote the parameters, with its version: others than AUTOMATIC1111 say so."""
    version, app = (str(parsed.get("other", {}).get(key, "")) for key in ("Version", "App"))
    if version.startswith("Fooocus"):
        return version
    return f"{app or 'AUTOMATIC1111'} {version}".strip()


def parse(text: str) -> dict[str, Any] | None:
    """The recipe in an A1111 text; None when its last line is not one of at least three pairs, a sampler's."""
    if len(text) > MAX_TEXT:
        return None
    *lines, last = text.strip().split("\n")
    while lines and last.startswith(_AFTER):
        last = lines.pop()
    if len(last) > _MAX_LAST_LINE or last.startswith("{"):
        return None
    pairs = {key.strip(): _unquote(value.strip()) for key, value in _PAIR.findall(last)}
    of_diffusion = _UNMISTAKABLE & pairs.keys() or _SAMPLER.search(pairs.get("Sampler", ""))
    if len(pairs) < 3 or len(_TOLD & pairs.keys()) < 2 or not of_diffusion:
        return None
    prompt, negative = _split_prompt(lines)
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", pairs.pop("Size", ""))
    return recipe(
        prompt=prompt,
        negative_prompt=negative,
        seed=pairs.pop("Seed", None),
        steps=pairs.pop("Steps", None),
        guidance_scale=pairs.pop("CFG scale", None),
        scheduler=pairs.pop("Sampler", None),
        width=size and size[1],
        height=size and size[2],
        model=pairs.pop("Model", None),
        model_hash=pairs.pop("Model hash", None),
        other=dict(pairs),
    )


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
