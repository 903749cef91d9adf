"""The watermarks of imported images: read from the pixels, kept in the row, looked up in the images' catalog."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nonesuch.catalogs.storage.parts import part_files
from nonesuch.flows.catalog_folder import WATERMARK_FROM, CatalogFolder
from nonesuch.foundation.images import RGB
from nonesuch.provenance import watermark
from nonesuch.provenance.credentials.reading import CredentialReport
from nonesuch.provenance.metadata import Finding
from nonesuch.provenance.pixels import Pixels
from nonesuch.provenance.verifying import catalog_match
from nonesuch.provenance.verifying.verify import is_settled, told_evidence
from nonesuch.provenance.verifying.verify_options import Search
from nonesuch.provenance.verifying.watermarks_found import Marks, search_marks
from nonesuch.provenance.watermark import trustmark
from nonesuch.provenance.watermark.chosen import bound_payload

_CERTAIN = 1e-6  # false alarm rate below which a watermark of another algorithm becomes the row's watermark

SearchFor = Literal["full", "aligned", "none"]


@dataclass(frozen=True, slots=True)
class MarkColumns:
    """What an image's watermarks put into its row."""

    watermark_id: int  # 64 bits; 0 for none
    options: dict[str, Any]  # fields of the row's `options`
    shown: str | None  # shown to the user: 16 hex digits, or the name of another program's watermark


@dataclass(frozen=True, slots=True)
class Trace:
    """The image of the catalog that a watermark was made for."""

    recipe_id: str  # of the image that the watermark was made for
    same_image: bool  # False: the watermark was copied onto another image

    def into(self, options: str) -> str:
        """A row's `options` with this trace."""
        told = {"watermark_of": self.recipe_id, "watermark_shows_it": self.same_image}
        return json.dumps(json.loads(options) | told, ensure_ascii=False, sort_keys=True)


def read_marks(
    pixels: Pixels,
    report: CredentialReport,
    findings: Sequence[Finding],
    search: SearchFor,
    key: bytes | None,
) -> MarkColumns:
    """The watermarks in an image, found as `nonesuch verify` does; `key`, a secret one, besides the public key.

    The pixels count; a watermark that only a sound credential names counts when they show none.
    """
    rgb = pixels.rgb()
    named = _named(report)
    marks = Marks() if rgb is None or search == "none" else _found(rgb, report, findings, search, key)
    found = None if marks.own is None else int(marks.own.payload)
    certain = [mark.payload for mark in marks.others if mark.false_alarm < _CERTAIN or mark.payload == named]
    found = next(iter(certain), None) if found is None else found
    options: dict[str, Any] = {}
    if marks.foreign or marks.others:
        seen = [mark.name for mark in marks.foreign]
        options["marks"] = seen + [f"{mark.name} {mark.payload:016x}" for mark in marks.others]
    payload = found if found is not None else named
    if payload:
        options[WATERMARK_FROM] = "credential" if payload == named else "pixels"
    # a credential's statement alone is not a finding
    shown = f"{found:016x}" if found else next((mark.name for mark in marks.foreign), None)
    return MarkColumns(payload or 0, options, shown)


def _found(
    rgb: RGB, report: CredentialReport, findings: Sequence[Finding], search: Search, key: bytes | None
) -> Marks:
    algorithms = frozenset(alg for manifest in report.manifests for alg, _ in manifest.soft_bindings)
    settled = is_settled(told_evidence(report, findings))
    *_, whole = search_marks(rgb, search=search, key=key, settled=settled, named=algorithms)
    return whole


def _named(report: CredentialReport) -> int | None:
    """The payload that a sound credential names, of nonesuch's watermark or of TrustMark's."""
    if report.integrity != "intact" or report.active is None:
        return None
    payloads = (
        bound_payload(algorithm, value)
        for algorithm, value in report.active.soft_bindings
        if algorithm in (watermark.ALGORITHM, trustmark.NAME)
    )
    return next((payload for payload in payloads if payload is not None), None)


class Tracer:
    """Finds the images of an output folder's catalog that watermarks were made for."""

    def __init__(self, out: Path) -> None:
        self._folder = CatalogFolder(out) if part_files(out) else None

    def trace(self, payload: int, image: RGB) -> Trace | None:
        """The image that the watermark of `image`, uint8 [H, W, 3], was made for; None when the catalog has no such image."""
        if self._folder is None or not payload:
            return None
        bearers = catalog_match.bearing(self._folder, payload, self._folder.phash(image))
        made = catalog_match.makers(bearers)
        shown = catalog_match.showing(made, image)
        if not made:
            return None
        return Trace((shown or made)[0].record.image_id, bool(shown))
