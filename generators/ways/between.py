"""Frames between two prompts or two seeds: their settings, and the recipe of one frame."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from nonesuch.foundation.errors import InputError
from nonesuch.generators.sweepfile.settings import Settings
from nonesuch.generators.sweepfile.sweep import Sweep
from nonesuch.generators.sweepfile.values.templates import Template, parse_template
from nonesuch.generators.ways.recipe_extras import Between


def other_ends(sweep: Sweep) -> dict[str, Template]:
    """The templates of every prompt that the sweep's frames may lead to, by their text. Raises InputError."""
    facets: Collection[str] = sweep.values
    found: dict[str, Template] = {}
    places: list[tuple[Settings | None, tuple[int | str, ...]]] = [
        (sweep.settings, ("settings", "between", "prompt"))
    ]
    places += [
        (value.settings, ("facets", facet, index))
        for facet, values in sweep.values.items()
        for index, value in enumerate(values)
    ]
    for settings, place in places:
        text = None if settings is None or settings.between is None else settings.between.prompt
        if text is not None and text not in found:
            found[text] = parse_template(text, facets, where=sweep.source.where(place))
    return found


def check_between(between: Mapping[str, Any], *, where: str) -> None:
    """Raise InputError for frames that lead nowhere, or of which nothing says how far they have come."""
    if "prompt" not in between and "seed" not in between:
        raise InputError("between needs a prompt, a seed, or both: the end of the frames", where=where)
    if "at" not in between:
        raise InputError(
            "the position of the frames between the two ends is missing",
            where=where,
            hint="Add a facet: facets: {frame: {frames: 24}}, or between: {at: 0.5}.",
        )


def frame(prompt: str, seed: int, between: Mapping[str, Any] | None) -> dict[str, Any]:
    """The prompt, seed and `between` of one frame's recipe; `between` has its prompt filled in.

    At both ends it is the plain recipe of that end, so that those frames are the very images that it draws alone.
    """
    if between is None:
        return {"prompt": prompt, "seed": seed}
    other = Between(str(between.get("prompt", prompt)), int(between.get("seed", seed)), float(between["at"]))
    if other.at == 1:
        return {"prompt": other.prompt, "seed": other.seed}
    if other.at == 0 or (other.prompt, other.seed) == (prompt, seed):
        return {"prompt": prompt, "seed": seed}
    return {"prompt": prompt, "seed": seed, "between": other}
