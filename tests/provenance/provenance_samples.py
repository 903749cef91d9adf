"""Pictures and requests that the provenance tests are made of."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import numpy as np

from nonesuch.foundation.images import RGB
from nonesuch.provenance.request import MarkRequest

PAYLOAD = 0x0123456789ABCDEF
RECIPE = {"prompt": "a fox & <friends>, ☃", "negative_prompt": "blurry", "seed": 7, "steps": 20, "width": 256}


def picture(seed: int = 0, size: int = 256) -> RGB:
    """A picture with structure at many scales, so that watermarks and features have something to hold on to."""
    rng = np.random.default_rng(seed)
    out = np.zeros((size, size, 3))
    for cells in (4, 8, 16, 32, 64):
        coarse = rng.normal(0, 60 / np.sqrt(cells), (cells, cells, 3))
        out += np.kron(coarse, np.ones((size // cells, size // cells, 1)))
    return np.clip(out + 128, 0, 255).astype(np.uint8)


def request(**changes: object) -> MarkRequest:
    settings: dict[str, object] = {
        "watermark_payload": PAYLOAD,
        "recipe": RECIPE,
        "title": "fox.png",
        "generator": "embedded",
        "generator_version": "1a2b",
    }
    return MarkRequest(**{**settings, **changes})  # type: ignore[arg-type]


def schema(name: str) -> Any:
    """A validator of one of the project's JSON Schemas."""
    text = files("nonesuch.provenance").joinpath("schemas", f"{name}.schema.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))
