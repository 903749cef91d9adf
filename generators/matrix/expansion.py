"""The matrix: every recipe of a sweep, lazily, in one fixed order, in constant memory.

Facets that set something are outermost, slowest first, then the facets of the prompt in the file's
order, then the seeds: consecutive recipes share what a batch needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from nonesuch.foundation.errors import InputError
from nonesuch.generators.digests import lora_digest
from nonesuch.generators.loras import check_fits, lora_facts
from nonesuch.generators.matrix.combined import (
    check_able,
    combinations,
    combine,
    setting_facets,
    slowness,
    suited,
)
from nonesuch.generators.matrix.space import Space, sample_ranks
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.prompt_syntax import PLAIN
from nonesuch.generators.recipe import Lora, Recipe
from nonesuch.generators.sweepfile.settings import sorted_options
from nonesuch.generators.sweepfile.sweep import Match, Sweep
from nonesuch.generators.sweepfile.values.facets import FacetValue
from nonesuch.generators.sweepfile.values.prompt_styles import PromptStyle, chosen_styles
from nonesuch.generators.sweepfile.values.templates import parse_template
from nonesuch.generators.ways.between import check_between, frame, other_ends
from nonesuch.generators.ways.planning import WayPlanner

_COMMAS: Final = re.compile(r"\s*(?:,\s*)+")
_MAX_INDEX: Final = 2**62  # cells that can be numbered


@dataclass(frozen=True, slots=True)
class Axis:
    """Facets that move in step (one, or several under `zip`)."""

    facets: tuple[str, ...]
    length: int


class Matrix:
    """A sweep expanded over its facets and seeds; iterating yields recipes and can be repeated.

    `facts` holds each (model, revision) that nonesuch.generators.matrix.combined.combinations finds in the sweep. Raises InputError, before anything is drawn, for
    a facet without effect, a size that a model does not accept, constraints that leave nothing, and
    more cells than the sweep's limit.
    """

    def __init__(
        self, sweep: Sweep, facts: Mapping[tuple[str, str | None], ModelFacts], *, network: bool = False
    ) -> None:
        self.sweep = sweep
        self._facts = facts
        self._ways = WayPlanner(sweep.source, network=network)
        source, facets = sweep.source, sweep.values
        self._prompt = parse_template(sweep.prompt, facets, where=source.where(("prompt",)))
        self._negative = parse_template(sweep.negative, facets, where=source.where(("negative",)))
        self._ends = other_ends(sweep)
        self._setting_facets = setting_facets(sweep)
        self._bound = frozenset(one for facet in sweep.values for one in sweep.bound(facet))
        _ = self._styles  # a missing file is a mistake of the plan
        self._check_used()
        self._check_settings()
        self.axes = self._ordered_axes()
        self._space = Space(*self._masks())
        self._seeds = sweep.seed_values
        self._all = self._space.count * len(self._seeds)
        self._check_count()

    def count(self) -> int:
        """How many recipes iterating yields, exactly and without iterating."""
        sample = self.sweep.sample
        if sample is None:
            return self._all
        size = sample if isinstance(sample, int) else max(1, round(sample * self._all))
        return min(size, self._all)

    def __iter__(self) -> Iterator[Recipe]:
        ranks = sample_ranks(self._all, self.count(), self.sweep.sample_seed)
        per_combination = len(self._seeds)
        previous = -1
        for rank in ranks:
            combination, seed = divmod(rank, per_combination)
            if combination != previous:
                shared = self._shared(self._space.combination(combination))
                previous = combination
            own = {name: value for name, value in shared.items() if name not in ("prompt", "between")}
            ends = frame(shared["prompt"], self._seeds[seed], shared["between"])
            yield Recipe(plan_index=rank, **own, **ends)

    @property
    def combination_count(self) -> int:
        """How many combinations of facet values there are, seeds and sample left out."""
        return self._space.count

    def combinations(self) -> list[tuple[int, ...]]:
        """The positions on the axes of every combination, in the matrix's order."""
        return [self._space.combination(rank) for rank in range(self._space.count)]

    def recipe(self, combination: int, seed: int) -> Recipe:
        """The recipe of the combination of that number with the seed of that place."""
        shared = self._shared(self._space.combination(combination))
        rank = combination * len(self._seeds) + seed
        return Recipe(seed=self._seeds[seed], plan_index=rank, **shared)

    @cached_property
    def facet_texts(self) -> dict[str, dict[str, str]]:
        """For each facet that enters the prompt, the text that each value's name stands for there."""
        return {
            facet: {value.name: value.text for value in self.sweep.values[facet]}
            for facet in self._prompt.fields
        }

    def cells(self) -> Iterator[Recipe]:
        """The first recipe of each combination: every prompt with its settings, without the other seeds."""
        previous: tuple[tuple[str, str], ...] | None = None
        if self.sweep.sample is None:
            for combination in range(self._space.count):
                shared = self._shared(self._space.combination(combination))
                yield Recipe(seed=self._seeds[0], plan_index=combination * len(self._seeds), **shared)
            return
        for recipe in self:
            if recipe.facets != previous:
                previous = recipe.facets
                yield recipe

    @cached_property
    def _styles(self) -> tuple[PromptStyle, ...]:
        """What dresses every prompt."""
        use, source = self.sweep.styles, self.sweep.source
        if use is None:
            return ()
        return chosen_styles(source.folder / use.file, tuple(use.names), where=source.where(("styles",)))

    @property
    def facts(self) -> Mapping[tuple[str, str | None], ModelFacts]:
        """The facts of each (model, revision)."""
        return self._facts

    def _shared(self, positions: Sequence[int]) -> dict[str, Any]:
        """What the recipes of one combination share: everything but the seed."""
        chosen: dict[str, FacetValue] = {}
        for axis, position in zip(self.axes, positions, strict=True):
            for facet in axis.facets:
                chosen[facet] = self.sweep.values[facet][position]
        key = tuple(chosen[facet].name for facet in self._setting_facets)
        if key != self._last_key:
            self._last_key = key
            combined = combine(self.sweep, (chosen[facet] for facet in self._setting_facets))
            self._last_settings = self._settings(combined)
            remote = self._facts[combined["model"], combined["revision"]].remote
            self._last_silent = remote is not None and "negative" in remote.ignores
        between = self._last_settings["between"]
        if between is not None and "prompt" in between:
            end = self._ends[between["prompt"]]
            between = {**between, "prompt": end.fill({name: chosen[name].text for name in end.fields})}
        prompt = self._prompt.fill({name: chosen[name].text for name in self._prompt.fields})
        negative = self._negative_text(chosen)
        for style in (*(value.style for value in chosen.values()), *self._styles):
            if style is not None:
                prompt, negative = style.dress(prompt, negative)
        return {
            **self._last_settings,
            "between": between,
            "prompt": prompt,
            "negative_prompt": "" if self._last_silent else negative,
            "facets": tuple((facet, chosen[facet].name) for facet in self.sweep.values),
        }

    _last_key: tuple[str, ...] | None = None
    _last_silent = False  # whether the model of the last key takes no negative prompt
    _last_settings: Mapping[str, Any] = {}

    def _settings(self, combined: Mapping[str, Any]) -> dict[str, Any]:
        """A recipe's fields from a cell's settings and the model's defaults."""
        facts = self._facts[combined["model"], combined["revision"]]
        combined = suited(combined, facts, self._bound)
        defaults = facts.defaults
        between = combined.get("between")
        if between is not None:
            check_between(between, where=self.sweep.source.where(("settings", "between")))
        return {
            "backend": facts.backend,
            "model": facts.model,
            "model_digest": facts.digest,
            "steps": combined.get("steps", defaults.steps),
            "guidance_scale": float(combined.get("guidance", defaults.guidance_scale)),
            "scheduler": combined.get("scheduler", defaults.scheduler),
            "dtype": combined.get("dtype", defaults.dtype),
            "loras": tuple(self._lora(lora.path, lora.weight, facts) for lora in combined.get("loras", ())),
            "options": sorted_options(combined.get("options", {})),
            "prompt_syntax": None
            if combined.get("prompt_syntax") == PLAIN
            else combined.get("prompt_syntax"),
            "between": between,
            **self._ways.fields(combined, facts),
        }

    def _lora(self, path: str, weight: float, facts: ModelFacts) -> Lora:
        file, where = self.sweep.source.folder / path, self.sweep.source.where(("settings", "loras"))
        digest = lora_digest(file, where=where)
        check_fits(file, lora_facts(file, digest, where=where), facts.text_width, facts.model, where=where)
        return Lora(str(file), digest, weight)

    def _negative_text(self, chosen: Mapping[str, FacetValue]) -> str:
        """The negative prompt: `{facet}` puts in the value's negative text, or its text where no value of
        the facet has one; negative texts of other facets follow, and empty parts between commas go."""
        texts = {
            name: chosen[name].negative if name in self._negative_facets else chosen[name].text
            for name in self._negative.fields
        }
        parts = [self._negative.fill(texts)] if self._negative.parts else []
        extra = [chosen[name].negative for name in self._negative_facets if name not in texts]
        text = ", ".join(part for part in (*parts, *extra) if part)
        if not self._negative_facets:
            return text
        return _COMMAS.sub(", ", text).strip(", ")

    @cached_property
    def _negative_facets(self) -> tuple[str, ...]:
        return tuple(
            name for name, values in self.sweep.values.items() if any(value.negative for value in values)
        )

    def _check_used(self) -> None:
        for facet in self.sweep.values:
            texts = (self._prompt, self._negative, *self._ends.values())
            used = any(facet in text.fields for text in texts)
            used = used or any(value.style is not None for value in self.sweep.values[facet])
            if not used and facet not in self._setting_facets and facet not in self._negative_facets:
                raise InputError(
                    f"the facet {facet!r} changes nothing",
                    where=self.sweep.source.where(("facets", facet)),
                    hint=f"Put {{{facet}}} into the prompt, or give its values `settings:`.",
                )

    def _check_settings(self) -> None:
        for combined, where in combinations(self.sweep):
            fields = self._settings(combined)
            size = ("settings", "width") if "width" in self.sweep.settings.chosen() else ("model",)
            named = where or self.sweep.source.where(size)
            facts = self._facts[combined["model"], combined["revision"]]
            check_able(fields, facts, where=where or self.sweep.source.where(("settings",)))
            for width, height in self._ways.drawn_sizes(fields):
                facts.check_size(width, height, where=named)
            if fields["prompt_syntax"] is not None and facts.backend != "diffusers":
                raise InputError(
                    f"{facts.model} reads prompts in its own way; prompt_syntax is for diffusers pipelines",
                    where=where or self.sweep.source.where(("settings", "prompt_syntax")),
                )
            if fields["prompt_syntax"] is not None and fields.get("refiner") is not None:
                raise InputError(
                    "a refiner reads its prompt as plain text and does not go with prompt_syntax",
                    where=where or self.sweep.source.where(("settings", "prompt_syntax")),
                )

    def _ordered_axes(self) -> tuple[Axis, ...]:
        facets, source = self.sweep.values, self.sweep.source
        in_step: dict[str, tuple[str, ...]] = {}
        for index, group in enumerate(self.sweep.zip):
            where = source.where(("zip", index))
            for facet in group:
                if facet not in facets:
                    raise InputError(
                        f"zip names the facet {facet!r}, which the sweep does not have",
                        where=where,
                        hint=f"Facets: {', '.join(facets)}.",
                    )
                if facet in in_step or group.count(facet) > 1:
                    raise InputError(f"zip names the facet {facet!r} twice", where=where)
            lengths = {facet: len(facets[facet]) for facet in group}
            if len(set(lengths.values())) != 1:
                counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
                raise InputError(
                    f"zipped facets need the same number of values each; they have: {counts}", where=where
                )
            in_step.update({facet: tuple(group) for facet in group})
        groups = dict.fromkeys(in_step.get(facet, (facet,)) for facet in facets)
        order = list(facets)

        def place(group: tuple[str, ...]) -> tuple[int, int]:
            setting = [slowness(self._setting_facets[one]) for one in group if one in self._setting_facets]
            return (min(setting) if setting else len(order) + 100, min(order.index(one) for one in group))

        return tuple(Axis(group, len(facets[group[0]])) for group in sorted(groups, key=place))

    def _masks(self) -> tuple[list[list[int]], int, int]:
        """For each axis and position, the clauses that it does not rule out; then the bits of each kind."""
        source = self.sweep.source
        clauses: list[tuple[Mapping[str, frozenset[str]], int]] = []
        kinds = {"exclude": 0, "only": 0}
        for kind, matches in (("exclude", self.sweep.exclude), ("only", self.sweep.only)):
            for index, match in enumerate(matches):
                bit = 1 << len(clauses)
                kinds[kind] |= bit
                clauses.append((self._clause(match, source.where((kind, index))), bit))
        everything = kinds["exclude"] | kinds["only"]
        masks = []
        for axis in self.axes:
            column = [everything] * axis.length
            for clause, bit in clauses:
                for facet in clause.keys() & set(axis.facets):
                    for position, value in enumerate(self.sweep.values[facet]):
                        if value.name not in clause[facet]:
                            column[position] &= ~bit
            masks.append(column)
        return masks, kinds["exclude"], kinds["only"]

    def _clause(self, match: Match, where: str) -> dict[str, frozenset[str]]:
        """The names that a clause asks for in each facet. Raises InputError for unknown facets and values."""
        if not match:
            raise InputError("an empty combination matches everything", where=where)
        clause: dict[str, frozenset[str]] = {}
        for facet, wanted in match.items():
            if facet not in self.sweep.values:
                raise InputError(
                    f"the sweep has no facet {facet!r}",
                    where=where,
                    hint=f"Facets: {', '.join(self.sweep.values)}.",
                )
            names = frozenset(str(one) for one in (wanted if isinstance(wanted, list) else [wanted]))
            unknown = names - {value.name for value in self.sweep.values[facet]}
            if unknown:
                raise InputError(f"the facet {facet!r} has no value {min(unknown)!r}", where=where)
            clause[facet] = names
        return clause

    def _check_count(self) -> None:
        source = self.sweep.source
        if self._all == 0:
            key = "only" if self.sweep.only else "exclude"
            raise InputError("exclude and only leave no combination", where=source.where((key,)))
        if self.count() > self.sweep.limit:
            raise InputError(
                f"the matrix has {self.count():,} cells; the limit is {self.sweep.limit:,}",
                where=source.where(("limit",) if "limit" in self.sweep.model_fields_set else ()),
                hint="Take a `sample:` of it, or raise `limit:`.",
            )
        if self._all > _MAX_INDEX:
            raise InputError(f"the matrix has {self._all:,} cells, too many to count", where=source.where(()))
