"""The bodies of the API's requests and answers, as its OpenAPI schema shows them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nonesuch.provenance.evidence import Confidence, Integrity, Says, TimeState, Trust
from nonesuch.provenance.verifying.verdict import Answer


class EvidenceBody(BaseModel):
    """One thing that was found."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(description="credential, ingredient, watermark, catalog, metadata:automatic1111, …")
    says: Says
    confidence: Confidence
    detail: str = Field(description="One sentence for people. May hold text from the file: escape it.")


class TrustListBody(BaseModel):
    """The trust list that signers were checked against."""

    model_config = ConfigDict(extra="forbid")

    date: str | None = Field(description="Date of the pinned C2PA list; null for another list.")
    sha256: str


class VerdictBody(BaseModel):
    """The verdict on one image; the keys are those of `nonesuch verify --json`."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(description="The uploaded file's name.")
    verdict: Answer
    confidence: Confidence
    integrity: Integrity
    trust: Trust
    signed_by: str | None
    signed_at: str | None = Field(description="ISO 8601; only with a timestamp from a trusted authority.")
    time: TimeState
    generator: str | None
    digital_source_type: list[str] = Field(description="IPTC URIs, from every manifest and XMP.")
    watermark: dict[str, Any] | None
    catalog: dict[str, Any] | None
    recipe: dict[str, Any] | None
    evidence: list[EvidenceBody]
    trust_list: TrustListBody
    error: str | None = Field(description="Why the file could not be read completely.")


class ErrorBody(BaseModel):
    """Why a request was refused."""

    error: str


class BindingQuery(BaseModel):
    """A soft binding to look up (C2PA: softBindingQuery)."""

    alg: str = Field(max_length=200)
    value: str = Field(max_length=2000, description="Base64 of the binding's value.")


class Match(BaseModel):
    """A manifest found."""

    manifestId: str
    similarityScore: int = Field(ge=0, le=100)


class Matches(BaseModel):
    """What a query found (C2PA: softBindingQueryResult)."""

    matches: list[Match]


class Algorithm(BaseModel):
    """A soft binding algorithm by its name."""

    alg: str


class Algorithms(BaseModel):
    """The algorithms that this server finds manifests by (C2PA: softBindingAlgList)."""

    watermarks: list[Algorithm]
    fingerprints: list[Algorithm]
