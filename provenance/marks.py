"""Watermarks as evidence: nonesuch's own, and those that other programs' defaults leave.

What a mark of nonesuch stands for is what the credential that names it, or the catalog's record, says; pictures of
any origin can be marked.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from foundation.errors import DependencyError
from foundation.images import RGB
from provenance import vocabulary
from provenance.catalog_match import Match
from provenance.credentials import CredentialReport
from provenance.evidence import Confidence, Evidence, Says
from provenance.payloads import says_origin
from provenance.watermark import trustmark

Search = Literal["aligned", "full"]

_FULL_SEARCH_PIXELS = 16_000_000  # larger pictures are searched as they stand, and for nonesuch's mark only
_SAYS_BY_ORIGIN: dict[str, Says] = {"generated": "ai-generated", "partly-generated": "ai-edited"}


@dataclass(frozen=True, slots=True)
class Marks:
    """The watermarks found in a picture."""

    own: Any = None  # watermark.Detection | None
    trustmark: Any = None  # watermark.algorithms.Found | None, where its package is installed
    unread: str = ""  # why TrustMark, though installed, could not be looked for
    foreign: tuple[Any, ...] = ()  # watermark.foreign.ForeignMark

    @property
    def payload(self) -> int | None:
        """The 64 bits of nonesuch's mark, else of TrustMark's."""
        found = self.own or self.trustmark
        return None if found is None else int(found.payload)

    @property
    def generator(self) -> str | None:
        """The software that a foreign mark names."""
        return str(self.foreign[0].generator) if self.foreign else None

    def to_json(self) -> dict[str, Any] | None:
        """What a verdict's `watermark` says: nonesuch's mark, else the first foreign one, else TrustMark's."""
        if self.own is not None:
            return _own_json(self.own)
        if not self.foreign:
            return None if self.trustmark is None else _trustmark_json(self.trustmark)
        first = self.foreign[0]
        return {
            "algorithm": "dwtDct",
            "payload": first.name,
            "score": round(first.matched / first.length, 3),
            "false_alarm": float(first.false_alarm),
            "transform": None,
        }


def find_marks(
    rgb: RGB, *, search: Search, key: bytes | None, settled: bool, named: frozenset[str] = frozenset()
) -> Marks:
    """The watermarks of uint8 [H, W, 3]; the full search is made when `settled` is False and nothing was found.

    `key`, a secret one, is looked for besides the public key. TrustMark is looked for where it is installed, when
    it is among `named`, the algorithms that the credential names, or the full search found nothing.
    """
    from provenance.watermark.foreign import read_foreign

    small = rgb.shape[0] * rgb.shape[1] <= _FULL_SEARCH_PIXELS
    own = find_own(rgb, key=key, search="aligned")
    foreign = tuple(read_foreign(rgb)) if own is None and small else ()
    if own is None and not foreign and search == "full" and small and not settled:
        own = find_own(rgb, key=key, search="full")
    nothing = own is None and not foreign and search == "full" and not settled
    if not nothing and trustmark.NAME not in named:
        return Marks(own, foreign=foreign)
    try:
        return Marks(own, find_trustmark(rgb), foreign=foreign)
    except DependencyError as error:
        return Marks(own, foreign=foreign, unread=str(error))


def find_trustmark(rgb: RGB) -> Any:
    """The watermark.algorithms.Found of TrustMark in uint8 [H, W, 3]; None too where it is not installed.

    Raises DependencyError when its package or weights are there but wrong.
    """
    from provenance.pixel_marks import open_algorithm

    return open_algorithm("trustmark").detect(rgb) if trustmark.ready() else None


