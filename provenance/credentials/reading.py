"""Reading a file's credential: the whole manifest store, every manifest, every ingredient.

Integrity, trust and time are three answers. The SDK folds them into one state ("Invalid" for a file that merely
expired), so each is read from the validation codes; trust is graded by TrustSet from the chains themselves.
C2PA specification 2.4, sections "Validation" and "Ingredients".
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from nonesuch.provenance import vocabulary
from nonesuch.provenance.credentials import assertions, jumbf
from nonesuch.provenance.credentials.certificates import name_of
from nonesuch.provenance.credentials.trustlist import TrustSet, load_trust
from nonesuch.provenance.evidence import Integrity, TimeState, Trust
from nonesuch.provenance.request import ParentCheck

MAX_JSON = 64 << 20  # characters of manifest JSON that are parsed
_MAX_DEPTH = 32  # ingredients within ingredients

# Failures that are not about the content: who signed, when, and how well the claim keeps to the specification.
_NOT_CONTENT = (
    "signingCredential.",
    "timeStamp.",
    "timeOfSigning.",
    "claimSignature.outsideValidity",
    "assertion.action.",
    "assertion.metadata.",
    "assertion.cawg",
    "assertion.json.invalid",
    "assertion.timestamp.",
    "cawg.",
)


@dataclass(frozen=True, slots=True)
class ManifestReport:
    """One manifest of the store."""

    label: str
    relationship: str  # active, parentOf, componentOf, inputTo; "loose" when nothing refers to it
    integrity: Integrity  # intact or altered
    failures: tuple[str, ...]  # validation codes that failed
    trust: Trust
    time: TimeState
    signed_by: str | None
    signed_at: str | None  # ISO 8601, from a timestamp authority
    generator: str | None
    source_types: tuple[str, ...]  # URIs, in the order of the actions
    soft_bindings: tuple[tuple[str, str], ...]  # (algorithm, value)
    recipe: dict[str, Any] | None  # the org.nonesuch.recipe assertion
    path: tuple[str, ...]  # labels from the active manifest down to this one
    stamped: bool = False  # an authority, trusted or not, timestamped its signature

    @property
    def revoked(self) -> bool:
        """Whether an OCSP response that came with the signature says that the certificate was revoked."""
        return any(code.endswith(".revoked") for code in self.failures)


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """The report on a file's credential; `manifests` starts with the active one."""

    integrity: Integrity
    manifests: tuple[ManifestReport, ...]
    detail: str  # what is wrong, in words; empty when nothing is
    store: bytes | None  # the manifest store's bytes, when the SDK hands them out

    @property
    def active(self) -> ManifestReport | None:
        return self.manifests[0] if self.manifests else None


UNKNOWN_MIME = "application/octet-stream"
UNSIGNED = CredentialReport("unsigned", (), "", None)


def sniff_mime(data: bytes) -> str:
    """The MIME type by the first bytes; application/octet-stream when none of the known fits."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp":
        return "image/avif" if data[8:12] in (b"avif", b"avis") else "image/heic"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "image/tiff"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    return UNKNOWN_MIME


def read_credentials(
    data: bytes, mime: str, trust: TrustSet, *, manifest: bytes | None = None
) -> CredentialReport:
    """The credential of an encoded image; `manifest` checks a sidecar store against it instead.

    Never raises for what a file holds: broken stores give integrity "unreadable". A manifest that lies elsewhere
    is fetched when `trust` allows its host; else the file is "unsigned", and `detail` says where it lies.
    """
    import c2pa

    if mime == UNKNOWN_MIME:
        return UNSIGNED
    try:
        with c2pa.Reader(mime, io.BytesIO(data), manifest, context=trust.context) as reader:
            text = reader.json()
            if len(text) > MAX_JSON:
                return _unreadable(f"the manifest store is {len(text):,} characters long")
            store = _store_bytes(reader, text)
    except c2pa.C2paError.ManifestNotFound:
        return UNSIGNED
    except c2pa.C2paError as error:
        if str(error).startswith("Remote:"):
            return CredentialReport("unsigned", (), f"its credential lies elsewhere ({error})", None)
        if b"c2pa" not in data and manifest is None:
            return UNSIGNED  # a format or a broken file in which the SDK looks for nothing
        return _unreadable(str(error))
    except Exception as error:  # the wrapper meets invalid UTF-8 and the like in hostile stores
        return _unreadable(f"{type(error).__name__}: {error}")
    try:
        return _report(json.loads(text), store, trust)
    except (ValueError, RecursionError, TypeError, AttributeError, KeyError) as error:
        return _unreadable(f"the manifest store is not what the specification says ({error})")


def check_parent(data: bytes, mime: str, title: str) -> ParentCheck:
    """Whether the file an image is made from has a sound credential; a broken one is said to be broken."""
    report = read_credentials(data, mime, load_trust())
    uris = [uri for manifest in report.manifests for uri in manifest.source_types]
    return ParentCheck(title, report.integrity, report.detail, any(map(vocabulary.by_model, uris)))


def _unreadable(detail: str) -> CredentialReport:
    return CredentialReport("unreadable", (), detail, None)


def _store_bytes(reader: Any, text: str) -> bytes | None:
    """The manifest store: the SDK answers with the whole store when asked for a manifest's own address."""
    import c2pa

    label = json.loads(text).get("active_manifest")
    if not isinstance(label, str):
        return None
    target = io.BytesIO()
    try:
        reader.resource_to_stream(f"self#jumbf=/c2pa/{label}", target)
    except c2pa.C2paError:
        return None
    return target.getvalue()


