"""The pages for people: the verification page, its verdict, and the API's description."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from nonesuch.web.site import Site, site_of
from nonesuch.web.upload_limits import Refused
from nonesuch.web.verdict_words import explain

router = APIRouter(include_in_schema=False)


@router.get("/")
async def verify_page(request: Request) -> HTMLResponse:
    return site_of(request).render("verify.html", result=None)


@router.post("/")
async def verdict_page(request: Request) -> HTMLResponse:
    """The same page with the verdict on it, for browsers without scripts."""
    status, result = await _result(site_of(request), request)
    return site_of(request).render("verify.html", status, result=result)


@router.post("/verdict")
async def verdict_part(request: Request) -> HTMLResponse:
    """The verdict alone, which the page's script puts in its place."""
    status, result = await _result(site_of(request), request)
    return site_of(request).render("verdict.html", status, result=result)


@router.get("/api")
async def api_page(request: Request) -> HTMLResponse:
    schema: dict[str, Any] = request.app.openapi()
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    return site_of(request).render(
        "api.html", schema=schema, operations=operations, base=str(request.base_url)
    )


async def _result(site: Site, request: Request) -> tuple[int, dict[str, Any]]:
    try:
        verdict = await site.verdict(request)
    except Refused as refused:
        return refused.status, {"refused": refused.message, "name": ""}
    whole = "".join(
        c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1]  # no foreign text may change directions
        for c in json.dumps(verdict.to_json(), ensure_ascii=False, indent=2)
    )
    return 200, {"refused": None, "name": verdict.path, "said": explain(verdict), "json": whole}
