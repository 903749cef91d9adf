"""Fooocus: PNG text `fooocus_scheme` beside `parameters` (its JSON, or A1111's text when so configured)."""

from __future__ import annotations

import json
from typing import Any

from nonesuch.provenance.metadata import automatic1111
from nonesuch.provenance.metadata.finding import Finding, excerpt, recipe
from nonesuch.provenance.metadata.raw_fields import Source

_NAMED = (
    "prompt", "negative_prompt", "seed", "steps", "guidance_scale", "sampler", "base_model", "base_model_hash",
    "version", "resolution",
)  # fmt: skip


class Fooocus:
    """Reads Fooocus's two schemes; JPEG and WebP hold them in the EXIF UserComment and MakerNote."""

    def read(self, source: Source) -> Finding | None:
        scheme = source.texts.get("fooocus_scheme")
        text = source.texts.get("parameters") or source.user_comment or ""
        if scheme is None and not ("base_model" in text and "Fooocus" in text):
            return None
        found = _recipe(text)
        version = found.get("other", {}).get("version")
        return Finding(
            "fooocus",
            "ai-generated",
            "claimed",
            f"Fooocus parameters: “{excerpt(found.get('prompt'))}”",
            str(version) if isinstance(version, str) and version else "Fooocus",
            found,
        )


def _recipe(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        return automatic1111.parse(text) or {}
    if not isinstance(data, dict):
        return {}
    width, height = _resolution(data.get("resolution"))
    return recipe(
        prompt=data.get("prompt"),
        negative_prompt=data.get("negative_prompt"),
        seed=data.get("seed"),
        steps=data.get("steps"),
        guidance_scale=data.get("guidance_scale"),
        scheduler=data.get("sampler"),
        width=width,
        height=height,
        model=data.get("base_model"),
        model_hash=data.get("base_model_hash"),
        other={k: v for k, v in data.items() if k not in _NAMED or k == "version"},
    )


def _resolution(value: Any) -> tuple[str | None, str | None]:
    """Fooocus writes `(1024, 768)` as text."""
    parts = str(value or "").strip("() ").replace("×", ",").split(",")
    return (parts[0].strip(), parts[1].strip()) if len(parts) == 2 else (None, None)
