"""Loading a sweep's model, encoder and signer ahead of its first shard."""

from __future__ import annotations

from contextlib import suppress

from nonesuch.flows.run import loaded_models
from nonesuch.flows.run.job import Job
from nonesuch.foundation.errors import NonesuchError


def warm(job: Job) -> None:
    """Load what the first recipe needs. Errors are left for the flow, which meets and reports them."""
    with suppress(NonesuchError):
        first = next(iter(job.matrix), None)
        if first is None:
            return
        loaded_models.backend_for(first, job)
        if job.scorers:
            loaded_models.scoring_for(job)
