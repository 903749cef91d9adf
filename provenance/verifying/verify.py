"""Verifying an image: credential, foreign metadata, watermark and catalog, weighed into a verdict.

`verify_file` never raises for what a file holds: what can't be read becomes the verdict's `error`.
`nonesuch.provenance.verifying.worker_pool.verify_paths` does the same for many files, in processes that may be killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nonesuch.formats.raw_fields import Source, read_source
from nonesuch.foundation.errors import InputError, NonesuchError
from nonesuch.foundation.images import read_limited
from nonesuch.provenance.credentials.reading import CredentialReport, read_credentials, sniff_mime
from nonesuch.provenance.credentials.trustlist import TrustSet
from nonesuch.provenance.evidence import Evidence, plain
from nonesuch.provenance.metadata import Finding, read_metadata
from nonesuch.provenance.pixels import Pixels
from nonesuch.provenance.verifying import catalog_match
from nonesuch.provenance.verifying.catalog_protocol import CatalogLookup
from nonesuch.provenance.verifying.mark_evidence import marks_evidence, marks_json
from nonesuch.provenance.verifying.steps import Step
from nonesuch.provenance.verifying.verdict import Verdict, contradiction, credential_evidence, failed, weigh
from nonesuch.provenance.verifying.verify_options import Search, VerifyOptions
from nonesuch.provenance.verifying.watermarks_found import Marks, search_marks

__all__ = ["VerifyOptions", "verify_bytes", "verify_file", "verify_path"]

_PIXELS = "its pixels were not searched to the end"


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
    *_, last = verify_path_steps(path, options, trust)
    return last.verdict


def verify_path_steps(path: Path, options: VerifyOptions, trust: TrustSet) -> Iterator[Step]:
    """`verify_steps` for the file at `path`; one that can't be read at all is a single step."""
    try:
        data = read_limited(path)
    except InputError as error:
        yield Step(failed(str(path), error.message, trust.to_json()), "")
        return
    yield from verify_steps(data, str(path), options, trust)


def verify_bytes(data: bytes, path: str, options: VerifyOptions, trust: TrustSet) -> Verdict:
    """The verdict on an encoded image in memory; `path` is only a name for it."""
    *_, last = verify_steps(data, path, options, trust)
    return last.verdict


def verify_steps(data: bytes, path: str, options: VerifyOptions, trust: TrustSet) -> Iterator[Step]:
    """As `verify_bytes`, with the verdict so far after each part of the work: what is cheap and safe comes first."""
    mime = sniff_mime(data)
    credential = read_credentials(data, mime, trust)
    known = _Known(path, credential, trust)
    yield Step(known.verdict(), "its metadata and pixels were not searched")
    pixels = Pixels(data, path, options.max_pixels)
    asked = False

    def not_yet() -> None:
        """For readers that look into the pixels: decoding is where a file can break its process."""
        nonlocal asked
        asked = True

    source = read_source(data, mime, not_yet)
    known = replace(known, findings=_findings(source), error=source.error)
    yield Step(known.verdict(), "its pixels were not searched")
    rgb = pixels.rgb()
    known = replace(known, decoded=rgb is not None, error=_error(pixels.error, source.error))
    if asked and rgb is not None:
        known = replace(known, findings=_findings(replace(source, rgba=pixels.rgba)))
        yield Step(known.verdict(), _PIXELS)
    settled = is_settled(told_evidence(credential, known.findings))
    if rgb is not None:
        named = frozenset(alg for manifest in credential.manifests for alg, _ in manifest.soft_bindings)
        for marks in search_marks(
            rgb, search=options.search, key=options.watermark_key, settled=settled, named=named
        ):
            known = replace(known, marks=marks)
            yield Step(known.verdict(), _PIXELS)
    if options.catalog is not None:
        yield Step(known.verdict(), "the catalog was not searched to the end")
        digest = hashlib.sha256(data).hexdigest()
        try:
            match = catalog_match.find(options.catalog, digest, known.marks.payloads, pixels.view())
            known = replace(known, match=match)
        except Exception as error:  # a damaged catalog, or another program's: the file's own evidence counts
            trouble = plain(f"the catalog can't be read: {_without_folders(error)}")
            known = replace(known, trouble=trouble)
    yield Step(known.verdict(), "")


