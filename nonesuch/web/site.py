"""What the routes share: the catalog, the workers, the limits and the templates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from nonesuch.provenance.credentials.trustlist import TrustSet
from nonesuch.provenance.verifying.steps import Step, cut_short
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.web.facts import plain
from nonesuch.web.gallery.room import Room
from nonesuch.web.gallery.shown import add_filters
from nonesuch.web.pool import Pool, WorkerFailed
from nonesuch.web.repository import Repository
from nonesuch.web.upload_limits import RETRY, Limits, Refused
from nonesuch.web.uploads import Held, Upload, read_upload


@dataclass(slots=True)
class Site:
    """One running server."""

    limits: Limits
    pool: Pool
    trust: TrustSet  # for verdicts on images that crashed their worker
    catalog: Path | None
    repository: Repository | None
    templates: Environment = field(repr=False)
    room: Room | None = None  # the gallery of the catalog
    held: Held = field(default_factory=Held)  # memory that uploads use now

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page, with every value escaped."""
        return HTMLResponse(self.templates.get_template(template).render(site=self, **values), status)

    async def verdict(self, request: Request) -> Verdict:
        """The verdict on the image that a request carries. Raises Refused when it can't be taken."""
        async with self.uploaded(request) as upload:
            return await self.verdict_on(upload)

    async def verdict_on(self, upload: Upload) -> Verdict:
        """The verdict on an image; on what was found so far when it crashes or overruns its worker."""
        answer = await self._ask("verify", upload)
        if "failed" not in answer:
            return Verdict.from_json(answer["verdict"])
        last = answer["last"] and Step.from_json(answer["last"])
        return cut_short(last, upload.name, str(answer["failed"]), self.trust)

    async def matches(self, request: Request, algorithm: str | None, top: int) -> list[tuple[str, int]]:
        """The manifest ids, with scores, for the image that a request carries. Raises Refused."""
        async with self.uploaded(request) as upload:
            answer = await self._ask("match", upload, algorithm=algorithm, top=top)
        if answer.get("late"):
            raise Refused(503, f"the search for the image failed: it {answer['failed']}", retry=RETRY)
        if "failed" in answer:
            raise Refused(400, f"the search for the image failed: {answer['failed']}")
        return [(name, score) for name, score in answer["matches"]]

    @asynccontextmanager
    async def uploaded(self, request: Request) -> AsyncIterator[Upload]:
        """The image that a request carries, while it is in memory. Raises Refused when it can't be taken."""
        with self.held.share() as share:
            yield await read_upload(request, self.limits, share)

    async def _ask(self, job: str, upload: Upload, **details: Any) -> dict[str, Any]:
        try:
            answer = await self.pool.ask(job, upload.data, name=upload.name, **details)
        except WorkerFailed as error:
            answer = {"failed": str(error), "late": error.late, "last": error.last}
        if "refused" in answer:
            raise Refused(*answer["refused"])
        return answer


def site_of(request: Request) -> Site:
    """The site that a request came to."""
    site: Site = request.app.state.site
    return site


def open_templates() -> Environment:
    """The templates; values are escaped, and a missing one is an error."""
    environment = Environment(
        loader=PackageLoader("nonesuch.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    add_filters(environment)
    return environment
