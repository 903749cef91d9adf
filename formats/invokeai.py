"""InvokeAI: PNG text `invokeai_metadata` (JSON), and the older `sd-metadata` and `Dream`."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from nonesuch.formats.raw_fields import Source
from nonesuch.formats.record import LoraName, Record, number, record

# the flags of its old command line
_DREAM = re.compile(r"\s-(?:s ?\d|S ?-?\d|W ?\d|H ?\d|C ?\d|A ?\w)")
_FLAG = re.compile(r"\s-([sSWHCA]) ?(-?\w[\w.]{0,40})")
_NEGATIVE = re.compile(r"\s{0,8}\[([^\[\]]{1,8192})\]")  # what old prompts had in brackets


def read(source: Source) -> Record | None:
    """The newest of InvokeAI's three generations of metadata that a file has."""
    texts = source.texts
    for key, parse in (("invokeai_metadata", _modern), ("sd-metadata", _older)):
        if key in texts:
            with suppress(ValueError, AttributeError, RecursionError):  # a broken text hides no other
                return parse(json.loads(texts[key]))
    if _DREAM.search(texts.get("Dream", "")):
        return _oldest(texts["Dream"].strip())
    if "invokeai_graph" in texts or "invokeai_workflow" in texts:
        return Record("invokeai", "InvokeAI")
    return None


def _modern(data: dict[str, Any]) -> Record:
    model = data.get("model") if isinstance(data.get("model"), dict) else {}
    known = {
        "positive_prompt", "negative_prompt", "seed", "steps", "cfg_scale", "scheduler", "width", "height",
        "model", "app_version", "loras",
    }  # fmt: skip
    return record(
        "invokeai",
        _generator(data),
        prompt=data.get("positive_prompt"),
        negative_prompt=data.get("negative_prompt"),
        seed=data.get("seed"),
        steps=data.get("steps"),
        guidance_scale=data.get("cfg_scale"),
        scheduler=data.get("scheduler"),
        width=data.get("width"),
        height=data.get("height"),
        model=(model or {}).get("name") or (model or {}).get("model_name"),
        model_hash=(model or {}).get("hash"),
        loras=_loras(data.get("loras")),
        other={key: value for key, value in data.items() if key not in known},
    )


def _older(data: dict[str, Any]) -> Record:
    image = data.get("image") if isinstance(data.get("image"), dict) else {}
    image = image or {}
    text = image.get("prompt")
    if isinstance(text, list) and text and isinstance(text[0], dict):
        text = text[0].get("prompt")
    prompt, negative = _split(text if isinstance(text, str) else "")
    return record(
        "invokeai",
        _generator(data),
        prompt=prompt,
        negative_prompt=negative,
        seed=image.get("seed"),
        steps=image.get("steps"),
        guidance_scale=image.get("cfg_scale"),
        scheduler=image.get("sampler"),
        width=image.get("width"),
        height=image.get("height"),
        model=data.get("model_weights") or data.get("model"),
        model_hash=data.get("model_hash"),
    )


def _oldest(command: str) -> Record:
    # "prompt [negative prompt]" -s steps -S seed …
    end = command.rfind('"') if command.startswith('"') else -1
    start = _DREAM.search(command, max(end, 0))
    cut = start.start() if start else len(command)
    prompt, negative = _split(command[:cut].strip().strip('"'))
    flags = dict(_FLAG.findall(command[cut:]))
    return record(
        "invokeai",
        "InvokeAI",
        prompt=prompt,
        negative_prompt=negative,
        seed=flags.get("S"),
        steps=flags.get("s"),
        guidance_scale=flags.get("C"),
        scheduler=flags.get("A"),
        width=flags.get("W"),
        height=flags.get("H"),
        other={"Dream": command},
    )


def _generator(data: dict[str, Any]) -> str:
    version = data.get("app_version")
    return f"InvokeAI {version}" if isinstance(version, str) and version else "InvokeAI"


def _loras(rows: Any) -> list[LoraName]:
    """`{"model": {"name": …}, "weight": …}`, or `lora` with `model_name` in older files."""
    found = []
    for row in rows if isinstance(rows, list) else ():
        model = (row.get("model") or row.get("lora")) if isinstance(row, dict) else None
        name = (model.get("name") or model.get("model_name")) if isinstance(model, dict) else None
        if isinstance(name, str):
            weight = number(row.get("weight"))
            found.append(LoraName(name, 1.0 if weight is None else float(weight)))
    return found


def _split(text: str) -> tuple[str, str]:
    return _NEGATIVE.sub("", text).strip(), ", ".join(part.strip() for part in _NEGATIVE.findall(text))
