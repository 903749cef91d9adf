"""A verdict that is built step by step, so that what was found is kept when the rest fails.

A worker process writes each step as one JSON line; its parent keeps the last one and, when the worker dies or runs
over its time, makes the verdict of it, with an error that names what was not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nonesuch.provenance.verifying.verdict import Verdict, failed

if TYPE_CHECKING:
    from nonesuch.provenance.credentials.trustlist import TrustSet


@dataclass(frozen=True, slots=True)
class Step:
    """What is known of an image after a part of the work on it."""

    verdict: Verdict  # weighs what has been found so far
    left: str  # a clause that says what was not searched, should this stay the last one; empty when all was

    def to_json(self) -> dict[str, Any]:
        """The step as JSON-able data."""
        return {"left": self.left, "verdict": self.verdict.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Step:
        """The step that to_json wrote."""
        return cls(Verdict.from_json(data["verdict"]), data["left"])


def cut_short(last: Step | None, path: str, why: str, trust: TrustSet) -> Verdict:
    """The verdict when work on the file at `path` ended after the step `last`, for the reason `why`."""
    if last is None:
        return failed(path, why, trust.to_json())
    errors = [f"{why}; {last.left}", last.verdict.error]
    return replace(last.verdict, error="; ".join(error for error in errors if error))
