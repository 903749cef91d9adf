"""Our reading of other generators' metadata beside sd-parsers', an independent reader; where they differ it is said why."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from sd_parsers import ParserManager
from test_metadata import A1111, GRAPH, findings, png

LINKS = [
    [0, int(value[0]), value[1], int(number), 0, name.upper()]
    for number, node in GRAPH.items()
    for name, value in node["inputs"].items()
    if isinstance(value, list)
]
INVOKEAI = {
    "positive_prompt": "p", "negative_prompt": "n", "seed": 3, "steps": 4, "cfg_scale": 5, "scheduler": "euler",
    "width": 8, "height": 9, "model": {"model_name": "m"}, "app_version": "3.0",
}  # fmt: skip
INVOKEAI_4 = {**INVOKEAI, "model": {"name": "m", "hash": "h"}, "app_version": "4.2"}
INVOKEAI_2 = {
    "image": {"prompt": [{"prompt": "old [bad, ugly]", "weight": 1}], "seed": 6, "steps": 9, "cfg_scale": 7,
              "sampler": "k_lms"},
    "model_weights": "sd", "model_hash": "ab",
}  # fmt: skip
FOOOCUS = {
    "prompt": "f", "negative_prompt": "g", "seed": "5", "steps": 30, "guidance_scale": 4.0, "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras", "base_model": "jx", "base_model_hash": "cd", "resolution": "(1152, 896)", "sharpness": 2.0,
    "version": "Fooocus v2.5",
}  # fmt: skip
NOVELAI = {
    "Software": "NovelAI", "Source": "Stable Diffusion 81274D13", "Description": "d", "Title": "AI generated image",
    "Comment": json.dumps({"prompt": "d", "uc": "bad", "steps": 28, "scale": 5.0, "seed": 1, "sampler": "k_euler"}),
}  # fmt: skip

# a PNG's text chunks, and where the two readings differ: key → (ours, theirs)
SAMPLES: dict[str, tuple[dict[str, str], dict[str, tuple[Any, Any]]]] = {
    "automatic1111": ({"parameters": A1111}, {}),
    # its seed comes from a node of its own, which sd-parsers does not follow
    "comfyui": (
        {"prompt": json.dumps(GRAPH), "workflow": json.dumps({"links": LINKS})}, {"seed": (99, None)},
    ),
    "invokeai": ({"invokeai_metadata": json.dumps(INVOKEAI)}, {}),
    # models have `name` and `hash` since InvokeAI 4; sd-parsers looks for `model_name`
    "invokeai 4": (
        {"invokeai_metadata": json.dumps(INVOKEAI_4)}, {"model": ("m", None), "model_hash": ("h", None)},
    ),
    "invokeai 2": ({"sd-metadata": json.dumps(INVOKEAI_2)}, {}),
    "invokeai 1": ({"Dream": '"a fox [blurry]" -s 50 -S 42 -W512 -H 768 -C 7.5 -A k_lms'}, {}),
    "fooocus": ({"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"}, {}),
    # sd-parsers keeps the steps elsewhere, and splits what names the model; we keep it as it is written
    "novelai": (
        NOVELAI,
        {"steps": (28, None), "model": ("Stable Diffusion 81274D13", "Stable Diffusion"),
         "model_hash": (None, "81274D13")},
    ),
}  # fmt: skip


def theirs(data: bytes) -> dict[str, Any]:
    found = ParserManager().parse(io.BytesIO(data))
    assert found is not None
    (sampler,) = found.samplers
    said = {
        "prompt": found.full_prompt,
        "negative_prompt": found.full_negative_prompt,
        "scheduler": sampler.name,
        "seed": sampler.parameters.get("seed"),
        "steps": sampler.parameters.get("steps"),
        "guidance_scale": sampler.parameters.get("cfg_scale"),
        "model": sampler.model and sampler.model.name,
        "model_hash": sampler.model and sampler.model.hash,
    }
    return {key: value for key, value in said.items() if value not in (None, "")}


def plain(value: Any) -> Any:
    """Numbers as numbers: sd-parsers leaves those of texts as they are written."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


@pytest.mark.parametrize("name", SAMPLES)
def test_both_readers_read_the_same(name: str) -> None:
    texts, explained = SAMPLES[name]
    data = png(texts)
    mine, other = findings(data)[name.split()[0]].recipe, theirs(data)
    keys = (
        "prompt",
        "negative_prompt",
        "scheduler",
        "seed",
        "steps",
        "guidance_scale",
        "model",
        "model_hash",
    )
    differing = {
        key: (mine.get(key), other.get(key)) for key in keys if plain(mine.get(key)) != plain(other.get(key))
    }
    assert differing == explained
