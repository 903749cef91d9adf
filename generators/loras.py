"""Reading the header of a LoRA's safetensors file: which model it fits and what it was trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import storage_error

MAX_HEADER: Final = 64 << 20  # bytes; a large LoRA's is under one million
# First factor of a cross-attention key projection, in the names of diffusers, peft and kohya.
_DOWN: Final = ("lora_A.weight", "lora_down.weight", "lora.down.weight", "lora_A.default.weight")
_WIDTHS: Final = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL", 192: "embedded"}


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """A LoRA before it is loaded."""

    text_width: int | None  # width of the text vectors its cross-attention takes; None when it has none
    training_images: str | None  # digest over its training images, when nonesuch trained it
    trigger: str | None  # the words that call it up, when it says


def lora_facts(path: Path, digest: str, *, where: str) -> LoraFacts:
    """The facts of a file with that digest. Raises InputError when it is no safetensors file."""
    return _facts(path, digest, where)


def check_fits(path: Path, facts: LoraFacts, text_width: int | None, model: str, *, where: str) -> None:
    """Raise InputError for a LoRA that was trained for a model of another width; silent where either is unknown."""
    if facts.text_width is None or text_width is None or facts.text_width == text_width:
        return
    kind = _WIDTHS.get(facts.text_width, "another architecture")
    raise InputError(
        f"{path.name} does not fit {model}: it is for {kind} (text width {facts.text_width}, "
        f"the model's is {text_width})",
        where=where,
        hint="Name a LoRA that was trained for this model, or the model it was trained for.",
    )


@lru_cache(maxsize=256)
def _facts(path: Path, digest: str, where: str) -> LoraFacts:
    header = _header(path, where)
    told = header.pop("__metadata__", None)
    metadata = told if isinstance(told, dict) else {}
    width = next(
        (
            shape[1]
            for name, entry in header.items()
            if "attn2" in name and "to_k" in name and name.endswith(_DOWN)
            if isinstance(shape := entry.get("shape"), list) and len(shape) == 2
        ),
        None,
    )
    trigger = metadata.get("modelspec.trigger_phrase") or None
    return LoraFacts(width, metadata.get("nonesuch.training_images") or None, trigger)


def _header(path: Path, where: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MAX_HEADER:
                raise ValueError("its header has no sensible length")
            header = json.loads(file.read(length))
    except OSError as error:
        raise storage_error(error, path) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not a safetensors file ({error})", where=where) from error
    if not isinstance(header, dict):
        raise InputError(f"{path.name} is not a safetensors file", where=where)
    return {name: entry for name, entry in header.items() if isinstance(entry, dict)}
