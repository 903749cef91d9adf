"""The facts of a verdict as a visitor reads them: evidence, signer, source, recipe; foreign text made plain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nonesuch.provenance.evidence import Confidence, Evidence
from nonesuch.provenance.verifying.verdict import OWN_ANCHOR, Verdict

_LONGEST = 2000  # characters shown of foreign text
_DIGEST = re.compile(r"\b([0-9a-f]{16})[0-9a-f]{16,}\b")


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of evidence as a visitor reads it."""

    name: str  # what kind of thing it is
    detail: str  # one sentence
    grade: str  # how far it can be believed; empty when it says nothing about the origin


def plain(text: Any) -> str:
    """Foreign text as one line: control and direction characters dropped, cut at 2000 characters."""
    line = " ".join(str(text).split())
    shown = "".join(c for c in line[: 2 * _LONGEST] if c.isprintable())
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


_GRADES: dict[Confidence, str] = {"none": "", "claimed": "a claim", "strong": "strong", "proven": "proven"}
_KINDS = {
    "credential": "Credential",
    "ingredient": "Credential of an ingredient",
    "watermark": "Watermark",
    "catalog": "Catalog",
    "metadata": "Metadata",
}


def findings(verdict: Verdict) -> tuple[Finding, ...]:
    """The verdict's evidence, in its order."""
    return tuple(_finding(item) for item in verdict.evidence)


def _finding(item: Evidence) -> Finding:
    kind, _, program = item.kind.partition(":")
    name = _KINDS.get(kind, kind)
    detail = plain(item.detail).replace(OWN_ANCHOR, "one of this server's own anchors")
    return Finding(f"{name} ({plain(program)})" if program else name, detail, _GRADES[item.confidence])


_INTEGRITY = {
    "intact": "intact",
    "altered": "present, but the image changed after signing",
    "unsigned": "none",
    "unreadable": "can't be read",
}
_TRUST = {
    "listed": "on the trust list",
    "own": "one of this server's own anchors",
    "unlisted": "on no trust list",
    "none": "",
}
_TIME = {"ok": "", "expired-untimestamped": "certificate expired, no timestamp", "unknown": ""}


def facts(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    """Label and value of each fact that there is."""
    mark, match = verdict.watermark or {}, verdict.catalog or {}
    types = ", ".join(_source_type(uri) for uri in verdict.digital_source_type)
    known = (
        ("Credential", _INTEGRITY[verdict.integrity]),
        ("Signed by", verdict.signed_by or ""),
        ("Signer", _TRUST[verdict.trust]),
        ("Signed at", _time(verdict.signed_at)),
        ("Signing time", _TIME[verdict.time]),
        ("Made with", verdict.generator or ""),
        ("Source type", types),
        ("Watermark", str(mark.get("payload") or "")),
        ("Catalog image", str(match.get("image_id") or "")),
        ("Found by", str(match.get("found_by") or "")),
    )
    return tuple((label, _short(plain(value))) for label, value in known if value)


def _short(text: str) -> str:
    return _DIGEST.sub(r"\1…", text)


_SOURCE_TYPES = {
    "trainedAlgorithmicMedia": "made by a generative model",
    "compositeWithTrainedAlgorithmicMedia": "edited or composed with a generative model",
    "compositeSynthetic": "composed, with AI-generated parts",
    "algorithmicMedia": "made by an algorithm, not a trained model",
    "digitalCapture": "captured by a camera",
    "computationalCapture": "captured by a camera, computed from several frames",
    "digitalCreation": "made by a person with a program",
    "humanEdits": "edited by a person",
}


def _source_type(uri: str) -> str:
    name = uri.rstrip("/").rsplit("/", 1)[-1]
    return f"{_SOURCE_TYPES[name]} ({name})" if name in _SOURCE_TYPES else name


def _time(iso: str | None) -> str:
    try:
        signed = datetime.fromisoformat(iso or "")
    except ValueError:
        return iso or ""
    return f"{signed.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, according to a timestamp authority"


def recipe_lines(recipe: dict[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """Name and value of each plain value of a recipe."""
    shown = []
    for key, value in (recipe or {}).items():
        if value not in (None, "", [], {}) and isinstance(value, str | int | float | bool):
            shown.append((plain(key).replace("_", " "), plain(value)))
    return tuple(shown)


def sentence(text: str | None) -> str:
    """An error message as a sentence on the page."""
    line = plain(text or "It could not be opened")
    return f"{line[:1].upper()}{line[1:]}{'' if line.endswith(('.', '!', '?')) else '.'}"
