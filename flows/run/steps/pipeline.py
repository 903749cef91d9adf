"""The pipeline behind the drawing of a shard: scores in batches, marks and writes, while the backend draws.

One thread scores; a pool that all shards of the process share marks and writes (the encoders, the signer and the
disk release the interpreter lock). What is in the pipeline is bounded, so that a slow disk slows the drawing
down instead of filling the memory.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import cache
from queue import SimpleQueue
from typing import Final

from nonesuch.flows.reporting import metrics
from nonesuch.flows.reporting.progress import Counting
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.steps.marking_step import Finished, finish
from nonesuch.flows.run.steps.scoring_step import Scored, score
from nonesuch.generators.backends import Drawing
from nonesuch.generators.matrix.shards import Shard

FIRST_BATCH: Final = 4  # images of a shard that are scored first, so that a person soon sees some
SCORE_BATCH: Final = {"cpu": 32, "cuda": 128}  # images that are scored together later, by device
PIPELINE_BYTES: Final = 512 << 20  # of pixels in one pipeline; two shards may have one each
PIPELINE_IMAGES: Final = 512
FINISHERS: Final = max(1, min(8, (os.cpu_count() or 2) - 1))
_LOOK: Final = 0.2  # seconds between two looks at what else has happened


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(FINISHERS, thread_name_prefix="finish")


class Pipeline:
    """One shard's way from the backend to its rows.

    The drawing thread calls `put` for each drawing, then `end`; or `abandon` when drawing went wrong.
    """

    def __init__(self, shard: Shard, job: Job, counter: Counting) -> None:
        self._shard, self._job, self._counter = shard, job, counter
        self.capacity = capacity(shard)
        self._room = threading.Semaphore(self.capacity)
        self._waiting: SimpleQueue[Drawing | None] = SimpleQueue()
        self._counting = threading.Lock()
        self._change = threading.Condition()
        self._futures: set[Future[Finished]] = set()
        self._finished: list[Finished] = []
        self._put = 0
        self._error: BaseException | None = None
        self._abandoned = False
        self._scorer = threading.Thread(target=self._run, name="score", daemon=True)
        self._scorer.start()

    def put(self, drawing: Drawing) -> None:
        """Send a drawing into the pipeline; waits while the pipeline is full. Raises what a later stage raised."""
        while not self._room.acquire(timeout=_LOOK):
            self._raise()
        self._raise()
        self._put += 1
        self._waiting.put(drawing)
        metrics.queue("score", self._waiting.qsize(), self.capacity)

    def end(self) -> list[Finished]:
        """Wait until everything that was put is finished; in the shard's order. Raises what a stage raised."""
        self._waiting.put(None)
        with self._change:
            while self._error is None and len(self._finished) < self._put:
                self._change.wait(_LOOK)
        self._raise()
        self._scorer.join()
        order = {recipe.id: place for place, recipe in enumerate(self._shard.recipes)}
        return sorted(self._finished, key=lambda one: order[one.row["recipe_id"]])

    def abandon(self) -> None:
        """Drop what waits and wait for what is being written, so that nothing is written afterwards."""
        self._abandoned = True
        self._waiting.put(None)
        self._scorer.join()
        with self._change:
            running = [future for future in list(self._futures) if not future.cancel()]
        for future in running:
            future.exception()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        """The scoring thread: gather a batch, score it, hand its images to the pool."""
        try:
            for batch in self._batches():
                if self._abandoned:
                    return
                for scored in score(batch, self._job):
                    self._hand(scored)
        except BaseException as error:
            self._fail(error)

    def _batches(self) -> Iterator[list[Drawing]]:
        """What was put, in batches that double up to the largest; one by one where nothing is scored."""
        largest = min(score_batch(), self.capacity) if self._job.scorers else 1
        size = min(FIRST_BATCH, largest)
        batch: list[Drawing] = []
        while (drawing := self._waiting.get()) is not None:
            batch.append(drawing)
            if len(batch) >= size:
                yield batch
                batch = []
                size = min(2 * size, largest)
        if batch:
            yield batch

    def _hand(self, scored: Scored) -> None:
        future = _pool().submit(finish, scored, self._shard, self._job)
        with self._change:
            self._futures.add(future)
            metrics.queue("mark", len(self._futures), self.capacity)
        future.add_done_callback(self._took)

    def _took(self, future: Future[Finished]) -> None:
        try:
            finished = future.result()
            with self._counting:
                self._counter.count(finished.row["status"], bool(finished.row.get("fetched")))
        except CancelledError:
            return
        except BaseException as error:
            self._fail(error)
            return
        finally:
            with self._change:
                self._futures.discard(future)
                metrics.queue("mark", len(self._futures))
            self._room.release()
        with self._change:
            self._finished.append(finished)
            self._change.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._change:
            self._error = self._error or error
            self._change.notify_all()


def capacity(shard: Shard) -> int:
    """How many images of a shard may be in its pipeline: what PIPELINE_BYTES and PIPELINE_IMAGES allow, at least two."""
    recipe = shard.recipes[0]
    return max(2, min(PIPELINE_IMAGES, PIPELINE_BYTES // (recipe.width * recipe.height * 3)))


def score_batch() -> int:
    """How many images are scored together."""
    import torch

    return SCORE_BATCH["cuda" if torch.cuda.is_available() else "cpu"]
