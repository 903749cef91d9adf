"""Evidence: one thing found in an image, and the terms that verdicts use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Says = Literal["ai-generated", "ai-edited", "captured", "conflict", "nothing"]
Confidence = Literal["none", "claimed", "strong", "proven"]
Integrity = Literal["intact", "altered", "unsigned", "unreadable"]
Trust = Literal["listed", "own", "unlisted", "none"]
TimeState = Literal["ok", "expired-untimestamped", "unknown"]

_RANK: dict[Confidence, int] = {"none": 0, "claimed": 1, "strong": 2, "proven": 3}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One finding; `confidence` grades what it says, and is "none" when it says nothing of the origin."""

    kind: str  # credential, ingredient, watermark, catalog, metadata:automatic1111, …
    says: Says
    confidence: Confidence
    detail: str  # one sentence for a person

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "says": self.says,
            "confidence": self.confidence,
            "detail": self.detail,
        }


_DEEPEST = 64  # values within one another that a verdict tells


def plain(value: Any, deep: int = _DEEPEST) -> Any:
    """A JSON value from an untrusted file as every reader of JSON takes it.

    No lone surrogates, no NaN or infinity, no more than `deep` values within one another: null stands for the rest.
    """
    if not deep:
        return None
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {plain(key): plain(one, deep - 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, deep - 1) for one in value]
    return value


def weakest(*grades: Confidence) -> Confidence:
    """The lowest of some confidences; "none" for no grades."""
    return min(grades, key=_RANK.__getitem__, default="none")


def strongest(*grades: Confidence) -> Confidence:
    """The highest of some confidences; "none" for no grades."""
    return max(grades, key=_RANK.__getitem__, default="none")
