"""The engine `here`: this process draws one shard after another."""

from __future__ import annotations

from collections.abc import Iterator

from flows.job import Job
from flows.progress import Counter
from flows.shard import ShardReport
from flows.shard_task import draw_shard
from generators.shards import Shard


class Here:
    """Draws in the flow's own process."""

    devices = 1

    def run(self, shards: Iterator[Shard], job: Job, counter: Counter) -> Iterator[ShardReport]:
        """Draw the shards in order."""
        for shard in shards:
            yield draw_shard(shard, job, counter)

    def close(self) -> None:
        """There are no workers."""
