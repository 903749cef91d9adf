"""The IPTC digital source types that credentials and XMP may carry, and what each says about an image.

The C2PA SDK accepts any string here, so nonesuch checks against this list itself.
"""

from __future__ import annotations

from typing import Literal

from nonesuch.foundation.errors import InputError

IPTC_BASE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
C2PA_BASE = "http://c2pa.org/digitalsourcetype/"

Origin = Literal["generated", "partly-generated", "captured", "other"]

_IPTC: dict[str, Origin] = {
    "trainedAlgorithmicMedia": "generated",
    "compositeWithTrainedAlgorithmicMedia": "partly-generated",
    "compositeSynthetic": "partly-generated",
    "digitalCapture": "captured",
    "computationalCapture": "captured",
    "compositeCapture": "captured",
    "negativeFilm": "captured",
    "positiveFilm": "captured",
    "print": "captured",
    "algorithmicMedia": "other",
    "algorithmicallyEnhanced": "other",
    "humanEdits": "other",
    "minorHumanEdits": "other",
    "digitalCreation": "other",
    "digitalArt": "other",
    "dataDrivenMedia": "other",
    "screenCapture": "other",
    "virtualRecording": "other",
    "composite": "other",
    "softwareImage": "other",
}
_C2PA: dict[str, Origin] = {"trainedAlgorithmicData": "generated", "empty": "other"}
_LOWER_IPTC = {name.lower(): origin for name, origin in _IPTC.items()}
_LOWER_C2PA = {name.lower(): origin for name, origin in _C2PA.items()}


def source_type_uri(name: str) -> str:
    """The full URI of a source type given by name or URI. Raises InputError for one that IPTC doesn't have."""
    if name in _IPTC:
        return IPTC_BASE + name
    if name in _C2PA:
        return C2PA_BASE + name
    if origin_of(name) is not None:
        return name
    raise InputError(f"unknown digital source type {name!r}", hint=f"Known: {', '.join(sorted(_IPTC))}.")


def by_model(uri: str) -> bool:
    """Whether a source type says that a generative model made the image or parts of it."""
    return origin_of(uri) in ("generated", "partly-generated")


def origin_of(uri: str) -> Origin | None:
    """What a source type, by URI or bare name, says of an image's origin; None when it is not of the vocabulary.

    Accepts http and https, IPTC's short form digsrctype:NAME, any case and a slash at the end, since all are found in files.
    """
    plain = uri.strip().rstrip("/").lower().replace("https://", "http://", 1).removeprefix("digsrctype:")
    if plain.startswith(C2PA_BASE.lower()):
        return _LOWER_C2PA.get(plain[len(C2PA_BASE) :])
    return _LOWER_IPTC.get(plain.removeprefix(IPTC_BASE.lower()))
