"""The watermarks of imported pictures: read from the pixels, kept in the row, traced in the catalog they enter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from catalogs.parts import part_files
from flows.catalog_folder import WATERMARK_FROM, CatalogFolder
from foundation.images import RGB
from provenance import catalog_match, watermark
from provenance.credentials import CredentialReport
from provenance.marks import Marks, search_marks
from provenance.metadata import Finding
from provenance.options import Search
from provenance.pixel_marks import bound_payload
from provenance.pixels import Pixels
from provenance.verify import is_settled, told_evidence
from provenance.watermark import trustmark

_CERTAIN = 1e-6  # false alarms below which a mark of another algorithm becomes the row's watermark

SearchFor = Literal["full", "aligned", "none"]


@dataclass(frozen=True, slots=True)
class MarkColumns:
    """What a picture's watermarks put into its row."""

    watermark_id: int  # 64 bits; 0 for none
    options: dict[str, Any]  # fields of the row's `options`
    shown: str | None  # for a person: 16 hex digits, or the name of another program's mark


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a watermark leads in the catalog that its picture enters."""

    recipe_id: str  # of the image that the mark was made for
    same_picture: bool  # False: the mark was copied onto another picture

    def into(self, options: str) -> str:
        """A row's `options` with this trace."""
        told = {"watermark_of": self.recipe_id, "watermark_shows_it": self.same_picture}
        return json.dumps(json.loads(options) | told, ensure_ascii=False, sort_keys=True)


def read_marks(
    pixels: Pixels,
    report: CredentialReport,
    findings: Sequence[Finding],
    search: SearchFor,
    key: bytes | None,
) -> MarkColumns:
    """The watermarks in a picture, as `nonesuch verify` looks for them; `key`, a secret one, besides the public key.

    What is in the pixels counts; what only a sound credential names does when they show nothing.
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
    # a credential's word alone is no finding
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
    """The payload that a sound credential names, of nonesuch's mark or of TrustMark's."""
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
        """Where the mark of `image`, uint8 [H, W, 3], leads; None when the catalog has no such image."""
        if self._folder is None or not payload:
            return None
        bearers = catalog_match.bearing(self._folder, payload, self._folder.phash(image))
        made = catalog_match.makers(bearers)
        shown = catalog_match.showing(made, image)
        if not made:
            return None
        return Trace((shown or made)[0].record.image_id, bool(shown))
