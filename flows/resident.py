"""What stays loaded in a worker process: one backend, one set of scorers, one signer.

A GPU holds one large model at a time, so a sweep over several models lets the last one go before
it loads the next; recipes are ordered so that this happens once for each model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from generators.backends import Backend, open_backend
from generators.recipe import Recipe
from provenance.signing import Signer, open_signer
from scoring.encoders import Encoder, open_encoder
from scoring.scorers import Scorer, open_scorers

from flows.job import Job


@dataclass(slots=True)
class _Kept:
    key: Any = None
    part: Any = None


_lock = threading.RLock()
_backend, _encoder, _signer = _Kept(), _Kept(), _Kept()


def backend_for(recipe: Recipe, *, revision: str | None, online: bool) -> Backend:
    """The loaded backend of the recipe's model."""

    def load() -> Backend:
        if _backend.part is not None:
            _backend.part.close()
            _backend.part = None
        backend = open_backend(recipe.model)
        backend.load(recipe.model, revision, online=online)
        return backend

    return _keep(_backend, (recipe.model, recipe.model_digest, revision), load)


def scoring_for(job: Job) -> tuple[Encoder, list[Scorer]]:
    """The sweep's encoder, kept between sweeps, and its scorers."""
    wanted = job.sweep.scoring
    encoder: Encoder = _keep(
        _encoder, wanted.encoder, lambda: open_encoder(wanted.encoder, online=job.online)
    )
    scorers = open_scorers(
        wanted.scorers,
        encoder,
        facet_texts=job.matrix.facet_texts,
        aesthetic_head=wanted.aesthetic,
        safety_threshold=wanted.safety_threshold,
        online=job.online,
    )
    return encoder, scorers


def signer_for(job: Job) -> Signer | None:
    """The signer, or None when the sweep asks for no credentials. Raises InputError for a bad certificate."""
    if not job.sweep.marking.credentials:
        return None
    return _keep(_signer, "local", open_signer)


def _keep(kept: _Kept, key: Any, load: Callable[[], Any]) -> Any:
    with _lock:
        if kept.part is None or kept.key != key:
            kept.part = load()
            kept.key = key
        return kept.part
