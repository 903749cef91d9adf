"""EXIF: a camera's make and model, and software names that are those of generators."""

from __future__ import annotations

from nonesuch.formats.raw_fields import Source
from nonesuch.provenance.metadata.finding import Finding
from nonesuch.provenance.metadata.xmp import xmp_values

_MAKE, _MODEL, _SOFTWARE = 0x010F, 0x0110, 0x0131
_EXPOSURE = (0x9003, 0x9290, 0xA434)  # DateTimeOriginal, sub-seconds, lens model

# Names that generators write as Software; matched as whole words, lower case. Flux and Imagen are words of other
# programs' names too (imagen is Spanish for picture), so that they count with what makes them a model's.
GENERATORS = (
    "midjourney", "dall-e", "dall·e", "stable diffusion", "novelai", "adobe firefly", "invokeai", "comfyui",
    "dreamstudio", "google imagen", "ideogram", "leonardo.ai", "flux.1", "flux.2",
    "black forest labs", "bing image creator", "draw things", "fooocus", "gpt-image-1", "openai",
)  # fmt: skip


class Exif:
    """Reads who says to have made the file; a camera's name is a claim that verdicts never rest on."""

    def read(self, source: Source) -> Finding | None:
        make, model = source.exif.get(_MAKE, ""), source.exif.get(_MODEL, "")
        named = {
            "software": source.exif.get(_SOFTWARE) or source.texts.get("Software") or "",
            "creator tool": xmp_values(source.xmp).get("CreatorTool", ""),
            "maker": f"{make} {model}" if "{" not in make + model else "",
        }
        for what, said in named.items():
            if any(has_word(said.lower(), generator) for generator in GENERATORS):
                told = said.strip()[:120]
                return Finding("exif", "ai-generated", "claimed", f"metadata names the {what} “{told}”", told)
        if make and model and not make.startswith(("workflow:", "prompt:")):
            detail = f"EXIF names the camera {make[:60]} {model[:60]}"
            return Finding("exif", "captured", "claimed", detail)
        return None


def has_word(text: str, word: str) -> bool:
    """Whether `word` stands in `text` as a whole, not within a longer word."""
    at = text.find(word)
    end = at + len(word)
    return at >= 0 and not text[max(at - 1, 0) : at].isalnum() and not text[end : end + 1].isalnum()
