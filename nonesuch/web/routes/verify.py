"""`POST /api/verify`: the verdict on an uploaded image, as JSON."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from nonesuch.web.api_models import ErrorBody, VerdictBody
from nonesuch.web.site import site_of

router = APIRouter(tags=["verify"])

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"image/*": _BINARY, "multipart/form-data": _FORM}}
}
UPLOAD_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "No image, or a malformed form"},
    408: {"model": ErrorBody, "description": "The upload took too long"},
    413: {"model": ErrorBody, "description": "Too many bytes or pixels"},
    415: {"model": ErrorBody, "description": "A compressed body"},
    503: {"model": ErrorBody, "description": "Too many uploads at once"},
}


@router.post(
    "/api/verify",
    summary="Judge whether an image is AI-generated, who says so, and how certain that is",
    description=(
        "Send the image as the body, or as the file of a multipart form. It is held in memory while it is checked, "
        "and not stored. A file that can't be read gets a verdict too, with its error set."
    ),
    operation_id="verify",
    response_model=VerdictBody,
    responses=UPLOAD_ERRORS,
    openapi_extra=UPLOAD_BODY,
)
async def verify(request: Request) -> JSONResponse:
    verdict = await site_of(request).verdict(request)
    return JSONResponse(verdict.to_json())
