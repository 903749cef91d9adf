"""The settings of one cell: the sweep's own, overridden by those of its facet values, one after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from nonesuch.foundation.errors import InputError
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.sweepfile.settings import SETTING_NAMES
from nonesuch.generators.sweepfile.sweep import Sweep
from nonesuch.generators.sweepfile.values.facets import FacetValue
from nonesuch.generators.ways.way_settings import WAY_SETTINGS, merged

# Fields of a recipe that an engine or service takes only where its facts say so.
EXTRAS: Final = (
    "loras", "init_image", "mask", "extend", "between", "controls", "image_prompt", "refiner", "hires", "upscale",
)  # fmt: skip
MAX_COMBINATIONS: Final = 100_000  # different settings in one sweep; each is checked before anything runs


def setting_facets(sweep: Sweep) -> dict[str, frozenset[str]]:
    """The facets that set something, each with the names of the settings that its values set.

    Raises InputError when two facets set the same thing: which one holds would be a guess.
    """
    found: dict[str, frozenset[str]] = {}
    setter: dict[str, str] = {}
    for facet, values in sweep.values.items():
        names = {name for value in values if value.settings for name in _names(value.settings.chosen())}
        for name in sorted(names - {"options"}):
            if name in setter:
                raise InputError(
                    f"the facets {setter[name]!r} and {facet!r} both set {name}",
                    where=sweep.source.where(("facets", facet)),
                )
            setter[name] = facet
        if names:
            found[facet] = frozenset(names)
    return found


def slowness(names: Iterable[str]) -> int:
    """Where a facet that sets `names` goes in the matrix: lower is further out."""
    return min(SETTING_NAMES.index(name.split(".")[0]) for name in names)


def _names(chosen: dict[str, Any]) -> Iterator[str]:
    """What is set, by name; the keys of a way each by their own, as `hires.strength`."""
    for name, value in chosen.items():
        if name in WAY_SETTINGS and isinstance(value, dict):
            yield from (f"{name}.{key}" for key in value)
        else:
            yield name


def combine(sweep: Sweep, values: Iterable[FacetValue]) -> dict[str, Any]:
    """The settings of a cell with these facet values, by name; "model" is always there."""
    combined: dict[str, Any] = {"model": sweep.model, "revision": sweep.revision}
    combined.update(sweep.settings.chosen())
    for value in values:
        if value.settings is not None:
            chosen = value.settings.chosen()
            if "options" in chosen:
                chosen["options"] = {**combined.get("options", {}), **chosen["options"]}
            if "model" in chosen and "revision" not in chosen:
                combined["revision"] = None
            chosen |= {
                way: merged(combined.get(way), chosen[way]) for way in chosen.keys() & WAY_SETTINGS.keys()
            }
            combined.update(chosen)
    return combined


def combinations(sweep: Sweep) -> Iterator[tuple[dict[str, Any], str]]:
    """Every different combination of settings that cells may have, each with the place of the
    facet value that it comes from ("" when no facet sets anything).

    Values that set the same count once, and zip, exclude and only are not looked at: a combination
    that is refused here would be refused as soon as those change. Raises InputError for too many.
    """
    axes: list[list[tuple[FacetValue, str]]] = []
    total = 1
    for facet in setting_facets(sweep):
        distinct: dict[str, tuple[FacetValue, str]] = {}
        for index, value in enumerate(sweep.values[facet]):
            key = value.settings.model_dump_json() if value.settings else ""
            distinct.setdefault(key, (value, sweep.source.where(("facets", facet, index))))
        axes.append(list(distinct.values()))
        total *= len(distinct)
    if total > MAX_COMBINATIONS:
        raise InputError(
            f"the facets make {total:,} different combinations of settings; the limit is {MAX_COMBINATIONS:,}",
            where=sweep.source.where(("facets",)),
        )
    for row in itertools.product(*axes):
        yield combine(sweep, (value for value, _ in row)), row[-1][1] if row else ""


def suited(combined: Mapping[str, Any], facts: ModelFacts, bound: frozenset[str]) -> dict[str, Any]:
    """The settings without those that an engine or service has no use for, which then keep its defaults: recipes
    that differ in them alone are one recipe, drawn and paid for once.

    `bound` names the options that facets are bound to; a model gets those of its own engine only.
    """
    remote = facts.remote
    ignored = remote.ignores if remote is not None else frozenset()
    kept = {name: value for name, value in combined.items() if name not in ignored}
    if "options" in kept and bound:
        own = (
            {one for name in remote.connection.bind for one in remote.connection.targets(name)}
            if remote
            else set()
        )
        kept["options"] = {
            name: value for name, value in kept["options"].items() if name not in bound or name in own
        }
    return kept


def check_able(fields: Mapping[str, Any], facts: ModelFacts, *, where: str) -> None:
    """Raise InputError for what a recipe's fields ask of an engine or service that has no way to do it.

    What is done here around a drawing (ControlNets, refining, enlarging, LoRA files) needs a model of this machine.
    """
    if facts.remote is None:
        return
    for name in EXTRAS:
        if fields.get(name) and name not in facts.remote.starts_from:
            raise InputError(
                f"{facts.model} does not take {name}",
                where=where,
                hint="Leave it out for this model, or say it the engine's own way: <lora:name:1> in A1111's prompt, "
                "a node of ComfyUI's workflow."
                if not facts.remote.paid
                else "Leave it out for this model.",
            )
