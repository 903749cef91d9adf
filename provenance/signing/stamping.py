"""Late timestamps: a file signed while the authority was unreachable gets its timestamp by an update manifest.

C2PA specification 2.4, "Update manifests" and "Time-stamp assertion": the update refers to the manifest that was
the active one as its parent, changes nothing else, and carries a timestamp over that manifest's signature. It
proves that the signature existed at the time of the stamp, which is later than the time of signing.
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

from nonesuch.foundation.errors import ProvenanceError
from nonesuch.provenance.credentials.jumbf import leaf_fingerprint
from nonesuch.provenance.credentials.reading import CredentialReport, read_credentials, sniff_mime
from nonesuch.provenance.credentials.trustlist import TrustSet
from nonesuch.provenance.marking import manifest
from nonesuch.provenance.request import TimestampPolicy
from nonesuch.provenance.signing.signer import SignedFile, Signer

# WebP's header holds the length of the file, which the first signature covers: nothing can be added.
STAMPABLE = ("image/png", "image/jpeg")

TimestampState = Literal["authority", "queued"]


def timestamp_state(signed: bool, timestamped: bool, policy: TimestampPolicy) -> TimestampState | None:
    """The value of a catalog's `timestamp` column for a file: from the authority, waiting for it, or None."""
    if not signed:
        return None
    if timestamped:
        return "authority"
    return "queued" if policy == "queue" else None


def stamp_file(data: bytes, signer: Signer, trust: TrustSet) -> SignedFile | None:
    """The file with an update manifest that timestamps its credential; None when it has a timestamp already.

    The image and everything else in the file stay as they are. `trust` says which signers are one's own.
    Raises ProvenanceError when the file has no sound credential, was signed by another signer, can't be updated,
    or when the authority does not answer.
    """
    mime = sniff_mime(data)
    report = read_credentials(data, mime, trust)
    active = report.active
    if active is None or active.integrity != "intact":
        raise ProvenanceError(
            f"has no sound credential to timestamp ({report.detail or report.integrity})",
            hint="A timestamp vouches for a signature over these very bytes.",
        )
    if active.stamped:
        return None
    if active.trust != "own" and leaf_fingerprint(report.store, active.label) != signer.fingerprint:
        raise ProvenanceError(
            f"was signed by {active.signed_by or 'someone else'}",
            hint="Only the signer of a file can add to its credential; give the same certificate and key.",
        )
    if mime not in STAMPABLE:
        raise ProvenanceError(
            "can't be timestamped after signing: the signature covers the length in its header",
            hint="PNG and JPEG can; for WebP, sign with the policy fail or continue.",
        )
    signed = signer.stamp(data, mime, _update())
    _check(read_credentials(signed.data, mime, trust), active.label)
    return signed


def _update() -> dict[str, Any]:
    return {
        "label": f"urn:c2pa:{uuid.uuid4()}",
        "claim_version": 2,
        "claim_generator_info": [{**manifest.own_agent(), "specVersion": manifest.SPEC_VERSION}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [], "allActionsIncluded": True}}],
    }


def _check(report: CredentialReport, parent: str) -> None:
    labels = [found.label for found in report.manifests]
    if report.integrity != "intact" or parent not in labels[1:]:
        raise ProvenanceError(f"the timestamped file does not validate ({report.detail or 'parent missing'})")
