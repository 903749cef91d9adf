"""What the routes share: the catalog, the workers, the limits and the templates."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from nonesuch.web.facts import plain
from nonesuch.web.gallery.room import Room
from nonesuch.web.gallery.shown import add_filters
from nonesuch.web.limits import Limits, Refused
from nonesuch.web.pool import Pool, WorkerFailed
from nonesuch.web.repository import Repository
from nonesuch.web.uploads import Upload, read_upload
from provenance.trustlist import TrustSet
from provenance.verdict import Verdict, failed


@dataclass(slots=True)
class Site:
    """One running server."""

    limits: Limits
    pool: Pool
    trust: TrustSet  # for verdicts on images that broke their worker
    catalog: Path | None
    repository: Repository | None
    templates: Environment = field(repr=False)
    room: Room | None = None  # the gallery of the catalog
    uploads: int = 0  # in memory now

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page, with every value escaped."""
        return HTMLResponse(self.templates.get_template(template).render(site=self, **values), status)

    async def verdict(self, request: Request) -> Verdict:
        """The verdict on the image that a request carries. Raises Refused when it can't be taken."""
        upload, answer = await self._ask(request, "verify")
        if "verdict" in answer:
            return Verdict.from_json(answer["verdict"])
        return failed(upload.name, str(answer["failed"]), self.trust.to_json())

    async def matches(self, request: Request, algorithm: str | None, top: int) -> list[tuple[str, int]]:
        """The manifest ids, with scores, for the image that a request carries. Raises Refused."""
        _, answer = await self._ask(request, "match", algorithm=algorithm, top=top)
        if answer.get("late"):
            raise Refused(503, f"the image could not be searched for now: it {answer['failed']}; try again")
        if "failed" in answer:
            raise Refused(400, f"the image can't be searched for: {answer['failed']}")
        return [(name, score) for name, score in answer["matches"]]

    async def _ask(self, request: Request, job: str, **details: Any) -> tuple[Upload, dict[str, Any]]:
        if self.uploads >= self.limits.uploads:
            raise Refused(503, "the server has its hands full; try again in a moment")
        self.uploads += 1
        try:
            upload = await read_upload(request, self.limits)
            try:
                answer = await self.pool.ask(job, upload.data, name=upload.name, **details)
            except WorkerFailed as error:
                answer = {"failed": str(error), "late": error.late}
        finally:
            self.uploads -= 1
        if "refused" in answer:
            raise Refused(*answer["refused"])
        return upload, answer


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
