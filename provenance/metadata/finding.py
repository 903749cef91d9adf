"""What a reader of foreign metadata returns, and the protocol that it meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from nonesuch.formats.raw_fields import Source
from nonesuch.formats.record import Record
from nonesuch.provenance.evidence import Confidence, Says


@dataclass(frozen=True, slots=True)
class Finding:
    """One format's metadata, found in one file."""

    kind: str  # the reader's name: automatic1111, comfyui, …
    says: Says
    confidence: Confidence  # "claimed" for plain text, "proven" for a checked signature
    detail: str  # one sentence for a person
    generator: str | None = None  # the software, with its version when it says so
    recipe: dict[str, Any] | None = (
        None  # see formats.record.Record.recipe; None when there are no parameters
    )
    source_types: tuple[str, ...] = ()  # IPTC URIs
    program: str | None = None  # in whose words the recipe is, as formats name it; None: those of `kind`


class MetadataReader(Protocol):
    """Reads one format's metadata."""

    def read(self, source: Source) -> Finding | None:
        """The finding, or None when the file carries none of this format. May raise for broken metadata."""
        ...


def finding_of(found: Record, what: str, *, kind: str) -> Finding:
    """The claim that a program's record makes; `what` names it in a sentence."""
    recipe = found.recipe() or None
    detail = f"{what}: “{excerpt(found.prompt)}”" if recipe else what
    return Finding(kind, "ai-generated", "claimed", detail, found.generator, recipe, program=found.program)


def excerpt(text: Any, length: int = 120) -> str:
    """The start of a prompt on one line, for details."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"
