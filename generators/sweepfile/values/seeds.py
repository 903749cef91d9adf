"""The seeds of a sweep file: a list, a range, or a count from a base."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from nonesuch.generators.recipe import MAX_SEED
from nonesuch.generators.sweepfile.settings import Strict

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class SeedCount(Strict):
    """So many seeds in a row, from a base; `fresh: daily` takes the next ones on each day (UTC)."""

    count: Annotated[int, Field(ge=1)]
    base: Seed = 0
    fresh: Literal["daily"] | None = None

    @property
    def values(self) -> range:
        """The seeds of today."""
        first = self.base + (self.count * days() if self.fresh == "daily" else 0)
        return range(first, first + self.count)


def days() -> int:
    """Days since 1970, UTC: what `fresh: daily` counts."""
    return datetime.now(UTC).toordinal() - date(1970, 1, 1).toordinal()


class SeedRange(Strict):
    """The seeds from the first to the last, both included."""

    range: tuple[Seed, Seed]


def _seed_form(value: Any) -> str:
    """Which form the seeds are written in, so that a complaint is about that form alone."""
    if isinstance(value, SeedRange) or (isinstance(value, dict) and "range" in value):
        return "form:range"
    return "form:count" if isinstance(value, dict | SeedCount) else "form:list"


Seeds: TypeAlias = Annotated[
    Annotated[SeedCount, Tag("form:count")]
    | Annotated[SeedRange, Tag("form:range")]
    | Annotated[Annotated[list[Seed], Field(min_length=1)], Tag("form:list")],
    Discriminator(_seed_form),
]
