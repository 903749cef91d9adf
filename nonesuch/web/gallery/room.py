"""What the gallery's routes share: the open catalog, its threads, its files and its visitors' tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from starlette.datastructures import QueryParams

from nonesuch.web.gallery.image_responses import ImageFiles
from nonesuch.web.gallery.panel import overview, panel
from nonesuch.web.gallery.reader import Gallery
from nonesuch.web.gallery.sessions import Sessions
from nonesuch.web.gallery.threads import Threads
from nonesuch.web.gallery.view import parse_view
from nonesuch.web.upload_limits import Limits

P = ParamSpec("P")
T = TypeVar("T")
_THREADS = 4  # concurrent queries to the catalog
SECONDS = 30.0  # for one answer


@dataclass(frozen=True, slots=True)
class Room:
    """The gallery of one running server."""

    gallery: Gallery
    threads: Threads
    files: ImageFiles
    sessions: Sessions

    async def ask(
        self, params: QueryParams, work: Callable[Concatenate[Room, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `work` returns for a page's query string, within the time limit. Raises Refused 503 when it takes longer."""
        if params.get("like"):
            await self.gallery.encoding.ready(SECONDS)
        return await self.threads.ask(work, self, *args, **kwargs)

    def warm(self) -> None:
        """Read what the first page needs, so that the first visitor does not wait for it."""
        view = parse_view((), self.gallery.columns)
        overview(self.gallery)
        self.gallery.page(view)
        panel(self.gallery, view)


def open_room(catalog: Path, limits: Limits, who: str | None) -> Room:
    """The gallery of an output folder; `who` is the name of the user who picks. Raises InputError when there is no catalog."""
    gallery = Gallery(catalog, who=who)
    return Room(gallery, Threads(_THREADS, SECONDS), ImageFiles(gallery, limits.max_pixels), Sessions())
