"""What a reader of foreign metadata returns, and the protocol that it meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from nonesuch.provenance.evidence import Confidence, Says
from nonesuch.provenance.metadata.raw_fields import Source


@dataclass(frozen=True, slots=True)
class Finding:
    """One format's metadata, found in one file."""

    kind: str  # the reader's name: automatic1111, comfyui, …
    says: Says
    confidence: Confidence  # "claimed" for plain text, "proven" for a checked signature
    detail: str  # one sentence for a person
    generator: str | None = None  # the software, with its version when it says so
    recipe: dict[str, Any] | None = None  # see `recipe`; None when there are no parameters
    source_types: tuple[str, ...] = ()  # IPTC URIs


class MetadataReader(Protocol):
    """Reads one format's metadata."""

    def read(self, source: Source) -> Finding | None:
        """The finding, or None when the file carries none of this format. May raise for broken metadata."""
        ...


def recipe(
    *,
    prompt: Any = None,
    negative_prompt: Any = None,
    seed: Any = None,
    steps: Any = None,
    guidance_scale: Any = None,
    scheduler: Any = None,
    width: Any = None,
    height: Any = None,
    model: Any = None,
    model_hash: Any = None,
    other: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Foreign parameters under nonesuch's names; what is missing or malformed is left out, the rest is `other`.

    Numbers may come as text.
    """
    values = {
        "prompt": _text(prompt),
        "negative_prompt": _text(negative_prompt),
        "seed": _integer(seed),
        "steps": _integer(steps),
        "guidance_scale": _number(guidance_scale),
        "scheduler": _text(scheduler),
        "width": _integer(width),
        "height": _integer(height),
        "model": _text(model),
        "model_hash": _text(model_hash),
    }
    found: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if other:
        found["other"] = other
    return found


def excerpt(text: Any, length: int = 120) -> str:
    """The start of a prompt on one line, for details."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _integer(value: Any) -> int | None:
    number = _number(value)
    if number is None or number != int(number):
        return None
    return int(value) if isinstance(value, str) and value.strip().lstrip("-").isdigit() else int(number)


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) if isinstance(value, str) else value
        return number if abs(number) < 1e30 else None  # NaN and infinity are no parameters
    except (ValueError, OverflowError):
        return None
