"""Fooocus: PNG text `fooocus_scheme` beside `parameters` (its JSON, or A1111's text when so configured).

JPEG and WebP hold them in the EXIF UserComment and MakerNote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nonesuch.formats import a1111
from nonesuch.formats.raw_fields import Source
from nonesuch.formats.record import LoraName, Record, number, record, text

_NAMED = (
    "prompt", "negative_prompt", "seed", "steps", "guidance_scale", "sampler", "scheduler", "base_model",
    "base_model_hash", "resolution", "loras",
)  # fmt: skip


def read(source: Source) -> Record | None:
    """What Fooocus wrote, in either of its two schemes."""
    scheme = source.texts.get("fooocus_scheme")
    told = source.texts.get("parameters") or source.user_comment or ""
    if scheme is None and not ("base_model" in told and "Fooocus" in told):
        return None
    try:
        data = json.loads(told)
    except ValueError:
        found = a1111.parse(told)
        return (
            Record("fooocus", "Fooocus") if found is None else replace(found, generator=_version(found.other))
        )
    return _parse(data if isinstance(data, dict) else {})


def _parse(data: Mapping[str, Any]) -> Record:
    width, height = _resolution(data.get("resolution"))
    other = {key: value for key, value in data.items() if key not in _NAMED}
    combined = [other.pop(key) for key in sorted(other) if key.startswith("lora_combined_")]
    return record(
        "fooocus",
        _version(data),
        prompt=data.get("prompt"),
        negative_prompt=data.get("negative_prompt"),
        seed=data.get("seed"),
        steps=data.get("steps"),
        guidance_scale=data.get("guidance_scale"),
        scheduler=data.get("sampler"),
        schedule=data.get("scheduler"),
        width=width,
        height=height,
        model=data.get("base_model"),
        model_hash=data.get("base_model_hash"),
        loras=_loras(data.get("loras"), combined),
        other=other,
    )


def _version(told: Mapping[str, Any]) -> str:
    return next((found for key in ("version", "Version") if (found := text(told.get(key)))), "Fooocus")


def _loras(rows: Any, combined: list[Any]) -> list[LoraName]:
    """`[name, weight, hash]` of its JSON, or the texts `name : weight` beside it."""
    pairs = (
        [row[:2] for row in rows if isinstance(row, list) and len(row) > 1] if isinstance(rows, list) else []
    )
    pairs += (
        [one.rsplit(" : ", 1) for one in combined if isinstance(one, str) and " : " in one]
        if not pairs
        else []
    )
    return [
        LoraName(name, float(weight))
        for name, told in pairs
        if isinstance(name, str) and (weight := number(told)) is not None
    ]


def _resolution(value: Any) -> tuple[str | None, str | None]:
    """Fooocus writes `(1024, 768)` as text."""
    parts = str(value or "").strip("() ").replace("×", ",").split(",")
    return (parts[0].strip(), parts[1].strip()) if len(parts) == 2 else (None, None)