def _report(parsed: dict[str, Any], store: bytes | None, trust: TrustSet) -> CredentialReport:
    manifests = parsed.get("manifests") or {}
    active = parsed.get("active_manifest")
    if (
        not isinstance(active, str) or active not in manifests
    ):  # seen in broken files: the active label names nothing
        return _unreadable("the active manifest is missing from the store")
    walk = _Walk(manifests, jumbf.signing_chains(store) if store else {}, trust)
    results = parsed.get("validation_results") or {}
    failures = _codes(results.get("activeManifest"), "failure")
    if not results:
        failures = [str(s.get("code")) for s in parsed.get("validation_status") or ()]
    successes = _codes(results.get("activeManifest"), "success")
    walk.visit(active, "active", failures, successes, (), _deltas(results))
    for label in manifests:
        walk.visit(label, "loose", [], [], (), {})
    first = walk.reports[0]
    detail = ""
    if first.integrity == "altered":
        detail = ", ".join(code for code in first.failures if not code.startswith(_NOT_CONTENT))
    else:
        broken = [r.signed_by or r.label for r in walk.reports[1:] if r.integrity == "altered"]
        if broken:
            detail = (
                f"its history is broken: the credential of an ingredient ({', '.join(broken)}) does not match"
            )
    return CredentialReport(first.integrity, tuple(walk.reports), detail, store)


class _Walk:
    """Collects a report for each manifest, in the order of the walk, each once."""

    def __init__(self, manifests: dict[str, Any], chains: dict[str, Any], trust: TrustSet) -> None:
        self.reports: list[ManifestReport] = []
        self._manifests = manifests
        self._chains = chains
        self._trust = trust
        self._seen: set[str] = set()

    def visit(
        self,
        label: str,
        relationship: str,
        failures: list[str],
        successes: list[str],
        path: tuple[str, ...],
        deltas: dict[str, list[str]],
    ) -> None:
        manifest = self._manifests.get(label)
        if not isinstance(manifest, dict) or label in self._seen or len(path) >= _MAX_DEPTH:
            return
        self._seen.add(label)
        here = (*path, label)
        self.reports.append(self._one(label, manifest, relationship, failures, successes, here))
        ingredients = [found for found in manifest.get("ingredients") or () if isinstance(found, dict)]
        # parents first: what is a part here and the whole there counts as the whole
        for ingredient in sorted(ingredients, key=lambda found: found.get("relationship") != "parentOf"):
            child = ingredient.get("active_manifest")
            if not isinstance(child, str):
                continue
            results = ingredient.get("validation_results") or {}
            found = _codes(results.get("activeManifest"), "failure")
            found += [str(s.get("code")) for s in ingredient.get("validation_status") or ()]
            found += deltas.get(f"{label}/c2pa.assertions/{ingredient.get('label')}", [])
            good = _codes(results.get("activeManifest"), "success")
            relation = str(ingredient.get("relationship") or "componentOf")
            self.visit(child, relation, found, good, here, {**deltas, **_deltas(results)})

    def _one(
        self,
        label: str,
        manifest: dict[str, Any],
        relationship: str,
        failures: list[str],
        successes: list[str],
        path: tuple[str, ...],
    ) -> ManifestReport:
        altered = any(not code.startswith(_NOT_CONTENT) for code in failures)
        chain = self._chains.get(label, ())
        signature = manifest.get("signature_info") or {}
        trust: Trust = self._trust.grade(chain) if signature else "none"
        if trust != "none" and any(
            code.endswith((".revoked", "claimSignature.mismatch")) for code in failures
        ):
            trust = "unlisted"  # a certificate copied beside a signature that it didn't make proves no signer
        found = [a for a in manifest.get("assertions") or () if isinstance(a, dict)]
        return ManifestReport(
            label=label,
            relationship=relationship,
            integrity="altered" if altered else "intact",
            failures=tuple(dict.fromkeys(failures)),
            trust=trust,
            time=_time(failures, altered),
            signed_by=assertions.signer_name(signature) or (name_of(chain[0]) if chain else None),
            signed_at=assertions.text(signature.get("time")) if "timeStamp.trusted" in successes else None,
            generator=assertions.generator(manifest, found),
            source_types=assertions.source_types(found),
            soft_bindings=assertions.soft_bindings(found),
            recipe=assertions.recipe(found),
            path=path,
            stamped=assertions.text(signature.get("time")) is not None,
        )


def _codes(results: Any, kind: str) -> list[str]:
    entries = results.get(kind) if isinstance(results, dict) else None
    return [str(entry.get("code")) for entry in entries or () if isinstance(entry, dict)]


def _deltas(results: dict[str, Any]) -> dict[str, list[str]]:
    """Failures found now in ingredients, by MANIFEST/c2pa.assertions/INGREDIENT."""
    found: dict[str, list[str]] = {}
    for delta in results.get("ingredientDeltas") or ():
        address = str(delta.get("ingredientAssertionURI")).removeprefix("self#jumbf=/c2pa/")
        found.setdefault(address, []).extend(_codes(delta.get("validationDeltas"), "failure"))
    return found


def _time(failures: list[str], altered: bool) -> TimeState:
    if "signingCredential.expired" in failures or "claimSignature.outsideValidity" in failures:
        return "expired-untimestamped"
    return "unknown" if altered else "ok"
