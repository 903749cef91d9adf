"""Handing shards to free workers, and redrawing the shard of a worker that died or hangs.

A shard whose worker was lost is looked for in the catalog first: it may have been published. Otherwise it is
drawn again, once as it is, then in halves, so that one recipe that kills or hangs its worker ends as a failed
row and every other one is drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic

from nonesuch.flows.engines.base import Crew, News
from nonesuch.flows.engines.lost import crashed, publish_lost, published_report
from nonesuch.flows.reporting.progress import Counter, Ended
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.shard import ShardReport
from nonesuch.foundation.errors import DrawingError
from nonesuch.generators.matrix.shards import Shard, split_shard

TICK = 0.5  # seconds between two looks at silent workers
DEATHS = 4  # workers in a row that may die before they have drawn anything


@dataclass(slots=True)
class _Held:
    """What one worker has in hand."""

    shard: Shard
    heard: float  # monotonic seconds of its last news
    counted: list[Ended] = field(default_factory=list)  # reported so far
    task_run: str | None = None  # id of the shard's Prefect task run
    dismissed: bool = False


class Handing:
    """Hands out the shards of one run, in as many rounds as it takes."""

    def __init__(self, crew: Crew, job: Job, counter: Counter, *, patience: float) -> None:
        """A worker without news for `patience` seconds is replaced."""
        self._crew, self._job, self._counter, self._patience = crew, job, counter, patience
        self._shards: Iterator[Shard] = iter(())
        self._again: deque[Shard] = deque()
        self._losses: dict[str, int] = {}  # by the shard's name
        self._ready: deque[int] = deque()
        self._busy: dict[int, _Held] = {}
        self._deaths = 0

    @property
    def workers(self) -> int:
        """How many workers there are now."""
        return self._crew.size

    def run(self, shards: Iterator[Shard]) -> Iterator[ShardReport]:
        """The reports of all shards as they end.

        Raises what a shard raised, and DrawingError when workers keep dying before they draw.
        """
        self._shards = shards
        while self.hand():
            for news in self._crew.news(TICK):
                yield from self.hear(news)
            self.dismiss_silent(self._patience)

    def close(self) -> None:
        """End the workers."""
        self._crew.close()

    def hand(self) -> bool:
        """Give shards to free workers; False when nothing is left to do."""
        while self._ready:
            shard = self._again.popleft() if self._again else next(self._shards, None)
            if shard is None:
                return bool(self._busy)
            worker = self._ready.popleft()
            self._busy[worker] = _Held(shard, monotonic())
            self._crew.give(worker, shard)
        return True

    def hear(self, news: News) -> Iterator[ShardReport]:
        """Take in one piece of news; the reports that come of it."""
        if news.kind == "ready":
            self._ready.append(news.worker)
            return
        held = self._busy.get(news.worker)
        if news.kind == "lost":
            self._deaths += 1
            if news.worker in self._ready:
                self._ready.remove(news.worker)
            if held is not None:
                del self._busy[news.worker]
                yield from self._lost(held, news.value)
            if self._deaths >= DEATHS:
                raise DrawingError(
                    f"{self._deaths} workers in a row have died before they drew anything; the last: {news.value}",
                    hint="Run with the engine `here` to see what is wrong.",
                )
            return
        if held is None:
            return
        held.heard = monotonic()
        if news.kind == "began":
            held.task_run = news.value
        elif news.kind == "counted":
            self._deaths = 0
            held.counted += news.value
            for ended in news.value:
                self._counter.count(*ended)
        elif news.kind == "raised":
            raise news.value
        elif news.kind == "ended":
            del self._busy[news.worker]
            yield news.value

    def dismiss_silent(self, patience: float) -> None:
        """End the workers that have reported nothing for too long."""
        for worker, held in self._busy.items():
            if monotonic() - held.heard > patience and not held.dismissed:
                held.dismissed = True
                self._crew.dismiss(worker)

    def _lost(self, held: _Held, why: str) -> Iterator[ShardReport]:
        shard = held.shard
        reason = "it hung" if held.dismissed else why
        if held.task_run is not None:
            crashed(held.task_run, reason)
        for ended in held.counted:
            self._counter.forget(*ended)
        published = published_report(self._job, shard)
        if published is not None:
            yield self._settle(*published)
            return
        losses = self._losses.pop(shard.name, 0) + 1
        if losses == 1:
            self._losses[shard.name] = losses
            self._again.append(shard)
        elif len(shard.recipes) > 1:
            for half in split_shard(shard):
                self._losses[half.name] = 1
                self._again.append(half)
        else:
            yield self._settle(*publish_lost(self._job, shard, f"the worker that drew it was lost: {reason}"))
            self._deaths = 0

    def _settle(self, report: ShardReport, ends: list[Ended]) -> ShardReport:
        for ended in ends:
            self._counter.count(*ended)
        return report
