"""What the watermarks of a picture say, in the light of its credential and a catalog.

What a mark of nonesuch stands for is what the credential that names it, or the catalog's record, says; pictures of
any origin can be marked.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from provenance import vocabulary, watermark
from provenance.catalog_match import Match
from provenance.credentials import CredentialReport
from provenance.evidence import Confidence, Evidence, Says
from provenance.marks import Mark, Marks
from provenance.payloads import says_origin
from provenance.pixel_marks import bound_payload

_SAYS_BY_ORIGIN: dict[str, Says] = {"generated": "ai-generated", "partly-generated": "ai-edited"}


def marks_evidence(marks: Marks, credential: CredentialReport, match: Match | None) -> list[Evidence]:
    """What the watermarks say, in the light of the credential and the catalog."""
    found = [
        Evidence(
            f"watermark:{mark.name}",
            "ai-generated",
            "strong",
            f"The image carries the mark {mark.name} of {mark.generator} ({mark.matched} of {mark.length} bits).",
        )
        for mark in marks.foreign
    ]
    if marks.own is not None:
        found.append(_own_evidence(marks.own, credential, match))
    found += [Evidence(f"watermark:{one.name}", "nothing", "none", one.why) for one in marks.unread]
    found += [_other_evidence(mark, credential, match) for mark in marks.others]
    return found


def marks_json(marks: Marks) -> dict[str, Any] | None:
    """What a verdict's `watermark` says: nonesuch's mark, else the first foreign one, else another algorithm's."""
    if marks.own is not None:
        transform = dataclasses.asdict(marks.own.transform)
        return {
            "algorithm": watermark.ALGORITHM,
            "payload": f"{int(marks.own.payload):016x}",
            "score": round(float(marks.own.score), 2),
            "false_alarm": float(marks.own.false_alarm),
            "transform": {**transform, "shift": list(transform["shift"])},
        }
    if marks.foreign:
        first = marks.foreign[0]
        return {
            "algorithm": "dwtDct",
            "payload": first.name,
            "score": round(first.matched / first.length, 3),
            "false_alarm": float(first.false_alarm),
            "transform": None,
        }
    if not marks.others:
        return None
    mark = marks.others[0]
    return {
        "algorithm": mark.algorithm,
        "payload": f"{mark.payload:016x}",
        "score": None,  # the protocol of other algorithms has none
        "false_alarm": float(mark.false_alarm),
        "transform": None,
    }


def _own_evidence(detection: Any, credential: CredentialReport, match: Match | None) -> Evidence:
    payload = int(detection.payload)
    active = credential.active
    bound = _bound(credential, watermark.ALGORITHM)
    if active and active.integrity == "intact" and bound and payload not in bound:
        detail = f"The watermark {payload:016x} is not the one that the credential names."
        return Evidence("watermark", "conflict", "strong", detail)
    uris: tuple[str, ...] = ("trainedAlgorithmicMedia",) if says_origin(payload) else ()
    if payload in bound:
        uris = bound[payload]
    elif match is not None:
        uris = () if match.record.source_type is None else (match.record.source_type,)
    says = _meaning(uris)
    confidence: Confidence = "strong" if says != "nothing" else "none"
    told = "" if uris else ", which says nothing of how the image came about"
    detail = f"The image carries nonesuch's watermark {payload:016x}{told}."
    return Evidence("watermark", says, confidence, detail)


def _other_evidence(mark: Mark, credential: CredentialReport, match: Match | None) -> Evidence:
    """Pictures of any origin bear it, and its own check may be weak: only credential or catalog give it a meaning."""
    bound = _bound(credential, mark.algorithm)
    uris = bound.get(mark.payload, ())
    known = match is not None and match.record.watermark_id == mark.payload
    if known and not uris and match is not None and match.record.source_type is not None:
        uris = (match.record.source_type,)
    says = _meaning(uris)
    told = f"{'TrustMark' if mark.name == 'trustmark' else f'{mark.name} watermark'} {mark.payload:016x}"
    if mark.payload in bound or known:
        by = "the credential" if mark.payload in bound else "the catalog's record"
        detail = f"The image carries the {told} that {by} names."
    else:
        odds = round(1.0 / max(mark.false_alarm, 1e-30))
        detail = f"The image seems to carry the {told}; so does one unmarked picture in some {odds:,}."
    return Evidence(f"watermark:{mark.name}", says, "strong" if says != "nothing" else "none", detail)


def _bound(credential: CredentialReport, algorithm: str) -> dict[int, tuple[str, ...]]:
    """The payloads that a credential names, with the source types of the manifest that does.

    A picture that was marked twice may show either mark, so every manifest of its history counts.
    """
    found: dict[int, tuple[str, ...]] = {}
    for manifest in reversed(credential.manifests):
        for named, value in manifest.soft_bindings:
            payload = bound_payload(algorithm, value) if named == algorithm else None
            if payload is not None:
                found[payload] = manifest.source_types
    return found


def _meaning(uris: tuple[str, ...]) -> Says:
    origins = {vocabulary.origin_of(uri) for uri in uris}
    return next((says for origin, says in _SAYS_BY_ORIGIN.items() if origin in origins), "nothing")
