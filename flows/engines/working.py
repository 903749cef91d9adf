"""What a worker does, wherever it runs: take a shard, draw it, report on it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from time import monotonic
from typing import Any, Protocol

from nonesuch.catalogs.storage.remote_output import join_output, staging
from nonesuch.flows.reporting.progress import Ended
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.output_folder import at_work, make_room
from nonesuch.flows.run.shard_task import draw_shard
from nonesuch.generators.matrix.shards import Shard

EVERY = 0.5  # seconds between two messages about recipes that have ended


class Desk(Protocol):
    """Where a worker gets its shards and tells what happens to them."""

    def take(self) -> Shard | None:
        """The next shard, None when the run is over. Waits."""
        ...

    def tell(self, kind: str, value: Any = None) -> None:
        """Send one piece of nonesuch.flows.engines.base.News."""
        ...


def work(desk: Desk, job: Job) -> None:
    """Draw shards until there are no more, inside the context of the flow's run. An error is reported, and ends it."""
    try:
        if job.url is not None:
            here = staging(job.url)
            make_room(here)
            join_output(job.url, here, job.holder)
            job = replace(job, out=here)
        with at_work(job.out):
            desk.tell("ready")
            while (shard := desk.take()) is not None:
                counter = _Telling(desk)
                report = draw_shard(shard, job, counter)
                counter.flush()
                desk.tell("ended", report)
                desk.tell("ready")
    except Exception as error:
        desk.tell("raised", _portable(error))


class _Telling:
    """A nonesuch.flows.reporting.progress.Counting that tells the desk, a few recipes at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._ends: list[Ended] = []
        self._told = 0.0

    def begun(self, task_run: str) -> None:
        """The shard's Prefect task runs."""
        self._desk.tell("began", task_run)

    def count(self, status: str, fetched: bool = False) -> None:
        """One recipe has ended."""
        self._ends.append((status, fetched))
        if monotonic() - self._told >= EVERY:
            self.flush()

    def flush(self) -> None:
        """Report what has not been reported yet."""
        if self._ends:
            self._desk.tell("counted", self._ends)
            self._ends = []
        self._told = monotonic()


def _portable(error: Exception) -> Exception:
    """The error itself where it can travel, otherwise its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
