"""The policy file: what a sweep may draw and must do, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from nonesuch.foundation.canonical import canonical_digest
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import file_digest
from nonesuch.generators.loras import lora_facts
from nonesuch.generators.matrix.expansion import Matrix
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.blocklist import Blocklist, from_words, read_blocklist, words
from nonesuch.generators.sweepfile.settings import Strict
from nonesuch.generators.sweepfile.sweep import Sweep
from nonesuch.generators.sweepfile.yaml_lines import Source, read_yaml

_STRICTER: Final = {"keep": 0, "blur": 1, "discard": 2}


class Policy(Strict):
    """A policy file, checked; what is left out is not asked for."""

    blocked_words: Annotated[list[str], Field(description="what no prompt may hold")] = Field(
        default_factory=list
    )
    blocklists: Annotated[
        list[str], Field(description="files of such words and names, one a line; relative to the policy")
    ] = Field(default_factory=list)
    models: Annotated[list[str], Field(min_length=1, description="allowed, by name or pattern")] | None = None
    backends: Annotated[list[str], Field(min_length=1, description="allowed kinds")] | None = None
    watermark: Annotated[Literal[True], Field(description="the watermark must be on")] | None = None
    credentials: Annotated[Literal[True], Field(description="credentials must be on")] | None = None
    safety_threshold: (
        Annotated[float, Field(ge=0, le=1, description="the sweep's must be at least this")] | None
    ) = None
    unsafe: (
        Annotated[
            Literal["keep", "blur", "discard"], Field(description="the sweep's must be at least as strict")
        ]
        | None
    ) = None
    max_images: Annotated[int, Field(ge=1, description="of one sweep")] | None = None
    negative: Annotated[list[str], Field(description="what every negative prompt must hold")] = Field(
        default_factory=list
    )


@dataclass(frozen=True, slots=True)
class OpenPolicy:
    """A policy that was read."""

    policy: Policy
    source: Source
    blocklist: Blocklist
    digest: str  # SHA-256 over the file and its blocklists


def load_policy(path: Path) -> OpenPolicy:
    """Read and check a policy file with its blocklists. Raises InputError naming file, line and key."""
    data, source = read_yaml(path)
    if not isinstance(data, dict):
        raise InputError("a policy is a mapping of keys", where=str(path))
    try:
        policy = Policy.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = tuple(part for part in first["loc"] if part in data or isinstance(part, int))
        known = ", ".join(sorted(Policy.model_fields))
        unknown = first["type"] == "extra_forbidden"
        raise InputError(
            f"unknown key {first['loc'][-1]!r}"
            if unknown
            else first["msg"].removeprefix("Value error, ").removeprefix("Input "),
            where=source.where(place),
            hint=f"Known keys: {known}." if unknown else None,
        ) from error
    terms: dict[str, str] = {}
    files = [source.folder / name for name in policy.blocklists]
    for index, file in enumerate(files):
        terms |= read_blocklist(file, where=source.where(("blocklists", index)))
    for index, word in enumerate(policy.blocked_words):
        terms |= from_words([word], source.where(("blocked_words", index)))
    digest = canonical_digest([file_digest(path), *(file_digest(file) for file in files)])
    return OpenPolicy(policy, source, Blocklist(terms), digest)


def check_policy(opened: OpenPolicy, matrix: Matrix) -> None:
    """Raise InputError for the first thing in a sweep that the policy does not allow, naming both and the cell."""
    for key, problem, hint in _of_sweep(opened.policy, matrix):
        sweep = matrix.sweep.source.path or "the sweep"
        raise InputError(f"{sweep}: {problem}", where=opened.source.where((key,)), hint=hint)
    if not opened.blocklist and not opened.policy.negative:
        return
    wanted = [(text, "".join(words(text))) for text in opened.policy.negative]
    last: tuple[Any, ...] | None = None
    for recipe in matrix.cells():
        texts = (recipe.prompt, recipe.negative_prompt, recipe.loras, recipe.between)
        if texts != last:
            last = texts
            _check_cell(opened, matrix.sweep, recipe, wanted)


def _of_sweep(policy: Policy, matrix: Matrix) -> Iterator[tuple[str, str, str | None]]:
    """(key of the policy, what is wrong, what to do) of all that does not depend on the cell."""
    sweep, scoring = matrix.sweep, matrix.sweep.scoring
    for facts in matrix.facts.values():
        names = {facts.model, Path(facts.model).name}
        if policy.models is not None and not any(
            fnmatchcase(name, pattern) for name in names for pattern in policy.models
        ):
            yield "models", f"the model {facts.model} is not allowed", f"Allowed: {', '.join(policy.models)}."
        if policy.backends is not None and facts.backend not in policy.backends:
            allowed = ", ".join(policy.backends)
            yield "backends", f"drawing through {facts.backend} is not allowed", f"Allowed: {allowed}."
    for key in ("watermark", "credentials"):
        if getattr(policy, key) and not getattr(sweep.marking, key):
            yield key, f"marking.{key} is turned off", f"Leave marking: {{{key}: false}} out."
    threshold = policy.safety_threshold
    if threshold is not None:
        if scoring.scorers is not None and "safety" not in scoring.scorers:
            yield "safety_threshold", "safety is not scored", "Add safety to scoring: {scorers: […]}."
        if scoring.safety_threshold is None or scoring.safety_threshold < threshold:
            hint = f"Write scoring: {{safety_threshold: {threshold:g}}}."
            yield "safety_threshold", f"the safety threshold is not {threshold:g} or above", hint
    if policy.unsafe is not None and _STRICTER[scoring.unsafe] < _STRICTER[policy.unsafe]:
        hint = f"Write scoring: {{unsafe: {policy.unsafe}}}."
        yield "unsafe", f"unsafe images are dealt with by {scoring.unsafe}", hint
    if policy.max_images is not None and (count := matrix.count()) > policy.max_images:
        yield "max_images", f"{count:,} images are more than {policy.max_images:,}", "Take a `sample:` of it."


def _check_cell(opened: OpenPolicy, sweep: Sweep, recipe: Recipe, wanted: list[tuple[str, str]]) -> None:
    cell = ", ".join(f"{facet}={value}" for facet, value in recipe.facets) or "its only cell"
    sweep_name = sweep.source.path or "the sweep"
    for kind, text in _texts(recipe):
        found = opened.blocklist.find(text)
        if found is not None:
            raise InputError(
                f"{sweep_name}: the {kind} holds {found[0]!r}, which is blocked ({found[1]})",
                where=opened.source.where(()),
                hint=f"The cell is {cell}; its {kind}: {text[:200]}",
            )
    held = "".join(words(recipe.negative_prompt))
    for text, key in wanted:
        if key not in held:
            raise InputError(
                f"{sweep_name}: the negative prompt lacks {text!r}",
                where=opened.source.where(("negative",)),
                hint=f"The cell is {cell}; its negative prompt: {recipe.negative_prompt[:200] or '(none)'}",
            )


def _texts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What draws: the prompt, the prompt that it wanders to, and the words that call up its LoRAs."""
    yield "prompt", recipe.prompt
    if recipe.between is not None and recipe.between.prompt:
        yield "prompt it wanders to", recipe.between.prompt
    for lora in recipe.loras:
        trigger = lora_facts(Path(lora.path), lora.digest, where=lora.path).trigger
        if trigger:
            yield "trigger of a LoRA", trigger
