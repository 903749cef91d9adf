"""What another program says of a picture's making, under this project's names: one record, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

MAX_LORAS: Final = 64  # of one record
MAX_NAME: Final = 200  # characters of a LoRA's name


@dataclass(frozen=True, slots=True)
class LoraName:
    """A LoRA as another program names it: its file or a name, which may hold that machine's folders."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class FurtherPass:
    """A sampler's run after the first: at a higher resolution, by a refiner, or over the same picture again."""

    scale: float | None = None  # of the side, against the first pass
    width: int | None = None  # px, where a size is told and no scale
    height: int | None = None
    upscaler: str | None = None  # in the program's own words
    strength: float | None = None  # share of the steps that is drawn again, in (0, 1]
    steps: int | None = None
    seed: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    schedule: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What a program wrote; None or empty where it says nothing. Build it with `record`, which checks a file's values."""

    program: str  # in whose words it is: automatic1111, comfyui, …
    generator: str | None = None  # the program for people, with its version when it says so
    generates: bool = True  # False when it says that no generative model ran
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None  # the sampler, in the program's own words
    schedule: str | None = None  # of the noise: Karras, normal, …
    width: int | None = None  # px, of the first pass
    height: int | None = None
    model: str | None = None
    model_hash: str | None = None
    loras: tuple[LoraName, ...] = ()
    passes: tuple[FurtherPass, ...] = ()  # after the first, in their order
    other: Mapping[str, Any] = field(
        default_factory=dict
    )  # what has no field here, under the program's own names
    graph: Mapping[str, Any] | None = field(default=None, repr=False)  # ComfyUI's, in API format

    def recipe(self) -> dict[str, Any]:
        """What is known of the drawing, as JSON values; the graph is left out, since it is large."""
        found = _known(self, ("program", "generator", "generates", "graph"))
        if self.loras:
            found["loras"] = [{"name": lora.name, "weight": lora.weight} for lora in self.loras]
        if self.passes:
            found["passes"] = [_known(one) for one in self.passes]
        return found


def record(
    program: str,
    generator: Any = None,
    *,
    loras: Sequence[LoraName] = (),
    passes: Sequence[FurtherPass] = (),
    other: Mapping[str, Any] | None = None,
    graph: Mapping[str, Any] | None = None,
    **told: Any,
) -> Record:
    """The record of what a file tells; values that are missing or malformed are left out. Numbers may come as text."""
    known: dict[str, Any] = {name: _CHECKS[name](value) for name, value in told.items()}
    return Record(
        program,
        text(generator),
        loras=tuple(lora for lora in loras if len(lora.name) <= MAX_NAME)[:MAX_LORAS],
        passes=tuple(passes),
        other=other or {},
        graph=graph,
        **known,
    )


def recipe(
    *,
    loras: Sequence[LoraName] = (),
    passes: Sequence[FurtherPass] = (),
    other: Mapping[str, Any] | None = None,
    **told: Any,
) -> dict[str, Any]:
    """Another program's parameters for a finding: fields of `Record` from `prompt` to `model_hash`, checked as by
    `record`; the rest is `other`."""
    return record("", loras=loras, passes=passes, other=other, **told).recipe()


def text(value: Any) -> str | None:
    """A text that is not empty."""
    return value if isinstance(value, str) and value else None


def whole(value: Any) -> int | None:
    """A whole number, also from text."""
    found = number(value)
    if found is None or found != int(found):
        return None
    return int(value) if isinstance(value, str) and value.strip().lstrip("-").isdigit() else int(found)


def number(value: Any) -> float | int | None:
    """A finite number under 1e30, also from text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value) if isinstance(value, str) else value
        return found if abs(found) < 1e30 else None  # NaN and infinity are no parameters
    except (ValueError, OverflowError):
        return None


def _known(told: Record | FurtherPass, but: Sequence[str] = ()) -> dict[str, Any]:
    values = {one.name: getattr(told, one.name) for one in fields(told) if one.name not in but}
    return {name: value for name, value in values.items() if value not in (None, (), {})}


_CHECKS = {
    "prompt": text, "negative_prompt": text, "seed": whole, "steps": whole, "guidance_scale": number,
    "scheduler": text, "schedule": text, "width": whole, "height": whole, "model": text, "model_hash": text,
}  # fmt: skip
