"""Prompt templates: text with named facets in braces, checked once and filled many times."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from nonesuch.foundation.errors import InputError


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: `"a {subject}"` is (("a ", "subject"),)."""

    parts: tuple[tuple[str, str | None], ...]  # (literal text, facet that follows it)

    @property
    def fields(self) -> tuple[str, ...]:
        """The facets it names, each once, in order."""
        return tuple(dict.fromkeys(field for _, field in self.parts if field is not None))

    def fill(self, texts: Mapping[str, str]) -> str:
        """The text with each facet replaced by its entry in `texts`."""
        return "".join(text if field is None else text + texts[field] for text, field in self.parts)


def parse_template(text: str, facets: Collection[str], *, where: str) -> Template:
    """Parse `text`; `{name}` is a facet, `{{` and `}}` are literal braces.

    Raises InputError for a facet that is not in `facets`, for a lone brace, and for Python's
    conversions and format specifications, which a prompt does not have.
    """
    hint = "Write {{ and }} for literal braces."
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise InputError(f"the template {text!r} can't be read ({error})", where=where, hint=hint) from error
    parts: list[tuple[str, str | None]] = []
    for literal, field, spec, conversion in pieces:
        if field is not None and (spec or conversion or not field.isidentifier()):
            written = (
                "{" + field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
            )
            raise InputError(f"{written} is not a facet's name", where=where, hint=hint)
        if field is not None and field not in facets:
            raise InputError(
                f"the template names the facet {field!r}, which the sweep does not have",
                where=where,
                hint=f"Facets: {', '.join(facets)}." if facets else "The sweep has no facets.",
            )
        parts.append((literal, field))
    return Template(tuple(parts))
