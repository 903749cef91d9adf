"""The verdict: weighing all evidence. It never says "real"; without evidence it says so.

Rules, in this order: evidence that contradicts itself is a conflict; whatever says that a generative model made the
image makes it ai-generated, unless stronger evidence says that a model made parts of it and no signature vouches for the
rest; generated parts only, ai-edited; an intact credential of a listed signer that says a camera made it, with nothing
against it, captured; else no-evidence. The confidence is that of the strongest evidence for the verdict. What is laid
beside a file's credential never lowers its verdict: see docs/verify.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nonesuch.provenance import vocabulary
from nonesuch.provenance.evidence import (
    Confidence,
    Evidence,
    Integrity,
    Says,
    TimeState,
    Trust,
    strongest,
    weakest,
)

if TYPE_CHECKING:
    from nonesuch.provenance.credentials.reading import CredentialReport, ManifestReport

Answer = Literal["ai-generated", "ai-edited", "captured", "no-evidence", "conflict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One image's verdict; `to_json` gives the keys of the documented contract (docs/verify.md)."""

    path: str
    verdict: Answer
    confidence: Confidence
    integrity: Integrity
    trust: Trust
    signed_by: str | None
    signed_at: str | None  # ISO 8601, only from a timestamp authority
    time: TimeState
    generator: str | None
    digital_source_type: tuple[str, ...]  # IPTC URIs, from every manifest and XMP
    watermark: dict[str, Any] | None
    catalog: dict[str, Any] | None
    recipe: dict[str, Any] | None
    evidence: tuple[Evidence, ...]
    trust_list: dict[str, str | None]  # date and sha256
    error: str | None

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON-able data."""
        return {
            "path": self.path,
            "verdict": self.verdict,
            "confidence": self.confidence,
            "integrity": self.integrity,
            "trust": self.trust,
            "signed_by": self.signed_by,
            "signed_at": self.signed_at,
            "time": self.time,
            "generator": self.generator,
            "digital_source_type": list(self.digital_source_type),
            "watermark": self.watermark,
            "catalog": self.catalog,
            "recipe": self.recipe,
            "evidence": [item.to_json() for item in self.evidence],
            "trust_list": self.trust_list,
            "error": self.error,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Verdict:
        """The verdict that to_json wrote."""
        return cls(
            **{
                **data,
                "digital_source_type": tuple(data["digital_source_type"]),
                "evidence": tuple(Evidence(**item) for item in data["evidence"]),
            }
        )


def failed(path: str, error: str, trust_list: dict[str, str | None]) -> Verdict:
    """The verdict on a file that could not be read at all."""
    return Verdict(
        path=path,
        verdict="no-evidence",
        confidence="none",
        integrity="unreadable",
        trust="none",
        signed_by=None,
        signed_at=None,
        time="unknown",
        generator=None,
        digital_source_type=(),
        watermark=None,
        catalog=None,
        recipe=None,
        evidence=(),
        trust_list=trust_list,
        error=error,
    )


def weigh(evidence: Sequence[Evidence]) -> tuple[Answer, Confidence]:
    """The answer and its confidence."""
    conflicts = [item for item in evidence if item.says == "conflict"]
    contradicted = contradiction(evidence)
    if conflicts:
        return "conflict", strongest(*(item.confidence for item in conflicts))
    if contradicted is not None:
        return "conflict", contradicted.confidence
    whole = strongest(*(item.confidence for item in evidence if item.says == "ai-generated"))
    parts = strongest(*(item.confidence for item in evidence if item.says == "ai-edited"))
    signed_for = any(item.says == "ai-generated" and _vouched(item) for item in evidence)
    if whole != "none" and (signed_for or strongest(whole, parts) == whole):
        return "ai-generated", whole
    if parts != "none":
        return "ai-edited", parts
    if _proven_capture(evidence):
        return "captured", "proven"
    return "no-evidence", "none"


def contradiction(evidence: Sequence[Evidence]) -> Evidence | None:
    """The conflict of a camera's proven credential with what says that a generative model was at work; None without.

    A credential that tells how a camera's image was edited with a model is none: that must be signed, too.
    """
    artificial = [item for item in evidence if _of_model(item)]
    if not artificial or not _proven_capture(evidence) or any(_vouched(item) for item in artificial):
        return None
    kinds = ", ".join(dict.fromkeys(item.kind for item in artificial))
    grade = weakest("proven", strongest(*(item.confidence for item in artificial)))
    detail = (
        "The credential says that a camera captured the image, and nothing that its signer vouches for says that a "
        f"generative model was at work; but this does: {kinds}."
    )
    return Evidence("credential", "conflict", grade, detail)


def credential_evidence(report: CredentialReport) -> list[Evidence]:
    """What a credential says, manifest by manifest, each graded by itself and by all above it."""
    if report.integrity == "unsigned":
        told = Evidence("credential", "nothing", "none", f"The file itself is unsigned: {report.detail}.")
        return [told] if report.detail else []
    if report.integrity == "unreadable":
        return [Evidence("credential", "nothing", "none", f"The credential can't be read: {report.detail}.")]
    by_label = {manifest.label: manifest for manifest in report.manifests}
    return [
        _manifest_evidence(manifest, [by_label[label] for label in manifest.path])
        for manifest in report.manifests
    ]


def _manifest_evidence(manifest: ManifestReport, chain: list[ManifestReport]) -> Evidence:
    kind = "credential" if manifest.relationship == "active" else "ingredient"
    says = _says(manifest, chain)
    grade = weakest(*(_grade(link) for link in chain))
    if manifest.relationship == "loose":
        grade = "claimed"  # in the file, but no signature vouches for it
    if says == "captured" and not all(link.trust == "listed" for link in chain):
        grade = weakest(grade, "strong")  # only listed signers are believed about cameras
    return Evidence(kind, says, grade if says != "nothing" else "none", _sentence(manifest, says))


def _says(manifest: ManifestReport, chain: list[ManifestReport]) -> Says:
    origins = {vocabulary.origin_of(uri) for uri in manifest.source_types}
    # What was a component or an input anywhere on the way speaks of parts of the image alone.
    whole = all(link.relationship in ("active", "parentOf", "loose") for link in chain)
    if "generated" in origins:
        return "ai-generated" if whole else "ai-edited"
    if "partly-generated" in origins:
        return "ai-edited"
    return "captured" if "captured" in origins and whole else "nothing"


def _grade(manifest: ManifestReport) -> Confidence:
    if manifest.integrity != "intact":
        return "claimed"
    return "proven" if manifest.trust in ("listed", "own") else "strong"


def _of_model(item: Evidence) -> bool:
    return item.says in ("ai-generated", "ai-edited")


def _vouched(item: Evidence) -> bool:
    # what is only claimed lies in the file, but no signature vouches for it
    return item.kind in ("credential", "ingredient") and item.confidence in ("strong", "proven")


def _proven_capture(evidence: Sequence[Evidence]) -> bool:
    return any(item.says == "captured" and item.confidence == "proven" for item in evidence)


_SAYING: dict[Says, str] = {
    "ai-generated": "says that a generative model made the image",
    "ai-edited": "says that a generative model made parts of the image",
    "captured": "says that a camera captured the image",
    "nothing": "says nothing of how the image came about",
    "conflict": "contradicts itself",
}
OWN_ANCHOR = "one of the verifier's own anchors"  # read by visitors of a server too, who have none
_TRUSTED: dict[Trust, str] = {
    "listed": "on the trust list",
    "own": OWN_ANCHOR,
    "unlisted": "not on the trust list",
    "none": "unknown",
}


def _sentence(manifest: ManifestReport, says: Says) -> str:
    what = (
        "The credential" if manifest.relationship == "active" else f"An ingredient ({manifest.relationship})"
    )
    signer = f"signed by {manifest.signed_by or 'nobody named'}, {_TRUSTED[manifest.trust]}"
    state = "its content matches" if manifest.integrity == "intact" else "its content no longer matches"
    late = "; its certificate has expired and no timestamp proves when it signed"
    revoked = "; its issuer has revoked the certificate"
    return (
        f"{what} {_SAYING[says]}; {signer}; {state}"
        f"{late if manifest.time == 'expired-untimestamped' else ''}{revoked if manifest.revoked else ''}."
    )
