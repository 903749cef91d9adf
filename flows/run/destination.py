"""The destination of a run's output: the folder it draws into, and the URL that the output is uploaded to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from nonesuch.catalogs.storage.remote_output import remote_output
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.output_folder import hold


class Destination(Protocol):
    """What a run reports about its output, so that all of it reaches its destination."""

    def arrived(self, part_name: str) -> None:
        """A shard was published."""
        ...

    def rewritten(self) -> None:
        """Parts in the folder's catalog were changed or removed."""
        ...

    def keep(self, name: str) -> None:
        """A file was written, by its name relative to the folder."""
        ...


class _Folder:
    """The folder itself: everything is there already."""

    def arrived(self, part_name: str) -> None: ...

    def rewritten(self) -> None: ...

    def keep(self, name: str) -> None: ...


@contextmanager
def held_destination(job: Job) -> Iterator[tuple[Job, Destination]]:
    """Hold a job's output for one run; the job as its shards are to be drawn.

    Raises StorageError when it can't be written or another run holds it.
    """
    with hold(job.out, place=job.place):
        if job.url is None:
            yield job, _Folder()
            return
        with remote_output(job.url, job.out) as output:
            yield replace(job, holder=output.holder), output
