"""The IPTC digital source types that credentials and XMP may carry, and what each says about an image.

The C2PA SDK accepts any string here, so nonesuch checks against this list itself.
"""

from __future__ import annotations

from typing import Literal

from foundation.errors import InputError

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

    Accepts http and https, since both are found in files.
    """
    plain = uri.strip().replace("https://", "http://", 1)
    if plain in _IPTC:
        return _IPTC[plain]
    if plain.startswith(IPTC_BASE):
        return _IPTC.get(plain[len(IPTC_BASE) :])
    if plain.startswith(C2PA_BASE):
        return _C2PA.get(plain[len(C2PA_BASE) :])
    return None
