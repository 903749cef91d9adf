"""What stays loaded in a worker process: one backend, one encoder with its scorers, one signer.

A GPU holds one large model at a time, so a sweep over several models lets the last one go before
it loads the next; recipes are ordered so that this happens once for each model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

from nonesuch.flows.run.job import Job
from nonesuch.flows.run.signer_choice import signer_choice, watermark_key
from nonesuch.foundation.errors import NonesuchError
from nonesuch.generators.backends import Backend, open_backend
from nonesuch.generators.recipe import Recipe
from nonesuch.provenance.signing.signer import Signer, check_authority, open_chosen
from nonesuch.scoring.base import Encoder, Scorer
from nonesuch.scoring.encoders import open_encoder
from nonesuch.scoring.scorers import open_scorers

T = TypeVar("T")


class _Place(Generic[T]):
    """Room for one loaded part; asking for another lets the old one go first."""

    def __init__(self, release: Callable[[T], None] = lambda part: None) -> None:
        self._lock = threading.Lock()
        self._held: tuple[Hashable, T] | None = None
        self._release = release

    def hold(self, key: Hashable, load: Callable[[], T]) -> T:
        with self._lock:
            if self._held is None or self._held[0] != key:
                if self._held is not None:
                    held, self._held = self._held, None
                    self._release(held[1])
                self._held = (key, load())
            return self._held[1]


_backend: _Place[Backend] = _Place(lambda backend: backend.close())
_encoder: _Place[Encoder] = _Place()
_scorers: _Place[list[Scorer]] = _Place()
_signer: _Place[Signer] = _Place()
_watermark_key: _Place[bytes | None] = _Place()


def backend_for(recipe: Recipe, job: Job) -> Backend:
    """The loaded backend of the recipe's model. Raises DrawingError when it can't be loaded."""

    facts = job.facts(recipe)
    # The same model may be reached elsewhere, or otherwise, in the next run.
    reached = None if facts.remote is None else (facts.remote.url, facts.remote.connection.model_dump_json())

    def load() -> Backend:
        backend = open_backend(facts, network=job.online)
        backend.load()
        return backend

    return _backend.hold((recipe.model_digest, reached), load)


def scoring_for(job: Job) -> tuple[Encoder, list[Scorer]]:
    """The sweep's encoder, kept from sweep to sweep, and its scorers."""
    wanted = job.sweep.scoring
    encoder = _encoder.hold(
        (wanted.encoder, job.online), lambda: open_encoder(wanted.encoder, online=job.online)
    )
    scorers = _scorers.hold(
        job.matrix,  # itself, not its id, which another matrix may have after it
        lambda: open_scorers(
            job.scorers,
            encoder,
            facet_texts=job.matrix.facet_texts,
            template=job.sweep.prompt,
            aesthetic_head=wanted.aesthetic,
            safety_threshold=wanted.safety_threshold,
            online=job.online,
        ),
    )
    return encoder, scorers


def signer_for(job: Job) -> Signer | None:
    """The signer, or None when the sweep asks for no credentials.

    Raises InputError for a bad certificate, ProvenanceError when the sweep can't do without a timestamp authority
    that is away.
    """
    if not job.sweep.marking.credentials:
        return None
    choice = signer_choice(job.sweep)

    def load() -> Signer:
        signer = open_chosen(choice)
        if choice.timestamp_url is not None and choice.timestamp_policy == "fail":
            check_authority(signer)  # else every image would be drawn in vain
        return signer

    return _signer.hold(choice, load)


def watermark_key_for(job: Job) -> bytes | None:
    """The secret key of the sweep's watermark, read once a run; None for the public key. Raises InputError."""
    named = job.sweep.marking.watermark_key
    if named is None:
        return None
    place = (job.matrix, job.sweep.source.folder, named)
    return _watermark_key.hold(place, lambda: watermark_key(job.sweep))


def warm(job: Job) -> None:
    """Load what the first recipe needs. Errors are left for the flow, which meets and reports them."""
    with suppress(NonesuchError):
        first = next(iter(job.matrix), None)
        if first is None:
            return
        backend_for(first, job)
        if job.scorers:
            scoring_for(job)
