"""The encoder that searches by text, loaded once in its own thread.

Loading it imports torch and may read a large model. No request waits for it in one of the gallery's few threads, or the
other pages would wait too.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from nonesuch.catalogs.query import Catalog
from nonesuch.web.upload_limits import RETRY, Refused

if TYPE_CHECKING:
    from nonesuch.scoring.base import Encoder


class Encoding:
    """The encoder of one catalog's embeddings."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._loading: Future[Encoder] | None = None

    def load(self) -> Future[Encoder]:
        """Start loading the encoder, unless that was done; a failure is not remembered, since a catalog grows."""
        with self._lock:
            failed = self._loading is not None and self._loading.done() and self._loading.exception()
            if self._loading is None or failed:
                self._loading = Future()
                threading.Thread(target=self._run, args=[self._loading], daemon=True).start()
            return self._loading

    async def ready(self, seconds: float) -> None:
        """Wait until texts can be encoded. Raises Refused 503 when that takes too long, and what loading raises."""
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self.load())), seconds)
        except TimeoutError as error:
            message = "the search by text is still loading; try again in a moment"
            raise Refused(503, message, retry=RETRY) from error

    def vector(self, text: str) -> Any:
        """The embedding of a text, float32 [dim]; waits for the encoder."""
        return self.load().result().texts([text])[0]

    def _run(self, loading: Future[Encoder]) -> None:
        from nonesuch.choosing.like import catalog_encoder

        try:
            loading.set_result(catalog_encoder(self._catalog))
        except BaseException as error:
            loading.set_exception(error)
