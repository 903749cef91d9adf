"""The Prefect task of one shard, the same in this process, in a worker process and on a Ray node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import prefect.runtime
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.utilities.annotations import quote

from nonesuch.flows.reporting.progress import Counting
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.shard import ShardReport, run_shard
from nonesuch.generators.matrix.shards import Shard


@task(name="shard", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def shard_task(name: str, work: Any) -> ShardReport:
    """Draw, score, mark and publish one shard; `work` is a quoted (Shard, Job, Counting, drawn)."""
    shard, job, counter, drawn = work
    counter.begun(str(prefect.runtime.task_run.id))
    return run_shard(shard, job, counter, drawn)


def draw_shard(
    shard: Shard, job: Job, counter: Counting, drawn: Callable[[], None] = lambda: None
) -> ShardReport:
    """Run the task of a shard inside a flow's run; `drawn` is called when the device is free again."""
    # quoted, so that Prefect does not search thousands of recipes for futures
    return shard_task(shard.name, quote((shard, job, counter, drawn)))
