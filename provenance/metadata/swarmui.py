"""SwarmUI: JSON with `sui_image_params` in PNG text `parameters` or in the EXIF UserComment."""

from __future__ import annotations

import json

from nonesuch.provenance.metadata.finding import Finding, excerpt, recipe
from nonesuch.provenance.metadata.raw_fields import Source

_NAMED = ("prompt", "negativeprompt", "seed", "steps", "cfgscale", "sampler", "width", "height", "model")


class SwarmUI:
    """Reads SwarmUI's parameters; its numbers may be strings."""

    def read(self, source: Source) -> Finding | None:
        for text in (source.user_comment, source.texts.get("parameters")):
            if text and "sui_image_params" in text:
                found = parse(text)
                if found is not None:
                    return found
        return None


def parse(text: str) -> Finding | None:
    """The finding in SwarmUI's JSON; None when it holds no parameters."""
    data = json.loads(text)
    given = data.get("sui_image_params") if isinstance(data, dict) else None
    if not isinstance(given, dict):
        return None
    found = recipe(
        prompt=given.get("prompt"),
        negative_prompt=given.get("negativeprompt"),
        seed=given.get("seed"),
        steps=given.get("steps"),
        guidance_scale=given.get("cfgscale"),
        scheduler=given.get("sampler"),
        width=given.get("width"),
        height=given.get("height"),
        model=given.get("model"),
        other={key: value for key, value in given.items() if key not in _NAMED},
    )
    version = given.get("swarm_version")
    generator = f"SwarmUI {version}" if isinstance(version, str) else "SwarmUI"
    detail = f"SwarmUI parameters: “{excerpt(found.get('prompt'))}”"
    return Finding("swarmui", "ai-generated", "claimed", detail, generator, found)
