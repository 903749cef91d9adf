"""The engine `here`: this process draws one shard after another."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from nonesuch.flows.reporting.progress import Counter
from nonesuch.flows.run.ending import looks_back
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.overlapping import overlapped
from nonesuch.flows.run.shard import ShardReport
from nonesuch.flows.run.shard_task import draw_shard
from nonesuch.generators.matrix.shards import Shard
from nonesuch.generators.sweepfile.run_engine import RunEngine


class Here:
    """Draws in the flow's own process: the next shard while the last one's images are being finished.

    It has one device; the sweep's choice of others has no effect.
    """

    devices = 1

    def __init__(self, choice: RunEngine) -> None:
        self._reports: Generator[ShardReport, None, None] | None = None

    def run(self, shards: Iterator[Shard], job: Job, counter: Counter) -> Iterator[ShardReport]:
        """Draw the shards in order."""

        def draw(shard: Shard, drawn: Callable[[], None]) -> ShardReport:
            return draw_shard(shard, job, counter, drawn)

        self._reports = overlapped(shards, draw, ahead=not looks_back(job))
        return self._reports

    def close(self) -> None:
        """End the shards at hand."""
        if self._reports is not None:
            self._reports.close()
