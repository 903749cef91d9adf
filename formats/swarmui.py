"""SwarmUI: JSON with `sui_image_params` in PNG text `parameters` or in the EXIF UserComment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nonesuch.formats.raw_fields import Source
from nonesuch.formats.record import LoraName, Record, number, record

_NAMED = (
    "prompt", "negativeprompt", "seed", "steps", "cfgscale", "sampler", "scheduler", "width", "height", "model",
    "loras", "loraweights",
)  # fmt: skip


def read(source: Source) -> Record | None:
    """SwarmUI's parameters; its numbers may be strings. Raises ValueError for broken JSON."""
    for text in (source.user_comment, source.texts.get("parameters")):
        if text and "sui_image_params" in text and (found := _parse(json.loads(text))) is not None:
            return found
    return None


def _parse(data: Any) -> Record | None:
    given = data.get("sui_image_params") if isinstance(data, dict) else None
    if not isinstance(given, dict):
        return None
    version = given.get("swarm_version")
    return record(
        "swarmui",
        f"SwarmUI {version}" if isinstance(version, str) else "SwarmUI",
        prompt=given.get("prompt"),
        negative_prompt=given.get("negativeprompt"),
        seed=given.get("seed"),
        steps=given.get("steps"),
        guidance_scale=given.get("cfgscale"),
        scheduler=given.get("sampler"),
        schedule=given.get("scheduler"),
        width=given.get("width"),
        height=given.get("height"),
        model=given.get("model"),
        loras=_loras(given),
        other={key: value for key, value in given.items() if key not in _NAMED},
    )


def _loras(given: Mapping[str, Any]) -> list[LoraName]:
    """Two lists, or two texts with commas, side by side."""
    names, weights = (
        told.split(",") if isinstance(told, str) else told if isinstance(told, list) else []
        for told in (given.get("loras"), given.get("loraweights"))
    )
    told = [number(weight) for weight in weights] + [None] * len(names)
    return [
        LoraName(name.strip(), 1.0 if weight is None else float(weight))
        for name, weight in zip(names, told, strict=False)
        if isinstance(name, str) and name.strip()
    ]
