"""Questioning an image: credential, foreign metadata, watermark and catalog, weighed into a verdict.

`verify_file` never raises for what a file holds: what can't be read becomes the verdict's `error`.
`provenance.folders.verify_paths` does the same for many files, in processes that may be killed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from foundation.errors import InputError
from foundation.images import MAX_PIXELS, RGB, open_image, read_limited
from provenance import catalog_match, vocabulary
from provenance.credentials import CredentialReport, read_credentials, sniff_mime
from provenance.evidence import Confidence, Evidence, Says
from provenance.lookup import CatalogLookup
from provenance.metadata import Finding, read_metadata
from provenance.metadata.source import read_source
from provenance.trustlist import ONLINE_HOSTS, TrustSet, load_trust
from provenance.verdict import Verdict, credential_evidence, weigh

Search = Literal["aligned", "full"]

_FULL_SEARCH_PIXELS = 16_000_000  # larger pictures are searched as they stand, not over scale and rotation
_SAYS_BY_ORIGIN: dict[str, Says] = {"generated": "ai-generated", "partly-generated": "ai-edited"}


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How to question an image; picklable."""

    trust: Path | None = None  # a PEM file in place of the pinned C2PA list
    home: Path | None = None  # where the own anchors are
    catalog: CatalogLookup | None = None
    online: bool = False  # fetch manifests that lie elsewhere, from `online_hosts` only
    online_hosts: tuple[str, ...] = ONLINE_HOSTS
    search: Search = "full"  # for the watermark: over scale, rotation and flip, or as the picture stands
    watermark_key: bytes | None = field(default=None, repr=False)

    def load_trust(self) -> TrustSet:
        """The trust set that these options name. Raises InputError for a trust file that can't be used."""
        hosts = self.online_hosts if self.online else ()
        return load_trust(self.trust, self.home, online_hosts=hosts)


def verify_file(
    path: Path,
    *,
    catalog_lookup: CatalogLookup | None = None,
    trust: Path | None = None,
    home: Path | None = None,
    online: bool = False,
    search: Search = "full",
    watermark_key: bytes | None = None,
) -> Verdict:
    """The verdict on the image file at `path`.

    Raises InputError only for a `trust` file that can't be used; whatever is wrong with the image itself is
    said in `Verdict.error`.
    """
    options = VerifyOptions(trust, home, catalog_lookup, online, search=search, watermark_key=watermark_key)
    return verify_path(path, options, options.load_trust())


def verify_path(path: Path, options: VerifyOptions, trust: TrustSet) -> Verdict:
    """As `verify_file`, with a trust set that was loaded before."""
    try:
        data = read_limited(path)
    except InputError as error:
        return failed(str(path), error.message, trust)
    return verify_bytes(data, str(path), options, trust)


def verify_bytes(data: bytes, path: str, options: VerifyOptions, trust: TrustSet) -> Verdict:
    """The verdict on an encoded image in memory; `path` is only a name for it."""
    mime = sniff_mime(data)
    credential = read_credentials(data, mime, trust)
    pixels = Pixels(data, path)
    rgb = pixels.rgb()
    findings = list(read_metadata(read_source(data, mime, pixels.rgba)))
    evidence = credential_evidence(credential)
    evidence += [Evidence(f"metadata:{f.kind}", f.says, f.confidence, f"{f.detail}.") for f in findings]
    digest = hashlib.sha256(data).hexdigest()
    detection = _detect(rgb, options, evidence) if rgb is not None else None
    match = None
    if options.catalog is not None:
        payload = None if detection is None else int(detection.payload)
        match = catalog_match.find(options.catalog, digest, payload, rgb)
    evidence += _watermark_evidence(detection, credential, match)
    if match is not None:
        evidence.append(match.evidence)
    answer, confidence = weigh(evidence)
    active = credential.active
    unreadable = rgb is None and credential.integrity in ("unsigned", "unreadable")
    return Verdict(
        path=path,
        verdict=answer,
        confidence=confidence,
        integrity="unreadable" if unreadable else credential.integrity,
        trust=active.trust if active else "none",
        signed_by=active.signed_by if active else None,
        signed_at=active.signed_at if active else None,
        time=active.time if active else "unknown",
        generator=_generator(credential, findings, match),
        digital_source_type=_source_types(credential, findings),
        watermark=_watermark_json(detection),
        catalog=match.to_json() if match is not None else None,
        recipe=_recipe(credential, findings, match),
        evidence=tuple(evidence),
        trust_list=trust.to_json(),
        error=_error(pixels, credential),
    )


def failed(path: str, error: str, trust: TrustSet) -> Verdict:
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
        trust_list=trust.to_json(),
        error=error,
    )


