"""What the watermarks of an image mean, given its credential and a catalog.

Images of any origin can be marked. A watermark of nonesuch says by its own form whether it stands for a generated image
(nonesuch.provenance.watermark.payloads). The credential that names it, or the catalog's record of the image that it was made for, can
add to that and say that it stands for generated parts; what knows nothing of it takes nothing away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nonesuch.provenance import vocabulary, watermark
from nonesuch.provenance.credentials.reading import CredentialReport, ManifestReport
from nonesuch.provenance.evidence import Confidence, Evidence, Says
from nonesuch.provenance.verifying import catalog_match
from nonesuch.provenance.verifying.catalog_match import Match
from nonesuch.provenance.verifying.watermarks_found import Mark, Marks
from nonesuch.provenance.watermark.chosen import bound_payload
from nonesuch.provenance.watermark.payloads import says_origin

_BY_MODEL: tuple[Says, ...] = ("ai-generated", "ai-edited")
_SAYS_BY_ORIGIN: dict[str, Says] = {  # the most telling first
    "generated": "ai-generated",
    "partly-generated": "ai-edited",
    "captured": "captured",
}


def marks_evidence(marks: Marks, credential: CredentialReport, match: Match | None) -> list[Evidence]:
    """What the watermarks say, in the light of the credential and the catalog."""
    found = [
        Evidence(
            f"watermark:{mark.name}",
            "ai-generated",
            "strong",
            f"The image carries the watermark {mark.name} of {mark.generator} ({mark.matched} of {mark.length} bits).",
        )
        for mark in marks.foreign
    ]
    if marks.own is not None:
        found.append(_own_evidence(marks.own, credential, match))
    found += [Evidence(f"watermark:{one.name}", "nothing", "none", one.why) for one in marks.unread]
    found += [_other_evidence(mark, credential, match) for mark in marks.others]
    return found


def marks_json(marks: Marks) -> dict[str, Any] | None:
    """What a verdict's `watermark` says: nonesuch's watermark, else the first foreign one, else another algorithm's."""
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
    words = _words(payload, bound.get(payload, ()), match)
    meaning: Says = "ai-generated" if says_origin(payload) else "nothing"
    against = next((word.who for word in words if word.says == "captured" and word.sound), None)
    if meaning == "ai-generated" and against is not None:
        detail = f"The watermark {payload:016x} is one of a generated image, but {against} says that a camera captured it."
        return Evidence("watermark", "conflict", "strong", detail)
    if any(word.says == "ai-generated" for word in words):
        meaning = "ai-generated"
    elif any(word.says == "ai-edited" and (word.sound or meaning == "nothing") for word in words):
        meaning = "ai-edited"
    confidence: Confidence = "strong" if meaning != "nothing" else "none"
    told = "" if meaning != "nothing" else ", which says nothing of how the image came about"
    detail = f"The image carries nonesuch's watermark {payload:016x}{told}."
    return Evidence("watermark", meaning, confidence, detail)


def _other_evidence(mark: Mark, credential: CredentialReport, match: Match | None) -> Evidence:
    """Images of any origin bear it, and its own check may be weak: only credential or catalog give it a meaning."""
    words = _words(mark.payload, _bound(credential, mark.algorithm).get(mark.payload, ()), match)
    said = {word.says for word in words}
    meaning: Says = next((says for says in _BY_MODEL if says in said), "nothing")
    told = f"{'TrustMark' if mark.name == 'trustmark' else f'{mark.name} watermark'} {mark.payload:016x}"
    if words:
        detail = f"The image carries the {told} that {words[0].who} names."
    else:
        odds = round(1.0 / max(mark.false_alarm, 1e-30))
        detail = f"The image seems to carry the {told}; so does one unmarked image in some {odds:,}."
    return Evidence(f"watermark:{mark.name}", meaning, "strong" if meaning != "nothing" else "none", detail)


@dataclass(frozen=True, slots=True)
class _Word:
    """What one who knows a watermark says of the image that it was made for."""

    who: str
    says: Says
    sound: bool  # believed when it says less than the watermark itself


def _words(payload: int, manifests: Sequence[ManifestReport], match: Match | None) -> list[_Word]:
    """What the manifests that name a watermark, and the catalog's row of the image that it was made for, say."""
    words = [
        _Word("the credential", _meaning(one), one.integrity == "intact" and one.trust in ("listed", "own"))
        for one in manifests
    ]
    record = None if match is None or match.copied is not None else match.marked(payload)
    if record is not None:
        words.append(_Word("the catalog's record", catalog_match.says(record), record.own))
    return words


def _bound(credential: CredentialReport, algorithm: str) -> dict[int, list[ManifestReport]]:
    """The payloads that a credential names, with the manifests that do.

    An image that was marked twice may show either watermark, so every manifest of its history counts.
    """
    found: dict[int, list[ManifestReport]] = {}
    for manifest in credential.manifests:
        for named, value in manifest.soft_bindings:
            payload = bound_payload(algorithm, value) if named == algorithm else None
            if payload is not None:
                found.setdefault(payload, []).append(manifest)
    return found


def _meaning(manifest: ManifestReport) -> Says:
    origins = {vocabulary.origin_of(uri) for uri in manifest.source_types}
    return next((says for origin, says in _SAYS_BY_ORIGIN.items() if origin in origins), "nothing")
