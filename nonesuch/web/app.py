"""The application: routes, guard, error responses and the workers' lifetime. `nonesuch serve` runs it.

    create_app(Path("out"))                 # any ASGI server can serve it

Uploads are not written to disk and nothing is downloaded. In a catalog, only thumbnails and the log of picks are written.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from nonesuch.catalogs.storage.mirror import located
from nonesuch.foundation.errors import InputError, NonesuchError
from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.marking.manifest import own_version
from nonesuch.web import warming
from nonesuch.web.gallery.room import open_room
from nonesuch.web.guard import Guard
from nonesuch.web.pool import Pool
from nonesuch.web.repository import Repository
from nonesuch.web.routes import (
    bindings,
    gallery,
    gallery_compare,
    gallery_grid,
    gallery_image,
    gallery_picks,
    pages,
    verify,
)
from nonesuch.web.site import Site, open_templates
from nonesuch.web.upload_limits import Limits, Refused

_MAX_WORKERS = 4


def create_app(
    catalog: Path | None = None,
    *,
    trust: Path | None = None,
    limits: Limits | None = None,
    names: Iterable[str] = (),
    addresses: bool = False,
    who: str | None = None,
    watermark_key: bytes | None = None,
) -> FastAPI:
    """The server's ASGI application.

    catalog    an output folder to look images up in; also the repository of the soft-binding API, and the gallery
    trust      a PEM list of trust anchors in place of the C2PA list
    limits     limits on one upload
    names      host names that it accepts, besides localhost
    addresses  whether it accepts any IP address as its host, not only loopback ones
    who        name of the user who picks in the gallery; default: the operating system's user
    watermark_key  a secret one, looked for besides the public key; it never leaves the server

    Raises InputError for a catalog or trust list that can't be used.
    """
    limits = limits or Limits()
    catalog = None if catalog is None else located(catalog)  # a URL's catalog is read from its mirror
    settings = {
        "catalog": catalog and str(catalog.resolve()),
        "trust": trust and str(trust.resolve()),
        "max_pixels": limits.max_pixels,
        "watermark_key": watermark_key and watermark_key.hex(),
    }
    size = limits.workers or min(_MAX_WORKERS, len(os.sched_getaffinity(0)))
    site = Site(
        limits=limits,
        pool=Pool(settings, size=size, seconds=limits.seconds, wait=limits.wait_seconds),
        trust=load_trust(trust),
        catalog=catalog,
        repository=None if catalog is None else Repository(catalog),
        templates=open_templates(),
        room=None if catalog is None else open_room(catalog, limits, who),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await warming.first(site.room, site.pool)
        behind = None if site.room is None else asyncio.create_task(warming.further(site.room))
        yield
        if behind is not None:
            behind.cancel()
        if site.room is not None:
            site.room.threads.stop()
        await site.pool.stop()

    app = FastAPI(
        title="nonesuch",
        version=own_version(),
        description="Verifies where images come from, and finds the manifests of images that lost theirs.",
        docs_url=None,  # FastAPI's own pages load scripts from other hosts
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.site = site
    app.add_middleware(Guard, names=tuple(names), addresses=addresses)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(NonesuchError, _failed)
    app.include_router(pages.router)
    app.include_router(verify.router)
    app.include_router(bindings.router)
    for part in (gallery, gallery_image, gallery_grid, gallery_compare, gallery_picks):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=str(files("nonesuch.web") / "static")), name="static")
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    answer = gallery.told(request, error.status, error.message) or JSONResponse(
        {"error": error.message}, error.status
    )
    if error.retry is not None:
        answer.headers["Retry-After"] = str(error.retry)
    return answer


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    return JSONResponse({"error": f"{place}: {first['msg']}"}, 400)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, NonesuchError)
    status = 400 if isinstance(error, InputError) else 500
    return gallery.told(request, status, error.message, error.hint) or JSONResponse(
        {"error": error.message}, status
    )
