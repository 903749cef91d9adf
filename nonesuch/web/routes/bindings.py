"""The C2PA soft-binding resolution API, answered from the catalog.

C2PA specification 2.4, "Soft Binding Resolution API"; its optional byReference query, for which a server would fetch
an address that an untrusted client names, is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from nonesuch.web.api_models import Algorithm, Algorithms, BindingQuery, ErrorBody, Match, Matches
from nonesuch.web.pool import WorkerFailed
from nonesuch.web.repository import FINGERPRINTS, WATERMARKS, active_only, parse_binding
from nonesuch.web.routes.verify import UPLOAD_BODY, UPLOAD_ERRORS
from nonesuch.web.site import Site, site_of
from nonesuch.web.upload_limits import Refused

router = APIRouter(tags=["soft binding"])

MOST = 100  # matches that one query returns
_LONGEST_QUERY = 2000  # characters of a URL's query
_INVALID: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "Invalid query value"},
    "4XX": {"model": ErrorBody, "description": "Refused"},
    503: {"model": ErrorBody, "description": "The server was started without a catalog"},
}

Top = Annotated[int, Query(alias="maxResults", ge=1, description="Maximum number of manifests to return.")]
HintAlgorithm = Annotated[
    str | None, Query(alias="hintAlg", max_length=200, description="Algorithm of a known binding.")
]
HintValue = Annotated[
    str | None, Query(alias="hintValue", max_length=2000, description="Base64 of that binding's value.")
]
OneAlgorithm = Annotated[
    str | None, Query(alias="alg", max_length=200, description="Search only by this algorithm.")
]


@router.get(
    "/matches/byBinding",
    summary="Manifest ids for a soft binding",
    operation_id="queryByBinding",
    responses={**_INVALID, 414: {"model": ErrorBody, "description": "Query too long, use POST"}},
)
async def by_binding(
    request: Request,
    alg: Annotated[str, Query(description="Name of the algorithm, see /services/supportedAlgorithms.")],
    value: Annotated[str, Query(description="Base64 of the binding's value.")],
    top: Top = 10,
) -> Matches:
    if len(request.url.query) > _LONGEST_QUERY:
        raise Refused(414, "the query is too long; use POST")
    return await _by_binding(request, alg, value, top)


@router.post(
    "/matches/byBinding",
    summary="Manifest ids for a soft binding that is too large for a URL",
    operation_id="queryByLargeBinding",
    responses=_INVALID,
)
async def by_large_binding(request: Request, query: BindingQuery, top: Top = 10) -> Matches:
    return await _by_binding(request, query.alg, query.value, top)


@router.post(
    "/matches/byContent",
    summary="Manifest ids for an image, by the watermark or fingerprint found in it",
    operation_id="uploadFile",
    response_model=Matches,
    responses=UPLOAD_ERRORS | _INVALID,
    openapi_extra=UPLOAD_BODY,
)
async def by_content(
    request: Request,
    alg: OneAlgorithm = None,
    top: Top = 10,
    hint_alg: HintAlgorithm = None,
    hint_value: HintValue = None,
) -> Matches:
    site = _with_catalog(request)
    if alg is not None and alg not in (*WATERMARKS, *FINGERPRINTS):
        raise Refused(400, f"the algorithm {alg!r} is not supported")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind not in ("multipart/form-data", "application/octet-stream"):
        raise Refused(415, "only images can be searched for; set the Content-Type to image/…")
    found = await site.matches(request, alg, min(top, MOST))
    if hint_alg is not None and hint_value is not None:
        hinted = await _by_binding(request, hint_alg, hint_value, top)
        known = {name for name, _ in found}
        found += [(m.manifestId, m.similarityScore) for m in hinted.matches if m.manifestId not in known]
    return _matches(found[:top])


@router.get(
    "/manifests/{manifestId}",
    summary="A manifest store, by the id of its active manifest",
    operation_id="getManifestById",
    response_class=Response,
    responses={
        **_INVALID,
        200: {"content": {"application/c2pa": {"schema": {"type": "string", "format": "binary"}}}},
        404: {"model": ErrorBody, "description": "No such manifest"},
    },
)
async def manifest(
    request: Request,
    manifest_id: Annotated[str, Path(alias="manifestId", description="urn:c2pa:…, from a match.")],
    active: Annotated[
        bool,
        Query(
            alias="returnActiveManifest", description="Only the active manifest, without its ingredients'."
        ),
    ] = False,
) -> Response:
    site = _with_catalog(request)
    try:
        answer = await site.pool.ask("manifest", manifest_id=manifest_id)
    except WorkerFailed as error:
        raise Refused(500, f"the manifest could not be read: {error}") from error
    if "refused" in answer:
        raise Refused(*answer["refused"])
    if "failed" in answer:
        raise Refused(500, f"the manifest could not be read: {answer['failed']}")
    if answer["store"] is None:
        raise Refused(404, "this server has no such manifest")
    store = base64.b64decode(answer["store"])
    return Response(active_only(store) if active else store, media_type="application/c2pa")


@router.get(
    "/services/supportedAlgorithms",
    summary="The supported soft binding algorithms",
    operation_id="getSupportedBindings",
)
async def supported_algorithms() -> Algorithms:
    return Algorithms(
        watermarks=[Algorithm(alg=name) for name in WATERMARKS],
        fingerprints=[Algorithm(alg=name) for name in FINGERPRINTS],
    )


async def _by_binding(request: Request, algorithm: str, value: str, top: int) -> Matches:
    site = _with_catalog(request)
    assert site.repository is not None
    bits = parse_binding(algorithm, value)
    assert site.room is not None
    hits = await site.room.threads.ask(site.repository.by_binding, algorithm, bits, min(top, MOST))
    return _matches((hit.manifest_id, hit.score) for hit in hits)


def _with_catalog(request: Request) -> Site:
    site = site_of(request)
    if site.repository is None:
        raise Refused(503, "this server has no catalog; start it with --catalog DIR")
    return site


def _matches(found: Iterable[tuple[str, int]]) -> Matches:
    return Matches(matches=[Match(manifestId=name, similarityScore=score) for name, score in found])
