"""A shard whose worker was lost: published after all, or rows that say that it can't be drawn."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

import pyarrow.parquet as pq
from prefect.client.orchestration import get_client
from prefect.states import Crashed

from nonesuch.catalogs.storage.parts import catalog_folder
from nonesuch.catalogs.storage.remote_output import fetch_part
from nonesuch.catalogs.storage.store import Store
from nonesuch.flows.reporting.progress import Ended
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.publishing import publish
from nonesuch.flows.run.shard import ShardReport
from nonesuch.flows.run.steps.catalog_rows import catalog_row
from nonesuch.generators.backends import Drawing
from nonesuch.generators.matrix.shards import Shard


def published_report(job: Job, shard: Shard) -> tuple[ShardReport, list[Ended]] | None:
    """The report and the recipes' ends of a shard that is in the catalog, None when it is not."""
    path = catalog_folder(job.out) / f"{shard.name}.parquet"
    if shard.again:  # a part of that name is the one that its images were lost from
        return None
    if not path.exists() and not (job.url and fetch_part(Store(job.url), job.out, path.name)):
        return None
    rows = pq.read_table(path).select(["status", "cost", "fetched"]).to_pylist()
    ends = [(str(row["status"]), bool(row["fetched"])) for row in rows]
    failed = sum(status == "failed" for status, _ in ends)
    cost = sum(row["cost"] or 0.0 for row in rows)
    return ShardReport(shard.key, len(ends) - failed, failed, 0.0, cost), ends


def publish_lost(job: Job, shard: Shard, reason: str) -> tuple[ShardReport, list[Ended]]:
    """Publish a shard's recipes as failed ones."""
    rows = []
    for recipe in shard.recipes:
        drawing = Drawing(recipe, None, "failed", reason, 0.0, 1, "", "")
        rows.append(
            catalog_row(drawing, shard, job.facts(recipe).revision, job.facet_values(recipe), {}, None, {})
        )
    publish(job, shard.name, rows, (), job.schema(None), again=shard.again)
    return ShardReport(shard.key, 0, len(rows), 0.0), [("failed", False)] * len(rows)


def crashed(task_run: str, why: str) -> None:
    """Report to Prefect that a shard's task run has no worker any more; if that fails, the run continues."""
    with suppress(Exception), get_client(sync_client=True) as client:
        client.set_task_run_state(UUID(task_run), Crashed(message=f"The worker was lost: {why}"), force=True)
