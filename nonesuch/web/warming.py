"""What is loaded after the server's start, so that a page's first use is as fast as its second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from starlette.datastructures import QueryParams

from nonesuch.foundation.errors import NonesuchError
from nonesuch.web.gallery.reader import Gallery
from nonesuch.web.gallery.room import Room
from nonesuch.web.gallery.view import View, default_order
from nonesuch.web.pool import Pool
from nonesuch.web.routes.gallery_compare import blind
from nonesuch.web.routes.gallery_grid import whole
from nonesuch.web.upload_limits import Refused


async def first(room: Room | None, pool: Pool) -> None:
    """Before the first visitor: the gallery's first screen and one worker."""
    if room is not None:
        await _try(room.threads.ask(room.warm))
    await pool.warm()


async def further(room: Room) -> None:
    """While the first visitors are served: the libraries and indexes of the other pages."""
    await _try(room.threads.ask(whole, room, QueryParams()))
    await _try(room.threads.ask(blind, room, QueryParams(blind="model")))
    if room.gallery.columns.embedding:
        with suppress(NonesuchError):  # a catalog without an encoder, or whose encoder is not on this machine
            await asyncio.wrap_future(room.gallery.encoding.load())
            await _try(room.threads.ask(_search, room.gallery))


def _search(gallery: Gallery) -> None:
    gallery.ranked(View(default_order(gallery.columns), True, like="a picture"))


async def _try(asked: Awaitable[object]) -> None:
    with suppress(Refused, NonesuchError):  # the visitor who asks for it sees why
        await asked
