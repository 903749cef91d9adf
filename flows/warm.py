"""Loading a sweep's model, encoder and signer ahead of its first shard."""

from __future__ import annotations

from contextlib import suppress

from flows import resident
from flows.job import Job
from foundation.errors import NonesuchError


def warm(job: Job) -> None:
    """Load what the first recipe needs. Errors are left for the flow, which meets and reports them."""
    with suppress(NonesuchError):
        first = next(iter(job.matrix), None)
        if first is None:
            return
        resident.backend_for(first, job)
        if job.scorers:
            resident.scoring_for(job)