class Pixels:
    """An image's pixels, decoded once and only when asked for; `error` says why they could not be."""

    def __init__(self, data: bytes, where: str, max_pixels: int = MAX_PIXELS) -> None:
        self._data = data
        self._where = where
        self._max_pixels = max_pixels
        self._decoded: npt.NDArray[np.uint8] | None = None
        self._done = False
        self.error: str | None = None

    def rgb(self) -> RGB | None:
        """uint8 [H, W, 3] as stored, transparency ignored."""
        pixels = self._pixels()
        return None if pixels is None else np.ascontiguousarray(pixels[..., :3])

    def rgba(self) -> npt.NDArray[np.uint8] | None:
        """uint8 [H, W, 4]; None when the picture can't be decoded. Opaque pictures get alpha 255."""
        pixels = self._pixels()
        if pixels is None or pixels.shape[2] == 4:
            return pixels
        return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])

    def _pixels(self) -> npt.NDArray[np.uint8] | None:
        if not self._done:
            self._done = True
            try:
                self._decoded = self._decode()
            except InputError as error:
                self.error = error.message
        return self._decoded

    def _decode(self) -> npt.NDArray[np.uint8]:
        try:
            return self._by_pillow()
        except InputError:
            pixels = self._by_libpng()
            if pixels is None:
                raise
            return pixels

    def _by_libpng(self) -> npt.NDArray[np.uint8] | None:
        """A PNG that Pillow refuses (for a wrong checksum in a chunk of no matter) and browsers show."""
        head = self._data[:33]
        if sniff_mime(head) != "image/png" or len(head) < 33:
            return None
        width, height = struct.unpack(">II", head[16:24])
        if not 0 < width * height <= self._max_pixels:
            return None
        import cv2

        logging = cv2.utils.logging
        level = logging.getLogLevel()
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)  # it would print what is wrong with the file
        try:
            decoded = cv2.imdecode(np.frombuffer(self._data, np.uint8), cv2.IMREAD_COLOR_RGB)
        except cv2.error:
            return None
        finally:
            logging.setLogLevel(level)
        return None if decoded is None else np.asarray(decoded, np.uint8)

    def _by_pillow(self) -> npt.NDArray[np.uint8]:
        image = open_image(self._data, where=self._where, max_pixels=self._max_pixels)
        alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow remarks on every oddity of a stranger's file
                return np.asarray(image.convert("RGBA" if alpha else "RGB"))
        except Exception as error:  # broken pixel data, in whatever form the plugin says so
            raise InputError(f"broken image data ({error})", where=self._where) from error


def _detect(rgb: RGB, options: VerifyOptions, evidence: list[Evidence]) -> Any:
    from provenance import watermark

    found = watermark.detect(rgb, key=options.watermark_key, search="aligned")
    settled = weigh(evidence)[1] in ("strong", "proven")
    small = rgb.shape[0] * rgb.shape[1] <= _FULL_SEARCH_PIXELS
    if found is None and options.search == "full" and small and not settled:
        found = watermark.detect(rgb, key=options.watermark_key, search="full")
    return found


def _watermark_evidence(
    detection: Any, credential: CredentialReport, match: catalog_match.Match | None
) -> list[Evidence]:
    if detection is None:
        return []
    from provenance import watermark

    payload = f"{int(detection.payload):016x}"
    active = credential.active
    bound = {v for alg, v in (active.soft_bindings if active else ()) if alg == watermark.ALGORITHM}
    if active and active.integrity == "intact" and bound and payload not in bound:
        detail = f"The watermark {payload} is not the one that the credential names."
        return [Evidence("watermark", "conflict", "strong", detail)]
    # What a mark stands for is what its credential or record says; pictures of any origin can be marked.
    uris: tuple[str, ...] = ("trainedAlgorithmicMedia",)
    if active and payload in bound:
        uris = active.source_types
    elif match is not None:
        uris = (match.record.source_type,)
    origins = {vocabulary.origin_of(uri) for uri in uris}
    says: Says = next((says for origin, says in _SAYS_BY_ORIGIN.items() if origin in origins), "nothing")
    confidence: Confidence = "strong" if says != "nothing" else "none"
    detail = f"The image carries nonesuch's watermark {payload}."
    return [Evidence("watermark", says, confidence, detail)]


def _watermark_json(detection: Any) -> dict[str, Any] | None:
    if detection is None:
        return None
    from provenance import watermark

    transform = dataclasses.asdict(detection.transform)
    return {
        "algorithm": watermark.ALGORITHM,
        "payload": f"{int(detection.payload):016x}",
        "score": round(float(detection.score), 2),
        "false_alarm": float(detection.false_alarm),
        "transform": {**transform, "shift": list(transform["shift"])},
    }


def _generator(
    credential: CredentialReport, findings: list[Finding], match: catalog_match.Match | None
) -> str | None:
    generated = [m for m in credential.manifests if m.source_types and m.generator]
    candidates = [m.generator for m in generated]
    candidates += [f.generator for f in findings if f.says != "nothing"]
    candidates += [match.record.generator] if match is not None else []
    candidates += [m.generator for m in credential.manifests]
    return next((name for name in candidates if name), None)


def _source_types(credential: CredentialReport, findings: list[Finding]) -> tuple[str, ...]:
    found = [uri for manifest in credential.manifests for uri in manifest.source_types]
    found += [uri for finding in findings for uri in finding.source_types]
    return tuple(dict.fromkeys(found))


def _recipe(
    credential: CredentialReport, findings: list[Finding], match: catalog_match.Match | None
) -> dict[str, Any] | None:
    """The best recipe known, with where it comes from; foreign parameters under nonesuch's names."""
    for manifest in credential.manifests:
        inner = (manifest.recipe or {}).get("recipe")
        if isinstance(inner, dict):
            return {"source": "credential", **inner}
    if match is not None and match.record.recipe is not None:
        return {"source": "catalog", **match.record.recipe}
    for finding in findings:
        if finding.recipe:
            return {"source": finding.kind, **finding.recipe}
    return None


def _error(pixels: Pixels, credential: CredentialReport) -> str | None:
    errors = [pixels.error]
    if credential.integrity == "unreadable":
        errors.append(f"unreadable credential ({credential.detail})")
    return "; ".join(error for error in errors if error) or None
