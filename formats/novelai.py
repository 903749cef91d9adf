"""NovelAI: PNG text Title, Description, Software, Source and Comment, which is JSON.

Its signature over pixels and comment is provenance's to check.
"""

from __future__ import annotations

import json
from typing import Any

from nonesuch.formats.raw_fields import Source
from nonesuch.formats.record import Record, record

_NAMED = (
    "prompt",
    "uc",
    "seed",
    "steps",
    "scale",
    "sampler",
    "noise_schedule",
    "width",
    "height",
    "signed_hash",
)


def read(source: Source) -> Record | None:
    """NovelAI's fields."""
    texts = source.texts
    if texts.get("Software") != "NovelAI" and not texts.get("Source", "").startswith("NovelAI Diffusion"):
        return None
    told = comment(source)
    return record(
        "novelai",
        texts.get("Source") or "NovelAI",
        prompt=told.get("prompt") or texts.get("Description"),
        negative_prompt=told.get("uc"),
        seed=told.get("seed"),
        steps=told.get("steps"),
        guidance_scale=told.get("scale"),
        scheduler=told.get("sampler"),
        schedule=told.get("noise_schedule"),
        width=told.get("width"),
        height=told.get("height"),
        model=texts.get("Source"),
        other={key: value for key, value in told.items() if key not in _NAMED},
    )


def comment(source: Source) -> dict[str, Any]:
    """The object in `Comment`; empty when there is none."""
    try:
        parsed = json.loads(source.texts.get("Comment", ""))
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