@dataclass(frozen=True, slots=True)
class _Known:
    """What has been found in an image so far."""

    path: str
    credential: CredentialReport
    trust: TrustSet
    findings: tuple[Finding, ...] = ()  # of its metadata
    marks: Marks = field(default_factory=Marks)
    match: catalog_match.Match | None = None
    decoded: bool = True  # False when its pixels can't be read
    error: str | None = None  # what else can't be read
    trouble: str | None = None  # why the catalog can't be read

    def evidence(self) -> list[Evidence]:
        found = told_evidence(self.credential, self.findings)
        if self.trouble is not None:
            found.append(
                Evidence("catalog", "nothing", "none", f"{self.trouble[0].upper()}{self.trouble[1:]}")
            )
        found += marks_evidence(self.marks, self.credential, self.match)
        found += self.match.evidence if self.match is not None else ()
        contradicted = contradiction(found)
        return found if contradicted is None else [*found, contradicted]

    def verdict(self) -> Verdict:
        credential, findings, match = self.credential, self.findings, self.match
        evidence = self.evidence()
        answer, confidence = weigh(evidence)
        active = credential.active
        unreadable = not self.decoded and credential.integrity in ("unsigned", "unreadable")
        return Verdict(
            path=self.path,
            verdict=answer,
            confidence=confidence,
            integrity="unreadable" if unreadable else credential.integrity,
            trust=active.trust if active else "none",
            signed_by=active.signed_by if active else None,
            signed_at=active.signed_at if active else None,
            time=active.time if active else "unknown",
            generator=_generator(credential, findings, match) or self.marks.generator,
            digital_source_type=_source_types(credential, findings),
            watermark=marks_json(self.marks),
            catalog=match.to_json() if match is not None else None,
            recipe=_recipe(credential, findings, match),
            evidence=tuple(evidence),
            trust_list=self.trust.to_json(),
            error=_error(self.error, self.trouble, _unreadable(credential)),
        )


def _findings(source: Source) -> tuple[Finding, ...]:
    return tuple(_plain(finding) for finding in read_metadata(source))


def told_evidence(credential: CredentialReport, findings: Iterable[Finding]) -> list[Evidence]:
    """A file's own statements: its credential, then its metadata."""
    claims = (Evidence(f"metadata:{f.kind}", f.says, f.confidence, f"{f.detail}.") for f in findings)
    return [*credential_evidence(credential), *claims]


def is_settled(evidence: Sequence[Evidence]) -> bool:
    """Whether a file says of itself, not as a mere claim, that a model was at work: no long search for a watermark
    is needed then. A camera's credential does not settle it: a watermark would contradict it."""
    answer, confidence = weigh(evidence)
    return answer in ("ai-generated", "ai-edited") and confidence in ("strong", "proven")


def _without_folders(error: Exception) -> str:
    """An error without the folders of this machine: a server shows verdicts to anyone."""
    if isinstance(error, NonesuchError):
        return f"{Path(error.where).name}: {error.message}" if error.where else error.message
    return type(error).__name__


def _plain(finding: Finding) -> Finding:
    return replace(
        finding,
        detail=plain(finding.detail),
        generator=plain(finding.generator),
        recipe=plain(finding.recipe),
        source_types=tuple(plain(finding.source_types)),
    )


def _generator(
    credential: CredentialReport, findings: Sequence[Finding], match: catalog_match.Match | None
) -> str | None:
    generated = [m for m in credential.manifests if m.source_types and m.generator]
    candidates = [m.generator for m in generated]
    candidates += [f.generator for f in findings if f.says != "nothing"]
    candidates += [match.generator] if match is not None else []
    candidates += [m.generator for m in credential.manifests]
    return next((name for name in candidates if name), None)


def _source_types(credential: CredentialReport, findings: Sequence[Finding]) -> tuple[str, ...]:
    found = [uri for manifest in credential.manifests for uri in manifest.source_types]
    found += [uri for finding in findings for uri in finding.source_types]
    return tuple(dict.fromkeys(found))


def _recipe(
    credential: CredentialReport, findings: Sequence[Finding], match: catalog_match.Match | None
) -> dict[str, Any] | None:
    """The best recipe known, with where it comes from; foreign parameters under nonesuch's names."""
    for manifest in credential.manifests:
        inner = (manifest.recipe or {}).get("recipe")
        if isinstance(inner, dict):
            return {**plain(inner), "source": "credential"}
    if match is not None and match.recipe is not None:
        return {**match.recipe, "source": "catalog"}
    for finding in findings:
        if finding.recipe:
            return {**finding.recipe, "source": finding.program or finding.kind}
    return None


def _unreadable(credential: CredentialReport) -> str | None:
    return f"unreadable credential ({credential.detail})" if credential.integrity == "unreadable" else None


def _error(*errors: str | None) -> str | None:
    return "; ".join(error for error in errors if error) or None