def find_own(rgb: RGB, *, key: bytes | None, search: Search) -> Any:
    """The watermark.Detection of nonesuch's mark in uint8 [H, W, 3], by a secret key, else by the public one, or None.

    Its bound on false alarms counts every key that was looked for.
    """
    from provenance import watermark

    searches: tuple[Search, ...] = ("aligned",) if search == "aligned" else ("aligned", "full")
    keys = (None,) if key is None else (key, None)
    for one in searches:
        for secret in keys:
            found = watermark.detect(rgb, key=secret, search=one)
            if found is not None:
                return dataclasses.replace(found, false_alarm=len(keys) * found.false_alarm)
    return None


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
    if marks.unread:
        found.append(Evidence("watermark:trustmark", "nothing", "none", marks.unread))
    if marks.trustmark is not None:
        found.append(_trustmark_evidence(marks.trustmark, credential, match if marks.own is None else None))
    return found


def _trustmark_evidence(mark: Any, credential: CredentialReport, match: Match | None) -> Evidence:
    """Its own check is weak, and pictures of any origin bear it: only credential or catalog give it a meaning."""
    bound = {
        trustmark.bound_payload(value): manifest.source_types
        for manifest in reversed(credential.manifests)
        for algorithm, value in manifest.soft_bindings
        if algorithm == trustmark.NAME
    }
    uris: tuple[str, ...] = ()
    if mark.payload in bound:
        uris = bound[mark.payload]
    known = match is not None and match.record.watermark_id == mark.payload
    if known and not uris and match is not None and match.record.source_type is not None:
        uris = (match.record.source_type,)
    says = _meaning(uris)
    if mark.payload in bound or known:
        by = "the credential" if mark.payload in bound else "the catalog's record"
        detail = f"The image carries the TrustMark {mark.payload:016x} that {by} names."
    else:
        odds = round(1.0 / float(mark.false_alarm))
        detail = f"The image seems to carry the TrustMark {mark.payload:016x}; so does one unmarked picture in some {odds}."
    return Evidence("watermark:trustmark", says, "strong" if says != "nothing" else "none", detail)


def _meaning(uris: tuple[str, ...]) -> Says:
    origins = {vocabulary.origin_of(uri) for uri in uris}
    return next((says for origin, says in _SAYS_BY_ORIGIN.items() if origin in origins), "nothing")


def _own_evidence(detection: Any, credential: CredentialReport, match: Match | None) -> Evidence:
    from provenance import watermark

    payload = f"{int(detection.payload):016x}"
    active = credential.active
    # A picture that was marked twice may show either mark, so every manifest of its history counts.
    bound = {
        value: manifest.source_types
        for manifest in reversed(credential.manifests)
        for algorithm, value in manifest.soft_bindings
        if algorithm == watermark.ALGORITHM
    }
    if active and active.integrity == "intact" and bound and payload not in bound:
        detail = f"The watermark {payload} is not the one that the credential names."
        return Evidence("watermark", "conflict", "strong", detail)
    uris: tuple[str, ...] = ("trainedAlgorithmicMedia",) if says_origin(int(detection.payload)) else ()
    if payload in bound:
        uris = bound[payload]
    elif match is not None:
        uris = () if match.record.source_type is None else (match.record.source_type,)
    says = _meaning(uris)
    confidence: Confidence = "strong" if says != "nothing" else "none"
    told = "" if uris else ", which says nothing of how the image came about"
    detail = f"The image carries nonesuch's watermark {payload}{told}."
    return Evidence("watermark", says, confidence, detail)


def _trustmark_json(mark: Any) -> dict[str, Any]:
    return {
        "algorithm": trustmark.NAME,
        "payload": f"{mark.payload:016x}",
        "score": None,  # its decoder gives none
        "false_alarm": float(mark.false_alarm),
        "transform": None,
    }


def _own_json(detection: Any) -> dict[str, Any]:
    from provenance import watermark

    transform = dataclasses.asdict(detection.transform)
    return {
        "algorithm": watermark.ALGORITHM,
        "payload": f"{int(detection.payload):016x}",
        "score": round(float(detection.score), 2),
        "false_alarm": float(detection.false_alarm),
        "transform": {**transform, "shift": list(transform["shift"])},
    }
