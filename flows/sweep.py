"""The Prefect flow `sweep`: one task per shard, artifacts for progress and summary.

What is done is read from the catalog, never from Prefect's cache: running a sweep again draws only
what the catalog lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any, cast
from uuid import UUID

from prefect import flow
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from nonesuch.catalogs.storage.parts import drop_failed, published_ids
from nonesuch.flows.engines import open_engine
from nonesuch.flows.repair.missing import tell_lost
from nonesuch.flows.repair.repairing import Repair, check_repairable
from nonesuch.flows.reporting import metrics
from nonesuch.flows.reporting.progress import Counter, tell_noted, tell_planned, watched_by
from nonesuch.flows.reporting.run_page import write_page
from nonesuch.flows.reporting.status_file import StatusFile
from nonesuch.flows.reporting.summary import Summary, summarise
from nonesuch.flows.run import loaded_models
from nonesuch.flows.run.destination import held_destination
from nonesuch.flows.run.ending import Ending
from nonesuch.flows.run.job import pending, prepare
from nonesuch.flows.run.output_folder import keep_sweep_file
from nonesuch.flows.run.rounds import rounds
from nonesuch.flows.run.shard import ShardReport
from nonesuch.generators.matrix.shards import cut_shards

PROGRESS_EVERY = 5.0  # seconds between two updates of the progress artifact


@flow(name="sweep", flow_run_name="{sweep_file}", persist_result=False, validate_parameters=False)
def sweep(
    sweep_file: Path,
    out: Path,
    retry_failed: bool = False,
    online: bool = True,
    shard_size: int | None = None,
    engine: Mapping[str, Any] | None = None,
    policy: Path | None = None,
    repair: bool = False,
) -> Summary:
    """Draw what the catalog in `out`, a folder or an fsspec URL, lacks of a sweep.

    `retry_failed` draws recipes again whose rows say `failed`; `repair`, for folders, first mends what was lost or
    damaged and draws lost images again; `online` allows models that the
    sweep names to be fetched; `engine` holds keys of nonesuch.generators.sweepfile.run_engine.RunEngine that replace the sweep
    file's. Raises InputError, StorageError or DrawingError with what to do.
    """
    job = prepare(Path(sweep_file), Path(out), online=online, policy=policy)
    engine_of_run = open_engine(job.sweep.engine.changed(engine))
    if repair:
        check_repairable(job)
    loaded_models.signer_for(job)  # a bad certificate ends the run before anything is drawn
    with held_destination(job) as (job, destination), ExitStack() as watchers:
        destination.keep(keep_sweep_file(job.out, job.sweep.name, job.sweep.source.text.encode()))
        mending = Repair(job) if repair else None
        if retry_failed and drop_failed(job.out, job.sweep.name):
            destination.rewritten()
        lost = [] if mending is None else mending.recipes
        missing = tell_lost(job, sweep_file) if mending is None else 0
        published = published_ids(job.out)
        new = sum(1 for _ in pending(job.matrix, published)) if len(published) else job.matrix.count()
        left = new + len(lost)
        ending = Ending(job, lambda: engine_of_run.devices)
        total = ending.allowed(left, lambda: chain(lost, pending(job.matrix, published)))
        status_file = StatusFile(job.out, job.sweep.name)
        watchers.enter_context(watched_by(status_file))
        watchers.enter_context(watched_by(metrics.RunMetrics(job.sweep.name)))
        tell_planned(total, job.matrix.count() - new - len(lost))
        if mending is not None and (announced := mending.announced()) is not None:
            tell_noted(announced)
        counter = Counter(total)
        artifact = _Progress(job.sweep.name)
        begun = monotonic()
        size = shard_size or job.sweep.shard_size
        watchers.callback(engine_of_run.close)
        failed_again = 0
        work = chain([lost] if lost else [], rounds(job, published))
        for recipes in work:
            again = mending is not None and recipes is lost
            size_now = mending.shard_size if mending is not None and again else size
            shards = cut_shards(ending.within(recipes), size_now, sweep=job.sweep.name, again=again)
            for report in engine_of_run.run(ending.watch(shards, counter), job, counter):
                destination.arrived(f"{job.sweep.name}-{report.name}")
                ending.pay(report.cost)
                failed_again += report.failed if again else 0
                metrics.published(job.sweep.name)
                artifact.update(counter, report)
            if ending.ended_by is not None or ending.spent:
                break
        ended_by = ending.ended_by
        if ended_by is None and total < left:
            ended_by = ending.cut(total)
        status_file.ended()
        seconds = monotonic() - begun
        summary = summarise(job, counter.tally, seconds, ended_by, ending.device_hours(), ending.cost)
        repaired = None if mending is None else mending.ended(failed_again)
        summary = replace(summary, missing=missing, repaired=repaired)
        if summary.planned:
            summary = write_page(job, summary)
            destination.keep(str(summary.page))
        _publish_summary(summary)
        return summary


class _Progress:
    """The run's progress artifact, renewed at most every few seconds."""

    def __init__(self, sweep_name: str) -> None:
        created = create_progress_artifact(
            progress=0.0, key=_key("progress", sweep_name), description=f"Drawing the sweep {sweep_name}"
        )
        self._id = cast(UUID, created)  # a coroutine only in async flows
        self._next = monotonic() + PROGRESS_EVERY

    def update(self, counter: Counter, report: ShardReport) -> None:
        tally = counter.tally
        ended = tally.done + tally.failed
        if monotonic() < self._next and ended < tally.total:
            return
        self._next = monotonic() + PROGRESS_EVERY
        ready = f"{tally.fetched} fetched, " if tally.fetched else ""
        update_progress_artifact(
            self._id,
            100.0 * ended / max(1, tally.total),
            description=f"{tally.done - tally.fetched} drawn, {ready}{tally.failed} failed of {tally.total}; last shard {report.seconds:.1f} s",
        )


def _publish_summary(summary: Summary) -> None:
    create_markdown_artifact(summary.markdown(), key=_key("summary", summary.sweep))
    if summary.by_facet:
        create_table_artifact([dict(row) for row in summary.by_facet], key=_key("facets", summary.sweep))
    if summary.top:
        create_table_artifact([dict(row) for row in summary.top], key=_key("top", summary.sweep))


def _key(kind: str, sweep_name: str) -> str:
    """Prefect's artifact keys take lower-case letters, digits and dashes only."""
    slug = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in sweep_name.lower())
    return f"{kind}-{slug}".strip("-")
