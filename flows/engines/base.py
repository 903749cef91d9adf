"""The protocol of an engine, and what its workers report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from nonesuch.flows.reporting.progress import Counter
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.shard import ShardReport
from nonesuch.generators.matrix.shards import Shard


class Engine(Protocol):
    """Draws the shards of one run, in whatever order they come to their end."""

    @property
    def devices(self) -> int:
        """How many devices draw side by side now."""
        ...

    def run(self, shards: Iterator[Shard], job: Job, counter: Counter) -> Iterator[ShardReport]:
        """Draw and publish every shard; `shards` is asked for the next one when a device is free.

        What was handed out is brought to its end when `shards` ends. Raises what a shard raised. Asked again
        for further shards of the same run, it continues with the same workers.
        """
        ...

    def close(self) -> None:
        """End the workers; nothing is written any more."""
        ...


@dataclass(frozen=True, slots=True)
class News:
    """One thing that happened to a worker."""

    worker: int  # its number in this run
    kind: Literal["ready", "began", "counted", "ended", "raised", "lost"]
    # began: id of the shard's Prefect task run; counted: recipes that ended, each as nonesuch.flows.reporting.progress.Ended; ended: the
    # ShardReport; raised: the exception that ends the run; lost: in words, what became of the worker
    value: Any = None


class Crew(Protocol):
    """The workers of one run. A lost worker is replaced by a fresh one with another number."""

    @property
    def size(self) -> int:
        """How many workers there are now."""
        ...

    def give(self, worker: int, shard: Shard) -> None:
        """Hand a shard to a worker that is ready."""
        ...

    def news(self, seconds: float) -> Sequence[News]:
        """What has happened; waits up to `seconds` for something to happen."""
        ...

    def dismiss(self, worker: int) -> None:
        """End a worker that hangs, whatever it does; news of its loss follows."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...
